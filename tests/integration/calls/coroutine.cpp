// SPDX-License-Identifier: MIT
// asio::call: what a blocking call does, awaited; timeouts, hedges, and what happens meanwhile.

#include <chrono>
#include <ctime>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "integration/calls/support.hpp"
#include "support/catch.hpp"
#include "support/text.hpp"

namespace integration_calls_coroutine {

#if defined(ASIO_HAS_CO_AWAIT)

using namespace tests;
using poise::CallReport;
using poise::CallStopped;
using poise::Request;
using poise::Result;
using poise::StopReason;

namespace {

/// With and without timeouts, which take different ways.
std::vector<poise::CallTimeouts> const both_ways{{}, {.timeout = 10s, .attempt_timeout = 5s}};
std::vector<poise::CallTimeouts> const all_ways{
    {}, {.timeout = 10s, .attempt_timeout = 5s}, {.hedge_after = 2ms}};

/// The id of the backend, after a while; "slow" ones need an hour.
Ask answer(poise::Result result = Result::success, poise::Duration time = 1ms,
           std::string slow = {}) {
  return [=](auto& backend, auto&) -> asio::awaitable<Answer> {
    co_await rest(slow.find(backend.id()) == std::string::npos ? time : 1h);
    co_return Answer{result, backend.id()};
  };
}

}  // namespace

// -- as blocking ones ----------------------------------------------------------------------------

#if defined(__cpp_lib_jthread)
TEST_CASE("options written inside an awaited expression may hold a stop token") {  // for ASan
  asio::io_context loop;
  auto servers = called("a", trying(3, {}));
  auto const ask = answer();
  auto source = std::make_unique<std::stop_source>();
  auto const awaits = [&](std::stop_token token) -> asio::awaitable<std::string> {
    auto const given = co_await poise::asio::call(servers, ask, {.stop = token});
    auto const made = co_await poise::asio::call(servers, ask, {.stop = source->get_token()});
    CHECK(token.stop_possible());
    co_return given.text + made.text;
  };
  std::string reply;
  asio::co_spawn(loop, awaits(source->get_token()),
                 [&](std::exception_ptr const&, std::string text) { reply = std::move(text); });
  loop.run();
  CHECK(reply == "aa");
  source.reset();
}
#endif

TEST_CASE("an awaited call hands backend and request over and returns the reply") {
  asio::io_context loop;
  for (auto const& limits : both_ways) {
    auto servers = called("a", trying(3, limits));
    auto const reply =
        call(loop, servers,
             [](auto& backend, auto& request) -> asio::awaitable<Answer> {
               co_await rest(1ms);
               co_return Answer{{},
                                std::string{request.id} + " " + std::to_string(request.attempt) +
                                    backend.id() + std::to_string(backend.in_flight())};
             },
             {.id = "r1"});
    CHECK(reply.text == "r1 1a1");
    CHECK(stats_of(servers, "a").ended(Result::success) == 1);
    CHECK(in_flight(servers) == 0);
  }
}

TEST_CASE("an awaited call tries again elsewhere, after a pause, and reports it") {
  asio::io_context loop;
  for (auto const& limits : both_ways) {
    auto servers = called("abc", trying(3, limits, 5ms));
    CallReport report;
    auto const ask = [](auto&, auto& request) -> asio::awaitable<Answer> {
      co_await rest(1ms);
      if (request.attempt == 1)
        throw std::system_error{std::make_error_code(std::errc::connection_refused)};
      co_return Answer{request.attempt == 2 ? Result::reset : Result::success};
    };
    auto const begin = std::chrono::steady_clock::now();
    CHECK(call(loop, servers, ask, {}, {.report = &report}).outcome.result == Result::success);
    CHECK(std::chrono::steady_clock::now() - begin >= 12ms);
    REQUIRE(report.attempts.size() == 3);
    CHECK(report.attempts[0].outcome.result == Result::refused);
    CHECK(report.attempts[1].id != report.attempts[0].id);
    CHECK(report.attempts[1].outcome.result == Result::reset);
    CHECK(report.attempts[1].waited == 5ms);
    CHECK(report.attempts[2].outcome.result == Result::success);
    CHECK(report.why == StopReason::settled);
    CHECK(in_flight(servers) == 0);
  }
}

TEST_CASE("the awaiting coroutine gets the last exception or the last reply") {
  asio::io_context loop;
  for (auto const& limits : both_ways) {
    auto servers = called("ab", trying(2, limits));
    int number = 0;
    auto const broken = [&](auto&, auto&) -> asio::awaitable<Answer> {
      co_await rest(1ms);
      throw std::runtime_error{"try " + std::to_string(++number)};
    };
    CHECK(thrown<std::runtime_error>([&] { call(loop, servers, broken); }) == "try 2");
    CHECK(call(loop, servers, answer(Result::error)).outcome.result == Result::error);
    CHECK(ended(servers, Result::error) == 4);
  }
}

TEST_CASE("a function that throws before it awaits anything is a failed attempt") {
  asio::io_context loop;
  for (auto const& limits : both_ways) {
    auto servers = called("ab", trying(2, limits));
    bool first = true;
    auto const good = answer();
    auto const ask = [&](auto& backend, auto& request) -> asio::awaitable<Answer> {
      if (std::exchange(first, false)) throw std::runtime_error{"at once"};
      return good(backend, request);
    };
    CHECK(call(loop, servers, ask).text == "b");
    CHECK(ended(servers, Result::error) == 1);
    CHECK(in_flight(servers) == 0);
  }
}

TEST_CASE("an awaited call without backends or after its deadline fails without an attempt") {
  asio::io_context loop;
  for (auto const& limits : all_ways) {
    auto servers = called("a", trying(3, limits));
    CHECK_THROWS_AS(call(loop, servers, answer(), {.deadline = poise::Time{}}), CallStopped);
    servers.drain("a");
    CHECK(thrown<poise::NoBackend>([&] { call(loop, servers, answer()); }) ==
          "1 backend: 1 drained");
    CHECK(stats_of(servers, "a").total == 0);
  }
}

TEST_CASE("a policy that throws while deciding passes its exception on and leaks nothing") {
  asio::io_context loop;
  for (auto const& limits : all_ways) {
    auto policy = trying(3, limits);
    policy.hooks->decide = [](auto const&) -> poise::Decision { throw std::runtime_error{"why"}; };
    auto servers = called("ab", policy);
    CHECK(thrown<std::runtime_error>([&] { call(loop, servers, answer(Result::error, 10ms)); }) ==
          "why");
    CHECK(in_flight(servers) == 0);
  }
}

// -- timeouts ------------------------------------------------------------------------------------

TEST_CASE("an attempt that takes too long is cancelled, counts as a timeout, and another follows") {
  asio::io_context loop;
  auto servers = called("ab", trying(3, {.attempt_timeout = 50ms}));
  bool aborted = false;
  auto const ask = [&](auto& backend, auto& request) -> asio::awaitable<Answer> {
    CHECK(*request.deadline - poise::SteadyClock{}.now() <= 50ms);
    try {
      co_await rest(backend.id() == "a" ? 1h : 1ms);
    } catch (std::system_error const& error) {
      aborted = error.code() == asio::error::operation_aborted;
      throw;
    }
    co_return Answer{{}, backend.id()};
  };
  CHECK(call(loop, servers, ask).text == "b");
  CHECK(aborted);
  CHECK(stats_of(servers, "a").ended(Result::timeout) == 1);
  CHECK(in_flight(servers) == 0);
}

TEST_CASE("a call ends at its deadline, names its attempts, and does not spin") {
  asio::io_context loop;
  auto servers = called("ab", trying(99, {.timeout = 200ms, .attempt_timeout = 80ms}, 10ms));
  auto const begin = std::chrono::steady_clock::now();
  auto const cpu = std::clock();
  auto const text = thrown<CallStopped>([&] { call(loop, servers, answer({}, 1h)); });
  auto const took = std::chrono::steady_clock::now() - begin;
  CHECK(took >= 200ms);
  CHECK(took < 2s);
  CHECK(std::clock() - cpu < CLOCKS_PER_SEC / 10);
  CHECK(mentions(text, "a: timeout after "));
  CHECK(mentions(text, "10.00 ms later b: timeout after "));
  CHECK(mentions(text, "ended by: the deadline"));
  CHECK(in_flight(servers) == 0);
}

TEST_CASE("a call whose backends all refuse ends by its deadline, and does not spin") {
  asio::io_context loop;
  auto servers = called("abc", trying(1000, {.timeout = 200ms}, 20ms));
  CallReport report;
  auto const cpu = std::clock();
  auto const ask = [](auto&, auto&) -> asio::awaitable<Answer> {
    throw std::system_error{std::make_error_code(std::errc::connection_refused)};
  };
  CHECK_THROWS_AS(call(loop, servers, ask, {}, {.report = &report}), std::system_error);
  CHECK(std::clock() - cpu < CLOCKS_PER_SEC / 10);
  CHECK(report.why == StopReason::deadline);
  CHECK(report.attempts.size() >= 2);
  CHECK(report.attempts.size() <= 10);
}

TEST_CASE("a reply just in time beats the timeout that is due") {
  asio::io_context loop;
  auto servers = called("a", trying(1, {.attempt_timeout = 1ms}));
  auto const ask = [](auto&, auto&) -> asio::awaitable<Answer> {
    std::this_thread::sleep_for(5ms);  // the loop stands still: reply and timeout are due at once
    co_return Answer{{}, "in time"};
  };
  CHECK(call(loop, servers, ask).text == "in time");
}

TEST_CASE("a call returns although its function never ends") {
  asio::io_context loop;
  auto servers = std::make_unique<Called>(called("ab", trying(1, {.timeout = 20ms})));
  std::string const text = "a text too long for any small string to keep it";
  auto request = std::make_unique<std::string>(text);
  Gate gate;
  std::string late;
  auto const ask = [&](auto& backend, auto& asked) -> asio::awaitable<Answer> {
    co_await gate.wait();
    late = std::to_string(backend.in_flight()) + backend.id() + " " + std::string{asked.id};
    co_return Answer{};
  };
  CHECK_THROWS_AS(call(loop, *servers, ask, {.id = *request}), CallStopped);
  CHECK(gate.is_awaited());
  CHECK(in_flight(*servers) == 0);
  CHECK(stats_of(*servers, "a").ended(Result::timeout) == 1);

  // It goes on when the request's text, the backend and the balancer are gone, and does no harm.
  request.reset();
  servers->remove("a");
  servers.reset();
  gate.open();
  loop.run();
  CHECK(late == "0a " + text);
}

TEST_CASE("a backend that was removed meanwhile is kept for an attempt that was given up") {
  asio::io_context loop;
  auto servers = called("ab", trying(1, {.timeout = 20ms}));
  Gate gate;
  std::string late;
  auto const ask = [&](auto& backend, auto&) -> asio::awaitable<Answer> {
    servers.remove(backend.id());
    co_await gate.wait();
    late = std::to_string(backend.in_flight()) + backend.id();
    co_return Answer{};
  };
  CHECK_THROWS_AS(call(loop, servers, ask), CallStopped);
  servers.tick();
  gate.open();
  loop.run();
  CHECK(late == "1a");
}

// -- hedging -------------------------------------------------------------------------------------

TEST_CASE(
    "a slow attempt gets a second one beside it, elsewhere, and the loser counts as cancelled") {
  asio::io_context loop;
  auto servers = called("ab", trying(2, {.hedge_after = 5ms}));
  CallReport report;
  CHECK(call(loop, servers, answer({}, 1ms, "a"), {}, {.report = &report}).text == "b");
  REQUIRE(report.attempts.size() == 2);
  CHECK(report.attempts[0].hedge);
  CHECK(report.attempts[0].waited == 5ms);
  CHECK(report.attempts[1].id == "a");
  CHECK(report.attempts[1].outcome.result == Result::cancelled);
  CHECK(stats_of(servers, "a").failed == 0);
  CHECK(stats_of(servers, "a").ended(Result::cancelled) == 1);
  CHECK(in_flight(servers) == 0);
}

TEST_CASE("the first may win as well") {
  asio::io_context loop;
  auto servers = called("ab", trying(2, {.hedge_after = 5ms}));
  CHECK(call(loop, servers, answer({}, 30ms, "b")).text == "a");
  CHECK(stats_of(servers, "b").ended(Result::cancelled) == 1);
  CHECK(in_flight(servers) == 0);
}

TEST_CASE("a quick attempt gets none beside it") {
  asio::io_context loop;
  auto servers = called("ab", trying(2, {.hedge_after = 1h}));
  CHECK(call(loop, servers, answer()).text == "a");
  CHECK(stats_of(servers, "b").total == 0);
}

TEST_CASE("the policy may decide against a hedge, and knows that the attempt runs") {
  asio::io_context loop;
  auto policy = trying(2, {.hedge_after = 2ms});
  std::vector<bool> running;
  policy.hooks->decide = [&](poise::Attempt const& attempt) {
    running.push_back(attempt.running);
    CHECK(attempt.request.attempt == 1);
    CHECK(attempt.request.excluded.size() == 1);
    return poise::Decision{.why = StopReason::budget};
  };
  auto servers = called("ab", policy);
  CHECK(call(loop, servers, answer({}, 20ms)).text == "a");
  CHECK(running == std::vector<bool>{true});
  CHECK(stats_of(servers, "b").total == 0);
}

TEST_CASE("no hedge goes to the backend that is being asked") {
  asio::io_context loop;
  auto servers = called("a", trying(2, {.hedge_after = 2ms}));
  int runs = 0;
  auto const good = answer({}, 10ms);
  auto const ask = [&](auto& backend, auto& request) -> asio::awaitable<Answer> {
    ++runs;
    return good(backend, request);
  };
  CHECK(call(loop, servers, ask).text == "a");
  CHECK(runs == 1);
  CHECK(in_flight(servers) == 0);
}

TEST_CASE("when one of two fails the other is waited for") {
  asio::io_context loop;
  for (std::string const bad : {"a", "b"}) {
    auto servers = called("ab", trying(3, {.hedge_after = 2ms}));
    auto const ask = [=](auto& backend, auto&) -> asio::awaitable<Answer> {
      co_await rest(backend.id() == bad ? 6ms : 400ms);
      co_return Answer{backend.id() == bad ? Result::error : Result::success};
    };
    CHECK(call(loop, servers, ask).outcome.result == Result::success);
    CHECK(ended(servers, Result::error) == 1);
    CHECK(ended(servers, Result::success) == 1);
    CHECK(in_flight(servers) == 0);
  }
}

TEST_CASE("when both fail there may be another attempt") {
  asio::io_context loop;
  auto servers = called("abc", trying(3, {.hedge_after = 2ms}));
  CallReport report;
  auto const ask = [](auto&, auto& request) -> asio::awaitable<Answer> {
    auto const attempt = request.attempt;
    co_await rest(20ms);
    co_return Answer{attempt == 3 ? Result::success : Result::error};
  };
  CHECK(call(loop, servers, ask, {}, {.report = &report}).outcome.result == Result::success);
  REQUIRE(report.attempts.size() == 3);
  CHECK(report.attempts[1].id != report.attempts[0].id);
  CHECK(report.attempts[2].id != report.attempts[0].id);
  CHECK(report.attempts[2].id != report.attempts[1].id);
}

TEST_CASE("an answer that no retry mends ends the call although another attempt runs") {
  asio::io_context loop;
  auto servers = called("ab", trying(3, {.hedge_after = 2ms}));
  CHECK(call(loop, servers, answer(Result::rejected, 1ms, "a")).outcome.result == Result::rejected);
  CHECK(in_flight(servers) == 0);
}

// -- what happens meanwhile ----------------------------------------------------------------------

TEST_CASE("clear ends the retries of calls in progress") {
  asio::io_context loop;
  for (auto const& limits : both_ways) {
    auto servers = called("ab", trying(9, limits, 1h));
    CallReport report;
    auto const ask = [&](auto&, auto&) -> asio::awaitable<Answer> {
      co_await rest(1ms);
      servers.clear();
      co_return Answer{Result::error};
    };
    CHECK(call(loop, servers, ask, {}, {.report = &report}).outcome.result == Result::error);
    CHECK(report.why == StopReason::no_backend);
  }
}

TEST_CASE("calls in progress outlive their balancer, and make no attempt more") {
  asio::io_context loop;
  for (auto const& limits : all_ways) {
    auto servers = std::make_unique<Called>(called("ab", trying(9, limits)));
    auto const ask = [&](auto& backend, auto&) -> asio::awaitable<Answer> {
      servers.reset();
      co_await rest(10ms);
      co_return Answer{Result::error, backend.id()};
    };
    CHECK(call(loop, *servers, ask).text == "a");
  }
}

TEST_CASE("an executor that stops stops its calls, and they are counted out when it goes") {
  for (auto const& limits : all_ways) {
    auto servers = called("ab", trying(9, limits));
    {
      asio::io_context loop;
      start(loop.get_executor(), servers, answer({}, 1h), [](auto const&, auto const&) {});
      loop.run_for(20ms);
      loop.stop();
      CHECK(in_flight(servers) >= 1);
    }
    CHECK(in_flight(servers) == 0);
  }
}

TEST_CASE("ten thousand calls at once on one thread") {
  asio::io_context loop{1};
  for (auto const& limits :
       {poise::CallTimeouts{}, poise::CallTimeouts{.attempt_timeout = 60s, .hedge_after = 20s}}) {
    auto servers = called("abcdefghij", trying(3, limits));
    asio::steady_timer all_began{loop, 1h};
    int begun = 0;
    int replies = 0;
    auto const ask = [&](auto&, auto&) -> asio::awaitable<Answer> {
      std::error_code woken;
      if (++begun == 10'000) all_began.expires_at(asio::steady_timer::time_point::min());
      else co_await all_began.async_wait(asio::redirect_error(asio::use_awaitable, woken));
      co_return Answer{};
    };
    for (int i = 0; i < 10'000; ++i)
      start(loop.get_executor(), servers, ask,
            [&](auto const& error, auto const&) { replies += error ? 0 : 1; });
    loop.run();
    loop.restart();
    CHECK(begun == 10'000);
    CHECK(replies == 10'000);
    CHECK(in_flight(servers) == 0);
  }
}

#endif

}  // namespace integration_calls_coroutine
