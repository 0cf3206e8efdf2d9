// SPDX-License-Identifier: MIT
#pragma once

// policy_named() without its policies: for programs that compile them once, in policy_named.cpp
// beside this header. The CMake target poise::named does so. A file that includes compose/named.hpp
// instead compiles all of them itself and needs no source; both may be used in one program.

#include <string_view>
#include <vector>

#include <poise/compose/any_policy.hpp>

namespace poise::inline v0_1_0 {

/// A name that policy_named() knows.
struct KnownPolicy {
  std::string_view name;
  std::string_view parameters;  ///< With their defaults; empty if there are none.
  std::string_view about;
  bool wraps = false;  ///< True for a wrapper of other policies.
};

namespace detail {

/// Defined in compose/named.hpp. A template, so that a program may contain it more than once.
template <class Any>
struct PolicyCatalogue {
  static Any make(std::string_view text);
  static std::vector<KnownPolicy> list();
};

}  // namespace detail

/// The policy that this text describes.
///
/// *Errors* PolicyError: says what is wrong, where, and what to use instead.
[[nodiscard]] inline AnyPolicy policy_named(std::string_view text) {
  return detail::PolicyCatalogue<AnyPolicy>::make(text);
}

/// Every name that policy_named() knows, for help texts.
[[nodiscard]] inline std::vector<KnownPolicy> known_policies() {
  return detail::PolicyCatalogue<AnyPolicy>::list();
}

}  // namespace poise::inline v0_1_0
