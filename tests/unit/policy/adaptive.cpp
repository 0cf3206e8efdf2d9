// SPDX-License-Identifier: MIT
// Adaptive: what it learns of backends, and that it forgives, forgets and heeds what it is told.

#include <poise/policy/adaptive.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <thread>
#include <vector>

#include <poise/balancer.hpp>

#include "support/catch.hpp"
#include "support/clock.hpp"
#include "support/servers.hpp"
#include "support/traffic.hpp"

namespace unit_policy_adaptive {

using namespace std::chrono_literals;
using poise::Adaptive;
using poise::Result;
using tests::Traffic;

namespace {

/// Ten servers that take 10 ms, more or less, at 60 % of what they can do.
constexpr std::size_t ten = 10;
constexpr double usual = 600;
tests::Server const typical{.service = 10ms, .scatter = 0.5};

template <class Policy = Adaptive>
struct TenServers : Traffic<Policy> {
  TenServers() : Traffic<Policy>{ten} { this->servers.assign(ten, typical); }
};

/// How a request of known latency ends, without a server.
template <class Balancer>
void serve(Balancer& balancer, tests::Clock const& clock, poise::Duration time,
           poise::Outcome outcome = {}) {
  auto lease = balancer.pick();
  clock.advance(time);
  lease.finish(outcome);
}

/// One server that is slow and one that fails fast get next to nothing.
template <class Policy>
void check_slow_and_failing() {
  TenServers<Policy> traffic;
  traffic.servers[3].service = 100ms;
  traffic.servers[4] = {.service = 100us, .result = Result::error};
  traffic.run(2s, 400);
  auto const shares = traffic.shares_of(20s, 400);
  CHECK(shares[3] < 0.02);
  CHECK(shares[4] < 0.005);
}

}  // namespace

TEST_CASE("equal backends get about equal shares from adaptive") {
  TenServers<> traffic;
  for (auto const each : traffic.shares_of(60s, usual)) CHECK(each == Approx(0.1).margin(0.03));
}

TEST_CASE("adaptive sends little to a backend that is ten times slower") {
  TenServers<> traffic;
  traffic.servers[3].service = 100ms;
  traffic.run(2s, usual);
  // It can do 1 / 60 of the traffic when it is never idle.
  CHECK(traffic.shares_of(20s, usual)[3] < 0.015);
}

TEST_CASE("a backend that healed gets its share again from adaptive") {
  TenServers<> traffic;
  traffic.servers[3].service = 100ms;
  traffic.run(10s, usual);
  traffic.servers[3] = typical;
  traffic.run(10s, usual);
  CHECK(traffic.shares_of(20s, usual)[3] == Approx(0.1).margin(0.03));
}

TEST_CASE("a backend that fails fast does not look fast to adaptive") {
  TenServers<> traffic;
  traffic.servers[3] = {.service = 100us, .result = Result::error};
  traffic.run(2s, usual);
  CHECK(traffic.shares_of(20s, usual)[3] < 0.005);
}

TEST_CASE(
    "a backend that fails fast gets next to nothing from adaptive, however much runs elsewhere") {
  // 14 and 100 requests at a time on each of the others: who fails at once has none, and must not
  // look calm.
  for (auto const& [workers, per_second] : {std::pair{20U, 1400.0}, {1000U, 10'000.0}}) {
    Traffic<Adaptive> it{20};
    it.servers.assign(20, {.service = 10ms, .scatter = 0.5, .workers = workers});
    it.servers[7] = {.service = 100us, .result = Result::error, .workers = 1000};
    it.run(1s, 19 * per_second);
    CHECK(it.shares_of(1s, 19 * per_second)[7] < 0.005);
  }
}

TEST_CASE("a killed backend gets few requests from adaptive, however long it was good") {
  // Six servers with two requests each on average: the killed one has none, and looks calm.
  constexpr std::uint64_t seeds = 10;
  constexpr double per_second = 1200;
  double failed = 0;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    Traffic<Adaptive> it{6, {.service = 10ms, .scatter = 1, .workers = 4}, seed};
    it.run(10s, per_second);
    it.servers[3] = {.service = 250us, .result = Result::refused, .workers = 1000};
    failed += it.shares_of(2s, per_second)[3] * 2 * per_second / seeds;
  }
  CAPTURE(failed);
  CHECK(failed < 20);
}

TEST_CASE("adaptive sees a stalled backend before it has answered") {
  TenServers<> traffic;
  traffic.run(5s, usual);
  traffic.servers[3] = {.service = 1h};
  CHECK(traffic.shares_of(5s, usual)[3] * 5 * usual < 12);  // requests; 300 would be its share
}

TEST_CASE("a backend that joins is neither flooded nor starved by adaptive") {
  // Shares of what is fair. When it is found is chance: mean of 20 seeds.
  constexpr std::uint64_t seeds = 20;
  double at_first = 0;
  double later = 0;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    Traffic<Adaptive> traffic{ten, typical, seed};
    traffic.run(5s, usual);
    auto const joiner = traffic.join(typical);
    at_first += traffic.shares_of(500ms, usual)[joiner] * 11 / seeds;
    later += traffic.shares_of(20s, usual)[joiner] * 11 / seeds;
  }
  CAPTURE(at_first, later);
  CHECK(at_first < 1);
  CHECK(later > 0.5);
  CHECK(later < 1.1);
}

TEST_CASE("the wide board learns the same") { check_slow_and_failing<poise::WideAdaptive>(); }

TEST_CASE(
    "adaptive has no unit of time: service times of 10 us, 10 ms and 10 s are the same to it") {
  for (double const scale : {0.001, 1.0, 1000.0}) {
    CAPTURE(scale);
    auto const scaled = [&](poise::Duration time) {
      return poise::Duration{
          static_cast<poise::Duration::rep>(static_cast<double>(time.count()) * scale)};
    };
    TenServers<> traffic;
    for (auto& server : traffic.servers) server.service = scaled(10ms);
    traffic.servers[3].service = scaled(100ms);
    traffic.run(scaled(5s), usual / scale);
    CHECK(traffic.shares_of(scaled(20s), usual / scale)[3] < 0.015);
    traffic.servers[3].service = scaled(10ms);
    traffic.run(scaled(10s), usual / scale);
    CHECK(traffic.shares_of(scaled(20s), usual / scale)[3] == Approx(0.1).margin(0.04));
  }
}

TEST_CASE("of few backends all are compared, and all get samples") {
  for (std::size_t const count : {1U, 2U, 3U, 4U, 5U}) {
    CAPTURE(count);
    Traffic<Adaptive> traffic{count};
    traffic.servers.assign(count, typical);
    if (count > 1) traffic.servers[0].service = 200ms;
    traffic.run(2s, 40);
    auto const shares = traffic.shares_of(60s, 40);
    if (count > 1) CHECK(shares[0] < 0.1);
    else CHECK(shares[0] == 1);
  }
}

TEST_CASE("a calm program asks all of its few backends under adaptive, but not a busy one") {
  for (std::size_t count = 2; count <= 4; ++count) {
    Traffic<Adaptive> traffic{count, typical};
    for (auto const each : traffic.shares_of(200s, 2))
      CHECK(each == Approx(1.0 / static_cast<double>(count)).margin(0.12));
    auto const busy = traffic.balancer.pick();
    for (int i = 0; i < 1000; ++i) CHECK(traffic.balancer.pick().serial() != busy.serial());
  }
}

TEST_CASE("the same seed gives the same picks of adaptive") {
  TenServers<> one;
  TenServers<> two;
  one.run(5s, usual);
  two.run(5s, usual);
  REQUIRE(one.picks.size() == two.picks.size());
  for (std::size_t i = 0; i < one.picks.size(); ++i)
    REQUIRE(one.picks[i].number == two.picks[i].number);
}

TEST_CASE("what other balancers there were changes nothing for adaptive") {
  // Equal costs are frequent here, and backends' serials differ from run to run.
  auto const picks = [] {
    poise::VirtualClock clock;
    clock.advance(1s);
    std::vector<poise::Endpoint> endpoints;
    for (int i = 0; i < 40; ++i) endpoints.push_back({.id = std::to_string(i)});
    using Balancer = poise::Balancer<Adaptive, void, poise::Runtime<poise::VirtualClock>>;
    Balancer balancer{endpoints, {}, {.clock = clock, .seed = 1}};
    std::vector<Balancer::Lease> running;
    std::string all;
    for (int i = 0; i < 2000; ++i) {
      if (i * 7 % 5 < 3) {
        running.push_back(balancer.pick());
        all += std::string{running.back()->id()} + " ";
      }
      if (i * 7 % 5 < 3 && running.size() < 12) continue;
      clock.advance(10ms);
      if (i % 5 < std::ssize(running)) running.erase(running.begin() + i % 5);  // abandoned
      running[static_cast<std::size_t>(i) % running.size()].finish(Result::success);
    }
    return all;
  };
  auto const first = picks();
  for (int run = 0; run < 60; ++run) REQUIRE(picks() == first);
}

TEST_CASE("adaptive never picks a backend that the request excludes while there is another") {
  tests::Clock const clock;
  poise::Balancer<Adaptive, void, poise::Runtime<tests::Clock>> balancer{
      tests::numbered(8), {}, {.clock = clock, .seed = 1}};
  for (int i = 0; i < 200; ++i) {
    auto first = balancer.pick();
    std::uint64_t const tried[] = {first.serial()};
    auto second = balancer.pick({.attempt = 2, .excluded = tried});
    REQUIRE(second.serial() != first.serial());
    REQUIRE_FALSE(second.repeated());
    clock.advance(1ms);
    first.finish(Result::error);
    second.finish();
  }
}

TEST_CASE("a drained backend leaves adaptive's board, and is itself again afterwards") {
  constexpr int seeds = 10;
  double share = 0;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    Traffic<Adaptive> traffic{ten, typical, seed};
    traffic.run(5s, usual);
    traffic.balancer.drain("3");
    CHECK(traffic.shares_of(5s, usual)[3] == 0);
    traffic.balancer.undrain("3");
    share += traffic.shares_of(20s, usual)[3] / seeds;
  }
  CHECK(share == Approx(0.1).margin(0.025));
}

