// SPDX-License-Identifier: MIT
// Awaited calls whose replies are plain statuses, read from a socket: the runtime classifies them.

#include <chrono>
#include <string>

#include <poise/classify.hpp>
#include <poise/compose/retry.hpp>
#include <poise/policy/round_robin.hpp>

#include "integration/calls/server.hpp"
#include "support/catch.hpp"

namespace integration_calls_classified {

#if defined(ASIO_HAS_CO_AWAIT)

using namespace tests;

namespace {

using Runtime = poise::Runtime<poise::SteadyClock, poise::ClassifyBy<poise::outcome_of_http>>;
using Servers = poise::Balancer<poise::Retry<poise::RoundRobin>, void, Runtime>;

/// Two servers, of which one says what it is told to.
struct Pair {
  Loop loop{};
  LineServer a{loop, 1ms};
  LineServer b{loop, 1ms};
  Servers servers{{a.endpoint(), b.endpoint()}, {{.attempts = 2}}};
  std::string ill = "503";

  asio::awaitable<int> status(std::string port) {
    auto const wanted = port == a.endpoint().address ? ill : "200";
    auto const line = co_await ask_line(port, wanted);
    co_return std::stoi(line);
  }
  /// The statuses of so many calls.
  std::string ask(int times) {
    std::string statuses;
    asio::io_context callers;
    auto const asks = [&]() -> asio::awaitable<void> {
      auto const one = [this](auto& server) { return status(server.address()); };
      for (int i = 0; i < times; ++i)
        statuses += std::to_string(co_await poise::asio::call(servers, one)) + " ";
    };
    asio::co_spawn(callers, asks, asio::detached);
    callers.run();
    return statuses;
  }
};

}  // namespace

TEST_CASE("awaited statuses are classified by the runtime, and retried") {
  Pair pair;
  CHECK(pair.ask(4) == "200 200 200 200 ");
  CHECK(ended(pair.servers, poise::Result::overloaded) >= 1);
  auto const failed = pair.servers.stats().backends[0].failed;
  CHECK(failed >= 1);
  CHECK(pair.servers.stats().backends[1].failed == 0);
  pair.ill = "404";  // the caller's own fault: not retried, not counted against the server
  CHECK(pair.ask(4).find("404") != std::string::npos);
  CHECK(pair.servers.stats().backends[0].failed == failed);
}

TEST_CASE("a classifier in an awaited call goes before the runtime's") {
  Pair pair;
  asio::io_context callers;
  int found = 0;
  auto const asks = [&]() -> asio::awaitable<void> {
    auto const all_well =
        poise::classified_by([](int) { return poise::Outcome{}; },
                             [&](auto& server) { return pair.status(server.address()); });
    for (int i = 0; i < 4; ++i) found += co_await poise::asio::call(pair.servers, all_well) == 503;
  };
  asio::co_spawn(callers, asks, asio::detached);
  callers.run();
  CHECK(found == 2);
  CHECK(pair.servers.stats().backends[0].failed == 0);
}

#endif

}  // namespace integration_calls_classified
