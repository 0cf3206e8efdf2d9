// SPDX-License-Identifier: MIT
// What libFuzzer calls.

#include "fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  tests::fuzz({reinterpret_cast<char const*>(data), size});
  return 0;
}
