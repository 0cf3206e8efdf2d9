// SPDX-License-Identifier: MIT
#pragma once

// A service that calls its backends all the time while it follows a source: no call may fail,
// whatever the registry does.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <poise/discovery/source.hpp>
#include <poise/discovery/watcher.hpp>
#include <poise/poise.hpp>

#include "integration/discovery/servers.hpp"
#include "support/catch.hpp"

namespace tests {

/// A backend: what connects to it is accepted.
class Node {
 public:
  Node() : server_{[](std::string const&) { return http_200("ok"); }} {}
  [[nodiscard]] int port() const { return server_.port; }
  [[nodiscard]] std::string address() const { return "127.0.0.1:" + std::to_string(port()); }

 private:
  ScriptedServer server_;
};

/// Quick answers of a follower, so that a test takes seconds: a tenth of the defaults.
inline poise::discovery::FeedOptions quick() {
  poise::discovery::FeedOptions options;
  options.follower.refresh = 500ms;
  options.follower.floor = 100ms;
  options.follower.backoff = 100ms;
  options.follower.max_backoff = 1s;
  options.follower.answer_within = 1s;
  options.follower.full_read = 10s;
  options.follower.guard.apart = 500ms;
  options.follower.guard.confirm_for = 6s;
  return options;
}

/// A service that calls all the time, with retries, and follows a source.
class Service {
 public:
  explicit Service(std::unique_ptr<poise::discovery::Source> source,
                   poise::discovery::FeedOptions options = quick()) {
    options.log = [this](std::string const&, poise::discovery::Event const& event) {
      std::scoped_lock const lock{mutex_};
      events_.push_back(std::string{name(event.kind)} + ": " + event.text);
    };
    handle_ = watcher_.follow(std::move(source), servers_, options);
  }
  Service(Service const&) = delete;
  Service& operator=(Service const&) = delete;
  ~Service() { stop(); }

  [[nodiscard]] std::size_t size() { return servers_.stats().backends.size(); }
  bool has(std::size_t count) {
    return soon([&] { return size() == count; });
  }
  /// Begins to call, once there is somebody to call.
  void start() {
    thread_ = std::thread{[this] {
      while (!stopping_) {
        call();
        std::this_thread::sleep_for(1ms);
      }
    }};
  }
  void stop() {
    stopping_ = true;
    if (thread_.joinable()) thread_.join();
  }
  [[nodiscard]] bool said(std::string const& part) {
    std::scoped_lock const lock{mutex_};
    return std::ranges::any_of(
        events_, [&](auto const& each) { return each.find(part) != std::string::npos; });
  }
  bool says(std::string const& part) {
    return soon([&] { return said(part); });
  }
  std::string log() {
    std::scoped_lock const lock{mutex_};
    std::string text;
    for (auto const& each : events_) text += each + "\n";
    return text;
  }
  auto& servers() { return servers_; }
  poise::discovery::Status status() { return handle_.status()[0]; }

  std::atomic<int> calls{0};
  std::atomic<int> failed{0};

 private:
  void call() {
    try {
      servers_.call([](auto& backend) {
        auto const port = poise::HostPort::of(backend.address())->port;
        return Connection{port}.connected() ? poise::Result::success : poise::Result::refused;
      }) == poise::Result::success
          ? void()
          : void(++failed);
    } catch (poise::NoBackend const&) {
      ++failed;
    }
    ++calls;
  }

  poise::Balancer<poise::Retry<poise::P2C>> servers_{{}, {{.attempts = 4}}};
  std::mutex mutex_;
  std::vector<std::string> events_{};
  std::atomic<bool> stopping_{false};
  std::thread thread_{};
  poise::discovery::Watcher watcher_{};
  poise::discovery::Watcher::Handle handle_{};
};

/// What must be true after an incident.
inline void check(Service& service) {
  CHECK(soon([&] { return service.calls > 500; }));
  service.stop();
  INFO(service.log());
  CHECK(service.failed == 0);
}

}  // namespace tests
