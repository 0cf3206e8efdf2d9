// SPDX-License-Identifier: MIT
#pragma once

// Probes over sockets: TcpProbe checks that a backend accepts connections, HttpProbe that it
// answers as expected.
//
// Addresses: "10.0.0.1:80", "[::1]:80", "unix:/run/a.sock", "name:80". Numbers need no look-up.
// Names are looked up on other threads, so a resolver that hangs delays no probe of a name that was
// found before (asio/look_up.hpp).
//
// A probe that fails because this process lacks file descriptors, local ports or memory is no
// verdict.
//
// Needs standalone Asio 1.18 or later.

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
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

#include <poise/asio/look_up.hpp>
#include <poise/base/address.hpp>
#include <poise/base/check.hpp>
#include <poise/error.hpp>
#include <poise/outcome.hpp>
#include <poise/probe/http_answer.hpp>
#include <poise/probe/schedule.hpp>

namespace poise::inline v0_1_0::asio {

/// A probe in progress. *Threads* the executor's, one at a time.
class Attempt {
 public:
  Attempt() = default;
  Attempt(Attempt const&) = delete;
  Attempt& operator=(Attempt const&) = delete;
  virtual ~Attempt() = default;
  /// Ends the probe soon; its result is dropped.
  virtual void cancel() noexcept = 0;
};

/// Takes the result of a probe.
using Done = std::function<void(health::Probed)>;

/// A function that starts a probe on the executor (a strand) and calls `done` once, now or later,
/// on any thread. It must not block, since all probes share that strand; for functions that block
/// use probe/threads.hpp. A result after the timeout is ignored. An exception is a failure.
using StartProbe = std::function<std::shared_ptr<Attempt>(::asio::any_io_executor,
                                                          std::string const& address, Done done)>;

namespace detail {

/// True if the socket is connected to itself. That happens if the system chooses the probed port of
/// this machine, on which no program listens, as the connection's own port.
template <class Socket>
[[nodiscard]] bool is_connected_to_itself(Socket const& socket) {
  std::error_code failed_here;
  std::error_code failed_there;
  auto const here = socket.local_endpoint(failed_here);
  auto const there = socket.remote_endpoint(failed_there);
  bool const is_ip = here.protocol().family() != AF_UNIX;
  return !failed_here && !failed_there && is_ip && here == there;
}

/// Connects, then runs the rest of the probe. Its handlers keep it alive.
class Connection : public Attempt, public std::enable_shared_from_this<Connection> {
 public:
  Connection(::asio::any_io_executor const& executor, Done done)
      : socket_{executor}, done_{std::move(done)} {}

  void start(std::string const& address) {
    if (auto const wrong = problem_of(address); !wrong.empty()) return finish(false, wrong);
    constexpr std::string_view local = "unix:";
    if (address.starts_with(local)) return connect_local(address.substr(local.size()));
    auto const parts = HostPort::of(address);
    if (!parts) return finish(false, "the address has no host and port");
    std::error_code error;
    auto const number = ::asio::ip::make_address(parts->host, error);
    if (!error) return connect({::asio::ip::tcp::endpoint{number, parts->port}});
    LookUps::of(socket_.get_executor())
        .find(socket_.get_executor(), parts->host,
              [self = shared_from_this(), port = parts->port](LookUps::Found const& found) {
                if (self->is_over()) return;
                if (found.error) return self->fail("name: ", found.error);
                std::vector<Endpoint> endpoints;
                for (auto const& each : found.addresses)
                  endpoints.emplace_back(::asio::ip::tcp::endpoint{each, port});
                self->connect(std::move(endpoints));
              });
  }

  void cancel() noexcept override {
    done_ = nullptr;
    std::error_code ignored;
    (void)socket_.close(ignored);
  }

 protected:
  using Socket = ::asio::generic::stream_protocol::socket;

  /// The reason why this address can't be probed; empty if it can.
  [[nodiscard]] virtual std::string problem_of(std::string const&) const { return {}; }
  virtual void on_connected() = 0;

  void finish(bool passed, std::string cause, bool inconclusive = false) {
    auto const done = std::exchange(done_, nullptr);
    std::error_code ignored;
    (void)socket_.close(ignored);
    if (done) done({passed, std::move(cause), inconclusive});
  }
  void fail(std::string const& step, std::error_code error) {
    finish(false, step + error.message(), is_local_failure(error));
  }
  [[nodiscard]] Socket& socket() noexcept { return socket_; }
  [[nodiscard]] bool is_over() const noexcept { return !done_; }

 private:
  using Endpoint = ::asio::generic::stream_protocol::endpoint;

  void connect_local(std::string const& path) {
    try {
      connect({::asio::local::stream_protocol::endpoint{path}});
    } catch (std::system_error const& error) {  // the path is longer than a socket's may be
      finish(false, error.code().message());
    }
  }

