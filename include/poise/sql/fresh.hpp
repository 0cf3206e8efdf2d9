// SPDX-License-Identifier: MIT
#pragma once

// A request's condition: its backend must be a replica that is fresh enough. It works with every
// policy and every wrapper, since the balancer tests it.
//
//   auto const fresh = database.fresh({.max_age = 1s});
//   auto lease = servers.pick({.condition = fresh});
//   std::cout << message(poise::analysis::explain(servers, {.condition = fresh}));
//
//   p2c picks db2
//     db1: refused by the condition (the primary)
//     db2: picked; score 0
//     db3: refused by the condition (behind by 4096 bytes, 12 s)
//
// Database::read() does more: it waits for a replica to catch up, and has a fallback.

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>

#include <poise/backend.hpp>
#include <poise/base/check.hpp>
#include <poise/sql/cluster.hpp>
#include <poise/sql/node.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::sql {

/// What a replica must have reached is computed when it is made: make one for each request.
/// *Requires* that the cluster outlives it, and that the payload of each backend has a node(), as
/// sql::Server has. `Backend` is the balancer's. *Threads* any. *Cost* a lock per backend that a
/// pick looks at.
template <class Backend>
class Fresh {
 public:
  Fresh(Cluster const& cluster, Freshness const& freshness, Time now)
      : cluster_{&cluster}, needed_{cluster.needed(freshness, now)}, now_{now} {}

  [[nodiscard]] bool operator()(poise::Backend const& backend) const noexcept {
    return Cluster::is_fresh(node_of(backend), needed_);
  }
  [[nodiscard]] Token const& needed() const noexcept { return needed_; }

  /// Why it is not: "behind by 4096 bytes, 12 s". Empty if it is.
  [[nodiscard]] std::string why_not(poise::Backend const& backend) const {
    auto const& node = node_of(backend);
    auto const state = node.state();
    if (Cluster::is_fresh(node, needed_)) return {};
    if (state.role == Role::primary) return "the primary";
    if (state.role != Role::replica) return "its role is not known";
    if (state.reached.timeline < needed_.timeline)
      return "on timeline " + std::to_string(state.reached.timeline) + ", not " +
             std::to_string(needed_.timeline);
    if (needed_.position == std::numeric_limits<std::uint64_t>::max())
      return "its lag is not known";
    auto const missing = needed_.position - std::min(needed_.position, state.reached.position);
    auto text =
        "behind by " + std::to_string(std::max(cluster_->bytes_behind(node), missing)) + " bytes";
    if (auto const time = cluster_->time_behind(node, now_); time && *time > Duration::zero())
      text += ", " + poise::detail::in_words(*time);
    return text;
  }

  /// *Requires* a backend of the balancer.
  [[nodiscard]] static Node const& node_of(poise::Backend const& backend) noexcept {
    return static_cast<Backend const&>(backend).payload().node();
  }

 private:
  Cluster const* cluster_;
  Token needed_;
  Time now_;
};

}  // namespace poise::inline v0_1_0::sql
