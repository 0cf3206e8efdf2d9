// SPDX-License-Identifier: MIT
#pragma once

// Says which backends have leases that are held too long: one kept in a container, in a callback
// that never runs, in a coroutine that nothing resumes. An observer for the runtime.
//
//   using Runtime = poise::Runtime<poise::CycleClock, poise::observe::LeaseWatch>;
//   poise::Balancer<poise::P2C, void, Runtime> servers{
//       endpoints, {}, {.observers = {poise::observe::LeaseWatch{30s}}}};
//   for (auto const& warning : servers.stats().warnings) log(warning);
//   // leases held too long: 3 on "b", the oldest for at least 95 s, picked before 2026-03-01T...
//
// Not for requests that last as long as they please, such as websockets: give those a balancer of
// their own, or a limit that they do not reach. Leases of a backend that was removed or replaced
// are not listed. Needs a clock that is not set back.

#include <chrono>
#include <cstdint>
#include <string>

#include <poise/backend.hpp>
#include <poise/base/check.hpp>
#include <poise/base/utc.hpp>
#include <poise/observer.hpp>
#include <poise/sync/age_counts.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::observe {

/// *Threads* any. *Cost* two compare-and-swaps a request, beside the two clock reads that latencies
/// need; no lock, no allocation. 520 bytes per backend.
class LeaseWatch {
 public:
  static constexpr bool uses_time = true;

  /// The open leases of one backend, by the time of their picks.
  using State = sync::AgeCounts<64>;

  /// With a limit of one minute.
  LeaseWatch() : LeaseWatch{std::chrono::minutes{1}} {}
  /// A lease that lives longer than `limit` is held too long: a few times the longest timeout of
  /// your requests.
  /// *Errors* ConfigError if it is below 1 s, which says more about scheduling than about leases.
  explicit LeaseWatch(Duration limit) : limit_{limit} {
    poise::detail::check_at_least("limit of LeaseWatch", limit, Duration{std::chrono::seconds{1}},
                                  "use 1 s or more");
  }

  // -- hooks -------------------------------------------------------------------------------------

  void on_pick(Picked const& event, State& leases) const noexcept {
    leases.open(interval_of(event.now));
  }
  void on_finish(Finished const& event, State& leases) const noexcept {
    if (event.started) leases.close(interval_of(*event.started));
  }
  /// Empty if no lease on this backend is held too long. A lease is missed for an eighth of the
  /// limit at most.
  [[nodiscard]] std::string warning(Backend const& backend, State const& leases, Time now) const {
    auto const held = leases.opened_before(interval_of(now - limit_));
    if (held.count == 0) return {};
    auto const age = std::chrono::floor<std::chrono::seconds>(
        held.oldest ? now - Time{(*held.oldest + 1) * width()} : width() * (State::slots - 1));
    return "leases held too long: " + std::to_string(held.count) + " on \"" + backend.id() +
           "\", the oldest for at least " + poise::detail::in_words(age) + ", picked before " +
           poise::detail::in_utc(std::chrono::system_clock::now() - age) +
           ": finish or drop a lease when its request ends";
  }

 private:
  static constexpr std::int64_t intervals_per_limit = 8;

  [[nodiscard]] Duration width() const noexcept { return limit_ / intervals_per_limit; }
  [[nodiscard]] std::int64_t interval_of(Time time) const noexcept {
    return time.time_since_epoch() / width();
  }

  Duration limit_;
};

}  // namespace poise::inline v0_1_0::observe
