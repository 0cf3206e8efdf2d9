// SPDX-License-Identifier: MIT

#include "upstream.hpp"

#include <cerrno>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <sys/socket.h>

#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <poise/base/address.hpp>

#include "net.hpp"
#include "stream.hpp"

namespace gateway {

namespace {

using net::ip::tcp;
using Endpoint = net::generic::stream_protocol::endpoint;

/// An idle connection has nothing to say: if there is anything to read, its end most likely, it is
/// of no more use.
bool is_silent(Stream& stream) {
  char byte = 0;
  auto const got = ::recv(stream.socket().native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) && stream.unread().empty();
}

Task<std::vector<Endpoint>> endpoints_of(std::string const& address, net::io_context& context,
                                         Error& error) {
  std::vector<Endpoint> all;
  constexpr std::string_view unix_prefix = "unix:";
  if (address.starts_with(unix_prefix)) {
    all.emplace_back(net::local::stream_protocol::endpoint{address.substr(unix_prefix.size())});
    co_return all;
  }
  auto const parts = poise::HostPort::of(address);
  if (!parts) {
    error = net::error::invalid_argument;
    co_return all;
  }
  auto const ip = net::ip::make_address(parts->host, error);
  if (!error) {
    all.emplace_back(tcp::endpoint{ip, parts->port});
    co_return all;
  }
  error = {};
  net::ip::basic_resolver<tcp, Executor> resolver{context};
  auto const port = std::to_string(parts->port);
  auto const found = co_await resolver.async_resolve(parts->host, port, into(error));
  for (auto const& each : found) all.emplace_back(each.endpoint());
  co_return all;
}

}  // namespace

std::unique_ptr<Stream> IdleStreams::take(Upstream const& upstream, Duration max_age) {
  auto const found = kept_.find(upstream.number());
  if (found == kept_.end()) return nullptr;
  auto& all = found->second;
  while (!all.empty()) {
    bool const is_fresh = Clock::now() - all.back().since < max_age;
    if (!is_fresh) return nullptr;
    auto stream = std::move(all.back().stream);
    all.pop_back();
    if (is_silent(*stream)) return stream;
  }
  return nullptr;
}

void IdleStreams::keep(Upstream const& upstream, std::unique_ptr<Stream> stream, std::size_t max) {
  if (max == 0 || !upstream.keeps()) return;
  auto& all = kept_[upstream.number()];
  if (all.size() >= max) all.pop_front();
  all.push_back({std::move(stream), Clock::now()});
}

void IdleStreams::close_older_than(Duration age) {
  auto const limit = Clock::now() - age;
  for (auto& [number, all] : kept_)
    while (!all.empty() && all.front().since < limit) all.pop_front();
  std::erase_if(kept_, [](auto const& each) { return each.second.empty(); });
}

Task<std::unique_ptr<Stream>> connect(Upstream const& upstream, net::io_context& context,
                                      Deadlines& deadlines, std::size_t max_buffer,
                                      Duration timeout, Error& error) {
  auto const endpoints = co_await endpoints_of(upstream.address(), context, error);
  if (!error && endpoints.empty()) error = net::error::host_not_found;
  std::unique_ptr<Stream> stream;
  for (auto const& each : endpoints) {
    stream = std::make_unique<Stream>(Socket{context}, deadlines, max_buffer);
    stream->writing().within(timeout);
    co_await stream->socket().async_connect(each, into(error));
    if (error && stream->writing().passed()) error = net::error::timed_out;
    stream->writing().none();
    if (error) continue;
    Error ignored;
    if (each.protocol().family() != AF_UNIX)
      // NOLINTNEXTLINE(bugprone-unused-return-value): it is in `ignored`, too
      stream->socket().set_option(tcp::no_delay{true}, ignored);
    co_return stream;
  }
  co_return std::unique_ptr<Stream>{};
}

}  // namespace gateway
