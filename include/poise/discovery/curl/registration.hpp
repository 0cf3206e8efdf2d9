// SPDX-License-Identifier: MIT
#pragma once

// Keeps a server's own entry in a registry, and takes it back before the server ends.
//
//   poise::discovery::Watcher watcher;
//   poise::discovery::Registration entry{
//       watcher, "http://127.0.0.1:8500",
//       std::make_unique<poise::discovery::json::ConsulEntry>(
//           poise::discovery::json::Entry{"web", {.address = "10.0.0.1:80"}})};
//   ...
//   entry.leave(2s);   // before the listener closes; the destructor does it with one second
//
// The entry is renewed every third of its TTL. After a restart of the registry it is registered
// again at the next renewal, so it is absent for less than its TTL.

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <poise/discovery/curl/http_source.hpp>
#include <poise/discovery/feed.hpp>
#include <poise/discovery/json/registration.hpp>
#include <poise/discovery/watcher.hpp>
#include <poise/endpoint.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::discovery {

/// *Threads* any; the watcher must outlive it.
class Registration {
 public:
  using Log = std::function<void(std::string const& source, Event const& event)>;

  /// Registers in the background: see wait(). *Errors* ConfigError.
  Registration(Watcher& watcher, std::string const& url,
               std::unique_ptr<json::EntryConversation> entry, Log log = {}, HttpOptions http = {})
      : presence_{entry->presence()} {
    auto const options = timing(entry->entry().ttl, std::move(log));
    auto source = from_http(url, std::move(entry), std::move(http));
    handle_ = watcher.follow(
        std::make_unique<Feed>(std::move(source), [](std::vector<Endpoint> const&) {}, options));
  }
  Registration(Registration const&) = delete;
  Registration& operator=(Registration const&) = delete;
  ~Registration() { leave(std::chrono::seconds{1}); }

  /// True while the registry has confirmed the entry; it may lapse without our knowledge.
  [[nodiscard]] bool registered() const { return presence_->present(); }
  /// Waits until it is registered. False if the time was not enough.
  bool wait(Duration time) { return presence_->wait_until_present(time); }
  /// Takes the entry back: call it before the server stops to listen, and give clients the time
  /// that they need to notice. False if the registry did not answer in time; the entry then lapses
  /// with its TTL. A second call does nothing.
  bool leave(Duration time) {
    if (presence_->wait_until_left(Duration::zero())) return true;
    presence_->ask_to_leave();
    handle_.hint();
    return presence_->wait_until_left(time);
  }
  [[nodiscard]] Status status() const { return handle_.status().at(0); }

 private:
  static FeedOptions timing(Duration ttl, Log log) {
    FeedOptions options{.log = std::move(log)};
    auto& follower = options.follower;
    follower.floor = std::chrono::milliseconds{50};
    follower.backoff = std::min<Duration>(std::chrono::milliseconds{200}, ttl / 6);
    follower.max_backoff = ttl / 3;
    follower.answer_within = ttl / 3;
    follower.stale_after = ttl;
    follower.hint_gap = Duration::zero();
    return options;
  }

  std::shared_ptr<json::Presence> presence_;
  Watcher::Handle handle_{};
};

}  // namespace poise::inline v0_1_0::discovery
