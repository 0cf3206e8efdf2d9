// SPDX-License-Identifier: MIT
#pragma once

// One pick in progress: the guard that counts a request in and out.
//
// While a lease lives, the request is in flight on its backend, and the backend stays alive, even
// if the balancer is destroyed. A lease reports exactly once: by finish(), or by its destructor as
// abandoned. Move it into the callback, coroutine or thread where the request ends.
//
// Thread safety: a lease belongs to one thread at a time; it may be finished on any.

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>

#include <poise/backend.hpp>
#include <poise/base/bits.hpp>
#include <poise/error.hpp>
#include <poise/load_report.hpp>
#include <poise/outcome.hpp>
#include <poise/policy/pick_info.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0 {

namespace detail {

inline constexpr Duration longest_sample = std::chrono::seconds{1'000'000'000};  // 31 years

/// Nanoseconds of any duration; `unmeasured` if it is negative, NaN or too long to be true.
template <class Rep, class Period>
[[nodiscard, gnu::always_inline]] inline Duration sample_of(
    std::chrono::duration<Rep, Period> time) noexcept {
  if constexpr (std::is_same_v<Duration, std::chrono::duration<Rep, Period>>)
    return time < longest_sample ? time : unmeasured;  // a negative duration is unmeasured already
  auto const seconds = std::chrono::duration<double>{time}.count();
  if (!(seconds >= 0 && seconds < std::chrono::duration<double>{longest_sample}.count()))
    return unmeasured;
  return std::chrono::duration_cast<Duration>(time);
}

}  // namespace detail

template <class Core>
class Lease {
 public:
  using Record = typename Core::Record;

  /// A lease as plain words, to pass through C callbacks and tags. adopt() it exactly once.
  struct Token {
    Record* record;
    detail::Run run;
  };

  Lease() noexcept = default;
  // Always inline: an object whose address is passed to a call lives in memory.
  [[gnu::always_inline]] explicit Lease(Error const& error) noexcept : words_{words_of(error)} {}
  Lease(Record& record, detail::Run run) noexcept : record_{&record}, words_{words_of(run)} {}
  Lease(Lease&& other) noexcept
      : record_{std::exchange(other.record_, nullptr)}, words_{other.words_} {
    if (record_ != nullptr) other.words_ = {};
  }
  Lease& operator=(Lease&& other) noexcept {
    if (this == &other) return *this;
    abandon();
    record_ = std::exchange(other.record_, nullptr);
    words_ = record_ != nullptr ? std::exchange(other.words_, {}) : other.words_;
    return *this;
  }
  Lease(Lease const&) = delete;
  Lease& operator=(Lease const&) = delete;
  ~Lease() { abandon(); }

  /// True if there is a backend, and the lease is not finished, released or moved from.
  [[nodiscard]] explicit operator bool() const noexcept { return record_ != nullptr; }
  /// Why there is no backend; PickError::none once a lease is finished.
  [[nodiscard]] Error error() const noexcept {
    return record_ == nullptr ? error_of(words_) : Error{};
  }

  /// The backend. *Errors* NoBackend, with the reason of error(), if `*this` is false.
  [[nodiscard]] auto& operator*() const { return backend(); }
  [[nodiscard]] auto* operator->() const { return &backend(); }

  /// The backend's serial, for Request::excluded. *Errors* as operator*.
  [[nodiscard]] std::uint64_t serial() const { return checked_record().serial(); }
  /// True if the request excludes this backend, but nothing else was left.
  [[nodiscard]] bool repeated() const noexcept {
    return record_ != nullptr && run().is(detail::Run::repeated);
  }

  /// When it was picked; the clock's origin if neither the policy nor an observer uses time.
  /// *Requires* `*this` to be true.
  [[nodiscard]] Time started() const noexcept { return run().start; }

  /// Reports how it ended; poise measures the latency if the policy or an observer uses it. A
  /// second call does nothing.
  [[gnu::always_inline]] void finish(Outcome outcome = {}) noexcept {
    end(outcome, detail::unmeasured);
  }
  /// The same with a latency measured by the caller. A negative latency, NaN, and one above 31
  /// years count as not measured.
  template <class Rep, class Period>
  [[gnu::always_inline]] void finish(Outcome outcome,
                                     std::chrono::duration<Rep, Period> latency) noexcept {
    end(outcome, detail::sample_of(latency));
  }
  /// Does not compile: says what to write for a status or a reply.
  template <class T, class... More>
    requires(!std::convertible_to<T, Outcome>)
  void finish(T const&, More const&...) {
    detail::require_outcome<T>();
  }

