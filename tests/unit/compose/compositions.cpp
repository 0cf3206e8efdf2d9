// SPDX-License-Identifier: MIT
// What holds of every policy made of policies: wrappers around wrappers, and ten of them.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <poise/balancer.hpp>
#include <poise/random.hpp>

#include "support/catch.hpp"
#include "support/clock.hpp"
#include "support/compositions.hpp"
#include "support/servers.hpp"
#include "support/text.hpp"

namespace unit_compose_compositions {

using poise::HealthState;
using poise::Priority;
using poise::Result;
using tests::Build;
using tests::fleet;
using tests::Leaves;
using tests::ProbeLog;

namespace {

template <class P>
poise::AnyPolicy make_erased(Leaves& leaves) {
  return poise::AnyPolicy{Build<P>::with(leaves)};
}

/// How to make a policy, and of what.
struct Recipe {
  poise::AnyPolicy (*make)(Leaves&);
  bool filters;
  bool filters_as_inner;  // if what is behind its AnyPolicies does
};
template <class... P>
auto recipes_of(std::tuple<P...> const*) {
  return std::vector{Recipe{&make_erased<P>, tests::filters<P>, tests::filters<P, true>}...};
}
template <class All>
std::vector<Recipe> recipes() {
  return recipes_of(static_cast<All const*>(nullptr));
}

template <class P>
struct Fixture {
  using Make = P (*)(Leaves&);
  Leaves leaves;
  Make make;
  bool filters;
  tests::Clock clock{};
  poise::Balancer<P, void, poise::Runtime<tests::Clock>> balancer;

  Fixture(Leaves with, Make how, bool filtering)
      : leaves{std::move(with)},
        make{how},
        filters{filtering},
        balancer{fleet(), make(leaves), {.clock = clock, .seed = 1}} {}

