// SPDX-License-Identifier: MIT
#pragma once

// What the fuzz programs share. Each of them has fuzz(), for one input; libFuzzer calls it again
// and again, with AddressSanitizer and UndefinedBehaviorSanitizer watching.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tests {

/// Defined by each program. What it lets out is a finding, as is what require() refuses.
void fuzz(std::string_view input);

/// What must hold for every input.
inline void require(bool holds, char const* what) {
  if (holds) return;
  std::fprintf(stderr, "this does not hold: %s\n", what);
  std::abort();
}

/// Takes the next part, up to the separator or the end.
inline std::string take(std::string_view& rest, char separator) {
  auto const end = rest.find(separator);
  std::string part{rest.substr(0, end)};
  rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  return part;
}

inline std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  while (!text.empty()) parts.push_back(take(text, separator));
  return parts;
}

}  // namespace tests
