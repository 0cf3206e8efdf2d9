// SPDX-License-Identifier: MIT
#pragma once

// What can be picked: an endpoint, and what was measured of it.
//
// A backend's identity (id, address, zone, tier, labels) never changes; an update that changes it
// makes a new backend under the same id, which inherits the statistics. What is read often and
// written by every request fills the first cache line; failures and identity lie behind it.
//
// Thread safety: every member may be called from any thread, at any time while a lease or a read
// section keeps the backend alive. The numbers are each exact or as fresh as stated, not one
// snapshot.

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/endpoint.hpp>
#include <poise/outcome.hpp>
#include <poise/sync/in_flight.hpp>
#include <poise/sync/linked.hpp>
#include <poise/sync/relaxed.hpp>
#include <poise/sync/shared_count.hpp>
#include <poise/time.hpp>

namespace poise {

enum class HealthState : std::uint8_t { healthy, degraded, unhealthy };

[[nodiscard]] constexpr std::string_view name(HealthState health) noexcept {
  constexpr std::array<std::string_view, 3> names{"healthy", "degraded", "unhealthy"};
  auto const index = static_cast<std::size_t>(health);
  return index < names.size() ? names[index] : "unknown health";
}

/// What a backend lets in, beyond being eligible.
struct Admission {
  /// At most so many requests in flight; never more than 2^23.
  std::uint32_t max_in_flight = sync::InFlight::limit;
  /// The share of its picks that it accepts, in 2^-32: lower while it warms up.
  std::uint32_t share = ~std::uint32_t{0};

  friend bool operator==(Admission const&, Admission const&) = default;
};

namespace detail {

/// Stands for "not measured": a latency can't be negative.
inline constexpr Duration unmeasured{-1};

/// A mean latency in sixteenths of a nanosecond, which it may move by: the mean of integers would
/// stop short of what it should become. Negative before the first sample.
struct FineMean {
  static constexpr unsigned fraction_bits = 4;
  static constexpr std::int64_t unknown = -1;
  static constexpr std::int64_t longest = std::int64_t{1} << 58U;  // ns; 9 years

  static constexpr std::int64_t of(Duration sample) noexcept {
    return std::min<std::int64_t>(sample.count(), longest) << fraction_bits;
  }
  static constexpr Duration read(std::int64_t mean) noexcept {
    return Duration{mean >> fraction_bits};
  }
};

struct Claiming;  // propose.hpp

/// An operator's word beats what rules and probes found.
struct Condition {
  bool drained = false;                         // by the operator
  bool is_declared = false;                     // by the operator: `declared` counts
  HealthState declared = HealthState::healthy;  // by the operator
  HealthState found = HealthState::healthy;     // by rules and probes

  [[nodiscard]] constexpr HealthState health() const noexcept {
    return is_declared ? declared : found;
  }
  constexpr void declare(std::optional<HealthState> health) noexcept {
    is_declared = health.has_value();
    declared = health.value_or(HealthState::healthy);
  }
  friend bool operator==(Condition const&, Condition const&) = default;
};

}  // namespace detail

class alignas(64) Backend {
 public:
  Backend(Backend const&) = delete;
  Backend& operator=(Backend const&) = delete;

  [[nodiscard]] std::string const& id() const noexcept { return endpoint_.id; }
  [[nodiscard]] std::string const& address() const noexcept { return endpoint_.address; }
  [[nodiscard]] std::string const& zone() const noexcept { return endpoint_.zone; }
  [[nodiscard]] std::uint32_t tier() const noexcept { return endpoint_.tier; }
  [[nodiscard]] std::vector<Label> const& labels() const noexcept { return endpoint_.labels; }
  /// Never used twice in a process: tells apart two backends that had the same id.
  [[nodiscard]] std::uint64_t serial() const noexcept { return serial_; }

  [[nodiscard]] std::uint32_t weight() const noexcept { return weight_.load(); }
  /// Requests picked for this backend and not finished yet.
  [[nodiscard]] std::uint32_t in_flight() const noexcept { return word_.in_flight(); }
  /// Requests ever: picked, or recorded out of band.
  [[nodiscard]] std::uint64_t total() const noexcept { return word_.picks() + recorded_.load(); }
  /// Requests that failed by the backend's fault.
  [[nodiscard]] std::uint64_t failed() const noexcept {
    std::uint64_t sum = 0;
    for (std::size_t ending = 1; ending < ending_count; ++ending)
      if (is_failure(static_cast<Ending>(ending))) sum += ended(static_cast<Ending>(ending));
    return sum;
  }
  /// Requests that ended so. Successes are not counted one by one: total - in flight - the others.
  [[nodiscard]] std::uint64_t ended(Ending ending) const noexcept {
    return ending == Ending::success ? 0 : endings_[index_of(ending)].load();
  }
  /// The decayed mean of recent latencies; empty before the first sample, or if nobody measures.
  [[nodiscard]] std::optional<Duration> latency() const noexcept {
    auto const mean = latency_.load();
    if (mean < 0) return std::nullopt;
    return detail::FineMean::read(mean);
  }
  /// The decayed share of failures among recent verdicts, 0 to 1; empty before the first.
  [[nodiscard]] std::optional<double> error_rate() const noexcept {
    auto const rate = error_rate_.load();
    if (rate < 0) return std::nullopt;
    return static_cast<double>(rate);
  }
  [[nodiscard]] HealthState health() const noexcept { return condition().health(); }
  [[nodiscard]] bool drained() const noexcept { return condition().drained; }
  [[nodiscard, gnu::always_inline]] Admission admission() const noexcept {
    return std::bit_cast<Admission>(admission_.load());
  }

