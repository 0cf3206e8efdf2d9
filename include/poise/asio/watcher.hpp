// SPDX-License-Identifier: MIT
#pragma once

// The Watcher of an event loop: sources of backends are followed without a thread.
//
//   asio::io_context loop;
//   poise::Balancer<> servers{{}};
//   poise::asio::Watcher watcher{loop.get_executor()};
//   auto const kept = watcher.follow(poise::discovery::from_file("/etc/backends"), servers);
//
// poise::discovery::Watcher does the same on a thread of its own. Lists are applied on the event
// loop, payload factories included: one that blocks delays the loop.

#include <poll.h>
#include <sys/epoll.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include <asio/any_io_executor.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <asio/strand.hpp>

#include <poise/asio/ending.hpp>
#include <poise/discovery/feed.hpp>
#include <poise/discovery/files.hpp>
#include <poise/discovery/follower.hpp>
#include <poise/discovery/source.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::asio {

namespace detail {

/// A descriptor that can be read when one of these is ready; -1 if the kernel gives none. Sources
/// open and close theirs as they like, and an event loop never gets hold of one that is closed.
[[nodiscard]] inline int any_of(std::vector<pollfd> const& descriptors) {
  discovery::detail::Descriptor all{::epoll_create1(EPOLL_CLOEXEC)};
  if (!all) return -1;
  for (auto const& each : descriptors) {
    epoll_event event{};
    event.events = static_cast<std::uint32_t>(each.events);  // poll's names have epoll's values
    event.data.fd = each.fd;
    if (::epoll_ctl(all.get(), EPOLL_CTL_ADD, each.fd, &event) != 0) return -1;
  }
  return all.release();
}

/// Steps a feed whenever something that it waits for happens.
class FeedLoop : public std::enable_shared_from_this<FeedLoop> {
 public:
  FeedLoop(::asio::any_io_executor const& executor, std::unique_ptr<discovery::Feed> feed)
      : timer_{executor}, feed_{std::move(feed)} {}

  void start() {
    soon([](FeedLoop& loop) { loop.turn(); });
  }
  void hint() {
    soon([](FeedLoop& loop) {
      loop.feed_->hint(SteadyClock{}.now());
      loop.turn();
    });
  }
  [[nodiscard]] std::vector<discovery::Status> status() {
    std::vector<discovery::Status> result;
    alive_.use([&] { result = feed_->status(SteadyClock{}.now()); });
    return result;
  }
  /// The feed goes now, unless the caller is a sink of it: then with the step.
  void end() {
    std::unique_ptr<discovery::Feed> feed;
    alive_.use([&] {
      if (!stepping_) feed = std::move(feed_);
    });
    alive_.end();
  }

 private:
  /// Runs act(*this) on the event loop.
  template <class Act>
  void soon(Act act) {
    ::asio::post(timer_.get_executor(), [self = weak_from_this(), act] { use(self, act); });
  }
  template <class Act>
  static void use(std::weak_ptr<FeedLoop> const& self, Act const& act) {
    if (auto const loop = self.lock())
      loop->alive_.use([&] {
        if (loop->feed_) act(*loop);
      });
  }

  void turn() {
    stepping_ = true;
    feed_->step(SteadyClock{}.now());
    stepping_ = false;
    wait();
  }

  /// For the timer, and for a descriptor. What comes first ends the other wait: its handler finds
  /// that another turn has begun.
  void wait() {
    discovery::Waits waits;
    feed_->add_waits(waits);
    ready_.reset();
    auto const turn = ++turn_;
    auto const go_on = [self = weak_from_this(), turn](std::error_code) {
      use(self, [&](FeedLoop& loop) {
        if (loop.turn_ == turn) loop.turn();
      });
    };
    if (auto const descriptor = any_of(waits.descriptors); descriptor >= 0) {
      ready_.emplace(timer_.get_executor(), descriptor);
      ready_->async_wait(::asio::posix::stream_descriptor::wait_read, go_on);
    } else {
      waits.add(SteadyClock{}.now() + std::chrono::seconds{1});  // then looks again
    }
    timer_.expires_after(waits.left(SteadyClock{}.now()));
    timer_.async_wait(go_on);
  }

  ::asio::steady_timer timer_;
  std::optional<::asio::posix::stream_descriptor> ready_{};
  std::unique_ptr<discovery::Feed> feed_;
  std::uint64_t turn_ = 0;
  bool stepping_ = false;
  Guarded alive_{};
};

}  // namespace detail

/// Each feed runs on a strand of its own. *Threads* any. The executor must outlive the handles.
class Watcher {
  using Loop = detail::FeedLoop;

 public:
  /// Keeps a feed going while it lives. Once destroyed no list is applied any more: the destructor
  /// waits for a step in progress, unless a sink of the feed itself destroys it.
  class Handle {
   public:
    Handle() = default;

    /// Of each source, as of now. *Cost* waits for a step in progress.
    [[nodiscard]] std::vector<discovery::Status> status() const { return loop_->status(); }
    /// The list may be out of date: call it when a backend refuses connections. Asks soon, but at
    /// most every FollowerOptions::hint_gap.
    void hint() const { loop_->hint(); }

   private:
    friend class Watcher;
    explicit Handle(std::shared_ptr<Loop> loop) noexcept : loop_{std::move(loop)} {}

    detail::Ending<Loop> loop_{};
  };

  explicit Watcher(::asio::any_io_executor executor) : executor_{std::move(executor)} {}

  /// Lets the balancer follow the source. *Requires* that the balancer outlives the handle and is
  /// not moved. *Errors* ConfigError.
  template <class Balancer>
  [[nodiscard]] Handle follow(std::unique_ptr<discovery::Source> source, Balancer& balancer,
                              discovery::FeedOptions const& options = {}) const {
    return follow(
        std::make_unique<discovery::Feed>(std::move(source), discovery::into(balancer), options));
  }
  /// The same for any number of sources and balancers.
  [[nodiscard]] Handle follow(std::unique_ptr<discovery::Feed> feed) const {
    auto loop = std::make_shared<Loop>(::asio::make_strand(executor_), std::move(feed));
    loop->start();
    return Handle{std::move(loop)};
  }

 private:
  ::asio::any_io_executor executor_;
};

}  // namespace poise::inline v0_1_0::asio
