// SPDX-License-Identifier: MIT
// The numbers of connection pools in every format, and that none of them ever decreases.

#include <poise/observe/pools.hpp>

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <poise/balancer.hpp>
#include <poise/observe/json.hpp>
#include <poise/observe/meter.hpp>
#include <poise/observe/prometheus.hpp>
#include <poise/observe/reader.hpp>
#include <poise/observe/table.hpp>
#include <poise/policy/round_robin.hpp>
#include <poise/pool/acquire.hpp>
#include <poise/pool/pool.hpp>

#include "support/catch.hpp"
#include "support/exposition.hpp"
#include "support/servers.hpp"
#include "support/wires.hpp"

namespace unit_observe_pools {

using namespace std::chrono_literals;
using poise::observe::Snapshot;
using poise::pool::Closing;
using poise::pool::Numbers;
using tests::Wire;

namespace {

using Pool = poise::pool::Pool<Wire, poise::VirtualClock>;
using Metered = poise::Runtime<poise::VirtualClock, poise::observe::Meter<>>;
using Pools = poise::Balancer<poise::RoundRobin, Pool, Metered>;

struct MeteredPools {
  explicit MeteredPools(std::string const& ids, poise::observe::ReaderOptions const& options = {})
      : pools{std::make_unique<Pools>(
            tests::letters(ids),
            [this](poise::Endpoint const&) {
              return Pool{tests::wires_to(server), {.max = 2}, clock};
            },
            poise::RoundRobin{}, Metered{.clock = clock, .seed = 1})},
        reader{"shop", *pools, options} {}

  std::shared_ptr<tests::WireServer> server = std::make_shared<tests::WireServer>();
  poise::VirtualClock clock{};
  std::unique_ptr<Pools> pools;
  poise::observe::Reader reader;
};

std::string text_of(Snapshot const& snapshot, poise::observe::TextFormat format) {
  return poise::observe::metrics_text(std::array{snapshot}, format);
}

}  // namespace

TEST_CASE("the numbers of pools are in every format, by backend and in all", "[observe]") {
  MeteredPools world{"ab"};
  auto const first = acquire(*world.pools);
  auto second = acquire(*world.pools);
  auto const closer = second.backend().id();
  second.finish(poise::Result::reset);
  auto const snapshot = world.reader.read();
  using enum poise::observe::TextFormat;
  for (auto const format : {prometheus, openmetrics}) {
    tests::Exposition const read{text_of(snapshot, format)};
    CHECK(read.complaints().empty());
    auto const& samples = read.samples();
    CHECK(samples.at(R"(poise_pool_connections{balancer="shop",state="in_use"})") == 1);
    CHECK(samples.at(R"(poise_pool_connections{balancer="shop",state="idle"})") == 0);
    CHECK(samples.at(R"(poise_pool_opened_total{balancer="shop"})") == 2);
    CHECK(samples.at(R"(poise_pool_wait_seconds_total{balancer="shop"})") == 0);
    CHECK(samples.at(R"(poise_pool_closed_total{balancer="shop",reason="discarded"})") == 1);
    auto const series = R"(poise_backend_pool_closed_total{balancer="shop",backend=")" + closer +
                        R"(",reason="discarded"})";
    CHECK(samples.at(series) == 1);
  }
  auto const json = poise::observe::json(std::array{snapshot});
  CHECK_THAT(json, Catch::Contains(R"("pools":{"idle":0,"in_use":1,"opening":0,"waiting":0,)"));
  CHECK_THAT(json, Catch::Contains(R"("discarded":1)"));
  CHECK_THAT(json, Catch::Contains(R"("pool":{)"));
  CHECK_THAT(poise::observe::table(snapshot), Catch::Contains("connections"));
}

TEST_CASE("a balancer without pools says nothing of them", "[observe]") {
  poise::Balancer<poise::RoundRobin, void, Metered> servers{tests::letters("ab")};
  auto const snapshot = poise::observe::Reader{"", servers}.read();
  CHECK(!snapshot.pools);
  CHECK(text_of(snapshot, poise::observe::TextFormat::prometheus).find("pool") ==
        std::string::npos);
  CHECK(poise::observe::json(std::array{snapshot}).find("pool") == std::string::npos);
  CHECK(poise::observe::table(snapshot).find("connections") == std::string::npos);
}

TEST_CASE("no number of pools ever decreases, whatever is removed and added again", "[observe]") {
  MeteredPools world{"abc", {.cap = 2, .remembered = 1}};
  std::uint64_t opened = 0;
  std::uint64_t closed = 0;
  std::map<std::string, std::uint64_t> by_id;
  auto const check = [&] {
    auto const snapshot = world.reader.read();
    REQUIRE(snapshot.pools);
    CHECK(snapshot.pools->opened == static_cast<std::uint64_t>(world.server->opened.load()));
    CHECK(snapshot.pools->opened >= opened);
    CHECK(snapshot.pools->all_closed() >= closed);
    opened = snapshot.pools->opened;
    closed = snapshot.pools->all_closed();
    CHECK(snapshot.backends.size() <= 2);
  };
  auto const use = [&](int count) {
    for (int i = 0; i < count; ++i) acquire(*world.pools).finish();
    check();
  };
  use(3);
  auto held = acquire(*world.pools);  // of a backend that is removed meanwhile
  auto const id = held.backend().id();
  world.pools->remove(id);
  check();
  CHECK(world.reader.read().pools->in_use == 1);
  world.pools->update(tests::letters("abc"));
  use(3);
  held.finish(poise::Result::reset);
  check();
  CHECK(world.reader.read().pools->in_use == 0);
  for (char const* ids : {"xyz", "abc", "def", "abc"}) {
    world.pools->update(tests::letters(ids));
    use(3);
  }
  world.pools.reset();
  check();
  CHECK(world.reader.read().pools->all_closed() == opened);
}

TEST_CASE("the pool of a backend that comes back goes on where it was", "[observe]") {
  MeteredPools world{"a"};
  acquire(*world.pools).finish();
  CHECK(world.reader.read().backends.at(0).pool->acquired == 1);
  world.pools->remove("a");
  CHECK(world.reader.read().backends.empty());
  world.pools->update(tests::letters("a"));
  acquire(*world.pools).finish();
  CHECK(world.reader.read().backends.at(0).pool->acquired == 2);
}

}  // namespace unit_observe_pools
