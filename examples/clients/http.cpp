// SPDX-License-Identifier: MIT
// Calls by coroutine that survive a server's end, with hedges for one that is slow: start three
// nginx, run this, kill one. Up to a hundred calls are in progress at a time, on one thread.

#include <chrono>
#include <exception>
#include <optional>
#include <string>

#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>

#include <poise/asio/call.hpp>
#include <poise/health/monitor.hpp>
#include <poise/poise.hpp>
#include <poise/ticker.hpp>

#include "http.hpp"
#include "load.hpp"

namespace {

using namespace std::chrono_literals;

constexpr char const* help = R"(http: GET / from HTTP servers by coroutines, with retries and hedges

  http 127.0.0.1:8001 127.0.0.1:8002 127.0.0.1:8003
  http ADDRESS... --seconds 60        longer than the 10 s it takes

Kill a server, stop it (kill -STOP), bring it back: no call should fail.
)";

using Policy = poise::Retry<poise::PowerOfTwo<poise::PeakEwma>>;
using Servers = poise::Balancer<Policy, void, poise::health::Monitored>;

asio::awaitable<void> one_call(Servers& servers, clients::Progress& progress) {
  poise::CallReport report;
  std::optional<std::string> error;
  try {
    auto const reply = co_await poise::asio::call(
        servers, {}, [](auto& backend) { return clients::get(backend.address(), "/"); },
        {.report = &report});
    if (reply.outcome.result != poise::Result::success) error = message(report);
  } catch (std::exception const& failure) {
    error = failure.what();
  }
  progress.count(report, error);
}

asio::awaitable<void> all_calls(Servers& servers, clients::Progress& progress, clients::Load load) {
  auto const executor = co_await asio::this_coro::executor;
  asio::steady_timer timer{executor};
  for (auto const end = std::chrono::steady_clock::now() + load.time;
       std::chrono::steady_clock::now() < end;) {
    asio::co_spawn(executor, one_call(servers, progress), asio::detached);
    timer.expires_after(2ms);
    co_await timer.async_wait(asio::use_awaitable);
  }
}

}  // namespace

int main(int count, char** words) {
  auto const load = clients::load_from(count, words, help);
  Servers servers{
      poise::endpoints(load.backends),
      Policy{
          {.attempts = 3, .timeout = 2s, .attempt_timeout = 300ms, .hedge = {.percentile = 0.95}}}};
  poise::Ticker ticker;  // drives the monitor, and the percentile that hedges wait for
  auto const watched = ticker.watch(servers);
  clients::Progress progress;
  asio::io_context context{1};
  asio::co_spawn(context, all_calls(servers, progress, load), asio::detached);
  context.run();
  clients::show(servers.stats());
  return progress.all_well() ? 0 : 1;
}
