// SPDX-License-Identifier: MIT
#pragma once

// Probes over sockets: does a backend accept connections, does it answer HTTP as it should?
//
// Addresses: "10.0.0.1:80", "[::1]:80", "unix:/run/a.sock", "name:80". Numbers need no look-up.
// Names are looked up by Asio's resolver, one at a time on a thread of its own, so a resolver that
// hangs delays other names' probes, and only those.
//
// Needs standalone Asio 1.18 or later.

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <asio/any_io_executor.hpp>
#include <asio/buffer.hpp>
#include <asio/error.hpp>
#include <asio/generic/stream_protocol.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/local/stream_protocol.hpp>
#include <asio/write.hpp>

#include <poise/error.hpp>
#include <poise/health/http_answer.hpp>
#include <poise/health/schedule.hpp>
#include <poise/host_port.hpp>

namespace poise::asio {

/// A probe in progress. *Threads* the executor's, one at a time.
class Attempt {
 public:
  Attempt() = default;
  Attempt(Attempt const&) = delete;
  Attempt& operator=(Attempt const&) = delete;
  virtual ~Attempt() = default;
  /// Ends it soon; what it finds from now on nobody hears.
  virtual void cancel() noexcept = 0;
};

using Done = std::function<void(health::Probed)>;

/// How a prober makes a probe: starts it on the executor (a strand) and calls `done` once, at once
/// or later, on any thread. It must not block, for all probes share that strand; what may block has
/// health/probe_threads.hpp. What comes after the timeout is ignored; what it throws is a failure.
using StartProbe = std::function<std::shared_ptr<Attempt>(::asio::any_io_executor,
                                                          std::string const& address, Done done)>;

namespace detail {

/// Connects, and then does what the probe does. Keeps itself alive through its handlers.
class Connection : public Attempt, public std::enable_shared_from_this<Connection> {
 public:
  Connection(::asio::any_io_executor const& executor, Done done)
      : socket_{executor}, resolver_{executor}, done_{std::move(done)} {}

  void start(std::string const& address) {
    constexpr std::string_view local = "unix:";
    if (address.starts_with(local)) return connect_local(address.substr(local.size()));
    auto const parts = HostPort::of(address);
    if (!parts) return finish(false, "the address has no host and port");
    std::error_code error;
    auto const number = ::asio::ip::make_address(parts->host, error);
    if (!error) return connect({::asio::ip::tcp::endpoint{number, parts->port}});
    resolver_.async_resolve(parts->host, std::to_string(parts->port),
                            [self = shared_from_this()](std::error_code failed, auto const& found) {
                              if (self->is_over()) return;
                              if (failed) return self->finish(false, "name: " + failed.message());
                              std::vector<Endpoint> endpoints;
                              for (auto const& each : found)
                                endpoints.emplace_back(each.endpoint());
                              self->connect(std::move(endpoints));
                            });
  }

  void cancel() noexcept override {
    done_ = nullptr;
    std::error_code ignored;
    (void)socket_.close(ignored);
    resolver_.cancel();
  }

 protected:
  using Socket = ::asio::generic::stream_protocol::socket;

  virtual void on_connected() = 0;

  void finish(bool passed, std::string cause) {
    auto const done = std::exchange(done_, nullptr);
    std::error_code ignored;
    (void)socket_.close(ignored);
    if (done) done({passed, std::move(cause)});
  }
  [[nodiscard]] Socket& socket() noexcept { return socket_; }
  [[nodiscard]] bool is_over() const noexcept { return !done_; }

 private:
  using Endpoint = ::asio::generic::stream_protocol::endpoint;

  void connect_local(std::string const& path) {
    try {
      connect({::asio::local::stream_protocol::endpoint{path}});
    } catch (std::system_error const& error) {  // longer than a socket's name may be
      finish(false, error.code().message());
    }
  }

  /// To the first of these that takes it.
  void connect(std::vector<Endpoint> endpoints) {
    if (endpoints.empty()) return finish(false, "name: no address");
    auto const endpoint = endpoints.front();
    endpoints.erase(endpoints.begin());
    socket_.async_connect(endpoint, [self = shared_from_this(),
                                     others = std::move(endpoints)](std::error_code error) mutable {
      if (self->is_over()) return;
      if (!error) return self->on_connected();
      if (others.empty()) return self->finish(false, "connect: " + error.message());
      std::error_code ignored;
      (void)self->socket_.close(ignored);
      self->connect(std::move(others));
    });
  }

