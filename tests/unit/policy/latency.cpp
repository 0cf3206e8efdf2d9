// SPDX-License-Identifier: MIT
// The loads that look at latency, and all policies that compare by them.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <poise/load/ewma.hpp>
#include <poise/load/peak_ewma.hpp>
#include <poise/load/score.hpp>
#include <poise/policy/least.hpp>
#include <poise/policy/power_of_two.hpp>

#include "support/catch.hpp"
#include "support/policies.hpp"
#include "support/stage.hpp"
#include "support/traffic.hpp"

namespace unit_policy_latency {

using namespace std::chrono_literals;
using poise::Duration;
using poise::Result;
using tests::Server;
using Traffic = tests::Traffic<poise::AnyPolicy>;

namespace {

constexpr std::array<std::string_view, 6> latency_aware{"p2c(peak_ewma)", "least(peak_ewma)",
                                                        "p2c(ewma)",      "least_latency",
                                                        "p2c(score)",     "least(score)"};

/// Runs a test with each of them.
template <class Test>
void with_each(Test const& test) {
  for (auto const name : latency_aware) {
    CAPTURE(name);
    test(tests::policy(name));
  }
}

/// One backend under a load, without a balancer.
template <class L>
struct Alone {
  L load{};
  tests::LoneBackend backend{{.id = "a"}, 1};
  typename L::State state{};
  tests::Clock clock{};

