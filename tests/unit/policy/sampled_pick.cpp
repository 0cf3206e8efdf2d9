// SPDX-License-Identifier: MIT

// What the record of a pick says. That a recorded pick is the same as any other is in
// rehearsal.cpp, for every policy.

#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <support/catch.hpp>
#include <support/clock.hpp>

#include <poise/balancer.hpp>
#include <poise/compose/any_policy.hpp>
#include <poise/compose/failover.hpp>
#include <poise/compose/filter.hpp>
#include <poise/compose/zone_aware.hpp>
#include <poise/policy/adaptive.hpp>
#include <poise/policy/least.hpp>
#include <poise/policy/power_of_two.hpp>
#include <poise/policy/random.hpp>
#include <poise/policy/round_robin.hpp>
#include <poise/policy/sampled_pick.hpp>
#include <poise/runtime.hpp>

namespace unit_policy_sampled_pick {

using namespace poise;
using namespace std::chrono_literals;

namespace {

/// Has every pick recorded, and keeps the last one; or throws.
struct Recorder {
  std::shared_ptr<SampledPick> last = std::make_shared<SampledPick>();
  bool throws = false;
  bool wants_pick() const noexcept { return true; }
  void on_sampled_pick(SampledPick const& pick) const {
    if (throws) throw 1;
    *last = pick;
  }
};

std::vector<Endpoint> twelve() {
  std::vector<Endpoint> result;
  for (std::uint32_t i = 0; i < 12; ++i)
    result.push_back({.id = std::string(1, static_cast<char>('a' + i)),
                      .zone = i % 2 == 0 ? "x" : "y",
                      .tier = i / 6});
  return result;
}

/// Twelve backends, in two zones and two tiers.
template <class P = AnyPolicy>
struct Recorded {
  tests::Clock clock{};
  Recorder recorder;
  Balancer<P, void, Runtime<tests::Clock, Recorder>> servers;

  explicit Recorded(P policy, bool throws = false)
      : recorder{.throws = throws},
        servers{twelve(), std::move(policy), {.clock = clock, .seed = 3, .observers = {recorder}}} {
  }

