// SPDX-License-Identifier: MIT
// The servers' side of HTTP: read a request, wait for a worker, answer, read the next one.

#include "server.hpp"

#include <string>
#include <utility>

#include <asio/buffer.hpp>
#include <asio/read_until.hpp>
#include <asio/steady_timer.hpp>
#include <asio/write.hpp>

namespace demo {

namespace {

constexpr std::string_view ok = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n";
constexpr std::string_view broken =
    "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 5\r\n\r\noops\n";

}  // namespace

/// One connection. It lives while it reads, waits or writes.
class Server::Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(Server& server, asio::ip::tcp::socket socket)
      : server_{server}, socket_{std::move(socket)}, timer_{socket_.get_executor()} {}

  void read() {
    asio::async_read_until(socket_, asio::dynamic_buffer(input_), "\r\n\r\n",
                           [self = shared_from_this()](asio::error_code error, std::size_t size) {
                             if (error) return self->forget();
                             self->input_.erase(0, size);
                             self->server_.arrived(self);
                           });
  }

  /// Calls fn after a while, unless the server is killed meanwhile.
  template <class Fn>
  void after(Clock::duration time, Fn const& fn) {
    timer_.expires_after(time);
    timer_.async_wait([self = shared_from_this(), fn](asio::error_code) {
      if (self->socket_.is_open()) fn();
    });
  }

  void answer(std::string_view text) {
    asio::async_write(socket_, asio::buffer(text),
                      [self = shared_from_this()](asio::error_code error, std::size_t) {
                        if (error) return self->forget();
                        self->read();
                      });
  }

  void close() {
    socket_.close();
    timer_.cancel();
  }

 private:
  void forget() {
    if (socket_.is_open()) server_.connections_.erase(shared_from_this());
  }

  Server& server_;
  asio::ip::tcp::socket socket_;
  asio::steady_timer timer_;
  std::string input_;
};

Server::Server(asio::io_context& context, Seconds service_time, std::uint64_t seed)
    : address_{asio::ip::address_v4::loopback(), 0},
      acceptor_{context},
      service_time_{service_time},
      random_{seed} {
  listen();
  address_ = acceptor_.local_endpoint();
}

Server::~Server() = default;

void Server::become(Mood mood) {
  if (mood == Mood::dead) die();
  else if (mood_ == Mood::dead) listen();
  mood_ = mood;
}

void Server::listen() {
  constexpr bool reuse_address = true;  // or the system would keep the port for minutes
  acceptor_ = asio::ip::tcp::acceptor{acceptor_.get_executor(), address_, reuse_address};
  accept();
}

void Server::accept() {
  acceptor_.async_accept([this](asio::error_code error, asio::ip::tcp::socket socket) {
    if (error == asio::error::operation_aborted || !acceptor_.is_open()) return;
    if (!error)
      (*connections_.insert(std::make_shared<Connection>(*this, std::move(socket))).first)->read();
    accept();
  });
}

void Server::die() {
  acceptor_.close();
  for (auto const& connection : connections_) connection->close();
  connections_.clear();
  queue_.clear();
  busy_ = 0;
}

void Server::arrived(ConnectionPtr const& connection) {
  if (mood_ == Mood::failing)
    connection->after(std::chrono::microseconds{100}, [connection] { connection->answer(broken); });
  else if (busy_ < workers) work_on(connection);
  else queue_.push_back(connection);
}

void Server::work_on(ConnectionPtr const& connection) {
  ++busy_;
  connection->after(draw_service_time(), [this, connection] {
    connection->answer(ok);
    --busy_;
    if (queue_.empty()) return;
    auto const next = std::move(queue_.front());
    queue_.pop_front();
    work_on(next);
  });
}

/// At least 80 % of the mean, the rest exponential: one in a hundred takes 1.7 times the mean.
Clock::duration Server::draw_service_time() {
  std::exponential_distribution<double> jitter{1 / 0.2};
  auto const factor = (0.8 + jitter(random_)) * (mood_ == Mood::slow ? 10 : 1);
  return std::chrono::duration_cast<Clock::duration>(service_time_ * factor);
}

}  // namespace demo
