// SPDX-License-Identifier: MIT
// The nginx dialects beside the nginx of this machine. No server listens behind it: it says in a
// header whom it would have asked.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include <poise/balancer.hpp>
#include <poise/hashing/dialect/nginx.hpp>
#include <poise/policy/hash_list.hpp>
#include <poise/policy/hash_ring.hpp>
#include <poise/random.hpp>

#include "integration/servers/program.hpp"
#include "support/catch.hpp"
#include "support/clock.hpp"
#include "support/recording.hpp"

namespace integration_servers_nginx {

namespace dialect = poise::dialect;

namespace {

struct Server {
  std::string name;
  std::uint32_t weight = 1;
  bool down = false;
};
using Servers = std::vector<Server>;

std::vector<Servers> sets() {
  Servers many;
  for (std::uint32_t i = 0; i < 40; ++i)
    many.push_back({"127.0.7." + std::to_string(i + 1) + ":9001", 1 + i % 4, i % 3 == 1});
  Servers mostly_down;
  for (std::uint32_t i = 0; i < 10; ++i)
    mostly_down.push_back({"127.0.7." + std::to_string(i + 1) + ":9001", 1 + i % 2, i > 2});
  return {
      {{"127.0.7.1:9001"}, {"127.0.7.2:9001"}, {"127.0.7.3:9001"}},
      {{"127.0.7.1:9001", 1}, {"127.0.7.2:9001", 2}, {"127.0.7.3:9001", 30}},
      {{"127.0.7.1"}, {"127.0.7.2:81"}, {"127.0.7.3:80"}, {"127.0.7.4"}},
      {{"[::1]:9001"}, {"[::1]:9002", 2}, {"[::1]"}, {"127.0.7.1:9001"}},
      {{"127.0.7.1:9001"}, {"127.0.7.2:9001", 3, true}, {"127.0.7.3:9001"}},
      {{"unix:/none/a"}, {"unix:/none/b", 2}, {"127.0.7.1:9001"}},
      many,
      mostly_down,
  };
}

/// nginx with one upstream for each set.
class Nginx {
 public:
  Nginx(std::string const& method, std::vector<Servers> const& all)
      : program_{{"nginx", "-c", write(method, all)}, port_}, connection_{port_} {}

  std::string server_for(std::size_t set, std::string const& headers) {
    return tests::header_of_answer(connection_, "/" + std::to_string(set), headers, "X-Upstream");
  }

 private:
  std::string write(std::string const& method, std::vector<Servers> const& all) {
    auto const folder = scratch_.path();
    std::string upstreams;
    std::string locations;
    for (std::size_t set = 0; set < all.size(); ++set) {
      upstreams += "upstream u" + std::to_string(set) + " {\n" + method + ";\n";
      for (auto const& server : all[set])
        upstreams += "server " + server.name + " weight=" + std::to_string(server.weight) +
                     (server.down ? " down" : " max_fails=0") + ";\n";
      upstreams += "}\n";
      locations += "location = /" + std::to_string(set) + " { proxy_pass http://u" +
                   std::to_string(set) + "; }\n";
    }
    std::string temporary;
    for (auto const* kind : {"client_body", "proxy", "fastcgi", "uwsgi", "scgi"})
      temporary += std::string{kind} + "_temp_path " + folder + "/" + kind + ";\n";
    return scratch_.write(
        "nginx.conf",
        "daemon off;\nmaster_process off;\npid " + folder +
            "/pid;\nerror_log /dev/null;\n"
            "events { worker_connections 256; }\nhttp {\naccess_log off;\nkeepalive_requests "
            "1000000;\n"
            "large_client_header_buffers 4 64k;\n" +
            temporary + upstreams + "server {\nlisten 127.0.0.1:" + std::to_string(port_) +
            ";\nset_real_ip_from 127.0.0.1;\nreal_ip_header X-Client;\n"
            "proxy_next_upstream off;\nadd_header X-Upstream $upstream_addr always;\n" +
            locations + "}\n}\n");
  }

  tests::Scratch scratch_;
  std::uint16_t port_ = tests::free_port();
  tests::Program program_;
  tests::Connection connection_;
};

/// How nginx logs a server: with the port it connects to.
std::string logged(std::string const& name) {
  if (name.starts_with("unix:")) return name;
  return dialect::split(name).port.empty() ? name + ":80" : name;
}

/// Keys that poise and nginx send to different servers.
template <class P>
std::size_t misses(Nginx& nginx, std::size_t set, Servers const& servers, std::string const& header,
                   std::vector<std::string> const& keys) {
  std::vector<poise::Endpoint> endpoints;
  for (auto const& server : servers)
    endpoints.push_back({.id = server.name, .weight = server.weight});
  poise::Balancer<P, void, poise::Runtime<tests::Clock>> balancer{
      endpoints, {}, {.clock = {}, .seed = 1}};
  for (auto const& server : servers)
    if (server.down) balancer.drain(server.name);
  std::size_t missed = 0;
  for (auto const& key : keys)
    if (nginx.server_for(set, header + ": " + key + "\r\n") !=
        logged(balancer.pick({.route_key = key})->id()))
      ++missed;
  return missed;
}

template <class P>
void compare(std::string const& method, std::string const& header,
             std::vector<std::string> const& keys) {
  auto const all = sets();
  Nginx nginx{method, all};
  for (std::size_t set = 0; set < all.size(); ++set) {
    CAPTURE(set, all[set][0].name);
    CHECK(misses<P>(nginx, set, all[set], header, keys) == 0);
  }
}

}  // namespace

TEST_CASE("the nginx dialect is nginx's hash ... consistent") {
  compare<poise::HashRing<dialect::Nginx>>("hash $http_x_key consistent", "X-Key",
                                           tests::recorded_keys());
}

TEST_CASE("the nginx-hash dialect is nginx's hash") {
  compare<poise::HashList<dialect::NginxHash>>("hash $http_x_key", "X-Key", tests::recorded_keys());
}

TEST_CASE("the nginx-ip-hash dialect is nginx's ip_hash") {
  std::vector<std::string> addresses;
  std::uint64_t state = 1;
  for (int i = 0; i < 2000; ++i) {
    state += poise::detail::wyrand_step;
    auto const random = poise::detail::wyrand(state);
    auto const part = [&](unsigned shift) { return std::to_string(random >> shift & 255U); };
    if (i % 4 == 0) {
      char text[40];
      std::snprintf(text, sizeof text, "2001:db8:%x:%x::%x",
                    static_cast<unsigned>(random & 0xffffU),
                    static_cast<unsigned>(random >> 16U & 0xffffU),
                    static_cast<unsigned>(random >> 32U & 0xffffU));
      addresses.push_back(text);
    } else {
      addresses.push_back(part(0) + "." + part(8) + "." + part(16) + "." + part(24));
    }
  }
  compare<poise::HashList<dialect::NginxIpHash>>("ip_hash", "X-Client", addresses);
}

}  // namespace integration_servers_nginx
