// SPDX-License-Identifier: MIT
#pragma once

// Where lists come from. A source never blocks: it says which file descriptors and which time it
// waits for, so that one thread serves all sources (discovery/watcher.hpp), or an event loop of
// yours. A function of yours that blocks becomes a source by from_function().

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <poise/discovery/files.hpp>
#include <poise/discovery/look.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::discovery {

/// What is waited for: any of these.
struct Waits {
  std::vector<pollfd> descriptors{};
  Time until = Time::max();

  void add(int descriptor, short events) { descriptors.push_back({descriptor, events, 0}); }
  void add(Time time) { until = time < until ? time : until; }

  /// From now, 0 to 1 h: so long that no timer overflows.
  [[nodiscard]] Duration left(Time now) const {
    constexpr Duration longest = std::chrono::hours{1};
    if (until > now + longest) return longest;
    return std::max(until - now, Duration::zero());
  }
};

/// *Threads* one at a time.
class Source {
 public:
  Source() = default;
  Source(Source const&) = delete;
  Source& operator=(Source const&) = delete;
  virtual ~Source() = default;

  /// For people and metrics; without secrets.
  [[nodiscard]] virtual std::string name() const = 0;
  /// Begins a full look. One that is running is dropped.
  virtual void ask(Time now) = 0;
  /// Ends the look or watch that is running, without an answer.
  virtual void drop() = 0;
  /// Does what can be done without waiting. Call it until it gives nothing.
  [[nodiscard]] virtual std::optional<Look> next(Time now) = 0;
  virtual void add_waits(Waits& waits) const = 0;
  /// True while it looks or watches.
  [[nodiscard]] virtual bool busy() const = 0;
};

namespace detail {

/// Wakes who waits for it. *Errors* std::system_error.
[[nodiscard]] inline Descriptor event_descriptor() {
  Descriptor result{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  if (!result) throw std::system_error{errno, std::generic_category(), "eventfd"};
  return result;
}

/// Runs a function that blocks on a thread of its own, one call at a time.
class FunctionSource final : public Source {
 public:
  using Function = std::function<Look()>;

  FunctionSource(std::string name, Function function)
      : name_{std::move(name)},
        function_{std::move(function)},
        ready_{event_descriptor()},
        thread_{[this] { work(); }} {}
  FunctionSource(FunctionSource const&) = delete;
  FunctionSource& operator=(FunctionSource const&) = delete;
  ~FunctionSource() override {
    {
      std::scoped_lock const lock{mutex_};
      stopping_ = true;
    }
    changed_.notify_one();
    thread_.join();
  }

  [[nodiscard]] std::string name() const override { return name_; }
  void ask(Time) override {
    {
      std::scoped_lock const lock{mutex_};
      wanted_ = ++ticket_;
    }
    changed_.notify_one();
  }
  void drop() override {
    std::scoped_lock const lock{mutex_};
    wanted_ = 0;
    answer_.reset();
  }
  [[nodiscard]] std::optional<Look> next(Time) override {
    std::uint64_t count = 0;
    (void)!::read(ready_.get(), &count, sizeof count);
    std::scoped_lock const lock{mutex_};
    return std::exchange(answer_, std::nullopt);
  }
  void add_waits(Waits& waits) const override { waits.add(ready_.get(), POLLIN); }
  [[nodiscard]] bool busy() const override {
    std::scoped_lock const lock{mutex_};
    return wanted_ != 0 || answer_;
  }

 private:
  void work() {
    std::unique_lock lock{mutex_};
    for (;;) {
      changed_.wait(lock, [&] { return stopping_ || wanted_ != 0; });
      if (stopping_) return;
      auto const ticket = wanted_;
      lock.unlock();
      auto look = call();
      lock.lock();
      if (wanted_ != ticket) continue;  // dropped, or asked again
      wanted_ = 0;
      answer_ = std::move(look);
      std::uint64_t const one = 1;
      (void)!::write(ready_.get(), &one, sizeof one);
    }
  }
  Look call() const {
    try {
      return function_();
    } catch (std::exception const& error) {
      return Failed{error.what(), {}};
    } catch (...) {
      return Failed{"the function threw", {}};
    }
  }

  std::string const name_;
  Function const function_;
  Descriptor ready_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t ticket_ = 0;
  std::uint64_t wanted_ = 0;
  bool stopping_ = false;
  std::optional<Look> answer_{};
  std::thread thread_;
};

}  // namespace detail

/// A source of your own: a function that returns Found or Failed. It may block, since it runs on a
/// thread of its own, one call at a time. What it throws is a Failed. The source's destructor waits
/// for the call that is running.
[[nodiscard]] inline std::unique_ptr<Source> from_function(std::string name,
                                                           std::function<Look()> function) {
  return std::make_unique<detail::FunctionSource>(std::move(name), std::move(function));
}

}  // namespace poise::inline v0_1_0::discovery