  /// So many picks of all priorities, each finished; false if one did not go as it should.
  bool serve(int count, std::vector<std::uint64_t> const& excluded = {}) {
    bool good = true;
    for (int i = 0; i < count; ++i) {
      auto const admitted = leaves.sum(&ProbeLog::admitted);
      auto const ends = leaves.sum(&ProbeLog::ends);
      auto const key = std::to_string(i / 2);
      auto lease = balancer.pick({.route_key = i % 2 == 0 ? std::string_view{key} : "",
                                  .priority = static_cast<Priority>(i % 3),
                                  .excluded = excluded});
      if (!lease) {
        good = good && leaves.sum(&ProbeLog::admitted) == admitted;
        continue;
      }
      auto const& backend = *lease;
      good = good && !backend.drained() && backend.health() != HealthState::unhealthy;
      good = good && !(filters && backend.id() == "hidden");
      good = good && leaves.sum(&ProbeLog::admitted) == admitted + 1 && let_in(backend.id());
      lease.finish();
      good = good && leaves.sum(&ProbeLog::ends) == ends + 1;
    }
    return good && leaves.sum(&ProbeLog::mistakes) == 0;
  }
  /// Is this the backend that one of the probes let in last?
  bool let_in(std::string const& id) const {
    for (auto const& log : leaves.logs)
      if (log->last_id == id) return true;
    return false;
  }
};

/// Runs a test with a balancer of each composition: every wrapper around a probe, around every
/// wrapper that is chosen at run time, and around one whose type it knows; and ten deep, by its
/// type.
template <class Test>
void with_each(Test const& test, std::string const& refuses = {}) {
  auto const run = [&](auto fixture) {
    auto const name = fixture.balancer.name();
    CAPTURE(name);
    test(fixture);
  };
  using Erased = Fixture<poise::AnyPolicy>;
  auto const inner = recipes<tests::EachAround<tests::Leaf>>();
  for (auto const& each : inner) run(Erased{{.refuses = refuses}, each.make, each.filters});
  for (auto const& each : recipes<tests::EachAround<poise::AnyPolicy>>()) {
    run(Erased{{.refuses = refuses}, each.make, each.filters});
    for (auto const& other : inner)
      run(Erased{{.refuses = refuses, .erased = other.make},
                 each.make,
                 other.filters ? each.filters_as_inner : each.filters});
  }
  for (auto const& each : recipes<tests::SomePairs>())
    run(Erased{{.refuses = refuses}, each.make, each.filters});
  run(Fixture<tests::TenDeep>{{.refuses = refuses}, &Build<tests::TenDeep>::with, true});
}

}  // namespace

TEST_CASE("in a composition exactly the policy that picked is notified of the outcome") {
  with_each([](auto& test) {
    CHECK(test.serve(60));
    CHECK(test.leaves.sum(&ProbeLog::ends) == 60);
  });
}

TEST_CASE("a composition picks only eligible backends, through all changes") {
  with_each([](auto& test) {
    auto& balancer = test.balancer;
    std::uint64_t random = 7;
    for (int step = 0; step < 150; ++step) {
      random = poise::detail::mix(random + 1);
      auto const id = std::string(1, static_cast<char>('a' + random / 16 % 12));
      std::vector<std::uint64_t> excluded;
      switch (random % 8) {
        case 0: balancer.drain(id); break;
        case 1:
        case 2: balancer.undrain(id); break;
        case 3: balancer.set_health(id, HealthState::unhealthy); break;
        case 4: balancer.set_health(id, HealthState::degraded); break;
        case 5: balancer.set_health(id, std::nullopt); break;
        case 6:
          balancer.set_admission(id, {.max_in_flight = random / 256 % 2 == 0 ? 0U : 9U});
          break;
        default:
          for (auto const& each : balancer.stats().backends)
            if (excluded.size() < random / 256 % 8) excluded.push_back(each.serial);
      }
      REQUIRE(test.serve(6, excluded));
    }
    CHECK(test.leaves.sum(&ProbeLog::ends) > 300);
  });
}

TEST_CASE("a composition keeps the state of backends that stay") {
  with_each([](auto& test) {
    CHECK(test.serve(300));
    auto const fresh = test.leaves.sum(&ProbeLog::fresh);
    auto endpoints = fleet();
    std::swap(endpoints[0], endpoints[9]);
    test.balancer.update(endpoints);
    CHECK(test.serve(300));
    CHECK(test.leaves.sum(&ProbeLog::fresh) == fresh);
    test.balancer.set_policy(test.make(test.leaves));
    CHECK(test.serve(30));
    CHECK(test.leaves.sum(&ProbeLog::fresh) > fresh);
  });
}

TEST_CASE("a composition calls admit on the policy that picked") {
  with_each(
      [](auto& test) {
        CHECK(test.serve(120));
        CHECK(tests::stats_of(test.balancer, "b").total == 0);
        for (auto const& each : fleet())
          if (each.id != "b") test.balancer.drain(each.id);
        CHECK_FALSE(test.balancer.pick());
      },
      "b");
}

TEST_CASE("a tick reaches every policy in a composition") {
  with_each([](auto& test) {
    test.balancer.tick(poise::Time{poise::Duration{77}});
    for (auto const& log : test.leaves.logs) {
      CHECK(log->ticks >= 1);
      CHECK(log->last_tick == poise::Time{poise::Duration{77}});
    }
  });
}

TEST_CASE("a composition decides on retries") {
  with_each([](auto& test) {
    // Probes allow 2 attempts; a Retry allows 3 and asks no inner policy.
    int tries = 0;
    test.balancer.call([&](auto&) {
      ++tries;
      return poise::Outcome{Result::refused};
    });
    CHECK(tries == (test.leaves.sum(&ProbeLog::decisions) == 0 ? 3 : 2));
  });
}

TEST_CASE("a composition has the timeouts of the policy that decides on retries") {
  with_each([](auto& test) {
    auto const policy = test.make(test.leaves);
    auto const timeouts = poise::hooks::timeouts(policy, poise::any_request);
    (void)poise::hooks::decide(policy, {poise::any_request, Result::refused, {}, 0});
    bool const a_probe = test.leaves.sum(&ProbeLog::decisions) != 0;
    CHECK(timeouts.timeout == (a_probe ? std::chrono::hours{1} : std::chrono::hours{0}));
  });
}

TEST_CASE("what each policy in a composition leaves is its successor's") {
  with_each([](auto& test) {
    auto const before = test.leaves.logs;
    test.balancer.set_policy(test.make(test.leaves));
    REQUIRE(test.leaves.logs.size() == 2 * before.size());
    for (std::size_t i = 0; i < before.size(); ++i)
      CHECK(test.leaves.logs[before.size() + i]->predecessor == before[i]);
  });
}

TEST_CASE("a composition takes time, keys and name from its inner policy") {
  with_each([](auto& test) {
    auto const policy = test.make(test.leaves);
    CHECK(poise::hooks::traits(policy).uses_time);
    CHECK(poise::hooks::traits(policy).keyed);
    CHECK(poise::hooks::traits(policy).wants_finish);
    CHECK(tests::mentions(poise::hooks::name(policy), "probe"));
  });
}

namespace {

template <class... P>
consteval bool are_policies(std::tuple<P...> const*) {
  return ((poise::Policy<P> && poise::detail::check_policy<P>() &&
           poise::hooks::time_use<P> != poise::hooks::UsesTime::never) &&
          ...);
}

}  // namespace

TEST_CASE("every wrapper around every other is a policy that uses time if a probe in it does") {
  STATIC_REQUIRE(are_policies(static_cast<tests::Pairs const*>(nullptr)));
}

TEST_CASE("a composition of which all backends are excluded repeats one") {
  with_each([](auto& test) {
    // Five are left, so that the request can name all of them.
    std::vector<std::uint64_t> excluded;
    for (auto const& each : test.balancer.stats().backends) {
      if (excluded.size() < 5) excluded.push_back(each.serial);
      else test.balancer.drain(each.id);
    }
    CHECK(test.serve(12, excluded));
    CHECK(test.leaves.sum(&ProbeLog::ends) == 12);
  });
}

TEST_CASE("what policies do not have their wrappers do not have") {
  using Plain =
      tests::Filtered<poise::Failover<poise::ZoneAware<poise::Subset<poise::RoundRobin>>>>;
  STATIC_REQUIRE_FALSE(poise::hooks::has_on_finish<Plain>);
  STATIC_REQUIRE_FALSE(poise::hooks::has_on_tick<Plain>);
  STATIC_REQUIRE_FALSE(poise::hooks::has_decide<Plain>);
  STATIC_REQUIRE(poise::hooks::time_use<Plain> == poise::hooks::UsesTime::never);
  using Half = tests::Probe<false, false>;
  STATIC_REQUIRE(poise::hooks::time_use<poise::Failover<Half>> == poise::hooks::UsesTime::never);
  CHECK_FALSE(poise::hooks::traits(poise::Failover<Half>{}).keyed);
}

TEST_CASE("wrappers of erased policies have a last word if they or these do") {
  using poise::AnyPolicy;
  auto const may_refuse = [](auto const& policy) {
    return poise::hooks::traits(policy).may_refuse;
  };
  auto const plain = [] { return AnyPolicy{poise::RoundRobin{}}; };
  auto const strict = [] { return AnyPolicy{tests::Leaf{}}; };
  CHECK_FALSE(may_refuse(poise::Retry<AnyPolicy>{{}, plain()}));
  CHECK(may_refuse(poise::Retry<AnyPolicy>{{}, strict()}));
  CHECK_FALSE(may_refuse(poise::Failover<AnyPolicy>{{}, plain()}));
  CHECK(may_refuse(poise::Failover<AnyPolicy>{{}, strict()}));
  CHECK_FALSE(may_refuse(poise::Failover<AnyPolicy, AnyPolicy>{{}, plain(), plain()}));
  CHECK(may_refuse(poise::Failover<AnyPolicy, AnyPolicy>{{}, plain(), strict()}));
  CHECK(may_refuse(tests::Filtered<AnyPolicy>{{}, plain()}));
  CHECK(may_refuse(poise::Subset<AnyPolicy>{{.size = 1}, plain()}));
}

TEST_CASE("a type that nests too deep for its path does not compile") {
  // 32 bits: ten wrappers of three bits each fit.
  STATIC_REQUIRE(poise::detail::path_bits<tests::TenDeep> == 2 + 3 + 3 + 2 + 3);
  using Three = poise::Failover<poise::Failover<poise::Failover<tests::Leaf>>>;
  STATIC_REQUIRE(poise::detail::path_bits<Three> == 9);
}

TEST_CASE("a path that overflows at run time notifies no policy instead of a wrong one") {
  // Type-erased wrappers hide their depth. Ten numbers of three bits fit; beyond, the innermost
  // ones are forgotten.
  using Step = poise::detail::Step<3>;
  for (std::size_t depth = 1; depth < 40; ++depth) {
    poise::Path path;
    for (std::size_t level = 0; level < depth; ++level) Step::push(path, level % 7);
    for (std::size_t level = depth; level-- > 0;) {
      auto const child = Step::pop(path);
      REQUIRE((child || depth > 10));
      REQUIRE((!child || *child == level % 7));
    }
  }
}

TEST_CASE("erased wrappers nested beyond the path notify no policy of outcomes") {
  using poise::AnyPolicy;
  Leaves leaves;
  auto policy = AnyPolicy{leaves.make()};
  for (int depth = 0; depth < 12; ++depth)
    policy = AnyPolicy{poise::PriorityRouter<AnyPolicy, poise::RoundRobin, AnyPolicy>{
        {}, AnyPolicy{poise::RoundRobin{}}, {}, std::move(policy)}};
  tests::AnyServers twelve{fleet(), policy, {.seed = 1}};
  CHECK(tests::picks(twelve, 5, {.priority = Priority::low}).size() >= 5);
  CHECK(leaves.sum(&ProbeLog::ends) == 5);  // 24 bits fit
  for (int depth = 0; depth < 8; ++depth)
    policy = AnyPolicy{poise::PriorityRouter<AnyPolicy, poise::RoundRobin, AnyPolicy>{
        {}, AnyPolicy{poise::RoundRobin{}}, {}, std::move(policy)}};
  tests::AnyServers twenty{fleet(), policy, {.seed = 1}};
  CHECK(tests::picks(twenty, 5, {.priority = Priority::low}).size() >= 5);
  CHECK(leaves.sum(&ProbeLog::ends) == 5);
  CHECK(leaves.sum(&ProbeLog::mistakes) == 0);
}

}  // namespace unit_compose_compositions
