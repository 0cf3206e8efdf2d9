// SPDX-License-Identifier: MIT
#pragma once

// What a call threw, and whether a message says what it should.

#include <exception>
#include <string>
#include <string_view>

namespace tests {

/// The message of the exception that `call` throws, if it is an E; else what happened instead.
template <class E, class Call>
std::string thrown(Call&& call) {
  try {
    call();
  } catch (E const& error) {
    return error.what();
  } catch (std::exception const& error) {
    return std::string{"(another exception: "} + error.what() + ")";
  }
  return "(nothing was thrown)";
}

inline bool mentions(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

}  // namespace tests
