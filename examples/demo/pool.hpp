// SPDX-License-Identifier: MIT
#pragma once

// The connections to one server: HTTP/1.1 with keep-alive, at most a few at a time.
//
// This is the balancer's payload: it makes one Pool per backend, hands it out with every lease, and
// destroys it when the backend is gone and its last request ended.

#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <poise/outcome.hpp>

#include "scenario.hpp"

namespace demo {

/// *Threads* the one that runs the context.
class Pool {
 public:
  using Done = std::function<void(poise::Outcome)>;

  /// The address is "1.2.3.4:80". Connects when first needed.
  Pool(asio::io_context& context, std::string const& address);
  Pool(Pool const&) = delete;
  Pool& operator=(Pool const&) = delete;
  ~Pool();

  /// Sends "GET /" and calls `done` exactly once. The caller and `done` must keep the pool alive: a
  /// lease does. *Requires* deadlines that only grow from call to call.
  void get(Instant deadline, Done done);

 private:
  class Connection;
  using ConnectionPtr = std::shared_ptr<Connection>;
  struct Waiting {
    Instant deadline;
    Done done;
  };

  void serve_next();
  [[nodiscard]] ConnectionPtr take();
  void put_back(ConnectionPtr const& connection);

  static constexpr std::size_t most = 32;  // connections: the servers have 4 workers each

  asio::io_context& context_;
  asio::ip::tcp::endpoint server_;
  std::string request_;
  std::size_t busy_ = 0;
  std::vector<ConnectionPtr> idle_;
  std::deque<Waiting> waiting_;
};

}  // namespace demo
