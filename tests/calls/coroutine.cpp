// SPDX-License-Identifier: MIT
// asio::call: what a blocking call does, awaited.

#include <chrono>
#include <exception>
#include <future>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "calls/support.hpp"
#include "support/catch.hpp"
#include "support/text.hpp"

#if defined(ASIO_HAS_CO_AWAIT)

using namespace tests;
using poise::CallReport;
using poise::CallStopped;
using poise::Ending;
using poise::Outcome;
using poise::Stop;

namespace {

/// With and without timeouts, which take different ways.
std::vector<poise::CallLimits> const both_ways{{}, {.timeout = 10s, .try_timeout = 5s}};

template <class Reply>
auto answers(Reply reply) {
  return [=](auto&) -> asio::awaitable<Reply> {
    co_await rest(1ms);
    co_return reply;
  };
}

}  // namespace

// -- as blocking ones ----------------------------------------------------------------------------

TEST_CASE("an awaited call hands backend and request over and returns the reply") {
  asio::io_context loop;
  for (auto const& limits : both_ways) {
    auto servers = called("a", trying(3, limits));
    auto const ask = [&](auto& backend,
                         poise::Request const& request) -> asio::awaitable<std::string> {
      co_await rest(1ms);
      co_return std::string{request.id} + " try " + std::to_string(request.attempt) + " at " +
          backend.id() + ", " + std::to_string(backend.in_flight()) + " in flight";
    };
    CHECK(run(loop, poise::asio::call(servers, {.id = "r1"}, ask)) == "r1 try 1 at a, 1 in flight");
    CHECK(stats_of(servers, "a").ended(Ending::success) == 1);
    CHECK(in_flight(servers) == 0);
  }
}

TEST_CASE("an awaited call returns nothing, or what can only be moved") {
  asio::io_context loop;
  for (auto const& limits : both_ways) {
    auto servers = called("a", trying(3, limits));
    run(loop, poise::asio::call(servers, [](auto&) -> asio::awaitable<void> { return rest(1ms); }));
    auto const reply =
        run(loop, poise::asio::call(servers, [](auto&) -> asio::awaitable<std::unique_ptr<int>> {
              co_return std::make_unique<int>(7);
            }));
    CHECK(*reply == 7);
    CHECK(stats_of(servers, "a").ended(Ending::success) == 2);
  }
}

TEST_CASE("an awaited call tries again elsewhere, after a pause, and reports it") {
  asio::io_context loop;
  for (auto const& limits : both_ways) {
    auto servers = called("abc", trying(3, limits, 5ms));
    CallReport report;
    auto const ask = [](auto& backend) -> asio::awaitable<Outcome> {
      co_await rest(1ms);
      if (backend.id() == "a")
        throw std::system_error{std::make_error_code(std::errc::connection_refused)};
      co_return Outcome{backend.id() == "b" ? Ending::reset : Ending::success};
    };
    auto const begin = std::chrono::steady_clock::now();
    CHECK(run(loop, poise::asio::call(servers, {}, ask, {.report = &report})).ending ==
          Ending::success);
    CHECK(std::chrono::steady_clock::now() - begin >= 12ms);
    REQUIRE(report.attempts.size() == 3);
    CHECK(report.attempts[0].outcome.ending == Ending::refused);
    CHECK(report.attempts[1].id == "b");
    CHECK(report.attempts[1].waited == 5ms);
    CHECK(report.attempts[2].outcome.ending == Ending::success);
    CHECK(report.why == Stop::settled);
    CHECK(in_flight(servers) == 0);
  }
}

TEST_CASE("the last exception goes on to who awaits, the last reply is returned") {
  asio::io_context loop;
  for (auto const& limits : both_ways) {
    auto servers = called("ab", trying(2, limits));
    int run_number = 0;
    auto const broken = [&](auto&) -> asio::awaitable<int> {
      co_await rest(1ms);
      throw std::runtime_error{"try " + std::to_string(++run_number)};
    };
    CHECK(thrown<std::runtime_error>([&] { run(loop, poise::asio::call(servers, broken)); }) ==
          "try 2");
    CHECK_FALSE(run(loop, poise::asio::call(servers, answers(false))));
    CHECK(ended(servers, Ending::error) == 4);
  }
}

