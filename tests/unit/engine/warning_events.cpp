// SPDX-License-Identifier: MIT
// Wrong use that stats().warnings lists is an event, once while it lasts.

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <poise/balancer.hpp>
#include <poise/compose/any_policy.hpp>
#include <poise/compose/retry.hpp>
#include <poise/observe/lease_watch.hpp>
#include <poise/observe/log.hpp>
#include <poise/policy/maglev.hpp>
#include <poise/policy/round_robin.hpp>

#include "support/catch.hpp"
#include "support/servers.hpp"

namespace unit_engine_warning_events {

using namespace std::chrono_literals;
using poise::Event;

namespace {

/// Keeps the warnings that it is told.
struct Listener {
  std::shared_ptr<std::vector<std::string>> heard = std::make_shared<std::vector<std::string>>();
  std::shared_ptr<std::function<void()>> then = std::make_shared<std::function<void()>>();

  void on_event(Event const& event) const {
    if (event.kind != Event::Kind::warning) return;
    CHECK(event.id.empty());
    heard->push_back(event.warning);
    if (*then) (*then)();
  }
};

struct Watched {
  using Runtime = poise::Runtime<tests::Clock, poise::observe::LeaseWatch, Listener>;
  using Balancer = poise::Balancer<poise::RoundRobin, void, Runtime>;

  tests::Clock clock{};
  Listener listener{};
  Balancer balancer{
      tests::letters("ab"),
      {},
      {.clock = clock, .seed = 1, .observers = {poise::observe::LeaseWatch{}, listener}}};

  std::vector<std::string> heard() { return std::exchange(*listener.heard, {}); }
};

template <class P>
std::vector<std::string> warnings_of_picks(P policy, int picks) {
  Listener listener;
  poise::Balancer<P, void, poise::Runtime<tests::Clock, Listener>> balancer{
      tests::letters("ab"), std::move(policy), {.clock = {}, .seed = 1, .observers = {listener}}};
  for (int i = 0; i < picks; ++i) balancer.pick().finish();
  balancer.tick();
  balancer.pick().finish();
  balancer.tick();
  return *listener.heard;
}

}  // namespace

TEST_CASE("leases held too long are told once a backend, and again if it happens again") {
  Watched watched;
  auto on_a = tests::pick_of(watched.balancer, "a");
  watched.clock.advance(2min);
  CHECK(watched.heard().empty());
  watched.balancer.tick();
  auto const heard = watched.heard();
  REQUIRE(heard.size() == 1);
  CHECK(heard[0].find("leases held too long: 1 on \"a\"") == 0);
  auto const on_b = tests::pick_of(watched.balancer, "b");
  watched.clock.advance(2min);  // another number for "a"
  watched.balancer.tick();
  watched.balancer.tick();
  CHECK(watched.heard().size() == 1);
  on_a.finish();
  watched.balancer.tick();
  CHECK(watched.heard().empty());
  on_a = tests::pick_of(watched.balancer, "a");
  watched.clock.advance(2min);
  watched.balancer.tick();
  CHECK(watched.heard().size() == 1);
}

TEST_CASE("stats() tells what it lists, too, and a tick does not repeat it") {
  Watched watched;
  auto const lease = watched.balancer.pick();
  watched.clock.advance(2min);
  auto const listed = watched.balancer.stats().warnings;
  CHECK(listed.size() == 1);
  CHECK(watched.heard() == listed);
  watched.balancer.tick();
  CHECK(watched.heard().empty());
}

TEST_CASE("a warning that is set is listed and told until it is taken back") {
  Watched watched;
  auto& balancer = watched.balancer;
  CHECK(balancer.stats().warnings.empty());
  balancer.set_warning("probes", "none can be made");
  balancer.set_warning("a", "of another kind than a backend's");
  balancer.set_warning("probes", "none of 2 can be made");
  std::vector<std::string> const both{"of another kind than a backend's", "none of 2 can be made"};
  CHECK(balancer.stats().warnings == both);
  CHECK(watched.heard() == both);
  auto const on_a = tests::pick_of(balancer, "a");
  watched.clock.advance(2min);
  balancer.tick();
  CHECK(watched.heard().size() == 1);
  balancer.set_warning("probes", "");
  balancer.set_warning("never set", "");
  CHECK(balancer.stats().warnings.size() == 2);
  balancer.set_warning("probes", "again");
  balancer.tick();
  CHECK(watched.heard() == std::vector<std::string>{"again"});
}

TEST_CASE("a policy that is used in vain is told once") {
  using poise::AnyPolicy;
  auto const keys = warnings_of_picks(poise::Maglev{}, 1000);
  REQUIRE(keys.size() == 1);
  CHECK(keys[0].find("maglev spreads requests by their keys, but none of 1000") == 0);
  auto const retry = warnings_of_picks(poise::Retry<poise::RoundRobin>{}, 1000);
  REQUIRE(retry.size() == 1);
  CHECK(retry[0].find("retry(round_robin) retries in call() only") == 0);
  CHECK(warnings_of_picks(AnyPolicy{poise::Retry<poise::Maglev>{}}, 1000).size() == 2);
  CHECK(warnings_of_picks(AnyPolicy{poise::RoundRobin{}}, 1000).empty());
  CHECK(warnings_of_picks(poise::Maglev{}, 900).empty());
}

TEST_CASE("an observer that asks for the statistics is told nothing twice") {
  Watched watched;
  int asked = 0;
  *watched.listener.then = [&] {
    ++asked;
    CHECK(watched.balancer.stats().warnings.size() == 1);
  };
  auto const lease = watched.balancer.pick();
  watched.clock.advance(2min);
  watched.balancer.tick();
  CHECK(asked == 1);
}

TEST_CASE("a log has warnings as lines of their own") {
  std::vector<std::string> lines;
  using Log = poise::observe::Log<tests::Clock>;
  using Runtime = poise::Runtime<tests::Clock, poise::observe::LeaseWatch, Log>;
  tests::Clock clock;
  poise::Balancer<poise::RoundRobin, void, Runtime> balancer{
      tests::letters("a"),
      {},
      {.clock = clock,
       .seed = 1,
       .observers = {poise::observe::LeaseWatch{},
                     Log{[&](poise::observe::Level level, std::string const& line) {
                       if (level == poise::observe::Level::warning) lines.push_back(line);
                     }}}}};
  auto const lease = balancer.pick();
  clock.advance(2min);
  balancer.tick();
  balancer.tick();
  REQUIRE(lines.size() == 1);
  CHECK(lines[0].find("leases held too long: 1 on \"a\"") == 0);
}

}  // namespace unit_engine_warning_events
