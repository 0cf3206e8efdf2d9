// SPDX-License-Identifier: MIT
// Entries in real registries that are restarted, emptied and told lies about us.

#include <signal.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include <poise/discovery/curl/registration.hpp>
#include <poise/discovery/curl/sources.hpp>
#include <poise/discovery/watcher.hpp>
#include <poise/poise.hpp>

#include "integration/discovery/servers.hpp"
#include "integration/discovery/wire.hpp"
#include "support/catch.hpp"
#include "support/recorded_http.hpp"

namespace integration_discovery_registration {

using namespace std::chrono_literals;
using namespace poise::discovery;
using json::ConsulEntry;
using json::Entry;
using json::EtcdEntry;

namespace {

Entry entry(std::chrono::seconds ttl = 3s) {
  return {.service = "web/",
          .endpoint = {.address = "127.0.0.1:1001", .weight = 3, .zone = "z"},
          .ttl = ttl};
}

/// What is stored below web/ at this moment.
std::string stored(tests::EtcdServer const& server) {
  return tests::ask(server.port, "POST", "/v3/kv/range",
                    R"({"key":"d2ViLw==","range_end":"d2ViMA=="})");
}
template <class Balancer>
std::set<std::string> used_by(Balancer& servers) {
  std::set<std::string> result;
  for (int i = 0; i < 20; ++i) result.insert(servers.pick()->id());
  return result;
}
bool is_there(tests::EtcdServer const& server) {
  return stored(server).find("\"kvs\"") != std::string::npos;
}

}  // namespace

TEST_CASE("etcd: an entry is found by followers as it was registered, and gone once it leaves") {
  tests::EtcdServer const server;
  Watcher watcher;
  Registration registration{watcher, server.url(), std::make_unique<EtcdEntry>(entry())};
  REQUIRE(registration.wait(10s));
  poise::Balancer<> servers{{}};
  auto const kept = watcher.follow(from_etcd(server.url(), "web/"), servers);
  REQUIRE(tests::soon([&] { return servers.stats().backends.size() == 1; }));
  CHECK(servers.stats().backends[0].weight == 3);
  CHECK(servers.stats().backends[0].zone == "z");
  CHECK(registration.leave(5s));
  CHECK_FALSE(is_there(server));
  CHECK_FALSE(registration.registered());
  CHECK(registration.leave(5s));  // a second time does nothing
}

TEST_CASE("etcd: clients know of each other, and share the backends anew when one goes") {
  tests::EtcdServer const server;
  Watcher watcher;
  std::vector<poise::Endpoint> backends;
  for (auto const* id : {"a", "b", "c", "d"}) backends.push_back({.id = id});
  struct Client {
    using Policy = poise::Subset<poise::RoundRobin>;
    using Servers = poise::Balancer<Policy>;
    poise::Clients clients;
    Servers servers;
    Registration registration;
    Watcher::Handle followed;
    Client(Watcher& watcher, std::string const& url, std::string const& id,
           std::vector<poise::Endpoint> const& backends)
        : clients{id},
          servers{backends, Policy{{.size = 2, .live = clients}}},
          registration{
              watcher, url,
              std::make_unique<EtcdEntry>(Entry{
                  .service = "clients/", .endpoint = {.id = id, .address = id + ":1"}, .ttl = 3s})},
          followed{watcher.follow(std::make_unique<Feed>(from_etcd(url, "clients/"),
                                                         clients_into(clients, servers)))} {}
    [[nodiscard]] std::size_t known() const {
      auto const view = clients.view();
      return view ? view->ids.size() : 0;
    }
  };
  Client one{watcher, server.url(), "one", backends};
  {
    Client two{watcher, server.url(), "two", backends};
    REQUIRE(tests::soon([&] { return one.known() == 2 && two.known() == 2; }));
    poise::Clients by_hand{"one"};
    (void)by_hand.set({{.id = "one"}, {.id = "two"}});
    Client::Servers same{backends, Client::Policy{{.size = 2, .live = by_hand}}};
    CHECK(used_by(one.servers) == used_by(same));
    CHECK(used_by(two.servers).size() == 2);
    CHECK(two.registration.leave(5s));
  }
  CHECK(tests::soon([&] { return one.known() == 1; }));
}

TEST_CASE("etcd: an entry lives for longer than its TTL, and dies with its process's will") {
  tests::EtcdServer const server;
  Watcher watcher;
  {
    Registration registration{watcher, server.url(), std::make_unique<EtcdEntry>(entry(1s))};
    REQUIRE(registration.wait(10s));
    std::this_thread::sleep_for(4s);
    CHECK(is_there(server));
  }
  CHECK_FALSE(is_there(server));
}

TEST_CASE(
    "etcd: an entry that was deleted, or whose lease was revoked, comes back within its TTL") {
  tests::EtcdServer const server;
  Watcher watcher;
  Registration registration{watcher, server.url(), std::make_unique<EtcdEntry>(entry())};
  REQUIRE(registration.wait(10s));
  server.remove_all();
  CHECK(tests::soon([&] { return is_there(server); }));
  auto const leases = tests::ask(server.port, "POST", "/v3/lease/leases", "{}");
  auto const at = leases.find("\"ID\":\"") + 6;
  tests::ask(server.port, "POST", "/v3/lease/revoke",
             R"({"ID":")" + leases.substr(at, leases.find('"', at) - at) + "\"}");
  CHECK(tests::soon([&] { return is_there(server); }));
  CHECK(registration.status().failures == 0);
}

TEST_CASE("etcd: an entry is registered again with a registry that was restarted without data") {
  tests::EtcdServer server;
  Watcher watcher;
  Registration registration{watcher, server.url(), std::make_unique<EtcdEntry>(entry())};
  REQUIRE(registration.wait(10s));
  server.kill();
  server.forget();
  CHECK(tests::soon([&] { return !registration.status().last_error.empty(); }));
  server.start();
  CHECK(tests::soon([&] { return is_there(server); }));
  server.stop();
  CHECK(tests::soon([&] { return !registration.status().last_error.empty(); }));
  std::this_thread::sleep_for(4s);  // longer than the lease
  server.go_on();
  CHECK(tests::soon([&] { return registration.status().last_error.empty() && is_there(server); }));
}

namespace {

/// How long the entry is away after a partition and after a restart without data, from the moment
/// when the registry can be reached.
struct Absence {
  poise::Duration partition{};
  poise::Duration restart{};
};
Absence absence(std::chrono::seconds ttl, std::chrono::seconds partition) {
  tests::EtcdServer server;
  tests::Wire wire{server.port};
  Watcher watcher;
  Registration registration{watcher, wire.url(), std::make_unique<EtcdEntry>(entry(ttl))};
  REQUIRE(registration.wait(10s));
  auto const until_back = [&](tests::Moment begin) {
    REQUIRE(tests::soon([&] { return is_there(server); }, 60s));
    return std::chrono::steady_clock::now() - begin;
  };
  Absence result;
  wire.cut();
  auto const mended_at = std::chrono::steady_clock::now() + partition;
  CHECK(tests::soon([&] { return !is_there(server); }, partition));  // the lease lapsed
  CHECK_FALSE(registration.status().last_error.empty());
  std::this_thread::sleep_until(mended_at);
  wire.mend();
  result.partition = until_back(std::chrono::steady_clock::now());
  CHECK(tests::soon([&] { return registration.registered(); }));
  server.kill();
  server.forget();
  server.start();
  result.restart = until_back(std::chrono::steady_clock::now());
  return result;
}

}  // namespace

TEST_CASE("etcd: an entry whose lease lapsed in a partition is there again after it") {
  (void)absence(2s, 10s);
}

TEST_CASE("the absences in docs/design/discovery.md", "[.][figures]") {
  using Seconds = std::chrono::duration<double>;
  poise::Duration partition{};
  poise::Duration restart{};
  for (int i = 0; i < 5; ++i) {
    auto const each = absence(10s, 30s);
    partition = std::max(partition, each.partition);
    restart = std::max(restart, each.restart);
  }
  std::printf("TTL 10 s, longest of 5: %.2f s after a partition of 30 s, %.2f s after a restart\n",
              Seconds{partition}.count(), Seconds{restart}.count());
  CHECK(partition <= 10s);
  CHECK(restart <= 10s);
}

TEST_CASE("Consul: an entry passes, survives a restart in memory, and leaves") {
  if (!tests::consul_program()) {
    WARN("no consul: install it, or set POISE_TEST_CONSUL to the program (Debian 11 has 1.8.7)");
    return;
  }
  tests::ConsulServer server;
  Watcher watcher;
  auto mine = entry();
  mine.service = "web";
  Registration registration{watcher, server.url(), std::make_unique<ConsulEntry>(mine)};
  REQUIRE(registration.wait(10s));
  auto const found = [&] {
    auto const look =
        json::parse_consul(tests::ask(server.port, "GET", "/v1/health/service/web?passing", ""));
    auto const* const list = std::get_if<Found>(&look);
    return list == nullptr ? std::vector<poise::Endpoint>{} : list->endpoints;
  };
  REQUIRE(found().size() == 1);
  CHECK(found()[0].weight == 3);
  CHECK(found()[0].zone == "z");
  server.kill();
  server.start();
  CHECK(tests::soon([&] { return found().size() == 1; }));
  CHECK(registration.leave(5s));
  CHECK(found().empty());
}

TEST_CASE("a registration without a registry neither blocks nor ends its process") {
  Watcher watcher;
  auto const port = tests::free_port();
  auto const begin = std::chrono::steady_clock::now();
  {
    Registration registration{watcher, "http://127.0.0.1:" + std::to_string(port),
                              std::make_unique<EtcdEntry>(entry())};
    CHECK_FALSE(registration.wait(100ms));
    CHECK(tests::soon([&] { return !registration.status().last_error.empty(); }));
    CHECK_FALSE(registration.leave(100ms));
  }
  CHECK(std::chrono::steady_clock::now() - begin < 30s);  // the destructor gives up
}

TEST_CASE("entries: dead leases and unknown checks register from scratch (recordings)") {
  EtcdEntry etcd{entry()};
  CHECK(etcd.begin().target == "/v3/lease/grant");
  CHECK(etcd.on_answer({.status = 200, .body = R"({"ID":"12345","TTL":"3"})"}).next->target ==
        "/v3/kv/put");
  CHECK(etcd.on_answer(tests::recorded("etcd-3.4.23/put-dead-lease.http")).next->target ==
        "/v3/lease/grant");
  (void)etcd.on_answer({.status = 200, .body = R"({"ID":"12345","TTL":"3"})"});
  CHECK(etcd.on_answer({.status = 200, .body = "{}"}).look);
  CHECK(etcd.presence()->present());
  CHECK(etcd.begin().target == "/v3/lease/keepalive");
  CHECK(etcd.on_answer(tests::recorded("etcd-3.4.23/keepalive-dead-lease.http")).next->target ==
        "/v3/lease/grant");

  ConsulEntry consul{entry()};
  auto const first = consul.begin();
  CHECK(first.body.find(R"("Status":"passing")") != std::string::npos);
  CHECK(consul.on_answer({.status = 200}).look);
  CHECK(consul.begin().target == "/v1/agent/check/pass/service%3Aweb%2F-127.0.0.1%3A1001");
  CHECK(consul.on_answer(tests::recorded("consul-1.8.7/pass-unknown-check.http")).next->target ==
        "/v1/agent/service/register");
}

TEST_CASE("an entry is not gone because the registry had no time for the request") {
  for (int const status : {401, 403, 408, 429, 503}) {
    ConsulEntry consul{entry()};
    (void)consul.begin();
    (void)consul.on_answer({.status = 200});
    consul.presence()->ask_to_leave();
    CHECK(consul.begin().target.starts_with("/v1/agent/service/deregister/"));
    auto const refused = consul.on_answer({.status = status});
    INFO(status);
    CHECK(std::holds_alternative<Failed>(refused.look.value()));
    CHECK_FALSE(consul.presence()->wait_until_left(0ms));
    CHECK(consul.on_answer({.status = 404}).look);
    CHECK(consul.presence()->wait_until_left(poise::Duration::max()));
  }
}

TEST_CASE("an entry that nobody could use is refused by name") {
  CHECK_THROWS_WITH(EtcdEntry({.service = "s", .endpoint = {.address = "a:0"}}),
                    "the address to register, \"a:0\", is not host:port with a port from 1 to "
                    "65535 (IPv6 needs brackets: [::1]:80)");
  CHECK_THROWS_AS(EtcdEntry({.service = "", .endpoint = {.address = "a:1"}}), poise::ConfigError);
  CHECK_THROWS_AS(EtcdEntry({.service = "s", .endpoint = {.address = "a:1"}, .ttl = 10ms}),
                  poise::ConfigError);
}

}  // namespace integration_discovery_registration