TEST_CASE("a function that throws before it awaits anything is a failed attempt") {
  asio::io_context loop;
  for (auto const& limits : both_ways) {
    auto servers = called("ab", trying(2, limits));
    bool first = true;
    auto const ask = [&](auto&) -> asio::awaitable<int> {
      if (std::exchange(first, false)) throw std::runtime_error{"at once"};
      return [](int reply) -> asio::awaitable<int> { co_return reply; }(7);
    };
    CHECK(run(loop, poise::asio::call(servers, ask)) == 7);
    CHECK(ended(servers, Ending::error) == 1);
    CHECK(in_flight(servers) == 0);
  }
}

TEST_CASE("an awaited call without anybody, or too late, says so and asks nobody") {
  asio::io_context loop;
  auto servers = called("a", trying(3, {.try_timeout = 1s}));
  CHECK_THROWS_AS(run(loop, poise::asio::call(servers, {.deadline = poise::Time{}}, answers(1))),
                  CallStopped);
  servers.drain("a");
  CHECK(thrown<poise::NoBackend>([&] { run(loop, poise::asio::call(servers, answers(1))); }) ==
        "1 backend: 1 drained");
  auto none = called("");
  CHECK_THROWS_AS(run(loop, poise::asio::call(none, answers(1))), poise::NoBackend);
  CHECK(stats_of(servers, "a").total == 0);
}

TEST_CASE("a policy that throws while deciding passes its exception on and leaks nothing") {
  asio::io_context loop;
  for (auto const& limits : both_ways) {
    auto policy = trying(3, limits);
    policy.hooks->decide = [](auto const&) -> poise::Decision { throw std::runtime_error{"why"}; };
    auto servers = called("ab", policy);
    CHECK(thrown<std::runtime_error>(
              [&] { run(loop, poise::asio::call(servers, answers(false))); }) == "why");
    CHECK(in_flight(servers) == 0);
  }
}

// -- timeouts ------------------------------------------------------------------------------------

TEST_CASE("an attempt that takes too long is cancelled, counts as a timeout, and another follows") {
  asio::io_context loop;
  auto servers = called("abc", trying(3, {.try_timeout = 20ms}));
  bool aborted = false;
  auto const ask = [&](auto& backend,
                       poise::Request const& request) -> asio::awaitable<std::string> {
    CHECK(*request.deadline - poise::SteadyClock{}.now() <= 20ms);
    try {
      co_await rest(backend.id() == "a" ? 1h : 1ms);
    } catch (std::system_error const& error) {
      aborted = error.code() == asio::error::operation_aborted;
      throw;
    }
    co_return backend.id();
  };
  CHECK(run(loop, poise::asio::call(servers, {}, ask)) == "b");
  CHECK(aborted);
  CHECK(stats_of(servers, "a").ended(Ending::timeout) == 1);
  CHECK(stats_of(servers, "a").failed == 1);
  CHECK(in_flight(servers) == 0);
}

TEST_CASE("a call ends at its deadline, names its attempts, and does not spin") {
  asio::io_context loop;
  auto servers = called("ab", trying(99, {.timeout = 200ms, .try_timeout = 80ms}, 10ms));
  auto const hang = [](auto&) -> asio::awaitable<int> {
    co_await rest(1h);
    co_return 1;
  };
  auto const begin = std::chrono::steady_clock::now();
  auto const cpu = std::clock();
  std::string text;
  try {
    run(loop, poise::asio::call(servers, hang));
  } catch (CallStopped const& stopped) {
    text = stopped.what();
    CHECK(stopped.why() == Stop::deadline);
    CHECK(stopped.code() == std::errc::timed_out);
  }
  auto const took = std::chrono::steady_clock::now() - begin;
  CHECK(took >= 200ms);
  CHECK(took < 2s);
  CHECK(std::clock() - cpu < CLOCKS_PER_SEC / 10);
  CHECK(mentions(text, "a: timeout after 80"));
  CHECK(mentions(text, "10.00 ms later b: timeout after 80"));
  CHECK(mentions(text, "ended by: the deadline"));
  CHECK(ended(servers, Ending::timeout) == 3);
  CHECK(in_flight(servers) == 0);
}

