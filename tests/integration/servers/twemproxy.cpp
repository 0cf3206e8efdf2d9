// SPDX-License-Identifier: MIT
// The twemproxy dialect beside the twemproxy (nutcracker) of this machine, in front of real
// memcached servers: every key is stored on all of them, with the server's name as its value.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <poise/balancer.hpp>
#include <poise/hashing/dialect/memcached.hpp>
#include <poise/policy/hash_list.hpp>
#include <poise/policy/hash_ring.hpp>

#include "integration/servers/program.hpp"
#include "support/catch.hpp"
#include "support/clock.hpp"
#include "support/recording.hpp"

namespace integration_servers_twemproxy {

namespace dialect = poise::dialect;
using dialect::MemcachedHash;

namespace {

/// One memcached that answers every key with its own address.
class Memcached {
 public:
  explicit Memcached(std::uint16_t port)
      : port_{port},
        program_{{"memcached", "-u", "root", "-l", "127.0.0.1", "-U", "0", "-m", "16", "-p",
                  std::to_string(port)},
                 port} {
    tests::Connection connection{port};
    auto const value = address();
    std::string sets;
    for (auto const& key : tests::recorded_keys())
      sets +=
          "set " + key + " 0 0 " + std::to_string(value.size()) + " noreply\r\n" + value + "\r\n";
    connection.send(sets + "version\r\n");
    (void)connection.line();
  }
  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

 private:
  std::uint16_t port_;
  tests::Program program_;
};

struct Server {
  std::uint16_t port;
  std::uint32_t weight;
  std::string name;  // empty: none is given
};
using Servers = std::vector<Server>;

class Nutcracker {
 public:
  Nutcracker(Servers const& servers, std::string const& hash, std::string const& distribution)
      : program_{{"nutcracker", "-c", write(servers, hash, distribution), "-s",
                  std::to_string(tests::free_port()), "-o", "/dev/null", "-m", "16384"},
                 port_},
        connection_{port_} {}

  std::string server_for(std::string const& key) {
    connection_.send("get " + key + "\r\n");
    auto const head = connection_.line();
    if (!head.starts_with("VALUE")) return head;
    auto const value = connection_.line();
    (void)connection_.line();  // END
    return value;
  }

 private:
  std::string write(Servers const& servers, std::string const& hash,
                    std::string const& distribution) {
    std::string text = "pool:\n  listen: 127.0.0.1:" + std::to_string(port_) + "\n  hash: " + hash +
                       "\n  distribution: " + distribution +
                       "\n  timeout: 5000\n  auto_eject_hosts: false\n  servers:\n";
    for (auto const& server : servers)
      text += "   - 127.0.0.1:" + std::to_string(server.port) + ":" +
              std::to_string(server.weight) + (server.name.empty() ? "" : " " + server.name) + "\n";
    return scratch_.write("nutcracker.yml", text);
  }

  tests::Scratch scratch_;
  std::uint16_t port_ = tests::free_port();
  tests::Program program_;
  tests::Connection connection_;
};

template <class P>
std::size_t misses(Servers const& servers, std::string const& hash, std::string const& distribution,
                   P policy) {
  std::vector<poise::Endpoint> endpoints;
  for (auto const& server : servers) {
    auto const address = "127.0.0.1:" + std::to_string(server.port);
    endpoints.push_back({.id = server.name.empty() ? address : server.name,
                         .address = address,
                         .weight = server.weight});
  }
  poise::Balancer<P, void, poise::Runtime<tests::Clock>> balancer{
      endpoints, std::move(policy), {.clock = {}, .seed = 1}};
  Nutcracker nutcracker{servers, hash, distribution};
  std::size_t missed = 0;
  for (auto const& key : tests::recorded_keys())
    if (nutcracker.server_for(key) != balancer.pick({.route_key = key})->address()) ++missed;
  return missed;
}

}  // namespace

TEST_CASE("the twemproxy dialect is twemproxy's, with every hash, weight and name") {
  std::vector<std::unique_ptr<Memcached>> servers;
  servers.push_back(
      std::make_unique<Memcached>(std::uint16_t{11'211}));  // whose port is not hashed
  for (int i = 0; i < 3; ++i) servers.push_back(std::make_unique<Memcached>(tests::free_port()));
  auto const port = [&](std::size_t i) { return servers[i]->port(); };
  Servers const equal{{port(0), 1, ""}, {port(1), 1, ""}, {port(2), 1, ""}};
  Servers const named{
      {port(0), 1, "a:11211"}, {port(1), 2, "b"}, {port(2), 3, ""}, {port(3), 7, "d"}};
  for (auto const& [name, hash] :
       {std::pair{"fnv1a_64", MemcachedHash::fnv1a_64},
        std::pair{"fnv1a_32", MemcachedHash::fnv1a_32},
        std::pair{"fnv1_64", MemcachedHash::fnv1_64}, std::pair{"fnv1_32", MemcachedHash::fnv1_32},
        std::pair{"md5", MemcachedHash::md5}, std::pair{"crc32", MemcachedHash::crc32},
        std::pair{"crc32a", MemcachedHash::crc32a},
        std::pair{"one_at_a_time", MemcachedHash::one_at_a_time}})
    for (auto const& each : {equal, named}) {
      CAPTURE(name, each.size());
      CHECK(misses(each, name, "ketama", poise::HashRing<dialect::Twemproxy>{{.function = hash}}) ==
            0);
      CHECK(misses(each, name, "modula",
                   poise::HashList<dialect::TwemproxyModula>{{.function = hash}}) == 0);
    }
}

}  // namespace integration_servers_twemproxy
