// SPDX-License-Identifier: MIT
#pragma once

// A real HTTP/1.1 server on loopback that takes its time, and can be made slow, faulty or dead.
//
// It keeps a few workers busy with timers instead of work, and queues what they can't take yet. So
// an overloaded server answers late, as real ones do, and costs this computer next to nothing.
// Like many real ones it does not notice when a client gave up: it still works on that request.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <random>
#include <unordered_set>

#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>

#include "scenario.hpp"

namespace demo {

/// *Threads* the one that runs the context.
class Server {
 public:
  /// Listens on a port that the system chooses.
  Server(asio::io_context& context, Seconds service_time, std::uint64_t seed);
  Server(Server const&) = delete;
  Server& operator=(Server const&) = delete;
  ~Server();

  [[nodiscard]] std::uint16_t port() const { return address_.port(); }

  /// Dead means dead: the listening socket and all connections are closed, the queue is lost. A
  /// server that was dead comes back on the same port.
  void become(Mood mood);

 private:
  class Connection;
  using ConnectionPtr = std::shared_ptr<Connection>;

  void listen();
  void accept();
  void die();
  void arrived(ConnectionPtr const& connection);
  void work_on(ConnectionPtr const& connection);
  [[nodiscard]] Clock::duration draw_service_time();

  asio::ip::tcp::endpoint address_;
  asio::ip::tcp::acceptor acceptor_;
  std::unordered_set<ConnectionPtr> connections_;
  std::deque<ConnectionPtr> queue_;
  std::size_t busy_ = 0;
  Mood mood_ = Mood::well;
  Seconds const service_time_;
  std::mt19937_64 random_;
};

}  // namespace demo
