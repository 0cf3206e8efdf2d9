// SPDX-License-Identifier: MIT
#pragma once

// What nobody can have: dispatchers that see the true state of every server, to compare with.
//
//   GlobalQueue     one queue for all; the fastest idle server takes the next request
//   ShortestQueue   the server with the fewest requests, ties at random
//   ShortestDelay   the server that would be done first if all requests were equal
//
// They know speeds as they change, who is down and who fails. The bound of a scenario is the best
// of the three: none of them is optimal everywhere.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <poise/outcome.hpp>

#include "engine.hpp"

namespace simulate {

/// What oracles have in common: no clients, no memory, no surprise.
class Oracle {
 public:
  struct Ticket {};
  static constexpr bool waits = false;

  explicit Oracle(std::uint64_t seed) : random_{seed, 6} {}
  void begin(std::vector<Host> const& hosts) noexcept {
    hosts_ = &hosts;
    changed();
  }
  void advance(double) noexcept {}
  void tick(double) noexcept {}
  void listed(std::size_t, bool) noexcept {}
  /// Who fails more often than not is used only if there is nobody else.
  void changed() noexcept {
    tolerated_ = 0.5;
    if (std::none_of(hosts_->begin(), hosts_->end(), [&](auto const& it) { return usable(it); }))
      tolerated_ = 2;
  }
  std::uint64_t finish(std::size_t, Ticket const&, poise::Result,
                       poise::LoadReport const&) noexcept {
    return 0;
  }

 protected:
  [[nodiscard]] bool usable(Host const& host) const noexcept {
    return host.up && host.listed && host.errors < tolerated_ && host.server.speed() > 0;
  }
  /// The usable host of least cost, ties at random. A negative cost rules it out.
  template <class Cost>
  std::size_t least(Cost const& cost) noexcept {
    std::size_t best = nobody;
    std::size_t tied = 0;
    double lowest = 0;
    for (std::size_t i = 0; i < hosts_->size(); ++i) {
      auto const& host = (*hosts_)[i];
      if (!usable(host)) continue;
      auto const each = cost(host);
      if (each < 0 || (best != nobody && each > lowest)) continue;
      tied = best != nobody && each == lowest ? tied + 1 : 1;
      if (tied > 1 && random_.below(tied) != 0) continue;
      best = i;
      lowest = each;
    }
    return best;
  }

  std::vector<Host> const* hosts_ = nullptr;
  Dice random_;
  double tolerated_ = 0.5;  // share of errors
};

struct ShortestQueue : Oracle {
  using Oracle::Oracle;
  std::size_t pick(std::size_t, std::span<std::uint64_t const>, Ticket&) noexcept {
    return least([](Host const& host) { return static_cast<double>(host.assigned); });
  }
};

struct ShortestDelay : Oracle {
  using Oracle::Oracle;
  std::size_t pick(std::size_t, std::span<std::uint64_t const>, Ticket&) noexcept {
    return least([](Host const& host) {
      auto const each = (static_cast<double>(host.assigned) + 1) / host.server.kind().cores;
      return std::max(each, 1.0) / (host.server.speed() * (1 - host.errors));
    });
  }
};

struct GlobalQueue : Oracle {
  using Oracle::Oracle;
  static constexpr bool waits = true;
  std::size_t pick(std::size_t, std::span<std::uint64_t const>, Ticket&) noexcept {
    return least([](Host const& host) {
      return host.assigned < host.server.kind().cores ? 1 / host.server.speed() : -1.0;
    });
  }
  [[nodiscard]] bool can_pick() const noexcept {
    return std::any_of(hosts_->begin(), hosts_->end(), [&](Host const& host) {
      return usable(host) && host.assigned < host.server.kind().cores;
    });
  }
};

}  // namespace simulate