TEST_CASE("adaptive forgets sooner where speeds change") {
  poise::detail::adaptive::MemoryLength steady;
  CHECK(steady.samples() == 160);
  // Batches of 16 differ by chance alone; then by as much again as they vary within.
  for (int i = 0; i < 1000; ++i) steady.compare(2.0F / 16, 1, 16);
  CHECK(steady.samples() == 160);
  for (int i = 0; i < 1000; ++i) steady.compare(2.0F / 16 + 1, 1, 16);
  CHECK(steady.samples() == 10);
  for (int i = 0; i < 1000; ++i) steady.compare(2.0F / 16, 1, 16);
  CHECK(steady.samples() == 160);
}

TEST_CASE("what adaptive knows survives a change of membership") {
  TenServers<> traffic;
  traffic.servers[3].service = 100ms;
  traffic.run(5s, usual);
  traffic.join(typical);
  traffic.balancer.remove("0");
  // 60 requests in 100 ms; without memory it would get 6 of them and those would take for ever.
  CHECK(traffic.shares_of(100ms, usual)[3] <= 2.0 / 60);
}

TEST_CASE("weights are shares of admission for adaptive: a canary stays small, however quick") {
  TenServers<> traffic;
  for (std::size_t i = 1; i < ten; ++i) traffic.balancer.set_weight(std::to_string(i), 100);
  traffic.servers[0].service = 1ms;
  traffic.run(5s, usual);
  auto const share = traffic.shares_of(60s, usual)[0] * 901;  // of what its weight says
  CHECK(share > 0.02);
  CHECK(share < 4);
}

