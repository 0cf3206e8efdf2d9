// SPDX-License-Identifier: MIT
#pragma once

// A small HTTP client of coroutines over Asio that poise can balance, and what Asio's errors say of
// a backend.
//
//   outcome                 Asio
//   refused                 while connecting: any error, a name that does not resolve among them
//   reset                   the connection ended before the answer was complete
//   cancelled               operation_aborted: poise ended the try, or the caller the call
//   error                   an answer that is no HTTP
//   by status               an answer came: 429 and 503 are overloaded, with its Retry-After
//
// A connection for each request: what keeps connections open is a pool, as in redis.hpp.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <asio/awaitable.hpp>
#include <asio/buffer.hpp>
#include <asio/connect.hpp>
#include <asio/error.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/read.hpp>
#include <asio/redirect_error.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/write.hpp>

#include <poise/outcome.hpp>

namespace clients {

struct HttpReply {
  poise::Outcome outcome{};
  int status = 0;
  std::string body{};
};

inline poise::Outcome outcome_of(HttpReply const& reply) { return reply.outcome; }

namespace detail {

/// What follows "Name:" on a line of its own, or nothing.
inline std::string_view header(std::string_view head, std::string_view name) {
  while (!head.empty()) {
    auto const line = head.substr(0, head.find("\r\n"));
    if (line.size() > name.size() && line.starts_with(name) && line[name.size()] == ':') {
      auto const value = line.substr(name.size() + 1);
      return value.substr(value.find_first_not_of(' ') % (value.size() + 1));
    }
    head.remove_prefix(std::min(line.size() + 2, head.size()));
  }
  return {};
}

/// A number in decimal, or 0.
inline int number(std::string_view text) {
  int value = 0;
  for (char const digit : text.substr(0, 9)) {
    if (digit < '0' || digit > '9') break;
    value = 10 * value + (digit - '0');
  }
  return value;
}

inline HttpReply parse(std::string const& answer) {
  auto const end = answer.find("\r\n\r\n");
  if (!answer.starts_with("HTTP/1.")) return {poise::Result::error};
  if (end == std::string::npos) return {poise::Result::reset};
  auto const head = std::string_view{answer}.substr(0, end);
  auto const status = number(head.substr(std::min<std::size_t>(9, head.size())));
  HttpReply reply{poise::outcome_of_http(status), status, answer.substr(end + 4)};
  reply.outcome.retry_after = std::chrono::seconds{number(header(head, "Retry-After"))};
  auto const length = header(head, "Content-Length");
  if (!length.empty() && reply.body.size() < static_cast<std::size_t>(number(length)))
    reply.outcome = poise::Result::reset;
  return reply;
}

}  // namespace detail

/// GET http://address/path. Cancellation ends it at once, wherever it is.
inline asio::awaitable<HttpReply> get(std::string address, std::string path) {
  using asio::ip::tcp;
  auto const colon = address.rfind(':');
  auto const executor = co_await asio::this_coro::executor;
  std::error_code error;
  auto token = asio::redirect_error(asio::use_awaitable, error);
  auto const ended = [&](poise::Result otherwise) {
    return HttpReply{error == asio::error::operation_aborted ? poise::Result::cancelled
                                                             : otherwise};
  };

  tcp::resolver resolver{executor};
  auto const places =
      co_await resolver.async_resolve(address.substr(0, colon), address.substr(colon + 1), token);
  if (error) co_return ended(poise::Result::refused);
  tcp::socket socket{executor};
  co_await asio::async_connect(socket, places, token);
  if (error) co_return ended(poise::Result::refused);

  auto const text = "GET " + path + " HTTP/1.0\r\nHost: " + address + "\r\n\r\n";
  co_await asio::async_write(socket, asio::buffer(text), token);
  if (error) co_return ended(poise::Result::reset);
  std::string answer;
  co_await asio::async_read(socket, asio::dynamic_buffer(answer, 1U << 24U), token);
  if (error && error != asio::error::eof) co_return ended(poise::Result::reset);
  co_return detail::parse(answer);
}

}  // namespace clients
