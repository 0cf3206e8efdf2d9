// SPDX-License-Identifier: MIT
// The same calls on Boost.Asio, if a Boost that can is installed.

#include <poise/boost_asio/call.hpp>

#if __has_include(<boost/asio/bind_cancellation_slot.hpp>) && defined(BOOST_ASIO_HAS_CO_AWAIT)

#include <chrono>
#include <string>

#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>

#include "integration/calls/support.hpp"
#include "support/catch.hpp"

namespace integration_calls_boost {

using namespace tests;
namespace net = boost::asio;

TEST_CASE("a call on Boost.Asio retries, times out, hedges and is cancelled") {
  net::io_context loop;
  auto servers = called("ab", trying(3, {.attempt_timeout = 100ms, .hedge_after = 5ms}));
  std::string slow = "a";
  auto const ask = [&](auto& backend) -> net::awaitable<std::string> {
    net::steady_timer timer{co_await net::this_coro::executor};
    timer.expires_after(slow.find(backend.id()) == std::string::npos ? poise::Duration{1ms} : 1h);
    co_await timer.async_wait(net::use_awaitable);
    co_return backend.id();
  };
  std::string replies;
  int cancelled = 0;
  net::cancellation_signal signal;
  auto const asks = [&]() -> net::awaitable<void> {
    replies += co_await poise::boost_asio::call(servers, ask);  // b, beside a
    slow = "abc";
    try {
      (void)co_await poise::boost_asio::call(servers, ask);
    } catch (poise::CallStopped const& stopped) {
      replies += stopped.code() == std::errc::timed_out ? "t" : "?";
    }
    replies += co_await poise::boost_asio::call_or(servers, ask, "f");
  };
  net::co_spawn(loop, asks, net::detached);
  loop.run();
  CHECK(replies == "btf");
  CHECK(ended(servers, poise::Result::cancelled) == 1);
  CHECK(in_flight(servers) == 0);

  loop.restart();
  poise::boost_asio::async_call(
      loop.get_executor(), servers, {}, ask,
      net::bind_cancellation_slot(
          signal.slot(), [&](std::exception_ptr thrown, std::string const&) {
            cancelled = poise::outcome_of(thrown).result == poise::Result::cancelled ? 1 : 2;
          }));
  loop.poll();
  signal.emit(net::cancellation_type::all);
  loop.run();
  CHECK(cancelled == 1);
  CHECK(in_flight(servers) == 0);
}

}  // namespace integration_calls_boost

#endif