  auto pick(Request const& request = {}) { return servers.pick(request); }
  [[nodiscard]] SampledPick const& last() const { return *recorder.last; }
  [[nodiscard]] double score_of(std::uint64_t serial) const {
    for (auto const& each : last().entries())
      if (each.serial == serial) return each.score;
    return std::nan("");
  }
};

}  // namespace

TEST_CASE("the record of two choices has both, with the loads that were compared") {
  Recorded<P2C> pool{{}};
  std::vector<decltype(pool.pick())> leases;
  for (int i = 0; i < 200; ++i) {
    std::vector<std::uint32_t> before;
    for (auto const& each : pool.servers.stats().backends) before.push_back(each.in_flight);
    leases.push_back(pool.pick());
    auto const& record = pool.last();
    REQUIRE(record.winner == leases.back()->serial());
    REQUIRE(record.entries().size() == 2);
    CHECK(record.told == 2);
    CHECK(record.draws == 1);
    auto const all = pool.servers.stats().backends;
    for (auto const& entry : record.entries()) {
      CHECK(entry.compared);
      CHECK(entry.refused_by == RefusedBy::nothing);
      for (std::size_t b = 0; b < all.size(); ++b)
        if (all[b].serial == entry.serial) CHECK(entry.score == before[b]);
      CHECK(pool.score_of(record.winner) <= entry.score);
    }
    CHECK(record.in_flight == leases.back()->in_flight());
  }
}

TEST_CASE("the draws of a record are the random numbers that decided") {
  Recorded<> pool{AnyPolicy{Random{}}};
  for (int i = 0; i < 100; ++i) {
    auto const lease = pool.pick();
    REQUIRE(pool.last().draws == 1);
    auto const place = static_cast<std::size_t>(pool.last().draw(0) * 12);
    CHECK(lease->id() == std::string(1, static_cast<char>('a' + place)));
  }
}

TEST_CASE("the record of a scan has the scores that led, and the winner's among them") {
  Recorded<> pool{AnyPolicy{LeastConnections{}}};
  std::vector<decltype(pool.pick())> leases;
  for (int i = 0; i < 100; ++i) {
    leases.push_back(pool.pick());
    auto const& record = pool.last();
    CHECK(record.entries().size() >= 1);
    if (record.told > 8) continue;  // of more tied ones than these, another may win
    bool tied = false;
    for (auto const& entry : record.entries())
      tied = tied || entry.score == leases.back()->in_flight() - 1;
    CHECK(tied);
  }
}

TEST_CASE("the record of adaptive has the costs that it compared, and the winner's is the least") {
  Recorded<> pool{AnyPolicy{Adaptive{}}};
  pool.clock.advance(1h);
  int least = 0;
  for (int i = 0; i < 300; ++i) {
    auto lease = pool.pick();
    auto const& record = pool.last();
    bool beaten = false;
    auto const own = pool.score_of(record.winner);
    for (auto const& entry : record.entries()) beaten = beaten || entry.score < own;
    CHECK(own > 0);
    least += beaten ? 0 : 1;
    pool.clock.advance(std::chrono::milliseconds{1 + i % 7});
    lease.finish();
  }
  CHECK(least >= 290);  // one of 128 picks explores
}

TEST_CASE("a record says what wrappers left, whose turn it was, and what was refused") {
  Recorded<Filter<ZoneAware<Failover<RoundRobin>>, InTier>> pool{
      {InTier{0}, ZoneAware<Failover<RoundRobin>>{{.local = "x"}}}};
  auto const lease = pool.pick();
  auto const& record = pool.last();
  REQUIRE(record.steps().size() == 4);
  CHECK(record.steps()[0].by == LeftOutBy::group);
  CHECK(record.steps()[0].kept == 12);
  CHECK(record.steps()[1].by == LeftOutBy::filter);
  CHECK(record.steps()[1].kept == 6);
  CHECK(record.steps()[2].by == LeftOutBy::zone);
  CHECK(record.steps()[2].kept == 3);
  CHECK(record.steps()[3].by == LeftOutBy::tier);
  CHECK(record.steps()[3].kept == 3);
  CHECK(record.rotates);
  CHECK_FALSE(record.scanned);

  Recorded<P2C> full{{}};
  for (auto const& each : twelve())
    full.servers.set_admission(each.id, {.max_in_flight = each.id == "l" ? 1U : 0U});
  auto const only = full.pick();
  CHECK(only->id() == "l");
  CHECK(full.last().winner == only->serial());
  bool refused = false;
  for (auto const& entry : full.last().entries())
    refused = refused || entry.refused_by == RefusedBy::limit;
  CHECK(refused);
  CHECK_FALSE(full.pick());
  CHECK(full.last().winner == 0);
  CHECK(full.last().error == PickError::unavailable);
}

TEST_CASE("a record has the beginning of the key, its size, the priority, and the time") {
  Recorded<> pool{AnyPolicy{P2C{}}};
  pool.clock.advance(5s);
  std::string const key(1U << 20U, 'k');
  (void)pool.pick({.route_key = key, .priority = Priority::low});
  CHECK(pool.last().key() == std::string(32, 'k'));
  CHECK(pool.last().key_size == key.size());
  CHECK(pool.last().priority == Priority::low);
  CHECK(pool.last().at == pool.servers.now());
  CHECK(pool.last().entries().size() == 2);  // through the type erasure, too
}

TEST_CASE("there are records of no backend and of one") {
  Recorded<P2C> pool{{}};
  pool.servers.update({{.id = "one"}});
  auto const lease = pool.pick();
  CHECK(pool.last().winner == lease->serial());
  CHECK(pool.last().entries().empty());
  pool.servers.clear();
  CHECK_FALSE(pool.pick());
  CHECK(pool.last().winner == 0);
  CHECK(pool.last().error == PickError::empty);
}

TEST_CASE("an observer that throws at a record harms no pick") {
  Recorded<P2C> pool{{}, true};
  for (int i = 0; i < 10; ++i) CHECK(pool.pick());
  CHECK(pool.servers.stats().observer_failures == 10);
}

}  // namespace unit_policy_sampled_pick
