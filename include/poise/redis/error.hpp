// SPDX-License-Identifier: MIT
#pragma once

// What Redis' errors mean for the balancer.
//
// Source: redis.io, "Redis serialization protocol specification" and src/server.c (shared.*err).

#include <algorithm>
#include <array>
#include <exception>
#include <stdexcept>
#include <string>
#include <string_view>

#include <poise/outcome.hpp>
#include <poise/sql/database.hpp>

namespace poise::inline v0_1_0::redis {

/// What an error reply says of the server; it begins with a word in capitals.
[[nodiscard]] inline sql::Fault fault_of_reply(std::string_view text) noexcept {
  auto const code = text.substr(0, text.find(' '));
  auto const is_one_of = [&](auto const& codes) { return std::ranges::count(codes, code) != 0; };
  constexpr std::array<std::string_view, 5> later{"LOADING", "BUSY", "OOM", "TRYAGAIN",
                                                  "MASTERDOWN"};
  constexpr std::array<std::string_view, 2> few_replicas{"NOREPLICAS", "NOGOODSLAVE"};
  constexpr std::array<std::string_view, 3> state{"CLUSTERDOWN", "MISCONF", "UNKILLABLE"};
  if (code == "READONLY") return {.outcome = Result::rejected, .wrong_role = true};
  if (is_one_of(later) || is_one_of(few_replicas))
    return {.outcome = Result::overloaded, .elsewhere = true};
  if (is_one_of(state)) return {.outcome = Result::error};
  return {.outcome = Result::rejected};  // ERR, WRONGTYPE, NOAUTH, WRONGPASS, NOPERM: the caller's
}

/// An error reply, or an error of the connection.
class Error : public std::runtime_error {
 public:
  /// Of a reply.
  explicit Error(std::string const& reply)
      : std::runtime_error{reply}, fault_{fault_of_reply(reply)} {}
  Error(std::string const& message, Result result)
      : std::runtime_error{message}, fault_{.outcome = result} {}
  [[nodiscard]] sql::Fault const& fault() const noexcept { return fault_; }

 private:
  sql::Fault fault_;
};

/// Of any exception: of others the outcome alone.
[[nodiscard]] inline sql::Fault fault_of(std::exception_ptr const& thrown) noexcept {
  try {
    std::rethrow_exception(thrown);
  } catch (Error const& error) {
    return error.fault();
  } catch (...) {
    return {.outcome = Result::cancelled};  // of the caller's own code
  }
}

}  // namespace poise::inline v0_1_0::redis
