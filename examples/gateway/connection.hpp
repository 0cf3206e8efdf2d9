// SPDX-License-Identifier: MIT
#pragma once

// A client's connection: one request after the other, in the order in which they arrive.

#include <memory>

#include <boost/asio/ip/tcp.hpp>

#include "fields.hpp"
#include "message.hpp"
#include "net.hpp"
#include "refuse.hpp"
#include "stream.hpp"
#include "worker.hpp"

namespace gateway {

class Connection {
 public:
  Connection(Worker& worker, Socket socket, Client client);
  Connection(Connection const&) = delete;
  Connection& operator=(Connection const&) = delete;
  ~Connection();

  /// Until the client or the gateway closes it. Destroys the connection.
  static Task<void> run(std::unique_ptr<Connection> connection);
  /// Closes it if it has no request.
  void drain();

 private:
  Task<void> serve();
  Task<bool> serve_one();
  Task<bool> await_request();
  Task<void> refuse(Refusal refusal);
  Task<void> close_gently();

  Worker& worker_;
  Client const client_;
  Stream stream_;
  Head head_{};
  bool idle_ = true;
  Worker::Connections::iterator place_;
};

}  // namespace gateway
