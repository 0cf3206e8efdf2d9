// SPDX-License-Identifier: MIT
// Services under load while DNS, a file or an answer over HTTP is wrong in the ways that were seen
// in outages. (registries.cpp has those of a real etcd.)

#include <signal.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <deque>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <poise/discovery/cares/dns.hpp>
#include <poise/discovery/curl/sources.hpp>
#include <poise/discovery/file.hpp>

#include "integration/discovery/dns_servers.hpp"
#include "integration/discovery/servers.hpp"
#include "integration/discovery/service.hpp"
#include "support/catch.hpp"

namespace integration_discovery_incidents {

using namespace std::chrono_literals;
using namespace poise::discovery;
using tests::Node;
using tests::Service;

namespace {

/// Records of a service with these nodes, good for a second.
std::string srv_records(std::deque<Node> const& nodes) {
  std::string text;
  for (auto const& each : nodes)
    text += "_load._tcp 1 SRV 0 1 " + std::to_string(each.port()) + " one\n";
  return text;
}
constexpr char const* srv_name = "_load._tcp.poise.test.";

std::string json_list(std::deque<Node> const& nodes) {
  std::string text;
  for (auto const& each : nodes) text += (text.empty() ? "[\"" : ",\"") + each.address() + '"';
  return text + "]";
}

}  // namespace

TEST_CASE("DNS under load: a name that is gone, and one that is back, cost no call") {
  std::deque<Node> nodes(4);
  tests::Knot const knot{srv_records(nodes)};
  Service service{from_srv(srv_name, knot.options())};
  REQUIRE(service.has(4));
  service.start();
  knot.change(
      {"zone-begin poise.test", "zone-unset poise.test _load._tcp", "zone-commit poise.test"});
  CHECK(service.says("held: the source names no backend: the last 4 stay"));
  knot.change(
      {"zone-begin poise.test",
       "zone-set poise.test _load._tcp 1 SRV 0 1 " + std::to_string(nodes[0].port()) + " one",
       "zone-commit poise.test"});
  CHECK(service.says("more than 50 % went missing"));
  check(service);
}

TEST_CASE("DNS under load: a server that is silent, and one that can't ask its own, cost no call") {
  std::deque<Node> nodes(4);
  tests::Knot knot{srv_records(nodes)};
  tests::Unbound const unbound{knot};
  auto options = knot.options();
  options.timeout = 200ms;
  Service direct{from_srv(srv_name, options)};
  Service cached{from_srv(srv_name, unbound.options())};
  REQUIRE(direct.has(4));
  REQUIRE(cached.has(4));
  direct.start();
  cached.start();
  knot.signal(SIGSTOP);
  CHECK(direct.says("imeout"));
  knot.signal(SIGCONT);
  CHECK(direct.says("recovered"));
  knot.kill();
  CHECK(tests::soon([&] { return !direct.status().last_error.empty(); }));
  CHECK(cached.says("failed: "));  // SERVFAIL, or no answer within a second
  CHECK(direct.size() == 4);
  CHECK(cached.size() == 4);
  check(direct);
  check(cached);
}

TEST_CASE("DNS: an SRV answer that is cut off over UDP is whole over TCP") {
  std::deque<Node> nodes(4);
  std::string more = srv_records(nodes);
  for (int i = 1; i <= 100; ++i)
    more += "_load._tcp 1 SRV 9 1 " + std::to_string(i) + " one\n";  // a later tier, never asked
  tests::Knot const knot{more};
  Service service{from_srv(srv_name, knot.options())};
  REQUIRE(service.has(104));
  std::this_thread::sleep_for(2s);
  CHECK(service.size() == 104);
  CHECK(service.status().last_error.empty());
  CHECK_FALSE(service.said("held"));
}

TEST_CASE("a file under load: half written, empty, a folder and gone, and no call fails") {
  std::deque<Node> nodes(4);
  tests::Scratch const folder;
  auto const path = folder.write("backends", json_list(nodes));
  Service service{from_file(path, {.reread = 200ms, .parse = json::parse_any})};
  REQUIRE(service.has(4));
  service.start();
  auto const whole = json_list(nodes);
  std::ofstream{path} << whole.substr(0, whole.size() / 2) << std::flush;
  CHECK(service.says("failed: "));
  std::ofstream{path} << "[]";
  CHECK(service.says("held: the source names no backend: the last 4 stay"));
  std::filesystem::remove(path);
  CHECK(service.says("No such file"));
  std::filesystem::create_directory(path);
  CHECK(tests::soon(
      [&] { return service.status().held == 4 || !service.status().last_error.empty(); }));
  CHECK(service.size() == 4);
  check(service);
}

TEST_CASE("HTTP under load: an empty list, an index that goes back and a 410 cost no call") {
  std::deque<Node> nodes(4);
  std::atomic<int> mode{0};
  auto const consul = [&] {
    std::string text;
    for (auto const& each : nodes)
      text += std::string{text.empty() ? "[" : ","} +
              R"({"Service":{"Address":"127.0.0.1","Port":)" + std::to_string(each.port()) + "}}";
    return text + "]";
  }();
  auto const slices = [&] {
    std::string text = R"({"metadata":{"resourceVersion":"7"},"items":[)";
    bool first = true;
    for (auto const& each : nodes) {
      auto const port = std::to_string(each.port());
      text += std::string{first ? "" : ","} + R"({"metadata":{"name":"web-)" + port +
              R"("},"ports":[{"port":)" + port + R"(}],"endpoints":[{"addresses":["127.0.0.1"]}]})";
      first = false;
    }
    return text + "]}";
  }();
  tests::ScriptedServer const server{[&](std::string const& request) -> std::string {
    if (request.find("watch=1") != std::string::npos)
      return mode == 0 ? "HTTP/1.1 200 OK\r\n\r\n\f"
                       : "HTTP/1.1 200 OK\r\n\r\n"
                         R"({"type":"ERROR","object":{"kind":"Status","code":410}})"
                         "\n";
    if (request.find("endpointslices") != std::string::npos) return tests::http_200(slices);
    if (request.find("/list") != std::string::npos)
      return tests::http_200(mode == 0 ? json_list(nodes) : "[]");
    return tests::http_200(consul, mode == 0 ? "X-Consul-Index: 500\r\n" : "X-Consul-Index: 3\r\n");
  }};
  auto options = tests::quick();
  options.follower.full_read = 500ms;
  Service list{from_http_list(server.url(), "/list"), options};
  Service blocking{from_consul(server.url(), "web"), options};
  Service watch{from_kubernetes(server.url(), "default", "web"), options};
  for (auto* each : {&list, &blocking, &watch}) {
    REQUIRE(each->has(4));
    each->start();
  }
  mode = 1;
  CHECK(list.says("held: the source names no backend: the last 4 stay"));
  auto const looks = watch.status().looks;
  CHECK(tests::soon([&] { return watch.status().looks > looks + 3; }));
  CHECK(tests::soon([&] { return blocking.status().version == "3"; }));
  for (auto* each : {&list, &blocking, &watch}) {
    CHECK(each->size() == 4);
    check(*each);
  }
}

}  // namespace integration_discovery_incidents
