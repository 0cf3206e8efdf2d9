// SPDX-License-Identifier: MIT
#pragma once

// The names of Boost.Asio and Boost.Beast that the gateway uses. A worker is one thread with one
// io_context: nothing of a connection needs a lock or a strand.

#include <boost/asio/awaitable.hpp>
#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/error_code.hpp>

#include <chrono>

namespace gateway {

namespace net = boost::asio;

using Clock = std::chrono::steady_clock;
using Duration = Clock::duration;
using Error = boost::system::error_code;
using Executor = net::io_context::executor_type;
/// Of clients and backends, over TCP or a Unix socket.
using Socket = net::basic_stream_socket<net::generic::stream_protocol, Executor>;
template <class T = void>
using Task = net::awaitable<T, Executor>;

/// Awaited operations that put their error there instead of throwing it.
[[nodiscard]] inline auto into(Error& error) {
  return net::redirect_error(net::use_awaitable_t<Executor>{}, error);
}

}  // namespace gateway
