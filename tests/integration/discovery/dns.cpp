// SPDX-License-Identifier: MIT
// c-ares against a real knot: SRV, TTLs, names that are not there, zones that can't be loaded, a
// hundred addresses, changes; behind a real unbound that caches; and against silent sockets.

#include <signal.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include <poise/discovery/cares/dns.hpp>
#include <poise/discovery/watcher.hpp>
#include <poise/poise.hpp>

#include "integration/discovery/dns_servers.hpp"
#include "integration/discovery/servers.hpp"
#include "support/catch.hpp"

namespace integration_discovery_dns {

using namespace std::chrono_literals;
using namespace poise::discovery;
using tests::Knot;
using tests::Unbound;

namespace {

/// Asks once, and waits for the answer.
Look look(std::unique_ptr<Source> const& source) {
  poise::SteadyClock const clock;
  source->ask(clock.now());
  for (;;) {
    if (auto answer = source->next(clock.now())) return std::move(*answer);
    Waits waits;
    source->add_waits(waits);
    poise::discovery::detail::wait_for(waits, clock.now());
  }
}
std::string why(Look const& look) {
  auto const* const failed = std::get_if<Failed>(&look);
  return failed == nullptr ? "found" : failed->why;
}
std::string list(Look const& answer) {
  INFO(why(answer));
  REQUIRE(std::holds_alternative<Found>(answer));
  auto const sorted = normalize(std::get<Found>(answer));
  std::string text;
  for (auto const& each : std::get<Found>(sorted).endpoints)
    text += (text.empty() ? "" : " ") + each.address + "/" + std::to_string(each.tier) + "=" +
            std::to_string(each.weight);
  return text;
}

}  // namespace

TEST_CASE("knot: names become backends, with the time that they are good for") {
  Knot const knot;
  auto const ask = [&](char const* name, Family family = Family::either) {
    return look(from_cares(name, 80, knot.options(family)));
  };
  auto const web = ask("web.poise.test.");
  CHECK(list(web) == "127.0.0.1:80/0=1 127.0.0.2:80/0=1");
  CHECK(std::get<Found>(web).good_for == 60s);
  CHECK(list(ask("web.poise.test", Family::ipv6)) == "[::1]:80/0=1");
  CHECK(list(ask("web.poise.test", Family::both)) ==
        "127.0.0.1:80/0=1 127.0.0.2:80/0=1 [::1]:80/0=1");
  CHECK(std::get<Found>(ask("alias.poise.test.")).good_for == 9s);  // the alias counts
  CHECK(std::get<Found>(ask("zero.poise.test.")).good_for == 0s);
  CHECK(std::get<Found>(ask("only4.poise.test.")).good_for == 60s);  // no AAAA does not count
  CHECK(list(ask("127.0.0.7")) == "127.0.0.7:80/0=1");
  auto const many = ask("many.poise.test.");  // cut off over UDP, whole over TCP
  CHECK(std::get<Found>(many).endpoints.size() == 100);
}

TEST_CASE("knot: priorities are tiers, and a target without an address costs only itself") {
  Knot const knot;
  auto const answer = look(from_srv("_http._tcp.poise.test.", knot.options()));
  CHECK(list(answer) == "127.0.0.1:80/0=3000 127.0.0.1:82/1=1 127.0.0.2:81/0=1");
  REQUIRE(std::get<Found>(answer).problems.size() == 1);
  CHECK(std::get<Found>(answer).problems[0] == "target \"nowhere.poise.test\" has no address");
  CHECK(list(look(from_srv("_gone._tcp.poise.test.", knot.options()))).empty());
}

TEST_CASE("knot: a target that has only IPv6 stays beside targets that have IPv4") {
  Knot const knot;
  auto const ask = [&](Family family) {
    return list(look(from_srv("_mixed._tcp.poise.test.", knot.options(family))));
  };
  CHECK(ask(Family::either) == "127.0.0.1:80/0=1 127.0.0.1:81/0=1 127.0.0.2:81/0=1 [::1]:80/0=1");
  CHECK(ask(Family::ipv6) == "[::1]:80/0=1 [::1]:81/0=1");
}

TEST_CASE("knot: no such name is an empty list, a zone that can't be loaded is a failure") {
  Knot const knot;
  auto const ask = [&](char const* name) { return look(from_cares(name, 80, knot.options())); };
  auto const none = ask("none.poise.test.");
  CHECK(list(none).empty());
  CHECK(std::get<Found>(none).good_for == 3s);  // the zone's negative TTL
  CHECK(why(ask("web.missing.test.")).find("DNS server returned general failure") !=
        std::string::npos);
  CHECK(why(ask("web.elsewhere.")).find("refused") != std::string::npos);
  auto const loop = ask("loop1.poise.test.");  // an alias of an alias of itself
  auto const* const found = std::get_if<Found>(&loop);
  CHECK((found == nullptr || found->endpoints.empty()));
}

TEST_CASE("DNS: a closed port and a silent server are failures, within a second or two") {
  auto const port = std::to_string(tests::free_port());
  CHECK(why(look(from_cares("a.test.", 80, {.servers = "127.0.0.1:" + port}))) != "found");
  Knot const knot;
  knot.signal(SIGSTOP);
  auto options = knot.options();
  options.timeout = 100ms;
  CHECK(why(look(from_cares("web.poise.test.", 80, options))).find("imeout") != std::string::npos);
  knot.signal(SIGCONT);
}

TEST_CASE("knot: a balancer follows a name by its TTL, and keeps its backends when it vanishes") {
  Knot const knot;
  poise::Balancer<> servers{{}};
  Watcher watcher;
  auto const kept = watcher.follow(from_cares("short.poise.test.", 80, knot.options()), servers);
  auto const has = [&](std::string const& address) {
    return tests::soon([&] {
      auto const stats = servers.stats();
      return std::ranges::any_of(stats.backends,
                                 [&](auto const& each) { return each.address == address; });
    });
  };
  CHECK(has("127.0.0.1:80"));
  knot.change({"zone-begin poise.test", "zone-set poise.test short 1 A 127.0.0.5",
               "zone-commit poise.test"});
  CHECK(has("127.0.0.5:80"));
  knot.change({"zone-begin poise.test", "zone-unset poise.test short", "zone-commit poise.test"});
  CHECK(tests::soon([&] { return kept.status()[0].held == 2; }));
  CHECK(servers.stats().backends.size() == 2);
}

TEST_CASE("unbound: what it has cached is good for the time that is left") {
  Knot const knot;
  Unbound const unbound{knot};
  auto const ask = [&](char const* name) { return look(from_cares(name, 80, unbound.options())); };
  auto const left = [](Look const& answer) { return std::get<Found>(answer).good_for.value(); };
  auto const first = ask("web.poise.test.");
  CHECK(list(first) == "127.0.0.1:80/0=1 127.0.0.2:80/0=1");
  CHECK(left(first) <= 60s);
  std::this_thread::sleep_for(2100ms);
  auto const later = ask("web.poise.test.");
  CHECK(list(later) == "127.0.0.1:80/0=1 127.0.0.2:80/0=1");
  CHECK(left(later) <= 58s);
  CHECK(std::get<Found>(ask("many.poise.test.")).endpoints.size() == 100);  // over TCP
  CHECK(list(look(from_srv("_http._tcp.poise.test.", unbound.options()))) ==
        "127.0.0.1:80/0=3000 127.0.0.1:82/1=1 127.0.0.2:81/0=1");
}

TEST_CASE("unbound: no such name is an empty list, a server that can't be reached a failure") {
  Knot knot;
  Unbound const unbound{knot};
  auto const ask = [&](char const* name) { return look(from_cares(name, 80, unbound.options())); };
  auto const none = ask("none.poise.test.");
  CHECK(list(none).empty());
  CHECK(std::get<Found>(none).good_for.value_or(1h) <= 3s);  // the zone's negative TTL
  CHECK(why(ask("web.missing.test.")).find("general failure") != std::string::npos);
  CHECK(list(ask("web.poise.test.")) == "127.0.0.1:80/0=1 127.0.0.2:80/0=1");
  knot.kill();
  CHECK(list(ask("web.poise.test.")) == "127.0.0.1:80/0=1 127.0.0.2:80/0=1");  // from its cache
  auto const failed = why(ask("one.poise.test."));
  INFO(failed);
  CHECK(failed != "found");
}

TEST_CASE("unbound: a balancer keeps its backends while the server behind it is away") {
  Knot knot;
  Unbound const unbound{knot};
  poise::Balancer<> servers{{}};
  Watcher watcher;
  auto const kept = watcher.follow(from_cares("short.poise.test.", 80, unbound.options()), servers);
  REQUIRE(tests::soon([&] { return servers.stats().backends.size() == 1; }));
  knot.kill();
  CHECK(tests::soon([&] { return !kept.status()[0].last_error.empty(); }));
  CHECK(servers.stats().backends.size() == 1);
  CHECK(servers.pick());
}

TEST_CASE("DNS: what can't be asked for is refused by name") {
  CHECK_THROWS_AS(from_cares("", 80), poise::ConfigError);
  CHECK_THROWS_AS(from_cares("a", 0), poise::ConfigError);
  CHECK_THROWS_AS(from_srv("a", {.servers = "not an address"}), poise::ConfigError);
  CHECK_THROWS_AS(from_srv("a", {.timeout = 0s}), poise::ConfigError);
}

}  // namespace integration_discovery_dns