TEST_CASE("adaptive does not care for weights that say what latency says") {
  TenServers<> traffic;
  for (std::size_t i = 0; i < ten; ++i)
    traffic.balancer.set_weight(std::to_string(i), i < 5 ? 2 : 1);
  auto const shares = traffic.shares_of(60s, usual);
  for (std::size_t i = 0; i < ten; ++i) CHECK(shares[i] == Approx(0.1).margin(0.03));
}

TEST_CASE("a slow start is heeded by adaptive") {
  TenServers<> traffic;
  traffic.balancer.set_admission("3", {.share = ~std::uint32_t{0} / 10});
  traffic.run(2s, usual);
  CHECK(traffic.shares_of(20s, usual)[3] < 0.04);
  traffic.balancer.set_admission("3", {});
  // The picks that it refused have left nothing behind.
  CHECK(traffic.shares_of(20s, usual)[3] == Approx(0.1).margin(0.025));
}

TEST_CASE("latencies that the caller measured count, whatever the clock says") {
  tests::Clock const clock;
  poise::Balancer<Adaptive, void, poise::Runtime<tests::Clock>> balancer{
      tests::numbered(5), {}, {.clock = clock, .seed = 1}};
  std::vector<int> counts(5);
  for (int i = 0; i < 5000; ++i) {
    auto lease = balancer.pick();
    auto const number = static_cast<std::size_t>(std::stoul(lease->id()));
    ++counts[number];
    clock.advance(10us);
    lease.finish(Result::success, number == 2 ? 50ms : 5ms);
  }
  CHECK(counts[2] < 100);
  CHECK(counts[2] > 0);
}

