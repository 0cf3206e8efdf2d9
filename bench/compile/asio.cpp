// SPDX-License-Identifier: MIT
#include <asio.hpp>

int main() {}
