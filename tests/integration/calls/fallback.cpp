// SPDX-License-Identifier: MIT
// asio::call_or: a reply for the case that no backend gives one, at once or awaited.

#include <chrono>
#include <exception>
#include <string>
#include <utility>

#include "integration/calls/support.hpp"
#include "support/catch.hpp"

namespace integration_calls_fallback {

#if defined(ASIO_HAS_CO_AWAIT)

using namespace tests;
using poise::Result;
using poise::Unanswered;

namespace {

/// Runs the coroutine; its reply.
template <class Fn>
std::string run(Fn const& fn) {
  asio::io_context loop;
  std::string said = "nothing";
  asio::co_spawn(loop, fn, [&](std::exception_ptr const& thrown, std::string text) {
    said = thrown ? "thrown" : std::move(text);
  });
  loop.run();
  return said;
}

std::string result_of(Unanswered const& why) {
  return std::string{name(why.outcome.result)} + (why.thrown ? " thrown" : "");
}

}  // namespace

TEST_CASE("an awaited call that fails is answered by its fallback") {
  auto servers = called("ab", trying(2));
  auto const ask = [](auto&) -> asio::awaitable<Answer> {
    co_await rest(1ms);
    co_return Answer{Result::error};
  };
  auto const fallback = [](Unanswered const& why) { return Answer{{}, result_of(why)}; };
  CHECK(run([&]() -> asio::awaitable<std::string> {
          co_return (co_await poise::asio::call_or(servers, ask, fallback)).text;
        }) == "error");
  CHECK(ended(servers, Result::error) == 2);
  CHECK(ended(servers, Result::success) == 0);
}

TEST_CASE("a fallback may be awaited, also where nobody can be picked") {
  auto servers = called("a");
  servers.drain("a");
  auto const ask = [](auto& backend) -> asio::awaitable<std::string> { co_return backend.id(); };
  auto const fallback = [](Unanswered const& why) -> asio::awaitable<std::string> {
    co_await rest(1ms);
    co_return "from a cache: " + result_of(why);
  };
  std::string const value = "a value that is longer than a small string";
  CHECK(run([&]() -> asio::awaitable<std::string> {
          auto text = co_await poise::asio::call_or(servers, ask, fallback);
          text += ", " + co_await poise::asio::call_or(servers, ask, value);
          co_return text;
        }) == "from a cache: error thrown, " + value);
}

TEST_CASE("a call whose attempts were all cut off is answered by its fallback") {
  auto servers = called("a", trying(1, {.attempt_timeout = 5ms}));
  auto const ask = [](auto& backend) -> asio::awaitable<std::string> {
    co_await rest(1h);
    co_return backend.id();
  };
  CHECK(run([&]() -> asio::awaitable<std::string> {
          co_return co_await poise::asio::call_or(servers, ask, result_of);
        }) == "timeout thrown");
  CHECK(ended(servers, Result::timeout) == 1);
}

TEST_CASE("a caller that cancels an awaited call gets no fallback") {
  auto servers = called("a", trying(1, {.attempt_timeout = 5s}));
  asio::io_context loop;
  asio::cancellation_signal signal;
  auto const ask = [&](auto&) -> asio::awaitable<void> {
    signal.emit(asio::cancellation_type::all);
    co_await rest(1h);
  };
  int asked = 0;
  bool stopped = false;
  auto const fallback = [&] { ++asked; };
  auto const awaits = [&]() -> asio::awaitable<void> {
    co_await poise::asio::call_or(servers, ask, fallback);
  };
  asio::co_spawn(loop, awaits,
                 asio::bind_cancellation_slot(signal.slot(), [&](std::exception_ptr const& thrown) {
                   stopped = thrown != nullptr;
                 }));
  loop.run();
  CHECK(asked == 0);
  CHECK(stopped);
  CHECK(ended(servers, Result::cancelled) == 1);
}

#endif

}  // namespace integration_calls_fallback
