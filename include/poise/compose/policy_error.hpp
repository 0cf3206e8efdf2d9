// SPDX-License-Identifier: MIT
#pragma once

// A mistake in a policy's text, with its place.

#include <cstddef>
#include <string>

#include <poise/error.hpp>

namespace poise::inline v0_1_0 {

/// Thrown by policy_named().
class PolicyError : public ConfigError {
 public:
  PolicyError(std::string const& what, std::size_t at) : ConfigError{what}, at_{at} {}
  /// Where in the text the wrong name, key or value begins, in bytes from 0.
  [[nodiscard]] std::size_t at() const noexcept { return at_; }

 private:
  std::size_t at_;
};

}  // namespace poise::inline v0_1_0