TEST_CASE("what says nothing of the backend teaches adaptive nothing") {
  tests::Clock const clock;
  poise::Balancer<Adaptive, void, poise::Runtime<tests::Clock>> balancer{
      tests::numbered(2), {}, {.clock = clock, .seed = 1}};
  std::vector<int> counts(2);
  for (int i = 0; i < 2000; ++i) {
    auto lease = balancer.pick();
    auto const number = static_cast<std::size_t>(std::stoul(lease->id()));
    ++counts[number];
    clock.advance(number == 0 ? 1ms : 100ms);
    lease.finish(i % 3 == 0   ? Result::rejected
                 : i % 3 == 1 ? Result::cancelled
                              : Result::abandoned);
  }
  // Ties at random: n = 2000, expected 1000, standard deviation 22.
  CHECK(counts[0] == Approx(1000).margin(120));
}

TEST_CASE("adaptive stands clocks that stand still, jump back, and start at zero") {
  poise::VirtualClock const clock;
  poise::Balancer<Adaptive, void, poise::Runtime<poise::VirtualClock>> balancer{
      tests::numbered(10), {}, {.clock = clock, .seed = 1}};
  auto const counts_of = [&](poise::Duration pause) {
    std::vector<int> counts(10);
    for (int i = 0; i < 2000; ++i) {
      auto lease = balancer.pick();
      ++counts[static_cast<std::size_t>(std::stoul(lease->id()))];
      lease.finish();
      clock.advance(pause);
    }
    return counts;
  };
  counts_of(0s);  // every backend answers at once: one is as good as ten
  clock.advance(1h);
  for (auto const each : counts_of(10us)) CHECK(each > 0);
  auto lease = balancer.pick();
  clock.set(poise::Time{1ms});
  lease.finish();
  for (auto const each : counts_of(10us)) CHECK(each > 0);
}

