// SPDX-License-Identifier: MIT
// The haproxy dialects beside the HAProxy of this machine. It plays its own backends: each answers
// with its name.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <poise/balancer.hpp>
#include <poise/compose/bounded.hpp>
#include <poise/hashing/dialect/haproxy.hpp>
#include <poise/policy/hash_list.hpp>
#include <poise/policy/hash_ring.hpp>

#include "integration/servers/program.hpp"
#include "support/catch.hpp"
#include "support/clock.hpp"
#include "support/recording.hpp"

namespace integration_servers_haproxy {

namespace dialect = poise::dialect;
using dialect::HaproxyFunction;

namespace {

struct Server {
  std::string name;
  std::uint32_t weight = 1;
  std::uint32_t id = 0;  // 0: HAProxy numbers it
  bool down = false;
  enum { plain, v6, without_port } address = plain;
};
using Servers = std::vector<Server>;

/// A backend section: its hash-type line, and the servers.
struct Section {
  std::string hash_type;
  Servers servers;
};

std::vector<Servers> sets() {
  Servers many;
  for (std::uint32_t i = 0; i < 40; ++i)
    many.push_back({"m" + std::to_string(i), 1 + i % 5, 0, i % 3 == 1});
  return {
      {{"a"}, {"b"}, {"c"}},
      {{"a", 1}, {"b", 2}, {"c", 256}},
      {{"a", 10, 100}, {"b", 10}, {"c", 10, 2}, {"d", 10}},
      {{"a", 5}, {"b", 5, 0, true}, {"c", 5}, {"d", 0}},
      {{"a", 5, 0, false, Server::v6}, {"b", 5, 0, false, Server::without_port}, {"c", 5}},
      many,
  };
}

class Haproxy {
 public:
  /// With `slow`, its backends answer after 3 s.
  explicit Haproxy(std::vector<Section> const& sections, bool slow = false)
      : program_{{"haproxy", "-q", "-db", "-f", write(sections, slow)}, port_},
        connection_{port_} {}

  [[nodiscard]] std::uint16_t port() const { return port_; }

  std::string server_for(std::size_t section, std::string const& key) {
    return tests::header_of_answer(connection_, "/" + std::to_string(section),
                                   "X-Key: " + key + "\r\n", "x-name");
  }

 private:
  std::string write(std::vector<Section> const& sections, bool slow) {
    // All servers are one listener, on both kinds of address; a header says which was meant.
    std::string text =
        "global\n nbthread 1\n tune.bufsize 65536\n"
        "defaults\n mode http\n timeout client 30s\n timeout server 30s\n timeout connect 5s\n"
        " timeout tarpit 3s\n"
        " http-reuse never\n no option http-server-close\n"
        "frontend proxy\n bind 127.0.0.1:" +
        std::to_string(port_) + "\n";
    for (std::size_t i = 0; i < sections.size(); ++i)
      text += " use_backend b" + std::to_string(i) + " if { path /" + std::to_string(i) + " }\n";
    std::uint32_t address = 0;
    std::string names;
    for (std::size_t i = 0; i < sections.size(); ++i) {
      text += "backend b" + std::to_string(i) + "\n balance hdr(X-Key)\n " + sections[i].hash_type +
              "\n";
      for (auto const& server : sections[i].servers) {
        ++address;
        auto const host =
            server.address == Server::v6 ? "[::1]" : "127.0.9." + std::to_string(address % 250 + 1);
        auto const port = std::to_string(
            server.address == Server::v6             ? ports_ + 1000 + static_cast<int>(address)
            : server.address == Server::without_port ? port_  // HAProxy takes the client's
                                                     : ports_ + static_cast<int>(address) / 250);
        auto const shown = server.address == Server::without_port ? "" : ":" + port;
        text += " server " + server.name + " " + host + shown + " weight " +
                std::to_string(server.weight) +
                (server.id != 0 ? " id " + std::to_string(server.id) : "") +
                (server.down ? " disabled" : "") + "\n";
        names += "frontend s" + std::to_string(address) + "\n bind " + host + ":" + port +
                 "\n http-request " + (slow ? "tarpit deny_" : "return ") +
                 "status 200 hdr x-name " + server.name + "\n";
      }
    }
    return scratch_.write("haproxy.cfg", text + names);
  }

