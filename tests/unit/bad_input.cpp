// SPDX-License-Identifier: MIT
// What can be done wrong, and that it ends in words or a stated behaviour and never in a loss.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <poise/balancer.hpp>
#include <poise/compose/any_policy.hpp>
#include <poise/policy/hash_ring.hpp>
#include <poise/policy/maglev.hpp>
#include <poise/policy/power_of_two.hpp>

#include "support/catch.hpp"
#include "support/sanitized.hpp"
#include "support/scripted.hpp"
#include "support/servers.hpp"
#include "support/text.hpp"

namespace unit_bad_input {

using namespace std::chrono_literals;
using poise::ConfigError;
using poise::Endpoint;
using poise::PickError;
using poise::Result;
using poise::UpdateRefused;
using tests::ids_of;
using tests::letters;
using tests::mentions;
using tests::picks;
using tests::Scene;
using tests::servers;
using tests::stats_of;
using tests::thrown;

namespace {

std::string refusal(std::vector<Endpoint> endpoints) {
  return thrown<ConfigError>([&] { (void)servers(std::move(endpoints)); });
}

}  // namespace

// -- configurations
// ----------------------------------------------------------------------------------

TEST_CASE("an empty set may be constructed but not updated to") {
  auto balancer = servers({});
  auto const message = thrown<ConfigError>([&] { balancer.update({}); });
  CHECK(mentions(message, "clear()"));
  balancer.add({.id = "a"});
  CHECK(mentions(thrown<ConfigError>([&] { balancer.update({}); }), "clear()"));
  CHECK(ids_of(balancer) == "a");
}

TEST_CASE("duplicate ids are refused with both addresses") {
  auto const message = refusal({{.id = "web", .address = "10.0.0.1:80"},
                                {.id = "db", .address = "10.0.0.2:80"},
                                {.id = "web", .address = "10.0.0.3:80"}});
  CHECK(mentions(message, "\"web\""));
  CHECK(mentions(message, "1 (\"10.0.0.1:80\")"));
  CHECK(mentions(message, "3 (\"10.0.0.3:80\")"));
}

TEST_CASE("an address that equals another's id is a duplicate") {
  CHECK(mentions(refusal({{.id = "a", .address = "x"}, {.address = "a"}}), "\"a\""));
}

TEST_CASE("an endpoint with neither id nor address is refused by its number") {
  CHECK(mentions(refusal({{.id = "a"}, {}}), "endpoint number 2"));
}

TEST_CASE("an endpoint needs no address") {
  auto balancer = servers({{.id = "queue"}});
  CHECK(balancer.pick()->address().empty());
}

TEST_CASE("all weights zero is refused and the message says what to do") {
  auto const message = refusal({{.id = "a", .weight = 0}, {.id = "b", .weight = 0}});
  CHECK(mentions(message, "weight of \"a\" is 0"));
  CHECK(mentions(message, "drain()"));
}

TEST_CASE("the last weight above zero can't be set to zero") {
  auto balancer = servers({{.id = "a"}, {.id = "b", .weight = 0}});
  CHECK(mentions(thrown<ConfigError>([&] { balancer.set_weight("a", 0); }), "weight"));
  CHECK(stats_of(balancer, "a").weight == 1);
  CHECK(picks(balancer, 2) == "aa");
}

TEST_CASE("a first backend of weight zero can't be added") {
  auto balancer = servers({});
  CHECK(mentions(thrown<ConfigError>([&] { balancer.add({.id = "a", .weight = 0}); }), "weight"));
  CHECK(ids_of(balancer).empty());
}

TEST_CASE("a backend of weight zero can be added beside others") {
  auto balancer = servers(letters("a"));
  balancer.add({.id = "b", .weight = 0});
  CHECK(picks(balancer, 3) == "aaa");
}

TEST_CASE("when the last backend with weight is removed the error says so") {
  auto balancer = servers({{.id = "a"}, {.id = "b", .weight = 0}});
  balancer.remove("a");
  CHECK(message(balancer.pick().error()) == "1 backend: 1 with weight 0");
}

TEST_CASE("the greatest weight there is is a weight") {
  auto balancer =
      servers({{.id = "a", .weight = 2'147'483'647U}, {.id = "b", .weight = 2'147'483'647U}});
  CHECK(picks(balancer, 4) == "abab");
  CHECK(stats_of(balancer, "a").weight == 2'147'483'647U);
}

TEST_CASE("a weight that was negative is refused wherever it is given") {
  auto const minus_one = static_cast<std::uint32_t>(-1);
  CHECK(refusal({{.id = "a", .weight = minus_one}}) ==
        "weight of \"a\" is 4294967295: use 0 to 2147483647 (a negative number, made unsigned?)");
  auto balancer = servers(letters("a"));
  for (auto const& change : std::vector<std::function<void()>>{
           [&] { balancer.set_weight("a", minus_one); },
           [&] { balancer.add({.id = "b", .weight = minus_one}); },
           [&] { balancer.update({{.id = "a", .weight = minus_one}}); }})
    CHECK(mentions(thrown<ConfigError>(change), "is 4294967295: use 0 to"));
  CHECK(stats_of(balancer, "a").weight == 1);
}

TEST_CASE("a lease without a backend throws the reason instead of reading nothing") {
  auto balancer = servers(letters("ab"));
  balancer.drain("a");
  balancer.drain("b");
  auto const lease = balancer.pick();
  CHECK(thrown<poise::NoBackend>([&] { (void)lease->address(); }) == "2 backends: 2 drained");
  CHECK(thrown<poise::NoBackend>([&] { (void)(*lease).id(); }) == "2 backends: 2 drained");
  CHECK_THROWS_AS(lease.serial(), poise::NoBackend);
  CHECK_THROWS_AS(lease.core(), poise::NoBackend);
  balancer.undrain("a");
  auto finished = balancer.pick();
  finished.finish();
  CHECK(mentions(thrown<poise::NoBackend>([&] { (void)finished->address(); }), "was finished"));
}

TEST_CASE("adding an existing id is refused and changes nothing") {
  auto balancer = servers(letters("ab"));
  auto const message =
      thrown<ConfigError>([&] { balancer.add({.id = "b", .address = "elsewhere"}); });
  CHECK(mentions(message, "\"b\" is a backend already"));
  CHECK(stats_of(balancer, "b").address == "b");
}

TEST_CASE("an unknown id is refused by every operation with the ids there are") {
  auto balancer = servers(letters("ab"));
  using Operation = std::function<void()>;
  std::vector<std::pair<std::string, Operation>> const operations{
      {"remove", [&] { balancer.remove("x"); }},
      {"drain", [&] { balancer.drain("x"); }},
      {"undrain", [&] { balancer.undrain("x"); }},
      {"set_weight", [&] { balancer.set_weight("x", 2); }},
      {"set_health", [&] { balancer.set_health("x", poise::HealthState::healthy); }},
      {"report_health", [&] { balancer.report_health("x", poise::HealthState::healthy); }},
      {"set_admission", [&] { balancer.set_admission("x", {}); }},
  };
  for (auto const& [name, operation] : operations)
    CHECK(thrown<ConfigError>(operation) ==
          name + R"((): there is no backend "x"; there are "a", "b")");
}

TEST_CASE("an unknown id in a large set is refused in a short message") {
  auto balancer = servers(tests::numbered(10'000));
  auto const message = thrown<ConfigError>([&] { balancer.drain("x"); });
  CHECK(mentions(message, "..."));
  CHECK(message.size() < 200);
}

TEST_CASE("an unknown id in an empty set is refused in words of its own") {
  auto balancer = servers({});
  CHECK(mentions(thrown<ConfigError>([&] { balancer.drain("x"); }), "none at all"));
}

TEST_CASE("control characters of hostile ids do not reach the reader's terminal") {
  std::string const hostile = "a\x1b[2J\r\n\x07 ok";
  auto balancer = servers(letters("a"));
  auto const unknown = thrown<ConfigError>([&] { balancer.drain(hostile); });
  auto const twice = refusal({{.id = hostile}, {.id = hostile}});
  for (auto const& message : {unknown, twice}) {
    CHECK(mentions(message, "a\\x1b[2J\\x0d\\x0a\\x07 ok"));
    CHECK(message.find_first_of("\x1b\r\n\x07") == std::string::npos);
  }
}

TEST_CASE("ids of a megabyte and of odd bytes are ids") {
  std::string const long_id(1 << 20, 'x');
  std::string const odd_id{"\0\xff", 2};
  auto balancer = servers({{.id = long_id}, {.id = odd_id}});
  balancer.drain(long_id);
  CHECK(balancer.pick()->id() == odd_id);
  CHECK(mentions(thrown<ConfigError>([&] { balancer.add({.id = long_id}); }), "..."));
}

TEST_CASE("ids that differ only in their last byte are different") {
  auto balancer = servers({{.id = std::string{"a\0", 2}}, {.id = "a"}});
  CHECK(balancer.stats().backends.size() == 2);
}

// -- a balancer that is gone
// -------------------------------------------------------------------------

TEST_CASE("picks of a balancer that was moved from fail and say so") {
  auto balancer = servers(letters("a"));
  auto const moved = std::move(balancer);
  auto const lease = balancer.pick();  // NOLINT: what a moved-from balancer does is stated
  CHECK_FALSE(lease);
  CHECK(lease.error().reason == PickError::closed);
  CHECK_FALSE(balancer.record("a", Result::success));
}

TEST_CASE("a balancer that was moved from refuses changes and questions") {
  auto balancer = servers(letters("a"));
  auto const moved = std::move(balancer);
  CHECK(mentions(thrown<UpdateRefused>([&] { balancer.update(letters("b")); }),
                 "moved from"));  // NOLINT
  CHECK(mentions(thrown<UpdateRefused>([&] { balancer.drain("a"); }), "moved from"));
  CHECK(mentions(thrown<UpdateRefused>([&] { (void)balancer.stats(); }), "moved from"));
  CHECK(mentions(thrown<UpdateRefused>([&] { balancer.tick(); }), "moved from"));
  CHECK(mentions(thrown<poise::NoBackend>([&] { balancer.call([](auto&) {}); }), "moved from"));
}

TEST_CASE("a balancer that was moved from can be assigned to") {
  auto balancer = servers(letters("a"));
  {
    auto const moved = std::move(balancer);
  }
  balancer = servers(letters("b"));
  CHECK(picks(balancer, 2) == "bb");
}

// -- changes from the wrong place
// --------------------------------------------------------------------

TEST_CASE("a change from inside a pick is refused with words and the pick goes on") {
  Scene scene{letters("ab")};
  std::string message;
  scene.policy.hooks->pick = [&](auto const&, auto&) {
    message = thrown<UpdateRefused>([&] { scene.balancer.drain("a"); });
    return std::size_t{1};
  };
  CHECK(scene.balancer.pick()->id() == "b");
  CHECK(mentions(message, "inside a pick"));
  CHECK_FALSE(stats_of(scene.balancer, "a").drained);
}

TEST_CASE("a change from inside a policy's on_finish is refused") {
  Scene scene{letters("ab")};
  scene.policy.hooks->on_finish = [&](auto&) { scene.balancer.drain("a"); };
  scene.balancer.pick().finish();
  CHECK_FALSE(stats_of(scene.balancer, "a").drained);
  CHECK(scene.balancer.stats().observer_failures == 1);
}

TEST_CASE("a change from inside a plan is refused with words instead of a deadlock") {
  Scene scene{letters("ab")};
  std::string message;
  scene.policy.hooks->plan = [&](auto const&) {
    message = thrown<UpdateRefused>([&] { scene.balancer.drain("a"); });
  };
  scene.balancer.set_weight("b", 2);
  CHECK(mentions(message, "inside its own change"));
  CHECK(stats_of(scene.balancer, "b").weight == 2);
}

TEST_CASE("a change from inside a payload factory is refused with words instead of a deadlock") {
  using Numbers = poise::Balancer<poise::RoundRobin, int, poise::Runtime<tests::Clock>>;
  Numbers* self = nullptr;
  std::string message;
  Numbers balancer{letters("a"), [&](Endpoint const&) {
                     if (self != nullptr)
                       message = thrown<UpdateRefused>([&] { self->remove("a"); });
                     return 1;
                   }};
  self = &balancer;
  balancer.add({.id = "b"});
  CHECK(mentions(message, "inside its own change"));
  CHECK(ids_of(balancer) == "ab");
}

TEST_CASE("questions from inside a change are refused with words instead of a deadlock") {
  Scene scene{letters("ab")};
  std::string message;
  scene.policy.hooks->plan = [&](auto const&) {
    message = thrown<UpdateRefused>([&] { (void)scene.balancer.stats(); });
  };
  scene.balancer.set_weight("b", 2);
  CHECK(mentions(message, "inside its own change"));
}

TEST_CASE("a pick from inside a plan or rule sees the set as it was") {
  Scene scene{letters("ab")};
  std::string seen;
  scene.policy.hooks->plan = [&](auto const&) { seen += scene.balancer.pick()->id(); };
  scene.balancer.drain("a");
  CHECK(seen == "a");
  CHECK(picks(scene.balancer, 2) == "bb");
}

TEST_CASE("a pick from inside a pick is a pick") {
  Scene scene{letters("ab")};
  int depth = 0;
  scene.policy.hooks->pick = [&](auto const&, auto&) {
    if (++depth < 4) scene.balancer.pick().finish();
    return std::size_t{0};
  };
  scene.balancer.pick().finish();
  CHECK(stats_of(scene.balancer, "a").total == 4);
  CHECK(stats_of(scene.balancer, "a").in_flight == 0);
}

// -- policies that misbehave
// -------------------------------------------------------------------------

TEST_CASE("a policy that returns an index that does not exist gets a backend scanned for it") {
  Scene scene{letters("abc")};
  for (std::size_t const index : {std::size_t{3}, std::size_t{1000}, poise::Candidates::none}) {
    scene.policy.hooks->pick = [=](auto const&, auto&) { return index; };
    CHECK(picks(scene.balancer, 10).find('-') == std::string::npos);
  }
}

TEST_CASE("a policy that insists on an excluded backend gets another one") {
  Scene scene{letters("abc")};
  scene.policy.hooks->pick = [](auto const&, auto&) { return std::size_t{0}; };
  std::uint64_t const excluded[]{stats_of(scene.balancer, "a").serial};
  CHECK(picks(scene.balancer, 20, {.excluded = excluded}).find('a') == std::string::npos);
}

TEST_CASE("a policy that throws passes its exception on and nothing stays in flight") {
  Scene scene{letters("ab")};
  scene.policy.hooks->pick = [](auto const&, auto&) -> std::size_t {
    throw std::runtime_error{"pick"};
  };
  CHECK(thrown<std::runtime_error>([&] { (void)scene.balancer.pick(); }) == "pick");
  scene.policy.hooks->pick = nullptr;
  scene.balancer.drain("b");  // not from inside a pick: the read section has ended
  CHECK(picks(scene.balancer, 2) == "aa");
  CHECK(stats_of(scene.balancer, "a").in_flight == 0);
}

TEST_CASE("an admission hook that throws takes its claim back") {
  Scene scene{letters("a")};
  scene.policy.hooks->admit = [](auto const&, auto, auto) -> bool {
    throw std::runtime_error{"admit"};
  };
  CHECK(thrown<std::runtime_error>([&] { (void)scene.balancer.pick(); }) == "admit");
  CHECK(stats_of(scene.balancer, "a").in_flight == 0);
  CHECK(stats_of(scene.balancer, "a").total == 0);
}

TEST_CASE("an admission hook that always refuses ends in an error after a bounded search") {
  Scene scene{letters("abcd")};
  int asked = 0;
  scene.policy.hooks->admit = [&](auto const&, auto, auto) {
    ++asked;
    return false;
  };
  CHECK(message(scene.balancer.pick().error()) == "4 backends: 4 at a limit or filtered out");
  CHECK(asked <= 5 + 4);
  CHECK(stats_of(scene.balancer, "a").total == 0);
}

// -- clocks and latencies
// ----------------------------------------------------------------------------

TEST_CASE("a clock that jumps back between ticks forgives nothing and breaks nothing") {
  tests::Clock const clock;
  auto balancer = servers(letters("a"), clock);
  balancer.pick().finish(Result::error);
  balancer.tick();
  clock.advance(-10h);
  balancer.tick();
  CHECK(stats_of(balancer, "a").error_rate == 1.0);
  clock.advance(10s);
  balancer.tick();
  CHECK(*stats_of(balancer, "a").error_rate < 0.51);
}

TEST_CASE("a clock that stands still forgives nothing") {
  auto balancer = servers(letters("a"));
  balancer.pick().finish(Result::error);
  for (int i = 0; i < 10; ++i) balancer.tick();
  CHECK(stats_of(balancer, "a").error_rate == 1.0);
}

TEST_CASE("records with latencies that can't be true count without them") {
  auto balancer = servers(letters("a"));
  balancer.record("a", Result::success, -1ms);
  balancer.record("a", Result::success,
                  std::chrono::duration<double>{std::numeric_limits<double>::quiet_NaN()});
  balancer.record("a", Result::success,
                  std::chrono::duration<float>{std::numeric_limits<float>::infinity()});
  balancer.record("a", Result::success, std::chrono::hours{6'000'000});
  CHECK(stats_of(balancer, "a").total == 4);
  CHECK_FALSE(stats_of(balancer, "a").latency);
}

// -- very many
// ---------------------------------------------------------------------------------------

TEST_CASE("a request is refused at two to the 23 in flight and served again after", "[big]") {
  auto balancer = servers(letters("a"));
  using Lease = tests::Servers::Lease;
  std::vector<Lease::Token> tokens;
  tokens.reserve(1U << 23U);
  for (std::size_t i = 0; i < 1U << 23U; ++i) tokens.push_back(balancer.pick().release());
  CHECK(message(balancer.pick().error()) == "1 backend: 1 at a limit or filtered out");
  CHECK(stats_of(balancer, "a").in_flight == 1U << 23U);
  Lease::adopt(tokens.back()).finish();
  tokens.pop_back();
  CHECK(balancer.pick());
  for (auto const& token : tokens) Lease::adopt(token).finish();
  CHECK(stats_of(balancer, "a").in_flight == 0);
}

TEST_CASE("a million backends are constructed picked updated and removed", "[big]") {
  constexpr std::size_t many = tests::sanitized ? 100'000 : 1'000'000;
  auto const last = std::to_string(many - 1);
  auto balancer = servers(tests::numbered(many));
  for (int i = 0; i < 1000; ++i) REQUIRE(balancer.pick());
  balancer.drain(last);
  auto lease = balancer.pick();
  balancer.update(tests::numbered(many, many / 2));
  REQUIRE(balancer.pick());
  lease.finish();
  auto const stats = balancer.stats();
  CHECK(stats.backends.size() == many);
  CHECK(stats.backends[many / 2 - 1].drained);
}

TEST_CASE("a keyed policy that is never given a key is told in the statistics") {
  auto const warnings_after = [](int picks, auto policy, std::string const& key) {
    poise::Balancer<decltype(policy)> balancer{poise::endpoints({"a", "b"}), policy};
    for (int i = 0; i < picks; ++i) balancer.pick().finish();
    balancer.pick({.client_id = key}).finish();
    return balancer.stats().warnings;
  };
  CHECK(warnings_after(998, poise::Maglev{}, "").empty());
  CHECK(warnings_after(2000, poise::Maglev{}, "someone").empty());
  CHECK(warnings_after(2000, poise::P2C{}, "").empty());
  auto const warnings = warnings_after(999, poise::Maglev{}, "");
  REQUIRE(warnings.size() == 1);
  CHECK(warnings[0] ==
        "maglev spreads requests by their keys, but none of 1000 requests had one: set "
        "Request::route_key or client_id, or take another policy");
  CHECK(warnings_after(1000, poise::AnyPolicy{poise::HashRing{}}, "").size() == 1);
  CHECK(warnings_after(1000, poise::AnyPolicy{poise::P2C{}}, "").empty());
}

}  // namespace unit_bad_input
