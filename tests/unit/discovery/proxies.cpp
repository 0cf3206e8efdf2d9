// SPDX-License-Identifier: MIT
// Lists as nginx and HAProxy have them. Beside the real programs: integration/servers/lists.cpp.

#include <cstdint>
#include <random>
#include <string>
#include <variant>
#include <vector>

#include <poise/discovery/haproxy.hpp>
#include <poise/discovery/lines.hpp>
#include <poise/discovery/nginx.hpp>

#include "support/catch.hpp"

namespace unit_discovery_proxies {

using namespace poise::discovery;
using poise::ConfigError;
using poise::Endpoint;

namespace {

std::string lines_of(std::vector<Endpoint> const& endpoints) {
  std::string text;
  for (auto const& each : endpoints) text += to_line(each) + "\n";
  return text;
}

std::string joined(std::vector<std::string> const& texts) {
  std::string all;
  for (auto const& each : texts) all += each + "\n";
  return all;
}

}  // namespace

TEST_CASE("an upstream of nginx is read with weights, limits, backups and what is down") {
  auto const groups = parse_nginx(R"(
http {
  upstream other { server 9.9.9.9; }
  upstream "web" {  # comment; with } in it
    zone web 64k;
    least_conn;
    server 10.0.0.1:8080 weight=5 max_conns=100 max_fails=3 fail_timeout=30s;
    server 10.0.0.2;
    server [::1]:81 backup;
    server [::1] down;
    server unix:/run/web.sock
           weight=2;
    server 'named.example:443' max_conns=0;
    keepalive 32;
  }
  server { listen 80; location / { proxy_pass http://web; } }
})");
  REQUIRE(groups.size() == 2);
  auto const& web = groups[1];
  CHECK(web.name == "web");
  CHECK(web.policy == "least_connections");
  CHECK(groups[0].policy == "smooth_weighted");
  CHECK(web.found.problems.empty());
  CHECK(lines_of(web.found.endpoints) ==
        "10.0.0.1:8080 weight=5 max_in_flight=100\n"
        "10.0.0.2:80 id=10.0.0.2\n"
        "[::1]:81 tier=1\n"
        "[::1]:80 weight=0 id=[::1]\n"
        "unix:/run/web.sock weight=2\n"
        "named.example:443\n");
  CHECK(joined(web.notes) ==
        "line 5: zone\nline 7: max_fails=3\nline 7: fail_timeout=30s\nline 14: keepalive\n");
}

TEST_CASE("nginx's methods become the policies that come closest") {
  auto const policy = [](std::string const& method) {
    return parse_nginx("upstream u { " + method + " server a; }").at(0).policy;
  };
  CHECK(policy("random;") == "random");
  CHECK(policy("random two least_conn;") == "p2c");
  CHECK(policy("hash $request_uri consistent;") == "ring");
  CHECK(policy("hash ${a}b;") == "ring");
  CHECK(policy("ip_hash;") == "ring");
}

TEST_CASE("what is wrong in an upstream is named by its line, and the rest is used") {
  auto const group = parse_nginx(
                         "upstream u {\nserver a weight=x;\nserver;\nserver b:0;\n"
                         "server c weight=4294967296;\nserver d;\n}")
                         .at(0);
  CHECK(lines_of(group.found.endpoints) == "d:80 id=d\n");
  CHECK(joined(group.found.problems) ==
        "line 2: \"weight=x\" needs a whole number\n"
        "line 3: server has no address\n"
        "line 4: \"b:0\" is not host:port with a port from 1 to 65535 (IPv6 needs brackets: "
        "[::1]:80)\n"
        "line 5: \"weight=4294967296\" needs a whole number\n");
  CHECK_THROWS_WITH(parse_nginx("upstream u {\nserver a;"),
                    "line 2: the file ends inside of a block: } is missing");
  CHECK_THROWS_WITH(parse_nginx("a;\n}"), "line 2: } without {");
  CHECK_THROWS_WITH(parse_nginx("a;\nb \"c;\n}"), "line 2: a quote is not closed");
}

TEST_CASE("code of another language in nginx's file is passed over") {
  auto const groups = parse_nginx(
      "content_by_lua_block { if a then t = { '}' == '}' } end }\nupstream u { server a; }");
  REQUIRE(groups.size() == 1);
  CHECK(groups[0].found.endpoints.size() == 1);
}

TEST_CASE("backends of HAProxy are read with their defaults") {
  auto const groups = parse_haproxy(R"(
global
    server nobody 1.1.1.1:1
defaults
    mode http
backend web
    balance leastconn
    default-server maxconn 50 check inter 2s
    server a 10.0.0.1:80 weight 5 check   # comment
    server b 10.0.0.2:80 backup cookie backup maxconn 0
    server "c" unix@/run/c.sock id 7 disabled
    server d "[::1]:80" on-error mark-down weight 0
    server e 10.0.0.9 check
    server f 10.0.0.3:80 weight much
    server-template g 3 _http._tcp.example:80
frontend in
    server nobody 1.1.1.1:1
listen both
    balance random(2)
    server x 1.2.3.4:5
)");
  REQUIRE(groups.size() == 2);
  CHECK(groups[0].policy == "least_connections");
  CHECK(groups[1].policy == "p2c");
  CHECK(groups[1].name == "both");
  CHECK(lines_of(groups[0].found.endpoints) ==
        "10.0.0.1:80 weight=5 id=a max_in_flight=50\n"
        "10.0.0.2:80 tier=1 id=b\n"
        "unix:/run/c.sock weight=0 id=c max_in_flight=50 label.id=7\n"
        "[::1]:80 weight=0 id=d max_in_flight=50\n");
  REQUIRE(groups[0].found.problems.size() == 3);
  CHECK(groups[0].found.problems[0].find("line 13: \"10.0.0.9\" is not host:port") == 0);
  CHECK(groups[0].found.problems[1] == "line 14: weight needs a whole number, not \"much\"");
  CHECK(groups[0].found.problems[2].find("line 15: server-template") == 0);
  CHECK_THROWS_WITH(parse_haproxy("backend b\n server 'a"), "line 2: a quote is not closed");
}

TEST_CASE("a group is chosen by its name") {
  auto const choose = [](std::string const& name, std::string const& text) {
    return group_named(parse_nginx(text), name);
  };
  std::string const two = "upstream a { server x; } upstream b { server y; }";
  CHECK(std::get<Found>(choose("b", two)).endpoints[0].id == "y");
  CHECK(std::get<Found>(choose("", "upstream a { server x; }")).endpoints[0].id == "x");
  CHECK(std::get<Failed>(choose("", two)).why == R"(has several groups: name one of "a", "b")");
  CHECK(std::get<Failed>(choose("c", two)).why == R"(has no group "c": name one of "a", "b")");
  CHECK(std::get<Failed>(choose("c", "")).why == "has no group of servers");
}

TEST_CASE("a list that is written is read back") {
  std::mt19937_64 random{7};
  for (int run = 0; run < 1000; ++run) {
    std::vector<Endpoint> list(1 + random() % 9);
    for (std::size_t i = 0; i < list.size(); ++i) {
      auto& each = list[i];
      each.address =
          random() % 4 == 0 ? "unix:/run/" + std::to_string(i) + ".sock"
          : random() % 4 == 0
              ? "[::" + std::to_string(i + 1) + "]:" + std::to_string(1 + random() % 65535)
              : "host-" + std::to_string(i) + ":" + std::to_string(1 + random() % 65535);
      each.id = each.address;
      each.weight = static_cast<std::uint32_t>(random() % 257);
      if (random() % 2 == 0) each.max_in_flight = static_cast<std::uint32_t>(1 + random() % 1000);
      each.tier = i == 0 ? 0 : static_cast<std::uint32_t>(random() % 2);
    }
    auto const nginx = parse_nginx(to_nginx("u", list, "least_connections")).at(0);
    CHECK(nginx.policy == "least_connections");
    REQUIRE(lines_of(nginx.found.endpoints) == lines_of(list));
    auto const haproxy = parse_haproxy(to_haproxy("u", list, "p2c")).at(0);
    CHECK(haproxy.policy == "p2c");
    for (auto& each : list) each.id = detail::haproxy_name(each.id);
    REQUIRE(lines_of(haproxy.found.endpoints) == lines_of(list));
  }
}

TEST_CASE("what a proxy could misread is refused, not written") {
  for (std::string const address :
       {"a:80; server evil:80", "a:80\n", "a:80 down", "", "$x:80", "a{b:80", "a\\:80", "a'b:80",
        "unix:/run/a b", "unix:/run/${x}"}) {
    CAPTURE(address);
    CHECK_THROWS_AS(to_nginx("u", {{.id = "a", .address = address}}), ConfigError);
    CHECK_THROWS_AS(to_haproxy("u", {{.id = "a", .address = address}}), ConfigError);
  }
  CHECK_THROWS_AS(to_nginx("u {", {}), ConfigError);
  CHECK_THROWS_AS(to_haproxy("u\n", {}), ConfigError);
  CHECK_THROWS_WITH(
      to_haproxy("u", {{.id = "a b", .address = "x:1"}, {.id = "a/b", .address = "x:2"}}),
      "two servers would be named \"a_b\" in HAProxy, which takes letters, digits and "
      "_.-: only");
}

TEST_CASE("what nginx and HAProxy can't say is said as near as they can") {
  CHECK(to_nginx("u", {}) == "upstream u {\n    zone u 256k;\n    server 127.0.0.1:1 down;\n}\n");
  // random has no backups there
  CHECK(to_nginx("u", {{.id = "a:1", .address = "a:1"}, {.id = "b:1", .address = "b:1", .tier = 3}},
                 "p2c") ==
        "upstream u {\n    zone u 256k;\n    server a:1;\n    server b:1 backup;\n}\n");
  CHECK(
      to_haproxy("u",
                 {{.id = "a", .address = "a:1", .weight = 1000},
                  {.id = "b", .address = "b:1", .weight = 1},
                  {.id = "c", .address = "c:1", .weight = 0, .max_in_flight = 0}},
                 "adaptive", "") ==
      "backend u\n    balance roundrobin\n    server a a:1 weight 256\n    server b b:1 weight 1\n"
      "    server c c:1 weight 0 disabled\n");
}

}  // namespace unit_discovery_proxies
