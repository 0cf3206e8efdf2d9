// SPDX-License-Identifier: MIT
// The floor: what a program that does anything includes anyway.
#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

int main() {}
