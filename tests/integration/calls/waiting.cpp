// SPDX-License-Identifier: MIT
// Coroutines that wait for room: limits, order, cancellation at every point, and the loop's end.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <poise/compose/rate_limited.hpp>

#include "integration/calls/support.hpp"
#include "support/catch.hpp"

namespace integration_calls_waiting {

#if defined(ASIO_HAS_CO_AWAIT)

using namespace tests;
using poise::Priority;
using poise::Request;
using poise::Result;

namespace {

std::vector<poise::Endpoint> narrow(std::string_view ids, std::uint32_t limit) {
  auto endpoints = letters(ids);
  for (auto& each : endpoints) each.max_in_flight = limit;
  return endpoints;
}
using Waited = poise::Balancer<poise::RoundRobin>;

/// Waits for a backend, uses it for a while, and notes its name.
asio::awaitable<void> work(Waited& balancer, Request request, poise::Duration time, char name,
                           std::string& order) {
  auto lease = co_await poise::asio::pick_for(balancer, request, 1h);
  if (!lease) co_return;
  if (lease->in_flight() > lease->max_in_flight()) order += '!';
  order += name;
  co_await rest(time);
  lease.finish();
}

}  // namespace

TEST_CASE("64 coroutines on 4 backends with a limit of 2 keep the limit and their order") {
  asio::io_context loop;
  Waited balancer{narrow("abcd", 2)};
  std::string order;
  std::string expected;
  for (int i = 0; i < 64; ++i) {
    auto const name = static_cast<char>('0' + i);
    expected += name;
    asio::co_spawn(loop, work(balancer, {}, 1ms, name, order), asio::detached);
  }
  loop.run();
  CHECK(order == expected);
  CHECK(balancer.waiting() == 0);
  CHECK(in_flight(balancer) == 0);
}

TEST_CASE("coroutines of a higher priority overtake, and keep their order among themselves") {
  asio::io_context loop;
  Waited balancer{narrow("a", 1)};
  std::string order;
  for (char const name : std::string_view{"*LNHlnh"}) {
    Request request;
    if (name == 'L' || name == 'l') request.priority = Priority::low;
    if (name == 'H' || name == 'h') request.priority = Priority::high;
    asio::co_spawn(loop, work(balancer, request, 1ms, name, order), asio::detached);
  }
  loop.run();
  CHECK(order == "*HhNnLl");
}

TEST_CASE("64 coroutines on several threads are all served, within the limits") {
  asio::thread_pool pool{3};
  Waited balancer{narrow("abcd", 2)};
  poise::sync::Relaxed<int> served{0};
  poise::sync::Relaxed<int> wrong{0};
  for (int i = 0; i < 64; ++i)
    asio::co_spawn(
        pool,
        [&]() -> asio::awaitable<void> {
          for (int turn = 0; turn < 10; ++turn) {
            auto lease = co_await poise::asio::pick_for(balancer, {}, 1h);
            if (!lease) wrong.add(1);
            served.add(1);
            co_await asio::post(asio::use_awaitable);
            lease.finish();
          }
        },
        asio::detached);
  pool.join();
  CHECK(served.load() == 640);
  CHECK(wrong.load() == 0);
  CHECK(balancer.waiting() == 0);
}

TEST_CASE("a wait that is cancelled at any point leaves nothing in the queue and no lease") {
  // The point: after so many handlers of the loop.
  for (std::size_t point = 0; point < 12; ++point) {
    CAPTURE(point);
    asio::io_context loop;
    Waited balancer{narrow("a", 1)};
    auto lease = balancer.pick();
    asio::cancellation_signal signal;
    bool ended = false;
    asio::co_spawn(
        loop,
        [&]() -> asio::awaitable<void> {
          auto const got = co_await poise::asio::pick_for(balancer, {}, 1h);
        },
        asio::bind_cancellation_slot(signal.slot(),
                                     [&](std::exception_ptr const&) { ended = true; }));
    for (std::size_t i = 0; i < point; ++i) {
      loop.poll_one();
      if (i == 5) lease.finish();  // the cancellation meets room
    }
    signal.emit(asio::cancellation_type::all);
    loop.run();
    CHECK(ended);
    CHECK(balancer.waiting() == 0);
    lease.finish();
    CHECK(in_flight(balancer) == 0);
    CHECK(balancer.pick());
  }
}

TEST_CASE("a wait whose time is over says why") {
  asio::io_context loop;
  Waited balancer{narrow("ab", 1)};
  auto const leases = balancer.pick_all();
  poise::Error error;
  asio::co_spawn(
      loop,
      [&]() -> asio::awaitable<void> {
        auto const lease = co_await poise::asio::pick_for(balancer, {}, 2ms);
        error = lease.error();
      },
      asio::detached);
  loop.run();
  CHECK(error.refused == 2);
}

TEST_CASE("coroutines that wait for a rate are served when it has room, in their order") {
  asio::io_context loop;
  poise::Balancer<poise::RateLimited<poise::RoundRobin>> balancer{
      letters("a"), {{.backend = {.per_second = 200}}}};
  std::string order;
  for (char const name : std::string_view{"123456"})
    asio::co_spawn(
        loop,
        [&, name]() -> asio::awaitable<void> {
          if (auto const lease = co_await poise::asio::pick_for(balancer, {}, 1h)) order += name;
        },
        asio::detached);
  loop.run();
  CHECK(order == "123456");
  CHECK(balancer.waiting() == 0);
}

TEST_CASE("a loop that is destroyed while coroutines wait takes them out of the queue") {
  Waited balancer{narrow("a", 1)};
  auto lease = balancer.pick();
  std::string order;
  {
    asio::io_context loop;
    for (int i = 0; i < 3; ++i)
      asio::co_spawn(
          loop,
          work(balancer, {.route_key = "a long key that is copied to the heap"}, 1ms, 'x', order),
          asio::detached);
    for (int i = 0; i < 20; ++i) loop.poll_one();
    CHECK(balancer.waiting() == 3);
  }
  CHECK(balancer.waiting() == 0);
  lease.finish();
  CHECK(in_flight(balancer) == 0);
}

TEST_CASE("an awaited drain ends when the backend is empty") {
  asio::io_context loop;
  Waited balancer{letters("ab")};
  auto lease = pick_of(balancer, "a");
  std::optional<bool> empty;
  std::optional<bool> in_time;
  asio::co_spawn(
      loop,
      [&]() -> asio::awaitable<void> {
        in_time = co_await poise::asio::drain_and_wait(balancer, "a", 1ms);
        empty = co_await poise::asio::drain_and_wait(balancer, "a", 1h);
      },
      asio::detached);
  asio::co_spawn(
      loop,
      [&]() -> asio::awaitable<void> {
        co_await rest(20ms);
        lease.finish();
      },
      asio::detached);
  loop.run();
  CHECK(in_time == false);
  CHECK(empty == true);
}

#endif

}  // namespace integration_calls_waiting
