// SPDX-License-Identifier: MIT

#include "connection.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "exchange.hpp"

namespace gateway {

Connection::Connection(Worker& worker, Socket socket, Client client)
    : worker_{worker},
      client_{std::move(client)},
      stream_{std::move(socket), worker.deadlines(), worker.settings()->max_header},
      place_{worker.connections().insert(worker.connections().end(), this)} {}

Connection::~Connection() {
  worker_.connections().erase(place_);
  --worker_.shared().clients;
  worker_.look_whether_done();
}

Task<void> Connection::run(std::unique_ptr<Connection> connection) {
  co_await connection->serve();
  co_await connection->close_gently();
}

void Connection::drain() {
  if (idle_ && stream_.unread().empty()) stream_.close();
}

Task<void> Connection::serve() {
  for (bool more = true; more;) more = co_await serve_one();
}

Task<bool> Connection::serve_one() {
  bool const is_there = co_await await_request();
  if (!is_there) co_return false;
  auto const settings = worker_.settings();
  stream_.reading().within(settings->header_timeout);
  auto error = co_await read_head(stream_, head_, settings->max_header, false);
  stream_.reading().none();
  RequestParser parser{head_};
  parser.body_limit(settings->max_body);
  if (!error) error = parser.parse_head();
  auto const refusal = error ? refusal_of(error) : refusal_of(head_);
  if (refusal) co_await refuse(*refusal);
  if (refusal || error) co_return false;
  Exchange exchange{worker_, stream_, head_, parser, client_};
  bool const again = co_await exchange.run();
  co_return again;
}

/// Until a next request has begun. Empty lines before it are skipped, as RFC 9112 asks.
Task<bool> Connection::await_request() {
  idle_ = true;
  std::size_t skipped = 0;
  constexpr std::size_t max_skipped = 64;
  stream_.reading().within(worker_.settings()->idle_timeout);
  for (;;) {
    while (stream_.unread().starts_with("\r\n") && skipped < max_skipped) {
      stream_.consume(2);
      skipped += 2;
    }
    if (!stream_.unread().empty() && stream_.unread() != "\r") break;
    if (worker_.draining()) co_return false;
    auto const error = co_await stream_.read();
    if (error) co_return false;
  }
  idle_ = false;
  co_return true;
}

Task<void> Connection::refuse(Refusal refusal) {
  auto& totals = worker_.shared().totals;
  ++totals.refused;
  ++totals.responses[std::min<std::size_t>(refusal.status / 100, totals.responses.size() - 1)];
  auto const text = own_response(refusal.status, refusal.why, false, false);
  std::vector<net::const_buffer> parts{buffer_of(text)};
  (void)co_await stream_.write(parts, worker_.settings()->body_timeout);
  if (worker_.access_log() != nullptr) {
    auto const line = time_of_day() + ' ' + client_.address + ' ' +
                      in_quotes(head_.raw.substr(0, head_.raw.find('\r'))) + ' ' +
                      std::to_string(refusal.status) + " 0 0 0 " + in_quotes(refusal.why);
    worker_.access_log()->add(line);
  }
}

/// A socket that is closed while the client still sends resets the connection, and the client may
/// never read the last response. So what it sends is read for a moment.
Task<void> Connection::close_gently() {
  if (!stream_.socket().is_open()) co_return;
  stream_.end_writing();
  constexpr std::size_t max_read = std::size_t{1} << 18U;
  stream_.reading().within(std::chrono::seconds{1});
  for (std::size_t size = 0; size < max_read;) {
    size += stream_.unread().size();
    stream_.consume(stream_.unread().size());
    auto const error = co_await stream_.read();
    if (error) break;
  }
}

}  // namespace gateway
