// SPDX-License-Identifier: MIT
#pragma once

// What PostgreSQL's errors mean for the balancer.
//
// Source: the table of error codes in PostgreSQL's documentation, appendix A.

#include <cstdint>
#include <exception>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include <poise/outcome.hpp>
#include <poise/sql/database.hpp>

namespace poise::inline v0_1_0::postgres {

/// What a SQLSTATE says of the server: whether it failed, refuses the caller, or is no primary.
/// Codes that are not listed are the caller's own (Result::rejected): syntax, constraints, rights.
[[nodiscard]] inline sql::Fault fault_of_state(std::string_view state) noexcept {
  auto const is_class = [&](std::string_view begin) { return state.starts_with(begin); };
  if (state == "25006")
    return {.outcome = Result::rejected, .wrong_role = true, .elsewhere = false};
  if (state == "40001" || state == "40P01" || state == "57P04")  // on a replica: recovery conflict
    return {.outcome = Result::rejected, .wrong_role = false, .elsewhere = true};
  if (state == "57P03") return {.outcome = Result::refused};  // starting up, or shutting down
  if (state == "57P01" || state == "57P02" || is_class("08")) return {.outcome = Result::reset};
  if (is_class("53")) return {.outcome = {Result::overloaded, state != "53300"}};
  if (is_class("58") || is_class("XX")) return {.outcome = Result::error};
  return {.outcome = Result::rejected};
}

/// An error of a server, or of the connection to it: then the SQLSTATE is empty.
class Error : public std::runtime_error {
 public:
  Error(std::string const& message, std::string state)
      : std::runtime_error{message}, state_{std::move(state)}, fault_{fault_of_state(state_)} {}
  Error(std::string const& message, Outcome outcome)
      : std::runtime_error{message}, fault_{.outcome = outcome} {}

  /// The SQLSTATE: five letters and digits.
  [[nodiscard]] std::string const& state() const noexcept { return state_; }
  [[nodiscard]] sql::Fault const& fault() const noexcept { return fault_; }

 private:
  std::string state_{};
  sql::Fault fault_;
};

/// Of any exception: of others the outcome alone.
[[nodiscard]] inline sql::Fault fault_of(std::exception_ptr const& thrown) noexcept {
  try {
    std::rethrow_exception(thrown);
  } catch (Error const& error) {
    return error.fault();
  } catch (...) {
    // Thrown by the caller's own code: no failure of the server.
    return {.outcome = Result::cancelled};
  }
}

}  // namespace poise::inline v0_1_0::postgres