 protected:
  Backend(Endpoint endpoint, std::uint64_t serial)
      : serial_{serial}, weight_{endpoint.weight}, endpoint_{std::move(endpoint)} {}
  ~Backend() = default;

  [[nodiscard]] detail::Condition condition() const noexcept {
    return std::bit_cast<detail::Condition>(condition_.load());
  }

  /// Counts one ended request. *Cost* on success: one load, and with a latency one more and a
  /// store.
  [[gnu::always_inline]] void count(Outcome outcome, Duration latency) noexcept {
    bool const all_is_well =
        outcome.ending == Ending::success && std::bit_cast<std::uint32_t>(error_rate_.load()) == 0;
    if (!all_is_well) [[unlikely]]
      return count_in_full(outcome, latency);
    if (latency >= Duration::zero()) mix_in(latency);
  }

  /// A backend that nobody asked since the last tick is forgiven in time. Called by one thread.
  void forget(Duration elapsed) noexcept {
    auto const total_now = static_cast<std::uint32_t>(total());
    if (std::exchange(total_at_tick_, total_now) != total_now) return;
    auto const rate = error_rate_.load();
    if (rate <= 0) return;
    // rate / (1 + t/T) needs no exp(): in T it halves in one step, and falls to 0.39 in ten.
    constexpr float fading_ns = 10e9F;  // T = 10 s: Finagle's window, not tuned here
    store_error_rate(rate / (1 + static_cast<float>(elapsed.count()) / fading_ns));
  }

  /// Takes over what another backend of the same id had measured. Its requests in flight end there,
  /// unseen by this one; counted here, they would pass for successes.
  void inherit(Backend const& old) noexcept {
    std::uint64_t const busy = old.in_flight();
    auto const total_then = old.total();
    recorded_.store(total_then - std::min(total_then, busy));
    for (std::size_t i = 0; i < endings_.size(); ++i) endings_[i].store(old.endings_[i].load());
    latency_.store(old.latency_.load());
    error_rate_.store(old.error_rate_.load());
    admission_.store(old.admission_.load());
    declared_admission_ = old.declared_admission_;
  }

  // First line: touched by every pick and every finish.
  sync::InFlight word_;
  sync::Relaxed<std::uint64_t> admission_{std::bit_cast<std::uint64_t>(Admission{})};
  sync::Relaxed<std::int64_t> latency_{detail::FineMean::unknown};
  sync::Relaxed<float> error_rate_{-1};  // -1: no verdict yet
  sync::Relaxed<std::uint32_t> condition_{std::bit_cast<std::uint32_t>(detail::Condition{})};
  sync::Linked<void*> policy_state_;  // the current policy's; null if there is none here
  std::shared_ptr<void> owner_{};     // the balancer's core: a request's end needs it

  // Second line: failures and what is counted out of band.
  std::array<sync::Relaxed<std::uint64_t>, ending_count - 1> endings_{};  // all but success
  sync::Relaxed<std::uint64_t> recorded_{0};
  std::uint32_t total_at_tick_ = 0;  // modulo 2^32
  sync::SharedCount memberships_;    // that list it
  Admission declared_admission_{};   // what the operator set, before rules; under the lock
  std::uint64_t const serial_;
  sync::Relaxed<std::uint32_t> weight_;
  sync::Relaxed<std::uint32_t> position_{0};  // in the current membership

  Endpoint const endpoint_;

 private:
  friend struct detail::Claiming;

  static_assert(sizeof(detail::Condition) == sizeof(std::uint32_t));

  static constexpr std::size_t index_of(Ending ending) noexcept {
    return static_cast<std::size_t>(ending) - 1;
  }

  [[gnu::noinline]] void count_in_full(Outcome outcome, Duration latency) noexcept {
    if (outcome.ending != Ending::success) endings_[index_of(outcome.ending)].add(1);
    if (!is_verdict(outcome.ending)) return;
    count_verdict(is_failure(outcome.ending));
    if (latency >= Duration::zero()) count_latency(latency, outcome.ending);
  }

  void count_verdict(bool failed) noexcept {
    auto const rate = error_rate_.load();
    if (!failed && rate == 0) return;
    if (rate < 0) return error_rate_.store(failed ? 1.0F : 0.0F);
    // rate <- rate + (x - rate) / 16: the last 16 verdicts have 64 % of the say. Not tuned here.
    store_error_rate(rate + ((failed ? 1.0F : 0.0F) - rate) / 16);
  }

  void store_error_rate(float rate) noexcept { error_rate_.store(rate < 1e-4F ? 0.0F : rate); }

  void count_latency(Duration sample, Ending ending) noexcept {
    // A failure tells of the backend's speed only if it was slower: failing fast is not being fast.
    if (ending != Ending::success) {
      auto const old = latency_.load();
      if (old < 0 || detail::FineMean::of(sample) <= old) return;
    }
    mix_in(sample);
  }

  [[gnu::always_inline]] void mix_in(Duration latency) noexcept {
    auto const old = latency_.load();
    auto const sample = detail::FineMean::of(latency);
    // mean <- mean + (sample - mean) / 16; the first sample is the mean. Not tuned here.
    latency_.store(old < 0 ? sample : old + ((sample - old) >> 4U));
  }
};

}  // namespace poise
