// SPDX-License-Identifier: MIT
#pragma once

// The result of Balancer::rehearse().

#include <memory>
#include <vector>

#include <poise/backend.hpp>
#include <poise/error.hpp>
#include <poise/policy/rehearsal.hpp>

namespace poise::inline v0_1_0 {

namespace detail {
template <class P, class Payload, class R>
class Core;
}  // namespace detail

/// What a pick would have done, of one moment. It keeps the backends alive.
class Rehearsed {
 public:
  Rehearsal rehearsal{};                   ///< How the policy came to it.
  std::vector<Backend const*> backends{};  ///< All, in configured order.
  Backend const* winner = nullptr;         ///< Null if the pick would fail ...
  Error error{};                           ///< ... and why.
  /// True if the policy's proposals were refused, or if the request prefers the winner, or if the
  /// winner is due for a trial: the balancer found it, not the policy.
  bool scanned = false;
  /// Policy and request leave only backends that rules keep out: see BackendView::last_resort.
  bool last_resort = false;
  bool keyed = false;  ///< The policy maps keys, and the request has one.

 private:
  template <class P, class Payload, class R>
  friend class detail::Core;
  std::shared_ptr<void const> members_{};
};

}  // namespace poise::inline v0_1_0