  void end(std::optional<Duration> latency, poise::Outcome outcome = {}) {
    poise::Finish finish{backend, outcome, latency, clock.now(), std::nullopt, &state};
    load.on_finish(finish);
  }
  void answer(int times, Duration latency, Duration every = 1ms) {
    for (int i = 0; i < times; ++i) {
      clock.advance(every);
      end(latency);
    }
  }
  /// The estimate in ms.
  double ms() { return static_cast<double>(load.latency(state, clock.now())) / 1e6; }
};

/// 20 requests at a time in 10 ms each: 70 % busy at 1400 requests a second and backend.
Server busy(double scatter = 0) { return {.service = 10ms, .scatter = scatter, .workers = 20}; }
constexpr double rate = 1400;

}  // namespace

// -- under traffic
// ---------------------------------------------------------------------------------

TEST_CASE("a backend that fails fast among 19 good ones gets at most its fair share") {
  auto const test = [](poise::AnyPolicy const& policy) {
    // From the very start, and later; busy, nearly idle, and with hundreds in flight on each.
    for (auto const& [server, per_second] : {std::pair{busy(), 19 * rate},
                                             {busy(0.5), 19 * rate},
                                             {Server{}, 19 * 50.0},
                                             {Server{.workers = 1000}, 19 * 10'000.0}}) {
      Traffic it(20, server, 1, policy);
      it.servers[7] = {.service = 100us, .result = Result::error, .workers = 1000};
      auto const time = Duration{static_cast<Duration::rep>(20'000 / per_second * 1e9)};
      CHECK(it.shares_of(time, per_second)[7] <= 1.0 / 20);
      CHECK(it.shares_of(time, per_second)[7] <= 1.0 / 20);
    }
  };
  with_each(test);
  test(tests::policy("adaptive"));
}

TEST_CASE("a backend that rejects everything at once gets at most 1.3 times its fair share") {
  auto const test = [](poise::AnyPolicy const& policy) {
    // Nearly idle, busy, with scattered service times, and with hundreds in flight on each.
    for (std::size_t const count : {3UL, 20UL})
      for (auto const& [server, per_second] : {std::pair{busy(), rate},
                                               {busy(1), rate},
                                               {Server{.scatter = 1}, 70.0},
                                               {Server{}, 20.0},
                                               {Server{.workers = 1000}, 10'000.0}}) {
        CAPTURE(count, server.workers, server.scatter, per_second);
        auto const all = static_cast<double>(count) * per_second;
        auto const time = Duration{static_cast<Duration::rep>(20'000 / all * 1e9)};
        Traffic from_the_start(count, server, 1, policy);
        from_the_start.servers[1] = {.service = 100us, .result = Result::rejected, .workers = 1000};
        from_the_start.run(time / 2, all);
        CHECK(from_the_start.shares_of(time, all)[1] <= 1.3 / static_cast<double>(count));
        Traffic later(count, server, 1, policy);
        later.run(time / 4, all);
        later.servers[1] = {.service = 100us, .result = Result::rejected, .workers = 1000};
        later.run(time / 2, all);
        CHECK(later.shares_of(time, all)[1] <= 1.3 / static_cast<double>(count));
      }
  };
  with_each(test);
  test(tests::policy("adaptive"));
}

TEST_CASE("rejections that every backend gives alike do not hide a slow one") {
  auto const test = [](poise::AnyPolicy const& policy) {
    Traffic it(10, busy(), 1, policy);
    it.rejects_one_in = 5;
    it.servers[3].service = 100ms;
    it.run(1s, 7 * rate);
    CHECK(it.shares_of(1s, 7 * rate)[3] < 0.5 / 10);
  };
  with_each(test);
  test(tests::policy("adaptive"));
}

TEST_CASE("a backend that turns bad loses its traffic within 20 mean latencies") {
  with_each([](poise::AnyPolicy const& policy) {
    Traffic it(10, busy(), 1, policy);
    it.run(1s, 10 * rate);
    it.servers[3] = {.service = 100us, .result = Result::error, .workers = 1000};
    it.run(200ms, 10 * rate);
    CHECK(it.shares_of(1s, 10 * rate)[3] < 0.25 / 10);
  });
}

TEST_CASE("a backend that healed has its fair share again after 100 mean latencies") {
  with_each([](poise::AnyPolicy const& policy) {
    // 10 backends at 10 ms, one of them at 100 ms for 5 s. n = 14 000 picks in the second measured,
    // expected 1400: by chance alone their standard deviation would be 3 %.
    for (std::uint64_t const seed : {1U, 2U, 3U}) {
      Traffic it(10, busy(), seed, policy);
      it.run(1s, 10 * rate);
      it.servers[3].service = 100ms;
      CHECK(it.shares_of(5s, 10 * rate)[3] < 0.2 / 10);  // while it is slow
      it.servers[3].service = 10ms;
      it.run(1s, 10 * rate);
      auto const share = it.shares_of(1s, 10 * rate)[3];
      CHECK(share > 0.8 / 10);
      CHECK(share < 1.2 / 10);
    }
  });
}

TEST_CASE("a healed backend is found again where requests are few") {
  with_each([](poise::AnyPolicy const& policy) {
    // One at a time on each, so that exploring alone would ask it once in 100 mean latencies. n =
    // 7000 picks in 10 s, expected 700: by chance alone their standard deviation would be 4 %.
    Traffic it(10, Server{}, 1, policy);
    it.run(1s, 700);
    it.servers[3].service = 100ms;
    it.run(5s, 700);
    it.servers[3].service = 10ms;
    it.run(1s, 700);
    auto const share = it.shares_of(10s, 700)[3];
    CHECK(share > 0.8 / 10);
    CHECK(share < 1.2 / 10);
  });
}

TEST_CASE("a backend that healed of failing has its fair share again too") {
  with_each([](poise::AnyPolicy const& policy) {
    Traffic it(10, busy(), 1, policy);
    it.servers[3] = {.service = 100us, .result = Result::error, .workers = 1000};
    it.run(5s, 10 * rate);
    it.servers[3] = busy();
    it.run(1s, 10 * rate);
    auto const share = it.shares_of(1s, 10 * rate)[3];
    CHECK(share > 0.8 / 10);
    CHECK(share < 1.2 / 10);
  });
}

TEST_CASE("a new backend beside 9 busy ones is neither flooded nor starved") {
  with_each([](poise::AnyPolicy const& policy) {
    // Windows of 50 ms hold 70 picks of a fair share: by chance alone 12 %.
    for (double const scatter : {0.0, 0.3}) {
      Traffic it(9, busy(scatter), 1, policy);
      it.run(1s, 10 * rate);
      auto const start = it.clock.now();
      auto const joined = it.join(busy(scatter));
      it.run(3s, 10 * rate);
      double most = 0;
      for (auto from = start; from < start + 2900ms; from += 5ms)
        most = std::max(most, it.shares(from, from + 50ms)[joined]);
      CHECK(most <= 2.0 / 10);
      CHECK(it.shares(start + 2s, start + 3s)[joined] >= 0.5 / 10);
      CHECK(it.shares(start, start + 2s)[joined] >= 0.5 / 10);
    }
  });
}

TEST_CASE("equal backends end up with equal shares") {
  with_each([](poise::AnyPolicy const& policy) {
    // Without fading, peaks without new samples starved one of three: 14955 / 13820 / 1225 picks.
    for (auto const& [server, per_second] :
         {std::pair{busy(), 3 * rate}, {busy(0.5), 3 * rate}, {Server{.scatter = 0.5}, 3 * 30.0}}) {
      Traffic it(3, server, 1, policy);
      auto const time = Duration{static_cast<Duration::rep>(30'000 / per_second * 1e9)};
      for (auto const share : it.shares_of(time, per_second)) {
        CHECK(share > 0.9 / 3);
        CHECK(share < 1.1 / 3);
      }
    }
  });
}

TEST_CASE("shares do not depend on whether answers take microseconds or a minute") {
  for (auto const name : {"p2c(peak_ewma)", "least_latency"}) {
    CAPTURE(name);
    auto const policy = tests::policy(name);
    // The same traffic in slow motion: constants in seconds would tell them apart. Nanoseconds are
    // rounded differently, hence the tolerance.
    auto const sick_share = [&](Duration service) {
      auto const slower = static_cast<double>(service.count()) / 1e7;
      Traffic it(10, {.service = service, .workers = 20}, 1, policy);
      it.servers[3].service = 10 * service;
      return it.shares_of(200 * service, 10 * rate / slower)[3];
    };
    auto const expected = sick_share(10ms);
    CHECK(std::abs(sick_share(20us) - expected) < 0.003);
    CHECK(std::abs(sick_share(20s) - expected) < 0.003);
  }
}

TEST_CASE("after a pause the slow backend is no magnet") {
  with_each([](poise::AnyPolicy const& policy) {
    Traffic it(10, busy(), 1, policy);
    it.servers[3].service = 100ms;
    it.run(2s, 10 * rate);
    it.clock.advance(1h);
    CHECK(it.shares_of(100ms, 10 * rate)[3] < 2.0 / 10);
  });
}

// -- odd measurements
// ------------------------------------------------------------------------------

namespace {

constexpr auto not_a_number = std::numeric_limits<double>::quiet_NaN();

std::vector<std::uint64_t> totals_with(poise::AnyPolicy const& policy,
                                       std::chrono::duration<double> latency, int step_ns) {
  tests::Clock const clock;
  auto balancer = tests::servers_with(policy, tests::numbered(4), clock);
  for (int i = 0; i < 4000; ++i) {
    auto one = balancer.pick();
    auto other = balancer.pick();
    clock.advance(Duration{step_ns});
    one.finish(Result::success, latency);
    other.finish(Result::success, latency);
  }
  std::vector<std::uint64_t> totals;
  for (auto const& each : balancer.stats().backends) totals.push_back(each.total);
  return totals;
}

}  // namespace

TEST_CASE("invalid latencies hardly change a backend's share") {
  with_each([](poise::AnyPolicy const& policy) {
    // NaN, zero and negative ones; a clock that goes, stands still, and runs backwards. n = 8000,
    // expected 2000 each.
    for (auto const seconds :
         {not_a_number, 0.0, -1.0, 1e-9, 1e8, std::numeric_limits<double>::infinity()})
      for (int const step_ns : {1'000'000, 0, -1'000'000})
        for (auto const total :
             totals_with(policy, std::chrono::duration<double>{seconds}, step_ns)) {
          CAPTURE(seconds, step_ns);
          CHECK(total > 1000);
          CHECK(total < 3000);
        }
  });
}

TEST_CASE("one backend that reports zeros does not get everything") {
  with_each([](poise::AnyPolicy const& policy) {
    tests::Clock const clock;
    auto balancer = tests::servers_with(policy, tests::numbered(10), clock);
    std::vector<tests::AnyServers::Lease> leases(64);
    for (std::size_t i = 0; i < 20'000; ++i) {
      auto& lease = leases[i % leases.size()];
      clock.advance(100us);
      if (lease) lease.finish(Result::success, lease->id() == "3" ? 0ms : 10ms);
      lease = balancer.pick();
    }
    // 16 times the mean is all it is trusted with: the others keep something.
    CHECK(tests::stats_of(balancer, "3").total < 16'000);
  });
}

TEST_CASE("a clock that jumps back leaves latency-aware shares fair") {
  with_each([](poise::AnyPolicy const& policy) {
    Traffic it(4, busy(), 1, policy);
    it.run(1s, 4 * rate);
    it.clock.advance(-30min);
    it.picks.clear();
    for (auto const share : it.shares_of(2s, 4 * rate)) {
      CHECK(share > 0.8 / 4);
      CHECK(share < 1.2 / 4);
    }
  });
}

TEST_CASE("one backend, or several unknown ones, can be picked by latency") {
  with_each([](poise::AnyPolicy const& policy) {
    tests::Clock const clock;
    auto balancer = tests::servers_with(policy, tests::numbered(1), clock);
    CHECK(tests::picks(balancer, 3) == "000");
    balancer.update(tests::numbered(5, 1));
    // Nothing is known of any: they are drawn evenly. n = 5000, expected 1000, deviation 28.
    for (int i = 0; i < 5000; ++i) balancer.pick().finish(Result::cancelled);
    for (auto const& each : balancer.stats().backends) {
      CHECK(each.total > 850);
      CHECK(each.total < 1150);
    }
  });
}

TEST_CASE("if all backends fail the picks stay even") {
  with_each([](poise::AnyPolicy const& policy) {
    Traffic it(4, {.service = 1ms, .result = Result::refused, .workers = 1000}, 1, policy);
    for (auto const share : it.shares_of(2s, 4000)) {
      CHECK(share > 0.8 / 4);
      CHECK(share < 1.2 / 4);
    }
  });
}

// -- the estimates themselves
// ----------------------------------------------------------------------

TEST_CASE("a slow answer is the peak estimate at once and quick ones lower it slowly") {
  Alone<poise::PeakEwma> it;
  it.answer(100, 10ms);
  CHECK(it.ms() == Approx(10));
  it.answer(1, 80ms);
  CHECK(it.ms() == Approx(80));
  it.answer(1, 10ms);
  CHECK(it.ms() == Approx(10 + 70 * 15.0 / 16));
  it.answer(200, 10ms);
  CHECK(it.ms() == Approx(10).epsilon(0.01));
}

TEST_CASE("the mean estimate takes a sixteenth of each answer") {
  Alone<poise::Ewma> it;
  it.answer(100, 10ms);
  it.answer(1, 26ms);
  CHECK(it.ms() == Approx(11));
  it.answer(200, 26ms);
  CHECK(it.ms() == Approx(26).epsilon(0.01));
}

namespace {

template <class L>
void check_fading() {
  Alone<L> it;
  it.answer(1000, 10ms);
  it.answer(1, 100ms);
  auto const fresh = it.ms();
  auto const mean = 10.0;
  it.clock.advance(10ms);
  CHECK(it.ms() == Approx(fresh));
  it.clock.advance(100ms);  // z = 1: 1 / 2.5 of what is above half the mean is left
  CHECK(it.ms() == Approx(mean / 2 + (fresh - mean / 2) / 2.5).epsilon(0.05));
  it.clock.advance(24h);
  CHECK(it.ms() == Approx(mean / 2).epsilon(0.05));
}

}  // namespace

TEST_CASE("an estimate holds for a mean latency and then fades to half the mean") {
  check_fading<poise::Ewma>();
  check_fading<poise::PeakEwma>();
}

namespace {

template <class L>
void check_failures() {
  auto const after = [](poise::LatencyOptions options, poise::Outcome outcome, Duration latency) {
    Alone<L> it{L{options}};
    it.answer(1000, 10ms);
    it.clock.advance(10s);  // nothing is left of the mean
    it.end(latency, outcome);
    return it.ms();
  };
  CHECK(after({}, Result::error, 1us) == Approx(160).epsilon(0.05));
  CHECK(after({}, Result::refused, 300ms) == Approx(300).epsilon(0.05));
  CHECK(after({.timeout = 2s}, Result::reset, 1us) == Approx(2000).epsilon(0.05));
  CHECK(after({}, {Result::overloaded, true, 5s}, 1us) == Approx(5000).epsilon(0.05));
  CHECK(after({}, {Result::overloaded, true, -5s}, 1us) == Approx(160).epsilon(0.05));
}

}  // namespace

TEST_CASE("a failure counts as a timeout however fast it came") {
  check_failures<poise::Ewma>();
  check_failures<poise::PeakEwma>();
}

namespace {

template <class L>
void check_no_samples() {
  Alone<L> it;
  it.answer(100, 10ms);
  for (auto const result : {Result::cancelled, Result::rejected, Result::abandoned})
    it.end(90ms, result);
  it.end(std::nullopt);
  CHECK(it.ms() == Approx(10));
}

}  // namespace

TEST_CASE("what says nothing of the backend is no sample") {
  check_no_samples<poise::Ewma>();
  check_no_samples<poise::PeakEwma>();
}

TEST_CASE("a failure without a latency still counts") {
  Alone<poise::PeakEwma> it;
  it.answer(100, 10ms);
  it.end(std::nullopt, Result::timeout);
  CHECK(it.ms() == Approx(160));
}

TEST_CASE("an unknown backend reads as the pool's mean") {
  Alone<poise::PeakEwma> it;
  it.answer(1000, 25ms);
  poise::PeakEwma::State fresh;
  CHECK(it.load.latency(fresh, it.clock.now()) == Approx(25e6));
}

TEST_CASE("a copy of a load knows nothing of what the original measured") {
  Alone<poise::Ewma> it;
  it.answer(1000, 25ms);
  auto const copy = it.load;
  poise::Ewma assigned;
  assigned = it.load;
  poise::Ewma::State one;
  poise::Ewma::State other;
  CHECK(copy.latency(one, it.clock.now()) == Approx(1e6));
  CHECK(assigned.latency(other, it.clock.now()) == Approx(1e6));
}

TEST_CASE("latencies of years and of nanoseconds stay numbers") {
  Alone<poise::PeakEwma> it;
  it.backend.claim(1000);
  for (auto const latency : {Duration::max(), Duration{0}, Duration{1}, Duration::max()}) {
    it.answer(40, latency);
    it.end(latency, {Result::overloaded, true, Duration::max()});
    CHECK(it.ms() >= 0);
    CHECK(it.ms() < 1e30);
  }
}

// -- configuration and hooks
// -----------------------------------------------------------------------

TEST_CASE("wrong settings of a latency load are refused with the value") {
  using Catch::Matchers::Contains;
  CHECK_THROWS_WITH(poise::PeakEwma(poise::LatencyOptions{.window = 0}),
                    Contains("window of LatencyOptions is 0:"));
  CHECK_THROWS_AS(poise::Ewma(poise::LatencyOptions{.window = not_a_number}), poise::ConfigError);
  CHECK_THROWS_AS(poise::Ewma(poise::LatencyOptions{.window = -3}), poise::ConfigError);
  CHECK_THROWS_WITH(poise::Ewma(poise::LatencyOptions{.timeout = -5ns}), Contains("-5 ns"));
  CHECK_THROWS_WITH(poise::Score(poise::ScoreOptions{.per_request = -1}), Contains("per_request"));
  CHECK_THROWS_WITH(poise::Score(poise::ScoreOptions{.per_error_percent = not_a_number}),
                    Contains("per_error_percent"));
}

TEST_CASE("the score adds requests and milliseconds and percents") {
  // Three backends apart in one thing each; the policy always finds the least sum.
  tests::Clock const clock;
  auto balancer =
      tests::servers_with(poise::Least<poise::Score>{poise::Score{poise::ScoreOptions{
                              .per_request = 1, .per_millisecond = 0.1, .per_error_percent = 0}}},
                          tests::numbered(2), clock);
  for (int i = 0; i < 400; ++i) {
    auto lease = balancer.pick();
    lease.finish(Result::success, lease->id() == "0" ? 10ms : 30ms);
  }
  // 1 x requests + 0.1 x ms: backend 0 leads by two requests, within a millisecond.
  std::vector<decltype(balancer)::Lease> leases;
  for (int i = 0; i < 200; ++i) leases.push_back(balancer.pick());
  auto const ahead = static_cast<int>(tests::stats_of(balancer, "0").in_flight) -
                     static_cast<int>(tests::stats_of(balancer, "1").in_flight);
  CHECK(ahead >= 0);
  CHECK(ahead <= 6);
}

TEST_CASE("policies pass on what their load needs and nothing else") {
  using namespace poise;
  STATIC_REQUIRE_FALSE(hooks::has_on_finish<LeastConnections>);
  STATIC_REQUIRE_FALSE(hooks::has_on_finish<P2C>);
  STATIC_REQUIRE_FALSE(hooks::has_on_tick<P2C>);
  STATIC_REQUIRE_FALSE(hooks::has_state<P2C>);
  STATIC_REQUIRE_FALSE(hooks::time_use<P2C> == hooks::UsesTime::always);
  STATIC_REQUIRE(hooks::has_on_finish<Least<Weighted<PeakEwma>>>);
  STATIC_REQUIRE(hooks::has_on_finish<PowerOfTwo<Score>>);
  STATIC_REQUIRE(std::same_as<hooks::StateOf<PowerOfTwo<Weighted<Ewma>>>, Ewma::State>);
  STATIC_REQUIRE(hooks::time_use<PowerOfTwo<Weighted<Ewma>>> == hooks::UsesTime::always);
  STATIC_REQUIRE(std::is_empty_v<Least<Weighted<InFlight>>>);
  STATIC_REQUIRE(detail::explores_one_in<Weighted<Ewma>> == detail::explores_one_in<Ewma>);
  STATIC_REQUIRE(detail::explores_one_in<Weighted<InFlight>> == 0);
  CHECK(hooks::name(LeastLatency{}) == "least_latency");
  CHECK(hooks::name(PowerOfTwo<PeakEwma>{}) == "p2c(peak_ewma)");
  CHECK(hooks::name(Least<Weighted<Score>>{}) == "least(weighted(score))");
}

namespace {

struct Ticking {
  int* ticks;
  void on_tick(poise::Time) const { ++*ticks; }
  int operator()(poise::Candidates const&, std::size_t, poise::Context const&) const { return 0; }
};

}  // namespace

TEST_CASE("a load gets ticks through every wrapper") {
  int ticks = 0;
  using Policy = poise::PowerOfTwo<poise::Weighted<Ticking>>;
  auto balancer =
      tests::servers_with(Policy{poise::Weighted<Ticking>{Ticking{&ticks}}}, tests::numbered(2));
  balancer.tick();
  CHECK(ticks == 1);
}

TEST_CASE("a policy's state of a backend survives updates and ends with the policy") {
  tests::Clock const clock;
  poise::Balancer<poise::LeastLatency, void, poise::Runtime<tests::Clock>> balancer{
      tests::numbered(2), {}, {.clock = clock, .seed = 1}};
  auto const share_of_0 = [&] {
    auto const before = tests::stats_of(balancer, "0").total;
    for (int i = 0; i < 1000; ++i) balancer.pick().finish(Result::cancelled);
    return static_cast<double>(tests::stats_of(balancer, "0").total - before) / 1000;
  };
  for (int i = 0; i < 1000; ++i) {
    auto lease = balancer.pick();
    lease.finish(Result::success, lease->id() == "0" ? 50ms : 1ms);
  }
  CHECK(share_of_0() < 0.05);
  balancer.update({{.id = "x"}, {.id = "1", .address = "1"}, {.id = "0", .address = "0"}});
  balancer.remove("x");
  CHECK(share_of_0() < 0.05);
  balancer.set_policy({});
  CHECK(share_of_0() > 0.4);
}

TEST_CASE("two threads that learn at once lose no request") {
  with_each([](poise::AnyPolicy const& policy) {
    poise::Balancer<poise::AnyPolicy> balancer{tests::numbered(3), policy};
    auto const work = [&] {
      for (int i = 0; i < 20'000; ++i) {
        auto lease = balancer.pick();
        lease.finish(i % 7 == 0 ? Result::error : Result::success,
                     std::chrono::microseconds{i % 50});
      }
    };
    std::thread other{work};
    work();
    other.join();
    std::uint64_t total = 0;
    for (auto const& each : balancer.stats().backends) {
      CHECK(each.in_flight == 0);
      total += each.total;
    }
    CHECK(total == 40'000);
  });
}

}  // namespace unit_policy_latency