TEST_CASE("a reply just in time beats the timeout that is due") {
  asio::io_context loop;
  auto servers = called("a", trying(1, {.try_timeout = 1ms}));
  auto const ask = [](auto&) -> asio::awaitable<int> {
    std::this_thread::sleep_for(5ms);  // the loop stands still: reply and timeout are due at once
    co_return 7;
  };
  CHECK(run(loop, poise::asio::call(servers, ask)) == 7);
}

TEST_CASE("a call comes back from a function that never ends") {
  Gate gate;
  asio::io_context loop;
  auto servers = std::make_unique<Called>(called("ab", trying(1, {.timeout = 20ms})));
  auto const text =
      std::make_unique<std::string>("a text too long for any small string to keep it");
  std::string late;
  auto const ask = [&](auto& backend, poise::Request const& request) -> asio::awaitable<int> {
    co_await gate.wait();
    late = backend.id() + " " + std::string{request.id};
    co_return 7;
  };
  auto request = std::make_unique<std::string>(*text);
  CHECK_THROWS_AS(run(loop, poise::asio::call(*servers, {.id = *request}, ask)), CallStopped);
  CHECK(in_flight(*servers) == 0);
  CHECK(stats_of(*servers, "a").ended(Ending::timeout) == 1);

  // It goes on when the request's text, the backend and the balancer are gone, and harms nobody.
  request.reset();
  servers->remove("a");
  servers.reset();
  gate.open();
  loop.run();
  CHECK(late == "a " + *text);
}

TEST_CASE("a backend that was removed meanwhile is kept for an attempt that was given up") {
  Gate gate;
  asio::io_context loop;
  auto servers = called("ab", trying(1, {.timeout = 20ms}));
  std::string late;
  auto const ask = [&](auto& backend) -> asio::awaitable<int> {
    servers.remove(backend.id());
    co_await gate.wait();
    late = backend.id();
    co_return 7;
  };
  CHECK_THROWS_AS(run(loop, poise::asio::call(servers, ask)), CallStopped);
  servers.tick();
  gate.open();
  loop.run();
  CHECK(late == "a");
}

// -- hedging -------------------------------------------------------------------------------------

TEST_CASE("a slow attempt gets a second one beside it, elsewhere; the loser counts as cancelled") {
  asio::io_context loop;
  auto servers = called("abc", trying(2, {.hedge_after = 5ms}));
  CallReport report;
  auto const ask = [](auto& backend) -> asio::awaitable<std::string> {
    co_await rest(backend.id() == "a" ? 1h : 1ms);
    co_return backend.id();
  };
  CHECK(run(loop, poise::asio::call(servers, {}, ask, {.report = &report})) == "b");
  REQUIRE(report.attempts.size() == 2);
  CHECK(report.attempts[0].hedge);
  CHECK(report.attempts[0].waited == 5ms);
  CHECK(report.attempts[1].id == "a");
  CHECK(report.attempts[1].outcome.ending == Ending::cancelled);
  CHECK(stats_of(servers, "a").failed == 0);
  CHECK(stats_of(servers, "a").ended(Ending::cancelled) == 1);
  CHECK(in_flight(servers) == 0);
}

