// SPDX-License-Identifier: MIT
// The coroutine HTTP client behind asio::call, on real nginx.

#include <chrono>
#include <exception>
#include <optional>
#include <string>

#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>

#include <poise/asio/call.hpp>
#include <poise/poise.hpp>

#include "clients/http.hpp"
#include "integration/clients/servers.hpp"
#include "support/catch.hpp"

namespace integration_clients_http {

using namespace std::chrono_literals;
using poise::Result;

namespace {

using Policy = poise::Retry<poise::PowerOfTwo<poise::PeakEwma>>;
using Servers = poise::Balancer<Policy>;

struct Stage {
  tests::Scratch scratch{};
  tests::Three nginx{tests::nginx(scratch)};
  Servers servers{
      nginx.endpoints(),
      Policy{{.attempts = 3, .timeout = 2s, .attempt_timeout = 200ms, .hedge = {.after = 50ms}}}};
  asio::io_context context{1};

  asio::awaitable<void> one_call(int& failures) {
    auto const reply = co_await poise::asio::call(
        servers, [](auto& backend) { return clients::get(backend.address(), "/"); });
    if (reply.body != "ready") ++failures;
  }
  /// A call each 2 ms, each a coroutine of its own.
  asio::awaitable<void> calls(int count, int& failures) {
    asio::steady_timer timer{context};
    for (int i = 0; i < count; ++i) {
      asio::co_spawn(context, one_call(failures), [&failures](std::exception_ptr const& thrown) {
        if (thrown) ++failures;
      });
      timer.expires_after(2ms);
      co_await timer.async_wait(asio::use_awaitable);
    }
  }
  /// How many did not end well.
  int failed(int count) {
    int failures = 0;
    asio::co_spawn(context, calls(count, failures), asio::detached);
    context.restart();
    context.run();
    return failures;
  }
  poise::Outcome outcome(std::string const& path) {
    std::optional<clients::HttpReply> reply;
    asio::co_spawn(context, clients::get(nginx.address(0), path),
                   [&](std::exception_ptr const&, clients::HttpReply got) { reply = got; });
    context.restart();
    context.run();
    return reply.value().outcome;
  }
};

}  // namespace

TEST_CASE("what the coroutine client says of nginx") {
  Stage stage;
  CHECK(stage.outcome("/") == poise::Outcome{});
  CHECK(stage.outcome("/not_there") == Result::rejected);
  CHECK(stage.outcome("/broken") == Result::error);
  CHECK(stage.outcome("/later") == poise::Outcome{Result::overloaded, true, 7s});
  stage.nginx.kill(0);
  CHECK(stage.outcome("/") == Result::refused);
}

TEST_CASE("coroutines: no call fails while an nginx is killed, hangs and comes back") {
  Stage stage;
  CHECK(stage.failed(200) == 0);
  stage.nginx.kill(1);
  CHECK(stage.failed(200) == 0);
  stage.nginx.start(1);
  stage.nginx.hang(2);
  CHECK(stage.failed(200) == 0);
  stage.nginx.go_on(2);
  CHECK(stage.failed(100) == 0);

  auto const stats = stage.servers.stats();
  auto const& killed = stage.nginx.address(1);
  auto const& hung = stage.nginx.address(2);
  CHECK(tests::broke(stats, killed) > 0);
  CHECK(tests::ended(stats, hung, Result::timeout) + tests::ended(stats, hung, Result::cancelled) >
        0);
  for (auto const& backend : stats.backends) CHECK(backend.in_flight == 0);
}

}  // namespace integration_clients_http