  /// What the backend said about its load in this answer, before finish(). Ignored by a lease that
  /// is finished. Does not compile if no observer of the runtime takes load reports.
  void report_load(LoadReport const& report) noexcept {
    if (record_ != nullptr) Core::report_load(*record_, report);
  }

  /// Gives the pick away without ending it.
  [[nodiscard]] Token release() noexcept {
    Token const token{record_, record_ == nullptr ? detail::Run{} : run()};
    clear();
    return token;
  }
  [[nodiscard]] static Lease adopt(Token const& token) noexcept {
    return token.record == nullptr ? Lease{} : Lease{*token.record, token.run};
  }

  /// The balancer's core, which lives as long as the returned pointer. *Errors* as operator*.
  [[nodiscard]] std::shared_ptr<Core> core() const { return checked_record().core(); }

 private:
  // The Run of a successful pick, or the Error of a failed one, as plain words. Today's compilers
  // can't keep a union of both in registers. A lease that is finished where it was picked should
  // live there.
  struct Words {
    std::uint64_t first = 0;
    std::uint64_t second = 0;
    std::uint64_t third = 0;
  };
  static constexpr unsigned reason_bits = 8;  // above them: Error::retry_after, in 24 bits
  static constexpr std::uint32_t reason_mask = (1U << reason_bits) - 1U;
  static Words words_of(Error const& error) noexcept {
    using Rep = std::chrono::milliseconds::rep;
    auto const wait = static_cast<std::uint32_t>(
        std::clamp<Rep>(error.retry_after.count(), 0, ~std::uint32_t{0} >> reason_bits));
    return {
        detail::pack(static_cast<std::uint32_t>(error.reason) | wait << reason_bits, error.drained),
        detail::pack(error.unhealthy, error.weightless),
        detail::pack(error.unsuitable, error.refused)};
  }
  static Error error_of(Words words) noexcept {
    auto const reason = detail::high_half(words.first);
    return {.reason = static_cast<PickError>(reason & reason_mask),
            .drained = detail::low_half(words.first),
            .unhealthy = detail::high_half(words.second),
            .weightless = detail::low_half(words.second),
            .refused = detail::low_half(words.third),
            .unsuitable = detail::high_half(words.third),
            .retry_after = std::chrono::milliseconds{reason >> reason_bits}};
  }
  static Words words_of(detail::Run run) noexcept {
    return {static_cast<std::uint64_t>(run.start.time_since_epoch().count()), run.path_and_flags(),
            0};
  }
  static detail::Run run_of(Words words) noexcept {
    return {Time{Duration{static_cast<Duration::rep>(words.first)}}, words.second};
  }
  [[nodiscard]] detail::Run run() const noexcept { return run_of(words_); }

  [[nodiscard]] auto& backend() const {
    using Public = BackendWith<typename Core::PayloadType>;
    return static_cast<Public&>(checked_record());
  }
  [[nodiscard, gnu::always_inline]] Record& checked_record() const {
    if (record_ == nullptr) [[unlikely]]
      throw_no_backend(words_);
    return *record_;
  }
  // Static as abandon_now, and for the same reason.
  [[noreturn, gnu::noinline, gnu::cold]] static void throw_no_backend(Words words) {
    throw NoBackend{error_of(words)};
  }

  [[gnu::always_inline]] void end(Outcome outcome, Duration latency) noexcept {
    if (record_ == nullptr) return;
    Core::finish(*record_, run(), outcome, latency);
    clear();
  }

  [[gnu::always_inline]] void abandon() noexcept {
    if (record_ != nullptr) [[unlikely]]
      abandon_now(record_, words_);
  }
  // Static, so that a lease never has an address and may live in registers.
  [[gnu::noinline, gnu::cold]] static void abandon_now(Record* record, Words words) noexcept {
    Core::finish(*record, run_of(words), Result::abandoned, detail::unmeasured);
  }

  void clear() noexcept {
    record_ = nullptr;
    words_ = {};
  }

  Record* record_ = nullptr;
  Words words_{};
};

}  // namespace poise::inline v0_1_0
