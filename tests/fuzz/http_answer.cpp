// SPDX-License-Identifier: MIT
// The answer to an HTTP probe: it must not matter in which pieces it comes.
//
// An input is a letter for what is expected, one for the size of the pieces, and the answer.

#include <array>
#include <cstddef>
#include <optional>
#include <string_view>

#include <poise/probe/http_answer.hpp>

#include "fuzz.hpp"

namespace {

using poise::health::HttpAnswer;
using poise::health::HttpExpectation;
using poise::health::Probed;

HttpExpectation expectation(char letter) {
  std::array<HttpExpectation, 5> const all{{
      {},
      {.body = "ready"},
      {.body = "aab"},
      {.body = "ready", .max_body = 10},
      {.min_status = 100, .max_status = 999, .body = "x"},
  }};
  return all[static_cast<unsigned char>(letter) % all.size()];
}

Probed ask(HttpExpectation const& expect, std::string_view text, std::size_t size) {
  HttpAnswer answer{expect};
  std::optional<Probed> result;
  for (; !text.empty() && !result; text.remove_prefix(std::min(size, text.size())))
    result = answer.feed(text.substr(0, size));
  if (!result) return answer.end();
  auto const later = answer.feed(text);
  tests::require(later && later->passed == result->passed, "a result is final");
  tests::require(answer.end().passed == result->passed, "a result outlives the connection");
  return *result;
}

}  // namespace

void tests::fuzz(std::string_view input) {
  if (input.size() < 2) return;
  auto const expect = expectation(input[0]);
  auto const size = std::size_t{1} + static_cast<unsigned char>(input[1]) % 32;
  auto const text = input.substr(2);
  auto const whole = ask(expect, text, text.size() + 1);
  auto const pieces = ask(expect, text, size);
  require(whole.passed == pieces.passed, "the size of the pieces does not matter");
  require(!whole.cause.empty() && !pieces.cause.empty(), "there is a cause");
}
