// SPDX-License-Identifier: MIT
#pragma once

// A backend: an endpoint and its statistics.
//
// A backend's identity (id, address, zone, tier, labels) never changes. An update that changes it
// makes a new backend under the same id, which takes over the statistics. What every request reads
// or writes fills the first cache line; failures and identity lie behind it.
//
// Thread safety: every member may be called from any thread while a lease or a read section keeps
// the backend alive. Each number is exact or as fresh as stated; together they are no snapshot.

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <poise/base/check.hpp>
#include <poise/endpoint.hpp>
#include <poise/outcome.hpp>
#include <poise/sync/in_flight.hpp>
#include <poise/sync/linked.hpp>
#include <poise/sync/relaxed.hpp>
#include <poise/sync/shared_count.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0 {

/// What picks see of a backend's health.
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
  /// The share of its picks that it accepts, in 2^-32: lower while it warms up. See share_of().
  std::uint32_t share = ~std::uint32_t{0};

  /// A fraction from 0 to 1 as a share. *Errors* ConfigError: another number.
  [[nodiscard]] static std::uint32_t share_of(double fraction) {
    detail::check_fraction("fraction of Admission::share_of", fraction);
    return static_cast<std::uint32_t>(fraction * ~std::uint32_t{0});
  }
  friend bool operator==(Admission const&, Admission const&) = default;
};

namespace detail {

/// Stands for "not measured": a latency can't be negative.
inline constexpr Duration unmeasured{-1};

/// A mean latency in sixteenths of a nanosecond: a mean in whole nanoseconds stops up to 15 ns
/// short of its limit. Negative before the first sample.
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

struct Claiming;  // policy/claim.hpp
class Lineage;

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

/// How many requests an id had, read together: `total` is `in_flight` and all results.
struct RequestCounts {
  std::uint64_t total = 0;
  std::uint64_t in_flight = 0;
  std::array<std::uint64_t, result_count> results{};  ///< By Result.
};

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

  /// A bit per label, by hash: two labels may share one. For RequiredLabels.
  [[nodiscard]] std::uint64_t label_marks() const noexcept { return label_marks_; }
  /// True once an update or remove() took it out of the balancer.
  [[nodiscard]] bool removed() const noexcept { return position_.load() == no_position; }

  /// The position that it is known to have reached, in a log that your backends share: a WAL
  /// position, a GTID's number, a version. See Request::after.
  [[nodiscard]] std::uint64_t reached() const noexcept { return reached_.load(); }
  /// Sets it; it never goes back. *Threads* any.
  void set_reached(std::uint64_t position) noexcept { reached_.raise(position); }

  [[nodiscard]] std::uint32_t weight() const noexcept { return weight_.load(); }
  /// The weight that configuration or discovery gave: weight() unless the operator set another.
  [[nodiscard]] std::uint32_t endpoint_weight() const noexcept { return endpoint_weight_.load(); }
  /// Did the operator set the weight (Balancer::set_weight)? Then updates don't change it.
  [[nodiscard]] bool weight_is_set() const noexcept { return weight_is_set_.load(); }
  /// Requests picked for this backend and not finished yet.
  [[nodiscard]] std::uint32_t in_flight() const noexcept { return word_.in_flight(); }
  /// Requests ever: picked, or recorded out of band.
  [[nodiscard]] std::uint64_t total() const noexcept { return word_.picks() + recorded_.load(); }
  /// All requests of this id, those of replaced backends included. No total and no result ever
  /// decreases. *Cost* a lock, shared by all backends. total(), failed() and ended() of a failure
  /// take none, but miss what a replaced backend counted after its replacement.
  [[nodiscard]] RequestCounts counts() const noexcept;
  /// True if one replaced the other, directly or not, so that both have the same counts().
  [[nodiscard]] bool shares_counts(Backend const& other) const;
  /// Requests that failed by the backend's fault.
  [[nodiscard]] std::uint64_t failed() const noexcept {
    std::uint64_t sum = 0;
    for (std::size_t result = 1; result < result_count; ++result)
      if (is_failure(static_cast<Result>(result))) sum += ended(static_cast<Result>(result));
    return sum;
  }
  /// Requests that ended so. Successes are what is left of the total: counts().results[0], at its
  /// cost.
  [[nodiscard]] std::uint64_t ended(Result result) const noexcept {
    return result == Result::success ? counts().results[0] : endings_[index_of(result)].load();
  }
  /// The decayed mean of recent latencies; empty before the first sample, and if neither the policy
  /// nor an observer uses time.
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
  /// True if health() is what set_health() said, false if it was found by rules and reports.
  [[nodiscard]] bool health_is_declared() const noexcept { return condition().is_declared; }
  [[nodiscard, gnu::always_inline]] Admission admission() const noexcept {
    return std::bit_cast<Admission>(admission_.load());
  }
  /// The limit of requests in flight without that of a trial: admission().max_in_flight is the
  /// lower one of the two.
  [[nodiscard]] std::uint32_t max_in_flight() const noexcept { return max_in_flight_.load(); }
  /// Is it let in again for a few requests only, as a test of its health?
  [[nodiscard]] bool on_trial() const noexcept {
    return admission().max_in_flight < max_in_flight();
  }

