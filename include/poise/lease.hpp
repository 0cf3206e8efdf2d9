// SPDX-License-Identifier: MIT
#pragma once

// One pick in progress: the guard that counts a request in and out.
//
// While it lives the request is in flight on its backend, and the backend stays alive, whatever
// happens to the balancer. It reports exactly once: by finish(), or by its destructor as abandoned.
// Move it into the callback, coroutine or thread where the request ends.
//
// Thread safety: a lease belongs to one thread at a time; it may be finished on any.

#include <chrono>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>

#include <poise/core.hpp>
#include <poise/error.hpp>
#include <poise/halves.hpp>
#include <poise/outcome.hpp>

namespace poise {

namespace detail {

inline constexpr Duration longest_sample = std::chrono::seconds{1'000'000'000};  // 31 years

/// Nanoseconds of any duration; `unmeasured` if it is negative, NaN or too long to be true.
template <class Rep, class Period>
[[nodiscard, gnu::always_inline]] inline Duration sample_of(
    std::chrono::duration<Rep, Period> time) noexcept {
  if constexpr (std::is_same_v<Duration, std::chrono::duration<Rep, Period>>)
    return time < longest_sample ? time : unmeasured;  // what is negative counts as unmeasured
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
  // Always inline, these two: what is called with its address lives in memory.
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

  /// The backend. *Requires* `*this` to be true.
  [[nodiscard]] auto& operator*() const noexcept { return backend(); }
  [[nodiscard]] auto* operator->() const noexcept { return &backend(); }

  /// The backend's serial, for Request::excluded. *Requires* `*this` to be true.
  [[nodiscard]] std::uint64_t serial() const noexcept { return record_->serial(); }
  /// True if the request excludes this backend, but nothing else was left.
  [[nodiscard]] bool repeated() const noexcept {
    return record_ != nullptr && run().is(detail::Run::repeated);
  }

  /// When it was picked; the clock's origin if nobody uses time. *Requires* `*this` to be true.
  [[nodiscard]] Time started() const noexcept { return run().start; }

  /// Reports how it ended; poise measures the latency if anybody uses it. A second call does
  /// nothing.
  [[gnu::always_inline]] void finish(Outcome outcome = {}) noexcept {
    end(outcome, detail::unmeasured);
  }
  /// The same with a latency measured by the caller; a negative, NaN or absurd one is as none
  /// given.
  template <class Rep, class Period>
  [[gnu::always_inline]] void finish(Outcome outcome,
                                     std::chrono::duration<Rep, Period> latency) noexcept {
    end(outcome, detail::sample_of(latency));
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

  /// Keeps the balancer's inside alive beyond the lease. *Requires* `*this` to be true.
  [[nodiscard]] std::shared_ptr<Core> core() const { return record_->core(); }

 private:
  // The run of a pick or the error of none, as plain words: a union of both could not be kept in
  // registers by today's compilers, and a lease that is finished where it was picked should be.
  struct Words {
    std::uint64_t first = 0;
    std::uint64_t second = 0;
    std::uint64_t third = 0;
  };
  static Words words_of(Error const& error) noexcept {
    return {detail::in_one_word(static_cast<std::uint32_t>(error.reason), error.drained),
            detail::in_one_word(error.unhealthy, error.weightless), error.refused};
  }
  static Error error_of(Words words) noexcept {
    return {.reason = static_cast<PickError>(detail::upper_half(words.first)),
            .drained = detail::lower_half(words.first),
            .unhealthy = detail::upper_half(words.second),
            .weightless = detail::lower_half(words.second),
            .refused = detail::lower_half(words.third)};
  }
  static Words words_of(detail::Run run) noexcept {
    return {static_cast<std::uint64_t>(run.start.time_since_epoch().count()), run.path_and_flags(),
            0};
  }
  static detail::Run run_of(Words words) noexcept {
    return {Time{Duration{static_cast<Duration::rep>(words.first)}}, words.second};
  }
  [[nodiscard]] detail::Run run() const noexcept { return run_of(words_); }

  [[nodiscard]] auto& backend() const noexcept {
    using Public = BackendWith<typename Core::PayloadType>;
    return static_cast<Public&>(*record_);
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
    Core::finish(*record, run_of(words), Ending::abandoned, detail::unmeasured);
  }

  void clear() noexcept {
    record_ = nullptr;
    words_ = {};
  }

  Record* record_ = nullptr;
  Words words_{};
};

}  // namespace poise
