// SPDX-License-Identifier: MIT
// Reads from Redis replicas over hiredis, which survive a replica that hangs: run this, and send
// one replica `CLIENT PAUSE 5000`.

#include <chrono>

#include <poise/health/monitor.hpp>
#include <poise/poise.hpp>
#include <poise/ticker.hpp>

#include "load.hpp"
#include "redis.hpp"

namespace {

using namespace std::chrono_literals;

constexpr char const* help = R"(redis: GET from Redis servers, with retries, through hiredis

  redis 127.0.0.1:6379 127.0.0.1:6380 127.0.0.1:6381
  redis ADDRESS... --seconds 60       longer than the 10 s it takes

Pause a server (redis-cli -p 6380 client pause 5000), kill it, bring it back: no call should fail.
)";

using Policy = poise::Retry<poise::PowerOfTwo<poise::PeakEwma>>;

}  // namespace

int main(int count, char** words) {
  auto const load = clients::load_from(count, words, help);
  poise::Balancer<Policy, clients::RedisPool, poise::health::Monitored> servers{
      poise::endpoints(load.backends),
      [](poise::Endpoint const& endpoint) { return clients::RedisPool{endpoint}; },
      Policy{{.attempts = 3, .timeout = 1s, .attempt_timeout = 100ms}}};
  poise::Ticker ticker;
  auto const watched = ticker.watch(servers);

  auto const get = [&](auto& backend, poise::Request const& request) {
    auto const left = *request.deadline - poise::SteadyClock{}.now();
    return backend.payload().run({"GET", "poise"}, left);
  };
  bool const well = clients::run(load, 1ms, [&](poise::CallReport& report) {
    return outcome_of(servers.call(get, {.report = &report}));
  });
  clients::show(servers.stats());
  return well ? 0 : 1;
}
