// SPDX-License-Identifier: MIT
#pragma once

// What requests may add to themselves: retries and hedges, as a share of the requests of the last
// second. Every Retry has a budget of its own; name it to share it, or to read its numbers.
//
//   poise::RetryBudget budget;
//   poise::Balancer<poise::Retry<poise::P2C>> reads{endpoints, {{.budget = budget}}};
//   poise::Balancer<poise::Retry<poise::P2C>> writes{others, {{.budget = budget}}};
//
// The rule, for each second that a retry may be part of:
//
//   retries that begin in it <= share * requests of the last second + floor
//
// A request counts when its first attempt is picked, so the budget does not shrink while requests
// fail or hang; a retry counts at the end of its pause, so that pauses can't heap up what is within
// the rule. Seconds are made of 32 slots: requests of the last 31 are held against retries of more
// than 32, so the rule holds to the letter, and some 5 % of the share are never used. Requests are
// looked at whenever somebody asks for a retry, and at each tick; between two looks they are taken
// as evenly spread, and those before the first look do not count.
//
// Unlike Finagle's and tower's token bucket it saves nothing up: after 10 s of peace that allows
// ten times the share within one second. Unlike Envoy's share of what is in flight it needs no
// request to wait. See docs/retries.md.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>

#include <poise/sync/lanes.hpp>
#include <poise/sync/recent.hpp>
#include <poise/sync/relaxed.hpp>
#include <poise/time.hpp>

namespace poise {

namespace detail {

/// How many requests there were in the last second, from looks at how many there were ever.
///
/// A total per slot, beside the slot's number in one word. Threads that look at the same moment may
/// write a slot differently, each as it saw it. *Threads* any.
class RecentRequests {
 public:
  /// `all` ever, modulo 2^32, as of this slot. *Returns* those that belong to the last second.
  std::uint32_t look(std::uint32_t slot, std::uint32_t all) noexcept {
    auto const last = last_.load();
    // Another thread's clock was read a little later: then it is that late.
    if (last != none && number_of(last) - slot < span) slot = number_of(last);
    else fill(last, slot, all);
    auto const start = slot - (span - 1);
    auto const before = at(start).load();
    auto const requests = all - total_of(before);
    constexpr auto negative = std::uint32_t{1} << 31U;  // it was written a little later
    return number_of(before) == start && requests < negative ? requests : 0;
  }

 private:
  using Word = sync::Relaxed<std::uint64_t>;
  static constexpr std::uint32_t span = sync::Recent::window;
  static constexpr auto none = std::numeric_limits<std::uint64_t>::max();

  static std::uint32_t number_of(std::uint64_t word) noexcept {
    return static_cast<std::uint32_t>(word >> 32U);
  }
  static std::uint32_t total_of(std::uint64_t word) noexcept {
    return static_cast<std::uint32_t>(word);
  }
  [[nodiscard]] Word& at(std::uint32_t slot) noexcept { return totals_[slot % span]; }

  /// Writes this slot and those since the last look. What was before the first look, or before the
  /// clock jumped back, counts as long ago.
  void fill(std::uint64_t last, std::uint32_t slot, std::uint32_t all) noexcept {
    // At first, and after a jump back, it is so long that none of what was counted is recent.
    auto const gap = last != none ? slot - number_of(last) : std::uint32_t{1} << 31U;
    std::uint64_t const since = all - total_of(last);
    for (std::uint32_t back = 0; back < std::min(gap, span); ++back) {
      auto const later = static_cast<std::uint32_t>(since * back / gap);
      at(slot - back).store(std::uint64_t{slot - back} << 32U | (all - later));
    }
    last_.store(std::uint64_t{slot} << 32U | all);
  }

  std::array<Word, span> totals_{};
  Word last_{none};
};

}  // namespace detail

/// Counts requests, retries and hedges; how many of these are allowed is said by who asks. Copies
/// are one and the same. All who share it must live by the same clock.
///
/// *Threads* any. *Cost* 1 ns per request, on a cache line of the thread's own; about 0.2 us for
/// each retry that is asked for.
class RetryBudget {
 public:
  enum class Extra : std::uint8_t { retry, hedge };

  RetryBudget() : account_{std::make_shared<Account>()} {}

  /// Remembers how many requests there were by now: see above.
  void look(Time now) const noexcept { (void)account_->look(now); }
  /// A request's first attempt.
  void count_request(sync::Lane lane) const noexcept { account_->requests.advance(lane, 1); }

  /// Counts one more, which will begin `after` a pause (of 14 s; what begins later counts then), if
  /// the rule above allows it.
  [[nodiscard]] bool take(Extra extra, double share, std::uint32_t floor, Time now,
                          Duration after = {}) const noexcept {
    auto const requests = static_cast<double>(account_->look(now));
    auto const most = std::uint64_t{floor} + static_cast<std::uint64_t>(share * requests);
    constexpr auto longest = Duration{slot_ns * sync::Recent::most_ahead};
    return account_->extra(extra).add(slot_of(now, std::min(after, longest)), most);
  }

  /// How many there were in the last second, for statistics.
  struct Recent {
    std::uint64_t requests;
    std::uint64_t retries;
    std::uint64_t hedges;
  };
  [[nodiscard]] Recent recent(Time now) const noexcept {
    auto const end = slot_of(now) + 1;
    auto const lately = [&](Extra extra) {
      return account_->extra(extra).count(end - sync::Recent::window, end);
    };
    return {account_->look(now), lately(Extra::retry), lately(Extra::hedge)};
  }

  friend bool operator==(RetryBudget const&, RetryBudget const&) = default;

 private:
  static constexpr std::uint64_t slot_ns = 1'000'000'000 / sync::Recent::window;

  static std::uint32_t slot_of(Time now, Duration after = {}) noexcept {
    auto const ns = [](Duration time) { return static_cast<std::uint64_t>(time.count()); };
    return static_cast<std::uint32_t>((ns(now.time_since_epoch()) + ns(after)) / slot_ns);
  }

  struct Account {
    std::uint32_t look(Time now) noexcept {
      return recent.look(slot_of(now), static_cast<std::uint32_t>(requests.sum()));
    }
    sync::Recent& extra(Extra which) noexcept { return extras[static_cast<std::size_t>(which)]; }

    sync::Lanes requests{0, [](std::uint64_t) -> std::uint64_t { return 0; }};
    detail::RecentRequests recent{};
    std::array<sync::Recent, 2> extras{};
  };

  std::shared_ptr<Account> account_;
};

}  // namespace poise
