// SPDX-License-Identifier: MIT
#pragma once

// What a meter keeps of one id, from the moment it is added until the last request ends that began
// before it was removed.
//
// An update may replace the backend of an id by another one; both belong to one life while their
// requests run. An id that is removed and added again begins another life.
//
//   G1  `living_` holds the backends of this life that exist. A backend enters before picks see it,
//       and leaves in its destructor.
//   G2  current().counts never decrease: as long as a backend lives its Backend::counts() has all
//       of the life's requests; the last one leaves its counts here.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <poise/backend.hpp>
#include <poise/health/journal.hpp>
#include <poise/health/phase.hpp>
#include <poise/observe/histogram.hpp>
#include <poise/observer.hpp>
#include <poise/outcome.hpp>
#include <poise/sync/relaxed.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::observe::detail {

struct Series;

/// What the operator ordered.
struct Hold {
  bool drained = false;
  std::optional<HealthState> declared{};
  bool operator==(Hold const&) const = default;
};

/// A reader's notes on a life.
struct Account {
  bool listed = false;       // in the set now; else it is about to end
  bool counted = false;      // has a reading taken anything of it?
  Series* series = nullptr;  // null: counted as "other"
  Admission admission{};     // as of the last reading
  HealthState health{};      // the same
  bool declared = false;     // the same: is its health what the operator says?
  Hold hold{};               // the same
  std::optional<Time> held_since{};
  // What is in the reader's sums already.
  RequestCounts taken{};
  std::vector<std::uint32_t> taken_latencies{};  // by bucket; empty if none is measured
};

/// *Threads* any, except for `account`.
class Life {
 public:
  explicit Life(Backend const& backend) : id{backend.id()} { living_.push_back(&backend); }
  Life(Life const&) = delete;
  Life& operator=(Life const&) = delete;
  virtual ~Life() = default;

  /// Null if the meter measures no latency.
  [[nodiscard]] virtual Histogram* latencies() noexcept { return nullptr; }

  /// Another backend takes over the id. False if it does not go on with the counts of this life:
  /// one change removed the id and added it again. *Requires* that picks do not see it yet.
  [[nodiscard]] bool join(Backend const& backend) {
    std::scoped_lock const lock{mutex_};
    if (living_.empty() || !living_.back()->shares_counts(backend)) return false;
    living_.push_back(&backend);
    phase.store({});  // it has not been judged
    transition_.reset();
    return true;
  }
  void move(std::shared_ptr<health::Transition const> transition) noexcept {
    std::scoped_lock const lock{mutex_};
    phase.store(transition->to);
    transition_ = std::move(transition);
  }
  [[nodiscard]] std::shared_ptr<health::Transition const> transition() const noexcept {
    std::scoped_lock const lock{mutex_};
    return transition_;
  }
  void leave(Backend const& backend) noexcept {
    std::scoped_lock const lock{mutex_};
    last_ = backend.counts();
    std::erase(living_, &backend);
  }
  [[nodiscard]] bool ended() const {
    std::scoped_lock const lock{mutex_};
    return living_.empty();
  }
  struct Current {
    RequestCounts counts{};
    Admission admission{};
    HealthState health{};  // as found or declared; a panic leaves it as it is
    bool declared = false;
  };
  /// What changes without arrange(): a tick may set another admission and publish nothing.
  [[nodiscard]] Current current() const {
    std::scoped_lock const lock{mutex_};
    if (living_.empty()) return {.counts = last_};
    auto const& newest = *living_.back();
    return {newest.counts(), newest.admission(), newest.health(), newest.health_is_declared()};
  }

  /// Calls visit(backend) for the newest backend, if there is one; not for long.
  template <class Visit>
  void with_backend(Visit const& visit) const {
    std::scoped_lock const lock{mutex_};
    if (!living_.empty()) visit(*living_.back());
  }

  /// Keeps what picks see of it from now on.
  void arrange(BackendView const& view) noexcept {
    weight.store(view.drained ? 0 : view.weight);
    health.store(view.health);
    drained.store(view.drained);
  }

  std::string const id;
  sync::Relaxed<std::uint32_t> weight{0};  // 0 if drained
  sync::Relaxed<HealthState> health{};     // as picks see it
  sync::Relaxed<bool> drained{};
  sync::Relaxed<health::Phase> phase{};

  /// Null before a reader has seen it. Under the reader's lock.
  std::unique_ptr<Account> account{};

 private:
  mutable std::mutex mutex_;
  std::vector<Backend const*> living_{};
  RequestCounts last_{};
  std::shared_ptr<health::Transition const> transition_{};
};

/// A life with latencies.
class TimedLife final : public Life {
 public:
  using Life::Life;
  [[nodiscard]] Histogram* latencies() noexcept override { return &latencies_; }

 private:
  Histogram latencies_{};
};
static_assert(sizeof(TimedLife) <= 4096 - 16);  // a shared pointer's counts included

/// What a meter keeps beside a backend: the life it belongs to.
class Part {
 public:
  Part() = default;
  Part(Part const&) = delete;
  Part& operator=(Part const&) = delete;
  /// Runs while the backend is being destroyed: its counts are still there (G1).
  ~Part() {
    if (life_) life_->leave(*backend_);
  }

  void belong_to(std::shared_ptr<Life> life, Backend const& backend) noexcept {
    life_ = std::move(life);
    latencies_ = life_->latencies();
    backend_ = &backend;
  }
  [[nodiscard]] std::shared_ptr<Life> const& life() const noexcept { return life_; }
  /// *Requires* a life that measures latencies.
  [[nodiscard]] Histogram& latencies() const noexcept { return *latencies_; }

 private:
  Histogram* latencies_ = nullptr;
  std::shared_ptr<Life> life_{};
  Backend const* backend_ = nullptr;
};

}  // namespace poise::inline v0_1_0::observe::detail
