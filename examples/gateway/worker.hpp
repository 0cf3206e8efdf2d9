// SPDX-License-Identifier: MIT
#pragma once

// A thread with its own event loop, which serves some of the clients from their first byte to their
// last.

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <poise/config/service.hpp>
#include <poise/config/settings.hpp>

#include "access_log.hpp"
#include "deadline.hpp"
#include "net.hpp"
#include "totals.hpp"
#include "upstream.hpp"

namespace gateway {

using Service = poise::config::Service<std::shared_ptr<Upstream>>;
using Settings = poise::config::GatewaySettings;

class Connection;

/// What all workers share. *Threads* any.
struct Shared {
  Totals totals{};
  std::atomic<std::size_t> clients{0};
  std::string via{};
  std::function<void(std::string const&)> log{};
};

class Worker {
 public:
  /// `listener` is a descriptor that it owns from now on.
  Worker(int listener, bool is_v6, Settings const& settings, AccessLog* access_log, Shared& shared);
  Worker(Worker const&) = delete;
  Worker& operator=(Worker const&) = delete;
  /// *Requires* that it has ended or never started.
  ~Worker();

  // -- from any thread ---------------------------------------------------------------------------

  void start(Service& service);
  void set(Settings const& settings);
  /// Has it close the connections that it keeps for this backend.
  void forget(std::uint64_t upstream);
  /// No new clients; those without a request are closed, the others after their response.
  void drain();
  /// Cuts off what is left.
  void abort();
  /// Waits until no client is left, if it was started.
  void join() {
    if (thread_.joinable()) thread_.join();
  }
  [[nodiscard]] bool ended() const noexcept { return ended_; }

  // -- from its own ------------------------------------------------------------------------------

  [[nodiscard]] net::io_context& context() noexcept { return context_; }
  [[nodiscard]] Deadlines& deadlines() noexcept { return deadlines_; }
  [[nodiscard]] IdleStreams& idle() noexcept { return idle_; }
  [[nodiscard]] Service& service() noexcept { return *service_; }
  [[nodiscard]] Shared& shared() noexcept { return shared_; }
  [[nodiscard]] AccessLog* access_log() noexcept { return access_log_; }
  [[nodiscard]] std::shared_ptr<Settings const> const& settings() const noexcept {
    return settings_;
  }
  [[nodiscard]] bool draining() const noexcept { return draining_; }

  using Connections = std::list<Connection*>;
  [[nodiscard]] Connections& connections() noexcept { return connections_; }
  /// The last client of a worker that drains is gone.
  void look_whether_done();

 private:
  void accept();
  void admit(net::basic_stream_socket<net::ip::tcp, Executor> socket);
  void look_after();  // once a second

  // Before the context, which destroys the connections that were cut off.
  Deadlines deadlines_{};
  Connections connections_{};
  bool draining_ = false;
  net::io_context context_{1};
  IdleStreams idle_{};
  net::basic_socket_acceptor<net::ip::tcp, Executor> acceptor_{context_};
  net::steady_timer pause_{context_};
  net::steady_timer second_{context_};
  std::shared_ptr<Settings const> settings_;
  AccessLog* access_log_;
  Shared& shared_;
  Service* service_ = nullptr;
  std::atomic<bool> ended_{false};
  std::thread thread_{};
};

}  // namespace gateway