  Socket socket_;
  ::asio::ip::tcp::resolver resolver_;
  Done done_;
};

class TcpConnection final : public Connection {
 public:
  using Connection::Connection;

 private:
  void on_connected() override { finish(true, "tcp: connected"); }
};

/// Asks, and reads the answer.
class HttpConnection : public Connection {
 public:
  HttpConnection(::asio::any_io_executor const& executor, Done done, std::string request,
                 health::HttpExpectation expectation)
      : Connection{executor, std::move(done)},
        request_{std::move(request)},
        answer_{std::move(expectation)} {}

 protected:
  /// Over a stream that lives as long as this object.
  template <class Stream>
  void ask(Stream& stream) {
    ::asio::async_write(
        stream, ::asio::buffer(request_),
        [self = shared_from_this(), this, &stream](std::error_code error, std::size_t) {
          if (is_over()) return;
          if (error) return finish(false, "http: " + error.message());
          read(stream);
        });
  }

 private:
  void on_connected() override { ask(socket()); }

  template <class Stream>
  void read(Stream& stream) {
    stream.async_read_some(::asio::buffer(buffer_), [self = shared_from_this(), this, &stream](
                                                        std::error_code error, std::size_t size) {
      if (is_over()) return;
      auto result = answer_.feed({buffer_.data(), size});
      if (!result && error == ::asio::error::eof) result = answer_.end();
      if (!result && error) result = {false, error.message()};
      if (result) return finish(result->passed, "http: " + result->cause);
      read(stream);
    });
  }

  std::string request_;
  health::HttpAnswer answer_;
  std::array<char, 2048> buffer_{};
};

/// What an HTTP probe asks for, and what it wants to hear.
struct HttpQuestion {
  std::string path;
  std::string host;  // empty: the address
  health::HttpExpectation expect;

  /// *Errors* ConfigError, in the name of `probe`.
  void check(std::string const& probe) const {
    if (!path.starts_with('/') || !is_plain(path))
      health::detail::refuse("path of " + probe, poise::detail::in_quotes(path),
                             "it starts with / and has no spaces or control characters");
    if (!is_plain(host))
      health::detail::refuse("host of " + probe, poise::detail::in_quotes(host),
                             "it has no spaces or control characters");
    if (expect.least_status > expect.most_status)
      health::detail::refuse("least_status of " + probe, std::to_string(expect.least_status),
                             "above most_status, so nothing could pass");
    if (expect.body.size() > expect.most_body)
      health::detail::refuse("body of " + probe, poise::detail::in_quotes(expect.body),
                             "longer than most_body, so nothing could pass");
  }

  [[nodiscard]] std::string text(std::string const& address) const {
    return "GET " + path + " HTTP/1.0\r\nHost: " + (host.empty() ? address : host) +
           "\r\nUser-Agent: poise\r\nConnection: close\r\n\r\n";
  }

 private:
  static bool is_plain(std::string_view text) {
    for (char const letter : text)
      if (static_cast<unsigned char>(letter) <= ' ' || letter == '\x7f') return false;
    return true;
  }
};

}  // namespace detail

/// Passes if a connection can be made. It says that somebody listens, not that anybody works.
struct TcpProbe {
  std::shared_ptr<Attempt> operator()(::asio::any_io_executor const& executor,
                                      std::string const& address, Done done) const {
    auto attempt = std::make_shared<detail::TcpConnection>(executor, std::move(done));
    attempt->start(address);
    return attempt;
  }
};

/// Passes if GET is answered with the expected status (200 to 299) and text. Over TLS: see
/// asio/https_probe.hpp. A redirect is not followed; the cause of the failure says where it led.
/// *Errors* ConfigError: a path or host that would break the request.
class HttpProbe {
 public:
  explicit HttpProbe(std::string path = "/", health::HttpExpectation expect = {},
                     std::string host = {})
      : question_{std::move(path), std::move(host), std::move(expect)} {
    question_.check("asio::HttpProbe");
  }

  std::shared_ptr<Attempt> operator()(::asio::any_io_executor const& executor,
                                      std::string const& address, Done done) const {
    auto attempt = std::make_shared<detail::HttpConnection>(
        executor, std::move(done), question_.text(address), question_.expect);
    attempt->start(address);
    return attempt;
  }

 private:
  detail::HttpQuestion question_;
};

}  // namespace poise::asio