  /// Connects to the first of these endpoints that accepts.
  void connect(std::vector<Endpoint> endpoints) {
    if (endpoints.empty()) return finish(false, "name: no address");
    auto const endpoint = endpoints.front();
    endpoints.erase(endpoints.begin());
    socket_.async_connect(endpoint, [self = shared_from_this(),
                                     others = std::move(endpoints)](std::error_code error) mutable {
      if (self->is_over()) return;
      if (!error && is_connected_to_itself(self->socket_))
        error = ::asio::error::connection_refused;
      if (!error) return self->on_connected();
      if (others.empty()) return self->fail("connect: ", error);
      std::error_code ignored;
      (void)self->socket_.close(ignored);
      self->connect(std::move(others));
    });
  }

  Socket socket_;
  Done done_;
};

class TcpConnection final : public Connection {
 public:
  using Connection::Connection;

 private:
  void on_connected() override { finish(true, "tcp: connected"); }
};

/// The request of an HTTP probe, and the answers that pass.
struct HttpQuestion {
  std::string path;
  std::string host;  // empty: the address
  health::HttpExpectation expect;

  /// *Errors* ConfigError; its message names `probe`.
  void check(std::string const& probe) const {
    using poise::detail::in_quotes;
    using poise::detail::reject_option;
    if (!path.starts_with('/') || !is_plain(path))
      reject_option("path of " + probe, in_quotes(path),
                    "start it with / and use no spaces or control characters");
    if (!is_host(host))
      reject_option("host of " + probe, in_quotes(host),
                    "use what a URL allows as host: letters, digits, \"-._~:[]\"");
    if (expect.min_status > expect.max_status)
      reject_option("min_status of " + probe, std::to_string(expect.min_status),
                    "above max_status, so nothing could pass");
    if (expect.body.size() > expect.max_body)
      reject_option("body of " + probe, in_quotes(expect.body),
                    "longer than max_body, so nothing could pass");
  }

  /// The reason why the address can't stand in a request; empty if it can.
  [[nodiscard]] std::string problem_of(std::string const& address) const {
    bool const is_local = address.starts_with("unix:");
    if (!host.empty() || is_local || (is_plain(address) && is_host(host_of(address)))) return {};
    return "http: the address " + poise::detail::in_quotes(address) +
           " can't be a Host field: give the probe a host";
  }
  /// *Requires* an address without a problem.
  [[nodiscard]] std::string text(std::string const& address) const {
    return "GET " + path + " HTTP/1.1\r\nHost: " + (host.empty() ? host_of(address) : host) +
           "\r\nUser-Agent: poise\r\nAccept: */*\r\nConnection: close\r\n\r\n";
  }

 private:
  static bool is_plain(std::string_view text) {
    for (char const letter : text)
      if (static_cast<unsigned char>(letter) <= ' ' || letter == '\x7f') return false;
    return true;
  }
  /// *Source* RFC 3986, 3.2.2, without '%'.
  static bool is_host(std::string_view text) {
    constexpr std::string_view allowed =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~:[]!$&'()*+,;=";
    return text.find_first_not_of(allowed) == std::string_view::npos;
  }
  /// Without the zone of an IPv6 address, which means nothing elsewhere (RFC 6874).
  static std::string host_of(std::string const& address) {
    if (address.starts_with("unix:")) return "localhost";
    auto const zone = address.find('%');
    auto const end = address.rfind(']');
    if (!address.starts_with('[') || end == std::string::npos || zone > end) return address;
    return address.substr(0, zone) + address.substr(end);
  }
};

/// Sends the request and reads the answer.
class HttpConnection : public Connection {
 public:
  HttpConnection(::asio::any_io_executor const& executor, Done done, HttpQuestion const& question,
                 std::string const& address)
      : Connection{executor, std::move(done)},
        problem_{question.problem_of(address)},
        request_{question.text(address)},
        answer_{question.expect} {}

 protected:
  [[nodiscard]] std::string problem_of(std::string const&) const override { return problem_; }
  /// Over a stream that lives as long as this object.
  template <class Stream>
  void ask(Stream& stream) {
    ::asio::async_write(
        stream, ::asio::buffer(request_),
        [self = shared_from_this(), this, &stream](std::error_code error, std::size_t) {
          if (is_over()) return;
          if (error) return fail("http: ", error);
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
      if (result) return finish(result->passed, "http: " + result->cause);
      if (error) return fail("http: ", error);
      read(stream);
    });
  }

  std::string problem_;
  std::string request_;
  health::HttpAnswer answer_;
  std::array<char, 2048> buffer_{};
};

}  // namespace detail

/// Passes if a connection can be made. That shows that a program listens, not that it works.
struct TcpProbe {
  std::shared_ptr<Attempt> operator()(::asio::any_io_executor const& executor,
                                      std::string const& address, Done done) const {
    auto attempt = std::make_shared<detail::TcpConnection>(executor, std::move(done));
    attempt->start(address);
    return attempt;
  }
};

/// Sends GET in HTTP/1.1. Passes if the answer has the expected status (200 to 299) and text.
/// `host` is the Host field; empty: the backend's address, or "localhost" for a unix socket. A
/// redirect is not followed; the cause of the failure contains its target. Over TLS:
/// tls/https_probe.hpp.
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
    auto attempt =
        std::make_shared<detail::HttpConnection>(executor, std::move(done), question_, address);
    attempt->start(address);
    return attempt;
  }

 private:
  detail::HttpQuestion question_;
};

}  // namespace poise::inline v0_1_0::asio
