// SPDX-License-Identifier: MIT
#pragma once

// Limits retries and hedges to a fraction of the last second's requests. Every Retry has a budget
// of its own; name one to share it between balancers, or to read its numbers.
//
//   poise::RetryBudget budget;
//   poise::Balancer<poise::Retry<poise::P2C>> reads{endpoints, {{.budget = budget}}};
//   poise::Balancer<poise::Retry<poise::P2C>> writes{others, {{.budget = budget}}};
//
// The rule holds for every interval of one second:
//
//   retries that begin in it <= fraction * requests of the last second + minimum per second
//
// A request counts when its first attempt is picked, so the budget does not shrink while requests
// fail or hang. A retry counts at the end of its pause, so that pauses cannot collect retries that
// then start together. A second has 32 slots: requests of the last 31 slots are compared with
// retries of more than 32. So the rule holds exactly, and about 5 % of the fraction are never used.
// The number of requests is read whenever a retry is asked for, and at each tick. Between two reads
// requests are taken as evenly spread. Requests before the first read do not count.
//
// The budget saves nothing up. A token bucket (Finagle, tower) does: after 10 s of peace it allows
// ten times the fraction within one second. Envoy's limit is a fraction of the requests in flight,
// so it needs requests that wait. See docs/retries.md.

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

namespace poise::inline v0_1_0 {

namespace detail {

/// The number of requests in the last second, computed from reads of a running total.
///
/// One word per slot: the slot's number and the total at that time. Threads that read at the same
/// moment may write different totals to a slot. *Threads* any.
class RecentRequests {
 public:
  /// `all`: the running total modulo 2^32, as of this slot. *Returns* requests of the last second.
  std::uint32_t look(std::uint32_t slot, std::uint32_t all) noexcept {
    auto const last = last_.load();
    // Another thread read its clock a little later: use the later slot.
    if (last != none && number_of(last) - slot < span) slot = number_of(last);
    else fill(last, slot, all);
    auto const start = slot - (span - 1);
    auto const before = at(start).load();
    auto const requests = all - total_of(before);
    constexpr auto negative = std::uint32_t{1}
                              << 31U;  // written by a thread that read a later total
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

  /// Writes this slot and the slots since the last read. Requests before the first read, or before
  /// the clock jumped back, do not count.
  void fill(std::uint64_t last, std::uint32_t slot, std::uint32_t all) noexcept {
    // On the first read and after a jump back the gap is so long that no request is recent.
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

/// Counts requests, retries and hedges. Each caller says how many it allows. Copies share one
/// count. Balancers that share a budget must use the same clock.
///
/// *Threads* any. *Cost* 1 ns per request, on the thread's own cache line; about 0.2 us per retry
/// that is asked for.
class RetryBudget {
 public:
  enum class Extra : std::uint8_t { retry, hedge };

  RetryBudget() : account_{std::make_shared<Account>()} {}

  /// Reads the number of requests: see above.
  void look(Time now) const noexcept { (void)account_->look(now); }
  /// Counts a request, at its first attempt.
  void count_request(sync::Lane lane) const noexcept { account_->requests.advance(lane, 1); }

  /// Counts one more retry or hedge if the rule above allows it. It begins after the pause `after`;
  /// a pause above 14 s counts as 14 s.
  [[nodiscard]] bool take(Extra extra, double fraction, std::uint32_t min_per_second, Time now,
                          Duration after = {}) const noexcept {
    auto const requests = static_cast<double>(account_->look(now));
    auto const max =
        std::uint64_t{min_per_second} + static_cast<std::uint64_t>(fraction * requests);
    constexpr auto longest = Duration{slot_ns * sync::Recent::max_ahead};
    return account_->extra(extra).add(slot_of(now, std::min(after, longest)), max);
  }

  /// Numbers of the last second, for statistics.
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

}  // namespace poise::inline v0_1_0