TEST_CASE("to adaptive old failures are not news for ever because the clock was set back") {
  tests::Clock const clock;
  poise::Balancer<Adaptive, void, poise::Runtime<tests::Clock>> balancer{
      tests::numbered(10), {}, {.clock = clock, .seed = 1}};
  auto const share_of_first = [&] {
    constexpr int requests = 3000;
    int of_first = 0;
    std::deque<decltype(balancer.pick())> running;
    for (int i = 0; i < requests; ++i) {
      running.push_back(balancer.pick());
      if (running.back()->id() == "0") ++of_first;
      if (running.size() < 20) continue;
      clock.advance(400us + poise::Duration{i % 7 * 100'000});
      running.front().finish();
      running.pop_front();
    }
    return static_cast<double>(of_first) / requests;
  };
  CHECK(share_of_first() == Approx(0.1).margin(0.05));
  for (int i = 1; i < 10; ++i) balancer.drain(std::to_string(i));
  for (int i = 0; i < 100; ++i) serve(balancer, clock, 10ms, Result::error);
  for (int i = 1; i < 10; ++i) balancer.undrain(std::to_string(i));
  clock.set(clock.now() - 30min);
  CHECK(share_of_first() == Approx(0.1).margin(0.05));
}

TEST_CASE("requests recorded out of band, and those of a predecessor, do no harm to adaptive") {
  tests::Clock const clock;
  poise::Balancer<Adaptive, void, poise::Runtime<tests::Clock>> balancer{
      tests::numbered(5), {}, {.clock = clock, .seed = 1}};
  std::vector<decltype(balancer.pick())> old;
  for (int i = 0; i < 20; ++i) old.push_back(balancer.pick());
  balancer.set_policy({});
  for (int i = 0; i < 500; ++i) {
    serve(balancer, clock, 5ms);
    balancer.record("3", Result::success, 5ms);
    if (!old.empty()) old.pop_back();
  }
  std::vector<int> counts(5);
  for (int i = 0; i < 3000; ++i) {
    auto lease = balancer.pick();
    ++counts[static_cast<std::size_t>(std::stoul(lease->id()))];
    clock.advance(5ms + poise::Duration{i % 7 * 300'000});
    lease.finish();
  }
  for (auto const each : counts) CHECK(each > 0);
}

TEST_CASE("the end of a request is nothing to adaptive when all backends are gone") {
  TenServers<> traffic;
  auto lease = traffic.balancer.pick();
  traffic.balancer.clear();
  lease.finish();
  CHECK(traffic.balancer.stats().backends.empty());
}

TEST_CASE("a copy of adaptive starts afresh") {
  TenServers<> traffic;
  traffic.servers[3].service = 100ms;
  traffic.run(5s, usual);
  traffic.balancer.set_policy({});
  CHECK(traffic.shares_of(200ms, usual)[3] > 0);
}

TEST_CASE("adaptive tries a backend that joins a known pool with caution, and soon trusts it") {
  // A joiner's first sample is one of five mean latencies. Share of what is fair, mean of 20 seeds.
  constexpr std::uint64_t seeds = 20;
  double at_first = 0;
  double later = 0;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    Traffic<Adaptive> traffic{ten - 1, typical, seed};
    traffic.run(5s, usual);
    auto const joiner = traffic.join(typical);
    at_first += traffic.shares_of(100ms, usual)[joiner] * ten / seeds;
    later += traffic.shares_of(2s, usual)[joiner] * ten / seeds;
  }
  CAPTURE(at_first, later);
  CHECK(at_first < 0.13);  // without caution 0.19
  CHECK(at_first > 0);
  CHECK(later > 0.2);
}

TEST_CASE("threads that look at parts of the board avoid the slow backend all the same") {
  tests::Clock const clock;
  poise::Balancer<Adaptive, void, poise::Runtime<tests::Clock>> balancer{
      tests::numbered(20), Adaptive{}, poise::Runtime<tests::Clock>{.clock = clock}};
  std::size_t slow = 0;
  bool knows_all = false;  // the first answer must not be the slow one: see docs/adaptive.md
  auto const serve_many = [&] {
    for (int i = 0; i < 2000; ++i) {
      auto lease = balancer.pick();
      bool const is_slow = knows_all && lease->id() == "7";
      slow += is_slow ? 1 : 0;
      clock.advance(is_slow ? 100ms : 10ms);
      lease.finish();
    }
  };
  serve_many();
  knows_all = true;
  serve_many();
  slow = 0;
  for (int turn = 0; turn < 4; ++turn) {
    std::thread{serve_many}.join();
    serve_many();
  }
  CHECK(slow < 80);  // of 16000; 800 would be its share
}

TEST_CASE("a board knows its two best and its worst, whichever part is looked at first") {
  using ShortList = poise::detail::adaptive::ShortList<16>;
  ShortList list;
  for (std::uint32_t slot = 0; slot < 16; ++slot)
    list.set({static_cast<float>((slot * 7 + 3) % 16), slot, 100 + slot});
  for (std::size_t line = 0; line < ShortList::lines; ++line) {
    CAPTURE(line);
    auto const own = list.best_of_line(line);
    CHECK(own.first.slot() / ShortList::line_size == line);
    auto const [first, second] = list.best_of_others(line, own);
    CHECK(first.cost() == 0);
    CHECK(first.key() == 100 + first.slot());
    CHECK(second.cost() == 1);
    CHECK(list.at(second.slot()).key() == second.key());
  }
  CHECK(list.worst().cost() == 15);
}

TEST_CASE("one thread, or threads on the shared lane, do not count as several") {
  using poise::sync::Lane;
  poise::detail::adaptive::PickingThreads threads;
  for (int i = 0; i < 3; ++i) CHECK(!threads.several(Lane{3}));
  CHECK(!threads.several(Lane{4}));  // it is found out now
  CHECK(threads.several(Lane{4}));
  CHECK(threads.several(Lane{3}));
  poise::detail::adaptive::PickingThreads seeded;
  for (int i = 0; i < 3; ++i) CHECK(!seeded.several(Lane::shared));
}

}  // namespace unit_policy_adaptive