  tests::Scratch scratch_;
  std::uint16_t port_ = tests::free_port();
  std::uint16_t ports_ = tests::free_port();
  tests::Program program_;
  tests::Connection connection_;
};

template <class P>
std::size_t misses(Haproxy& haproxy, std::size_t section, Servers const& servers, P policy) {
  std::vector<poise::Endpoint> endpoints;
  for (auto const& server : servers) {
    endpoints.push_back({.id = server.name, .weight = server.weight});
    if (server.id != 0) endpoints.back().labels.push_back({"id", std::to_string(server.id)});
  }
  poise::Balancer<P, void, poise::Runtime<tests::Clock>> balancer{
      endpoints, std::move(policy), {.clock = {}, .seed = 1}};
  for (auto const& server : servers)
    if (server.down) balancer.drain(server.name);
  std::size_t missed = 0;
  for (auto const& key : tests::recorded_keys())
    if (haproxy.server_for(section, key) != balancer.pick({.route_key = key})->id()) ++missed;
  return missed;
}

}  // namespace

TEST_CASE("the haproxy dialect is HAProxy's hash-type consistent") {
  std::vector<Section> sections;
  for (auto const& servers : sets()) sections.push_back({"hash-type consistent", servers});
  Haproxy haproxy{sections};
  for (std::size_t i = 0; i < sections.size(); ++i) {
    CAPTURE(i);
    CHECK(misses(haproxy, i, sections[i].servers, poise::HashRing<dialect::Haproxy>{}) == 0);
  }
}

TEST_CASE("the haproxy dialects know HAProxy's functions, with and without avalanche") {
  std::vector<std::pair<char const*, HaproxyFunction>> const functions{
      {"sdbm", HaproxyFunction::sdbm},
      {"djb2", HaproxyFunction::djb2},
      {"wt6", HaproxyFunction::wt6},
      {"crc32", HaproxyFunction::crc32}};
  Servers const servers{{"a", 10}, {"b", 7}, {"c", 1}, {"d", 3, 0, true}};
  std::vector<Section> sections;
  for (auto const& [name, function] : functions)
    for (auto const* avalanche : {"", " avalanche"})
      for (auto const* type : {"hash-type consistent ", "hash-type map-based "})
        sections.push_back({std::string{type} + name + avalanche, servers});
  Haproxy haproxy{sections};
  std::size_t section = 0;
  for (auto const& [name, function] : functions)
    for (bool const avalanche : {false, true}) {
      CAPTURE(name, avalanche);
      CHECK(misses(haproxy, section++, servers,
                   poise::HashRing<dialect::Haproxy>{
                       {.function = function, .avalanche = avalanche}}) == 0);
      CHECK(misses(haproxy, section++, servers,
                   poise::HashList<dialect::HaproxyMap>{
                       {.function = function, .avalanche = avalanche}}) == 0);
    }
}

TEST_CASE("bounded load is HAProxy's hash-balance-factor, request by request") {
  Servers const servers{{"a", 10}, {"b", 20}, {"c", 7}, {"d", 10}, {"e", 1}};
  for (std::uint32_t const percent : {125U, 200U}) {
    CAPTURE(percent);
    Haproxy haproxy{
        {{"hash-type consistent\n hash-balance-factor " + std::to_string(percent), servers}}, true};
    std::vector<poise::Endpoint> endpoints;
    for (auto const& server : servers)
      endpoints.push_back({.id = server.name, .weight = server.weight});
    using P = poise::Bounded<poise::HashRing<dialect::Haproxy>>;
    poise::Balancer<P, void, poise::Runtime<tests::Clock>> balancer{
        endpoints, P{{.percent = percent}}, {.clock = {}, .seed = 1}};

    // All are in flight at the same time; two of three are for one hot key.
    constexpr std::size_t requests = 120;
    std::vector<std::unique_ptr<tests::Connection>> connections;
    std::vector<decltype(balancer)::Lease> leases;
    for (std::size_t i = 0; i < requests; ++i) {
      auto const& key = i % 3 == 0 ? tests::recorded_keys()[i] : tests::recorded_keys()[7];
      leases.push_back(balancer.pick({.route_key = key}));
      connections.push_back(std::make_unique<tests::Connection>(haproxy.port()));
      connections.back()->send("GET /0 HTTP/1.1\r\nHost: test\r\nX-Key: " + key + "\r\n\r\n");
      std::this_thread::sleep_for(std::chrono::milliseconds{5});  // so that they arrive in order
    }
    std::string ours;
    std::string theirs;
    for (std::size_t i = 0; i < requests; ++i) {
      ours += leases[i]->id();
      theirs += tests::header_of_next_answer(*connections[i], "x-name");
    }
    CHECK(ours == theirs);
  }
}

TEST_CASE("the haproxy-map dialect is HAProxy's hash-type map-based") {
  std::vector<Section> sections;
  for (auto const& servers : sets()) sections.push_back({"hash-type map-based", servers});
  Haproxy haproxy{sections};
  for (std::size_t i = 0; i < sections.size(); ++i) {
    CAPTURE(i);
    CHECK(misses(haproxy, i, sections[i].servers, poise::HashList<dialect::HaproxyMap>{}) == 0);
  }
}

}  // namespace integration_servers_haproxy
