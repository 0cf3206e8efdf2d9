// SPDX-License-Identifier: MIT
#pragma once

// The address where clients connect. All workers accept from one queue: the one that is free comes
// first.

#include <string>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>

namespace gateway {

class Listener {
 public:
  /// "127.0.0.1:8080", "[::]:80"; port 0 takes a free one. *Errors* poise::ConfigError.
  explicit Listener(std::string const& address);

  /// A descriptor of its own for a worker. *Errors* std::system_error.
  [[nodiscard]] int duplicate();
  [[nodiscard]] bool is_v6() const { return endpoint_.address().is_v6(); }
  /// Every address of the machine, "0.0.0.0" say: none that a client could connect to.
  [[nodiscard]] bool is_unspecified() const { return endpoint_.address().is_unspecified(); }
  /// "127.0.0.1:8080", with the port that it has.
  [[nodiscard]] std::string address() const;
  [[nodiscard]] std::string url() const { return "http://" + address() + '/'; }
  /// Refuses clients, once the workers have closed their descriptors.
  void close();

 private:
  boost::asio::io_context context_{1};
  boost::asio::ip::tcp::acceptor acceptor_{context_};
  boost::asio::ip::tcp::endpoint endpoint_{};
};

}  // namespace gateway
