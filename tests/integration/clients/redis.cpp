// SPDX-License-Identifier: MIT
// hiredis behind Balancer::call, on real Redis: CLIENT PAUSE is the hang.

#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include <poise/poise.hpp>

#include "clients/redis.hpp"
#include "integration/clients/servers.hpp"
#include "support/catch.hpp"

namespace integration_clients_redis {

using namespace std::chrono_literals;
using poise::Result;

namespace {

using Policy = poise::Retry<poise::RoundRobin>;
using Servers = poise::Balancer<Policy, clients::RedisPool>;

struct Stage {
  tests::Scratch scratch{};
  tests::Three redis{tests::redis(scratch)};
  Servers servers{
      redis.endpoints(),
      [](poise::Endpoint const& endpoint) { return clients::RedisPool{endpoint}; },
      Policy{{.attempts = 3, .timeout = 2s, .attempt_timeout = 100ms, .budget_fraction = 0.5}}};

  /// On one server, past poise.
  clients::RedisReply tell(std::size_t i, std::vector<std::string> const& command) {
    clients::RedisPool pool{redis.endpoints()[i]};
    return pool.run(command, 1s);
  }
  /// How many calls did not end well.
  int failed(int calls) {
    int failures = 0;
    for (int i = 0; i < calls; ++i) {
      auto const reply = servers.call([](auto& backend, poise::Request const& request) {
        auto const left = *request.deadline - poise::SteadyClock{}.now();
        return backend.payload().run({"GET", "key"}, left);
      });
      if (reply.value != "value") ++failures;
    }
    return failures;
  }
};

}  // namespace

TEST_CASE("what hiredis' results say of Redis") {
  Stage stage;
  CHECK(stage.tell(0, {"SET", "key", "value"}).value == "OK");
  auto const got = stage.tell(0, {"GET", "key"});
  CHECK(got.value == "value");
  CHECK(outcome_of(got) == poise::Outcome{});
  auto const none = stage.tell(0, {"GET", "no_key"});
  CHECK_FALSE(none.value.has_value());
  CHECK(outcome_of(none) == poise::Outcome{});
  CHECK(outcome_of(stage.tell(0, {"LPUSH", "key", "x"})) == Result::rejected);
  CHECK(outcome_of(stage.tell(0, {"NO", "SUCH"})) == Result::rejected);
  CHECK(stage.tell(0, {"REPLICAOF", "127.0.0.1", "1"}).value == "OK");
  CHECK(outcome_of(stage.tell(0, {"SET", "key", "other"})) == Result::error);  // READONLY
  CHECK(stage.tell(0, {"CONFIG", "SET", "replica-serve-stale-data", "no"}).value == "OK");
  CHECK(outcome_of(stage.tell(0, {"GET", "key"})) == Result::overloaded);  // MASTERDOWN
  stage.redis.kill(0);
  CHECK(outcome_of(stage.tell(0, {"GET", "key"})) == Result::refused);
}

TEST_CASE("hiredis: no call fails while a Redis is paused, killed, and comes back") {
  Stage stage;
  for (std::size_t i = 0; i < 3; ++i) stage.tell(i, {"SET", "key", "value"});
  CHECK(stage.failed(300) == 0);

  REQUIRE(stage.tell(1, {"CLIENT", "PAUSE", "700", "ALL"}).value == "OK");
  CHECK(stage.failed(9) == 0);  // some of them wait 100 ms for the paused one
  auto const& paused = stage.redis.address(1);
  CHECK(tests::ended(stage.servers.stats(), paused, Result::timeout) >= 3);

  stage.redis.kill(2);
  CHECK(stage.failed(3) == 0);
  auto const& killed = stage.redis.address(2);
  auto const stats = stage.servers.stats();
  CHECK(tests::broke(stats, killed) > 0);

  std::this_thread::sleep_for(700ms);
  stage.redis.start(2);
  stage.tell(2, {"SET", "key", "value"});
  CHECK(stage.failed(30) == 0);
}

}  // namespace integration_clients_redis
