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
#include <utility>

#include <poise/core.hpp>
#include <poise/error.hpp>
#include <poise/outcome.hpp>

namespace poise {

namespace detail {

/// Nanoseconds of any duration; `unmeasured` if it is negative, NaN or too long to be true.
template <class Rep, class Period>
[[nodiscard]] Duration sample_of(std::chrono::duration<Rep, Period> time) noexcept {
  auto const seconds = std::chrono::duration<double>{time}.count();
  constexpr double longest = 1e9;  // 31 years: far below what would overflow
  if (!(seconds >= 0 && seconds < longest)) return unmeasured;
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

  Lease() noexcept : Lease{Error{}} {}
  explicit Lease(Error const& error) noexcept : record_{nullptr}, error_{error} {}
  Lease(Record& record, detail::Run run) noexcept : record_{&record}, run_{run} {}
  Lease(Lease&& other) noexcept : record_{std::exchange(other.record_, nullptr)} {
    if (record_ != nullptr) {
      std::construct_at(&run_, std::exchange(other.run_, {}));
      std::construct_at(&other.error_);
    } else {
      std::construct_at(&error_, other.error_);
    }
  }
  Lease& operator=(Lease&& other) noexcept {
    if (this == &other) return *this;
    abandon();
    std::destroy_at(this);
    return *std::construct_at(this, std::move(other));
  }
  Lease(Lease const&) = delete;
  Lease& operator=(Lease const&) = delete;
  ~Lease() { abandon(); }

  /// True if there is a backend, and the lease is not finished, released or moved from.
  [[nodiscard]] explicit operator bool() const noexcept { return record_ != nullptr; }
  /// Why there is no backend; PickError::none once a lease is finished.
  [[nodiscard]] Error error() const noexcept { return record_ == nullptr ? error_ : Error{}; }

  /// The backend. *Requires* `*this` to be true.
  [[nodiscard]] auto& operator*() const noexcept { return backend(); }
  [[nodiscard]] auto* operator->() const noexcept { return &backend(); }

  /// The backend's serial, for Request::excluded. *Requires* `*this` to be true.
  [[nodiscard]] std::uint64_t serial() const noexcept { return record_->serial(); }
  /// True if the request excludes this backend, but nothing else was left.
  [[nodiscard]] bool repeated() const noexcept {
    return record_ != nullptr && run_.is(detail::Run::repeated);
  }

  /// When it was picked; the clock's origin if nobody uses time. *Requires* `*this` to be true.
  [[nodiscard]] Time started() const noexcept { return run_.start; }

  /// Reports how it ended; poise measures the latency if anybody uses it. A second call does
  /// nothing.
  void finish(Outcome outcome = {}) noexcept { end(outcome, detail::unmeasured); }
  /// The same with a latency measured by the caller; a negative, NaN or absurd one is as none
  /// given.
  template <class Rep, class Period>
  void finish(Outcome outcome, std::chrono::duration<Rep, Period> latency) noexcept {
    end(outcome, detail::sample_of(latency));
  }

  /// Gives the pick away without ending it.
  [[nodiscard]] Token release() noexcept {
    Token const token{record_, record_ == nullptr ? detail::Run{} : run_};
    clear();
    return token;
  }
  [[nodiscard]] static Lease adopt(Token const& token) noexcept {
    return token.record == nullptr ? Lease{} : Lease{*token.record, token.run};
  }

  /// Keeps the balancer's inside alive beyond the lease. *Requires* `*this` to be true.
  [[nodiscard]] std::shared_ptr<Core> core() const { return record_->core; }

 private:
  [[nodiscard]] auto& backend() const noexcept {
    using Public = BackendWith<typename Core::PayloadType>;
    return static_cast<Public&>(*record_);
  }

  [[gnu::always_inline]] void end(Outcome outcome, Duration latency) noexcept {
    if (record_ == nullptr) return;
    record_->core->finish(*record_, run_, outcome, latency);
    clear();
  }

  [[gnu::always_inline]] void abandon() noexcept {
    if (record_ != nullptr) [[unlikely]]
      abandon_now();
  }
  [[gnu::noinline, gnu::cold]] void abandon_now() noexcept {
    end(Ending::abandoned, detail::unmeasured);
  }

  void clear() noexcept {
    record_ = nullptr;
    std::construct_at(&error_);
  }

  Record* record_;
  union {
    detail::Run run_;  // while record_ is set
    Error error_;      // else
  };
};

}  // namespace poise
