// SPDX-License-Identifier: MIT

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <support/catch.hpp>
#include <support/clock.hpp>

#include <poise/analysis/decisions.hpp>
#include <poise/analysis/json.hpp>
#include <poise/analysis/pages.hpp>
#include <poise/balancer.hpp>
#include <poise/error.hpp>
#include <poise/observe/handler.hpp>
#include <poise/policy/least.hpp>
#include <poise/policy/power_of_two.hpp>
#include <poise/policy/round_robin.hpp>
#include <poise/runtime.hpp>

namespace unit_analysis_decisions {

using namespace poise;
using namespace std::chrono_literals;
using analysis::DecisionOptions;
using analysis::Decisions;

namespace {

using All = Decisions<DecisionOptions{.sampling = 0}>;

/// Three backends, of which every pick is recorded.
template <class P>
struct Watched {
  tests::Clock clock{};
  Balancer<P, void, Runtime<tests::Clock, All>> servers{
      endpoints({"a:1", "b:1", "c:1"}), {}, {.clock = clock, .seed = 1, .observers = {}}};
  [[nodiscard]] std::vector<analysis::Decision> last() {
    return servers.template observer<All>().last();
  }
};

}  // namespace

TEST_CASE("the last 256 decisions are kept, the newest first") {
  Watched<RoundRobin> pool;
  for (int i = 0; i < 300; ++i) pool.servers.pick().finish();
  auto const last = pool.last();
  REQUIRE(last.size() == 256);
  for (std::size_t i = 0; i < last.size(); ++i) CHECK(last[i].number == 299 - i);
  CHECK(last[0].winner == "c:1");
  CHECK(last[1].winner == "b:1");
  CHECK(pool.servers.observer<All>().last(3).size() == 3);
  CHECK(pool.servers.observer<All>().recorded() == 300);
  CHECK(pool.servers.observer<All>().lost() == 0);
}

TEST_CASE("one of many picks is recorded, at random and not in step with a rotation") {
  using Some = Decisions<DecisionOptions{.sampling = 3}>;
  Balancer<RoundRobin, void, Runtime<tests::Clock, Some>> servers{
      endpoints({"a", "b", "c", "d", "e", "f", "g", "h"})};
  for (int i = 0; i < 1600; ++i) servers.pick().finish();
  auto const& decisions = servers.observer<Some>();
  CHECK(decisions.recorded() >= 199);  // the first and the last eight may be cut
  CHECK(decisions.recorded() <= 201);
  std::vector<std::string> seen;
  for (auto const& each : decisions.last())
    if (std::ranges::find(seen, each.winner) == seen.end()) seen.push_back(each.winner);
  CHECK(seen.size() == 8);
}

TEST_CASE("a decision is told in one line") {
  Watched<LeastConnections> pool;
  auto const on_a = pool.servers.pick({.preferred = "a:1"});
  auto const on_b = pool.servers.pick({.preferred = "b:1"});
  auto const winner = pool.servers.pick({.route_key = "user \"7\""});
  CHECK(winner->id() == "c:1");
  pool.clock.advance(1200ms);
  auto const all = pool.last();
  CHECK(message(all[0], pool.servers.now()) ==
        "2: 1.2 s ago: c:1 (1 in flight) for the key \"user \\\"7\\\"\"; 3 candidates; a:1 1, b:1 "
        "1, c:1 0");
  CHECK(message(all[2], pool.servers.now()) ==
        "0: 1.2 s ago: a:1 (1 in flight), found by the balancer");
  auto const text = json(all, pool.servers.now());
  CHECK(text.starts_with(
      R"({"decisions":[{"number":2,"age":1.2,"winner":"c:1","in_flight":1,"key":"user \"7\"",)"));
  CHECK(text.find(R"("backends":[{"id":"a:1","score":1,"compared":false,"refused_by":""})") !=
        std::string::npos);
}

TEST_CASE("a decision about a backend that is gone has its name") {
  Watched<P2C> pool;
  (void)pool.servers.pick({.preferred = "a:1"});
  pool.servers.remove("a:1");
  CHECK(pool.last()[0].winner == "a:1");
  for (int i = 0; i < 1200; ++i) {
    pool.servers.add({.id = "x" + std::to_string(i)});
    pool.servers.remove("x" + std::to_string(i));
  }
  CHECK(pool.last()[0].winner.starts_with("removed backend "));  // of so many no name is kept
}

TEST_CASE("a pick that failed is a decision, too") {
  Watched<P2C> pool;
  for (auto const* id : {"a:1", "b:1", "c:1"}) pool.servers.drain(id);
  CHECK_FALSE(pool.servers.pick());
  CHECK(message(pool.last()[0], pool.servers.now()) == "0: 0.0 s ago: no backend");
}

TEST_CASE("decisions that two balancers would share are refused") {
  All const decisions;
  using Servers = Balancer<P2C, void, Runtime<tests::Clock, All>>;
  Runtime<tests::Clock, All> const runtime{.observers = {decisions}};
  Servers const first{endpoints({"a"}), {}, runtime};
  CHECK_THROWS_AS((Servers{endpoints({"b"}), {}, runtime}), ConfigError);
}

TEST_CASE("/decisions lists what sampled picks did") {
  Watched<LeastConnections> pool;
  observe::Handler handler;
  analysis::add_decisions(handler, pool.servers, pool.servers.observer<All>());
  auto const get = [&](std::string_view target) {
    return handler({.method = "GET", .target = target, .host = "localhost"});
  };
  CHECK(get("/decisions").body == "0 of 0 sampled picks, one in 1\n");
  auto const on_a = pool.servers.pick({.preferred = "a:1"});
  (void)pool.servers.pick({.preferred = "b:1"});
  auto const page = get("/decisions");
  CHECK(page.status == 200);
  CHECK(page.type == "text/plain; charset=utf-8");
  CHECK(page.body.starts_with("2 of 2 sampled picks, one in 1\n1: "));
  CHECK(get("/decisions?id=b:1").body.starts_with("1 of 2 sampled picks"));
  CHECK(get("/decisions?id=%00%ff<script>").body == "0 of 2 sampled picks, one in 1\n");
  CHECK(get("/decisions?format=json").type == "application/json");
  CHECK(get("/decisions?format=json").body.starts_with(R"({"decisions":[{"number":1,)"));
  CHECK(get("/decisions?id=%zz").status == 400);
  CHECK(get("/decisions?key=1").body ==
        "\"key\" = \"1\" is not known; there are id=..., and format=text or json\n");

  // Keys are shown as they were sent: whatever bytes they have, the page is UTF-8.
  (void)pool.servers.pick({.route_key = std::string_view{"\xff\0<&", 4}});
  CHECK(get("/decisions").body.find("\xff") == std::string::npos);
  CHECK(get("/decisions?format=json").body.find("\xff") == std::string::npos);
}

}  // namespace unit_analysis_decisions