 protected:
  Backend(Endpoint endpoint, std::uint64_t serial)
      : serial_{serial},
        weight_{endpoint.weight},
        endpoint_weight_{endpoint.weight},
        label_marks_{detail::marks_of(endpoint.labels)},
        endpoint_{std::move(endpoint)} {}
  ~Backend();

  [[nodiscard]] detail::Condition condition() const noexcept {
    return std::bit_cast<detail::Condition>(condition_.load());
  }

  /// Counts one ended request. *Cost* on success: one load, and with a latency one more and a
  /// store.
  [[gnu::always_inline]] void count(Outcome outcome, Duration latency) noexcept {
    bool const all_is_well =
        outcome.result == Result::success && std::bit_cast<std::uint32_t>(error_rate_.load()) == 0;
    if (!all_is_well) [[unlikely]]
      return count_in_full(outcome, latency);
    if (latency >= Duration::zero()) mix_in(latency);
  }

  /// Lets the error rate decay if there was no request since the last tick. Called by one thread.
  void forget(Duration elapsed) noexcept {
    auto const total_now = static_cast<std::uint32_t>(total());
    if (std::exchange(total_at_tick_, total_now) != total_now) return;
    auto const rate = error_rate_.load();
    if (rate <= 0) return;
    // rate / (1 + t/T) needs no exp(): in T it halves in one step, and falls to 0.39 in ten.
    constexpr float fading_ns = 10e9F;  // T = 10 s: Finagle's window, not tuned here
    store_error_rate(rate / (1 + static_cast<float>(elapsed.count()) / fading_ns));
  }

  /// Takes over what another backend of the same id had measured. Requests in flight there are
  /// completed there, and counts() finds them through the lineage.
  void inherit(Backend const& old) {
    join_lineage(old);
    latency_.store(old.latency_.load());
    error_rate_.store(old.error_rate_.load());
    admission_.store(old.admission_.load());
    max_in_flight_.store(old.max_in_flight_.load());
    if (old.address() == address()) reached_.raise(old.reached());
    declared_admission_ = old.declared_admission_;
    admission_is_set_ = old.admission_is_set_;
  }

  static constexpr std::uint32_t no_position = ~std::uint32_t{0};

  // First line: touched by every pick and every finish.
  sync::InFlight word_;
  sync::Relaxed<std::uint64_t> admission_{std::bit_cast<std::uint64_t>(Admission{})};
  sync::Relaxed<std::int64_t> latency_{detail::FineMean::unknown};
  sync::Relaxed<float> error_rate_{-1};  // -1: no verdict yet
  sync::Relaxed<std::uint32_t> condition_{std::bit_cast<std::uint32_t>(detail::Condition{})};
  sync::Linked<void*> policy_state_;  // the current policy's; null if there is none here
  std::shared_ptr<void> owner_{};     // the balancer's core: needed when a request completes

  // Second line: failures and what is counted out of band.
  std::array<sync::Relaxed<std::uint64_t>, result_count - 1> endings_{};  // all but success
  sync::Relaxed<std::uint64_t> recorded_{0};
  std::uint32_t total_at_tick_ = 0;  // modulo 2^32
  // Of the id, once a backend was replaced by one of the same id; both under Lineage::mutex().
  mutable std::shared_ptr<detail::Lineage> lineage_{};
  mutable std::uint64_t successes_ = 0;  // as counted last: they never decrease
  sync::SharedCount memberships_;        // that list it
  Admission declared_admission_{};       // what the operator set, before rules; under the lock
  std::uint64_t const serial_;
  sync::Relaxed<std::uint32_t> weight_;
  sync::Relaxed<std::uint32_t> position_{0};  // in the current membership
  sync::Relaxed<std::uint32_t> max_in_flight_{sync::InFlight::limit};
  sync::Relaxed<std::uint32_t> endpoint_weight_;
  sync::Relaxed<bool> weight_is_set_{false};
  bool admission_is_set_ = false;  // by the operator; under the lock
  std::uint64_t const label_marks_;
  sync::Relaxed<std::uint64_t> reached_{0};

