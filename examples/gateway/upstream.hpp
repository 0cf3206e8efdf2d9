// SPDX-License-Identifier: MIT
#pragma once

// A backend as the gateway uses it: where it is, and whether connections to it may be kept. Each
// worker keeps its own, since a socket belongs to one thread.

#include <atomic>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include <poise/backend.hpp>
#include <poise/endpoint.hpp>

#include "net.hpp"
#include "stream.hpp"

namespace gateway {

/// The payload of a backend. *Threads* any.
class Upstream {
 public:
  /// `forget` has all workers close what they keep for this number.
  using Forget = std::function<void(std::uint64_t number)>;

  Upstream(poise::Endpoint const& endpoint, std::uint64_t number, Forget forget)
      : address_{endpoint.address}, number_{number}, forget_{std::move(forget)} {}

  [[nodiscard]] std::string const& address() const noexcept { return address_; }
  /// As the Host of requests that name none.
  [[nodiscard]] std::string_view host() const noexcept {
    return address_.starts_with("unix:") ? std::string_view{"localhost"} : address_;
  }
  [[nodiscard]] std::uint64_t number() const noexcept { return number_; }
  /// May a connection be kept after a request? Not while the backend takes none.
  [[nodiscard]] bool keeps() const noexcept { return !ejected_ && !drained_ && !removed_; }

  /// True if its load reports could be read until now.
  bool begins_to_fail_reports(bool fails) noexcept {
    return fails_reports_.exchange(fails) != fails && fails;
  }

  /// Called by the balancer.
  void on_event(poise::BackendEvent event) {
    using poise::BackendEvent;
    if (event == BackendEvent::ejected) ejected_ = true;
    if (event == BackendEvent::readmitted) ejected_ = false;
    if (event == BackendEvent::drained) drained_ = true;
    if (event == BackendEvent::undrained) drained_ = false;
    if (event == BackendEvent::removed) removed_ = true;
    if (!keeps()) forget_(number_);
  }

 private:
  std::string const address_;
  std::uint64_t const number_;
  Forget const forget_;
  std::atomic<bool> ejected_{false};
  std::atomic<bool> drained_{false};
  std::atomic<bool> removed_{false};
  std::atomic<bool> fails_reports_{false};
};

/// Connections of a worker that wait for a next request. The one that was used last is used next,
/// so that the others grow old and are closed. *Threads* the worker's.
class IdleStreams {
 public:
  /// Null if there is none that was used within `max_age`. A connection that the backend closed is
  /// dropped here, before a request is lost on it.
  std::unique_ptr<Stream> take(Upstream const& upstream, Duration max_age);
  void keep(Upstream const& upstream, std::unique_ptr<Stream> stream, std::size_t max);
  void forget(std::uint64_t number) { kept_.erase(number); }
  /// Closes those that were not used for so long.
  void close_older_than(Duration age);
  void clear() { kept_.clear(); }

 private:
  struct Idle {
    std::unique_ptr<Stream> stream;
    Clock::time_point since;
  };
  std::unordered_map<std::uint64_t, std::list<Idle>> kept_{};
};

/// Connects to a backend; null with an error. Names are looked up each time.
Task<std::unique_ptr<Stream>> connect(Upstream const& upstream, net::io_context& context,
                                      Deadlines& deadlines, std::size_t max_buffer,
                                      Duration timeout, Error& error);

}  // namespace gateway