TEST_CASE("the first may win as well") {
  asio::io_context loop;
  auto servers = called("ab", trying(2, {.hedge_after = 5ms}));
  auto const ask = [](auto& backend) -> asio::awaitable<std::string> {
    co_await rest(backend.id() == "b" ? 1h : 15ms);
    co_return backend.id();
  };
  CHECK(run(loop, poise::asio::call(servers, ask)) == "a");
  CHECK(stats_of(servers, "b").ended(Ending::cancelled) == 1);
  CHECK(in_flight(servers) == 0);
}

TEST_CASE("a quick attempt gets none beside it") {
  asio::io_context loop;
  auto servers = called("ab", trying(2, {.hedge_after = 1h}));
  CHECK(run(loop, poise::asio::call(servers, answers(7))) == 7);
  CHECK(stats_of(servers, "b").total == 0);
}

TEST_CASE("the policy may be against a hedge, and is told that the attempt runs") {
  asio::io_context loop;
  auto policy = trying(2, {.hedge_after = 2ms});
  std::vector<bool> running;
  policy.hooks->decide = [&](poise::Attempt const& attempt) {
    running.push_back(attempt.running);
    CHECK(attempt.request.attempt == 1);
    CHECK(attempt.request.excluded.size() == 1);
    return poise::Decision{.why = Stop::budget};
  };
  auto servers = called("ab", policy);
  auto const ask = [](auto&) -> asio::awaitable<int> {
    co_await rest(20ms);
    co_return 7;
  };
  CHECK(run(loop, poise::asio::call(servers, ask)) == 7);
  CHECK(running == std::vector<bool>{true});
  CHECK(stats_of(servers, "b").total == 0);
}

TEST_CASE("no hedge goes to the backend that is being asked") {
  asio::io_context loop;
  auto servers = called("a", trying(2, {.hedge_after = 2ms}));
  int runs = 0;
  auto const ask = [&](auto&) -> asio::awaitable<int> {
    ++runs;
    co_await rest(10ms);
    co_return 7;
  };
  CHECK(run(loop, poise::asio::call(servers, ask)) == 7);
  CHECK(runs == 1);
  CHECK(in_flight(servers) == 0);
}

TEST_CASE("when one of two fails the other is waited for") {
  asio::io_context loop;
  for (std::string const bad : {"a", "b"}) {
    auto servers = called("ab", trying(3, {.hedge_after = 2ms}));
    auto const ask = [&](auto& backend) -> asio::awaitable<bool> {
      co_await rest(backend.id() == bad ? 6ms : 15ms);
      co_return backend.id() != bad;
    };
    CHECK(run(loop, poise::asio::call(servers, ask)));
    CHECK(ended(servers, Ending::error) == 1);
    CHECK(ended(servers, Ending::success) == 1);
    CHECK(in_flight(servers) == 0);
  }
}

TEST_CASE("when both fail there may be another attempt") {
  asio::io_context loop;
  auto servers = called("abc", trying(3, {.hedge_after = 2ms}));
  CallReport report;
  auto const ask = [&](auto& backend) -> asio::awaitable<bool> {
    co_await rest(10ms);
    co_return backend.id() == "c";
  };
  CHECK(run(loop, poise::asio::call(servers, {}, ask, {.report = &report})));
  CHECK(report.attempts.size() == 3);
  CHECK(report.attempts[2].id == "c");
}

TEST_CASE("an answer that no retry mends ends the call although another attempt runs") {
  asio::io_context loop;
  auto servers = called("ab", trying(3, {.hedge_after = 2ms}));
  auto const ask = [&](auto& backend) -> asio::awaitable<Outcome> {
    co_await rest(backend.id() == "a" ? 1h : 1ms);
    co_return Outcome{Ending::rejected};
  };
  CHECK(run(loop, poise::asio::call(servers, ask)).ending == Ending::rejected);
  CHECK(in_flight(servers) == 0);
}

// -- what happens meanwhile ----------------------------------------------------------------------