  Endpoint const endpoint_;

 private:
  friend struct detail::Claiming;
  friend class detail::Lineage;

  void join_lineage(Backend const& old);

  static_assert(sizeof(detail::Condition) == sizeof(std::uint32_t));

  static constexpr std::size_t index_of(Result result) noexcept {
    return static_cast<std::size_t>(result) - 1;
  }

  [[gnu::noinline]] void count_in_full(Outcome outcome, Duration latency) noexcept {
    if (outcome.result != Result::success) endings_[index_of(outcome.result)].add(1);
    if (!is_verdict(outcome.result)) return;
    count_verdict(is_failure(outcome.result));
    if (latency >= Duration::zero()) count_latency(latency, outcome.result);
  }

  void count_verdict(bool failed) noexcept {
    auto const rate = error_rate_.load();
    if (!failed && rate == 0) return;
    if (rate < 0) return error_rate_.store(failed ? 1.0F : 0.0F);
    // rate <- rate + (x - rate) / 16: the last 16 verdicts have 64 % of the say. Not tuned here.
    store_error_rate(rate + ((failed ? 1.0F : 0.0F) - rate) / 16);
  }

  void store_error_rate(float rate) noexcept { error_rate_.store(rate < 1e-4F ? 0.0F : rate); }

  void count_latency(Duration sample, Result result) noexcept {
    // A failure counts only if it took longer than the mean: failing fast is not being fast.
    if (result != Result::success) {
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

namespace detail {

/// The backends that had one id after each other, while requests may still run on the old ones.
///
/// Each begins with copies of its predecessor's counters, which are subtracted here. Every member
/// *requires* mutex(). One mutex serves all backends: statistics are rarely read, and backends are
/// rarely replaced.
class Lineage {
 public:
  [[nodiscard]] static std::mutex& mutex() noexcept {
    static std::mutex shared;
    return shared;
  }

  explicit Lineage(Backend const& first) : successes_{first.successes_} {
    live_.push_back({&first, {}});
  }

  /// *Requires* that the counters of `heir` are still 0; they become copies of those of `old`.
  /// Each is read once, since requests go on: what is copied is what is subtracted.
  void join(Backend& heir, Backend const& old) {
    Member member{&heir, {}};
    member.copied.total = old.total();
    for (std::size_t i = 1; i < result_count; ++i)
      member.copied.results[i] = old.endings_[i - 1].load();
    live_.push_back(member);
    heir.recorded_.store(member.copied.total);
    for (std::size_t i = 1; i < result_count; ++i)
      heir.endings_[i - 1].store(member.copied.results[i]);
  }

  /// Keeps what the backend counted.
  void leave(Backend const& backend) noexcept {
    for (auto& member : live_) {
      if (member.backend != &backend) continue;
      add(gone_, member);
      live_.erase(live_.begin() + (&member - live_.data()));
      return;
    }
  }

  [[nodiscard]] RequestCounts counts() noexcept {
    auto counts = gone_;
    // Requests are read first: one that completes meanwhile counts as in flight.
    for (auto const& member : live_) add_requests(counts, member);
    for (auto const& member : live_) add_results(counts, member);
    return settled(counts, successes_);
  }
  /// The same for a backend without a lineage.
  [[nodiscard]] static RequestCounts counts(Backend const& backend) noexcept {
    RequestCounts counts;
    add(counts, {&backend, {}});
    return settled(counts, backend.successes_);
  }

 private:
  struct Member {
    Backend const* backend;
    RequestCounts copied;
  };

  static void add(RequestCounts& sum, Member const& member) noexcept {
    add_requests(sum, member);
    add_results(sum, member);
  }
  static void add_requests(RequestCounts& sum, Member const& member) noexcept {
    auto const recorded = member.backend->recorded_.load();
    auto const word = member.backend->word_.read();
    sum.total += recorded + word.picks - member.copied.total;
    sum.in_flight += word.in_flight;
  }
  static void add_results(RequestCounts& sum, Member const& member) noexcept {
    for (std::size_t i = 1; i < result_count; ++i)
      sum.results[i] += member.backend->endings_[i - 1].load() - member.copied.results[i];
  }
  /// A request whose result is counted may not be released yet: it is not in flight any more.
  static RequestCounts settled(RequestCounts counts, std::uint64_t& successes) noexcept {
    std::uint64_t failures = 0;
    for (std::size_t i = 1; i < result_count; ++i) failures += counts.results[i];
    auto const completed = counts.total - std::min(counts.total, counts.in_flight);
    successes = std::max(successes, completed - std::min(completed, failures));
    counts.results[0] = successes;
    counts.total = std::max(counts.total, successes + failures);
    counts.in_flight = counts.total - successes - failures;
    return counts;
  }

  std::vector<Member> live_{};
  RequestCounts gone_{};
  std::uint64_t successes_;  // as counted last: they never decrease
};

}  // namespace detail

inline RequestCounts Backend::counts() const noexcept {
  std::scoped_lock const lock{detail::Lineage::mutex()};
  return lineage_ ? lineage_->counts() : detail::Lineage::counts(*this);
}
inline bool Backend::shares_counts(Backend const& other) const {
  std::scoped_lock const lock{detail::Lineage::mutex()};
  return lineage_ && lineage_ == other.lineage_;
}
inline void Backend::join_lineage(Backend const& old) {
  std::scoped_lock const lock{detail::Lineage::mutex()};
  if (!old.lineage_) old.lineage_ = std::make_shared<detail::Lineage>(old);
  old.lineage_->join(*this, old);
  lineage_ = old.lineage_;
}
inline Backend::~Backend() {
  if (!lineage_) return;
  std::scoped_lock const lock{detail::Lineage::mutex()};
  lineage_->leave(*this);
}

/// A backend together with the value of your type that the balancer made for it.
template <class Payload>
class BackendWith : public Backend {
 public:
  /// *Threads* the reference may be used while a lease is held; what it refers to is yours to
  /// guard.
  [[nodiscard]] Payload& payload() noexcept { return payload_; }
  [[nodiscard]] Payload const& payload() const noexcept { return payload_; }

 protected:
  template <class Factory>
  BackendWith(Endpoint const& endpoint, std::uint64_t serial, Factory const& make)
      : Backend{endpoint, serial}, payload_(make(endpoint)) {}
  ~BackendWith() = default;

 private:
  Payload payload_;
};

template <>
class BackendWith<void> : public Backend {
 protected:
  template <class Factory>
  BackendWith(Endpoint const& endpoint, std::uint64_t serial, Factory const&)
      : Backend{endpoint, serial} {}
  ~BackendWith() = default;
};

/// The events of a backend, for a payload that has a function void on_event(BackendEvent), or
/// points to something that has. A connection pool closes its idle connections, say.
///
/// Called after the change was published, in the order of changes, one call at a time for all
/// backends of a balancer, with no lock held. The thread is one that changes the balancer or that
/// completes a request: be quick. What it throws is counted (Stats::observer_failures).
enum class BackendEvent : std::uint8_t {
  ejected,     ///< Now unhealthy, as found by rules or declared by the operator.
  readmitted,  ///< Not unhealthy any more.
  drained,     ///< By the operator.
  undrained,
  removed,  ///< By an update or remove(): the last event. Leases may go on.
};

[[nodiscard]] constexpr std::string_view name(BackendEvent event) noexcept {
  constexpr std::array<std::string_view, 5> names{"ejected", "readmitted", "drained", "undrained",
                                                  "removed"};
  auto const index = static_cast<std::size_t>(event);
  return index < names.size() ? names[index] : "unknown event";
}

namespace detail {

template <class Payload>
concept HearsEvents = requires(Payload& payload, BackendEvent event) { payload.on_event(event); };
template <class Payload>
concept PointsToHearer =
    requires(Payload& payload, BackendEvent event) { (*payload).on_event(event); };

/// Calls the payload's on_event, if it has one. A null pointer is skipped.
template <class Payload>
void tell_payload(BackendWith<Payload>& backend, BackendEvent event) {
  auto& payload = backend.payload();
  if constexpr (HearsEvents<Payload>) payload.on_event(event);
  else if (payload) (*payload).on_event(event);
}

template <class Payload>
consteval bool hears_events() {
  if constexpr (std::is_void_v<Payload>) {
    return false;
  } else {
    if constexpr (requires { &Payload::on_event; })
      static_assert(HearsEvents<Payload>,
                    "a poise payload's on_event: void on_event(poise::BackendEvent)");
    return HearsEvents<Payload> || PointsToHearer<Payload>;
  }
}

}  // namespace detail

/// Makes the payload of a backend. *Errors* what it throws refuses the change.
template <class Payload>
using Factory = std::function<Payload(Endpoint const&)>;

}  // namespace poise::inline v0_1_0