TEST_CASE("a balancer that is emptied ends the retries of calls in progress") {
  asio::io_context loop;
  for (auto const& limits : both_ways) {
    auto servers = called("ab", trying(9, limits, 1h));
    CallReport report;
    auto const ask = [&](auto&) -> asio::awaitable<bool> {
      co_await rest(1ms);
      servers.clear();
      co_return false;
    };
    CHECK_FALSE(run(loop, poise::asio::call(servers, {}, ask, {.report = &report})));
    CHECK(report.why == Stop::nobody);
  }
}

TEST_CASE("calls in progress outlive their balancer") {
  asio::io_context loop;
  for (auto const& limits : {poise::CallLimits{}, poise::CallLimits{.try_timeout = 5s},
                             poise::CallLimits{.hedge_after = 5ms}}) {
    auto servers = std::make_unique<Called>(called("ab", trying(9, limits)));
    auto const ask = [&](auto& backend) -> asio::awaitable<std::string> {
      co_await rest(1ms);
      servers.reset();
      co_await rest(10ms);
      co_return backend.id();
    };
    CHECK(run(loop, poise::asio::call(*servers, ask)) == "a");
  }
}

TEST_CASE("an executor that stops stops its calls, and they are counted out when it goes") {
  for (auto const& limits : {poise::CallLimits{}, poise::CallLimits{.try_timeout = 5s},
                             poise::CallLimits{.hedge_after = 1ms}}) {
    auto servers = called("ab", trying(9, limits));
    {
      asio::io_context loop;
      auto const hang = [](auto&) -> asio::awaitable<void> { return rest(1h); };
      asio::co_spawn(loop, poise::asio::call(servers, hang), asio::detached);
      loop.run_for(20ms);
      loop.stop();
      CHECK(in_flight(servers) >= 1);
    }
    CHECK(in_flight(servers) == 0);
  }
}

// -- completion tokens ---------------------------------------------------------------------------

TEST_CASE("a call completes any token, on the handler's executor, with texts of its own") {
  asio::io_context loop;
  asio::io_context other;
  for (auto const& limits : both_ways) {
    auto servers = called("a", trying(1, limits));
    auto const ask = [](auto&, poise::Request const& request) -> asio::awaitable<std::string> {
      co_await rest(1ms);
      co_return std::string{request.route_key};
    };
    auto key = std::make_unique<std::string>("a key too long for any small string to keep it");
    auto const expected = *key;
    auto future = poise::asio::async_call(loop.get_executor(), servers, {.route_key = *key}, ask,
                                          asio::use_future);
    std::string heard;
    poise::asio::async_call(
        loop.get_executor(), servers, {.route_key = *key}, ask,
        asio::bind_executor(other, [&](std::exception_ptr const&, std::string reply) {
          CHECK(other.get_executor().running_in_this_thread());
          heard = std::move(reply);
        }));
    key.reset();
    loop.run();
    loop.restart();
    CHECK(heard.empty());
    other.run();
    other.restart();
    CHECK(heard == expected);
    CHECK(future.get() == expected);
  }
}

TEST_CASE("ten thousand calls at once on one thread") {
  asio::io_context loop{1};
  for (auto const& limits : {poise::CallLimits{}, poise::CallLimits{.try_timeout = 60s},
                             poise::CallLimits{.hedge_after = 20s}}) {
    auto servers = called("abcdefghij", trying(3, limits));
    int replies = 0;
    for (int i = 0; i < 10'000; ++i)
      poise::asio::async_call(
          loop.get_executor(), servers, {},
          [](auto&) -> asio::awaitable<bool> {
            co_await rest(200ms);
            co_return true;
          },
          [&](std::exception_ptr const& error, bool reply) { replies += !error && reply ? 1 : 0; });
    loop.poll();
    CHECK(in_flight(servers) == 10'000);
    loop.run();
    loop.restart();
    CHECK(replies == 10'000);
    CHECK(in_flight(servers) == 0);
  }
}

#endif
