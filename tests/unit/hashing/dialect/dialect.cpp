// SPDX-License-Identifier: MIT
// Every dialect sends every key where the system it is named after was recorded to send it.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <poise/hash/md5.hpp>
#include <poise/hash/xxhash.hpp>
#include <poise/hashing/dialect/envoy.hpp>
#include <poise/hashing/dialect/haproxy.hpp>
#include <poise/hashing/dialect/libketama.hpp>
#include <poise/hashing/dialect/nginx.hpp>
#include <poise/hashing/dialect/pingora.hpp>
#include <poise/policy/hash_ring.hpp>

#include "support/catch.hpp"
#include "support/envoy.hpp"
#include "support/recording.hpp"
#include "support/servers.hpp"
#include "support/stage.hpp"
#include "support/text.hpp"

namespace unit_hashing_dialect_dialect {

using poise::HashRing;
namespace dialect = poise::dialect;
using tests::EnvoyCase;
using tests::misses;
using tests::recorded;

namespace {

HashRing<dialect::Haproxy> haproxy(dialect::Haproxy settings) { return {.dialect = settings}; }

template <class D>
std::string refused(std::vector<poise::Endpoint> endpoints, D settings = {}) {
  return tests::thrown<poise::ConfigError>(
      [&] { (void)tests::servers_with(HashRing<D>{.dialect = settings}, std::move(endpoints)); });
}

}  // namespace

TEST_CASE("the nginx dialect sends every key where nginx 1.22.1 sent it") {
  for (auto const* name : {"nginx_chash_3_equal.txt", "nginx_chash_weights_1_2_3.txt",
                           "nginx_chash_no_port.txt", "nginx_chash_3_one_down.txt"}) {
    CAPTURE(name);
    CHECK(misses(recorded(name), HashRing<dialect::Nginx>{}) == 0);
  }
}

TEST_CASE("the haproxy dialect sends every key where HAProxy 3.5-dev5 sent it") {
  for (auto const* name :
       {"cons_default_3_equal", "cons_default_w1_2_3", "cons_default_w100_200_256",
        "cons_default_ids_100_7_65000", "cons_default_50"}) {
    CAPTURE(name);
    CHECK(misses(recorded(std::string{"haproxy_3.5-dev5_"} + name + ".txt"), haproxy({})) == 0);
  }
}

TEST_CASE("the haproxy dialect knows every hash-key") {
  using Key = dialect::HaproxyKey;
  for (auto const& [name, key] :
       {std::pair{"haproxy_3.5-dev5_hashkey_id32.txt", Key::id32},
        std::pair{"haproxy_3.5-dev5_hashkey_guid.txt", Key::guid},
        std::pair{"haproxy_3.5-dev5_hashkey_addr.txt", Key::addr},
        std::pair{"haproxy_3.5-dev5_hashkey_addr_port.txt", Key::addr_port},
        std::pair{"haproxy_3.5-dev5_hashkey_addr_port_v6.txt", Key::addr_port}}) {
    CAPTURE(name);
    CHECK(misses(recorded(name), haproxy({.key = key})) == 0);
  }
}

TEST_CASE("the haproxy dialect reads numbers with function none") {
  std::vector<std::string> keys;
  for (auto const& key : tests::recorded_keys())  // a header that is "," has no last value
    keys.push_back(key == "," ? ""
                              : std::to_string(static_cast<std::int64_t>(poise::hash::xxh64(key))));
  CHECK(misses(recorded("haproxy_3.5-dev5_hash_expr_xxh64_none_cons.txt"),
               haproxy({.function = dialect::HaproxyFunction::none, .avalanche = false}),
               keys) == 0);
  auto const number = dialect::detail::leading_number;
  CHECK(number("12ab") == 12);
  CHECK(number("-7") == -7);
  CHECK(number("+7") == 7);
  CHECK(number("+-7") == 0);
  CHECK(number("") == 0);
  CHECK(number("9223372036854775808") == std::numeric_limits<std::int64_t>::max());
  CHECK(number("-9223372036854775809") == std::numeric_limits<std::int64_t>::min());
}

TEST_CASE("the unfixed haproxy dialect sends every key where HAProxy 3.0.0 sent it") {
  using Key = dialect::HaproxyKey;
  for (auto const& [name, key] :
       {std::pair{"cons_default_3_equal", Key::id}, std::pair{"cons_default_w1_2_3", Key::id},
        std::pair{"cons_default_w100_200_256", Key::id},
        std::pair{"cons_default_ids_100_7_65000", Key::id}, std::pair{"cons_default_50", Key::id},
        std::pair{"hashkey_addr", Key::addr}, std::pair{"hashkey_addr_port", Key::addr_port}}) {
    CAPTURE(name);
    CHECK(misses(recorded(std::string{"haproxy_3.0.0_"} + name + ".txt"),
                 haproxy({.key = key, .unfixed_3_0 = true})) == 0);
  }
}

TEST_CASE("the grpc dialect sends every key where gRPC for Node sent it") {
  for (auto const* name :
       {"grpc_ring_3_equal.txt", "grpc_ring_w1_2_3.txt", "grpc_ring_5000_hosts_over_cap.txt"}) {
    CAPTURE(name);
    CHECK(misses(recorded(name), HashRing<dialect::GrpcRing>{}) == 0);
  }
}

namespace {

poise::Ring<std::uint64_t> ring_of(EnvoyCase const& one, std::string const& configured) {
  dialect::EnvoyRing settings;
  std::istringstream text{configured};
  std::string hash;
  text >> settings.min_size >> settings.max_size >> hash;
  if (hash == "murmur2") settings.function = dialect::EnvoyHash::murmur2;
  std::vector<poise::Ring<std::uint64_t>::Point> points;
  settings.place(one.hosts, points);
  return poise::Ring<std::uint64_t>{points};
}

/// Number k of the points in order.
void check_fact(std::string const& what, std::vector<std::uint64_t> const& numbers,
                EnvoyCase const& one, poise::Ring<std::uint64_t> const& ring, std::size_t& seen) {
  auto const owner = [&](std::uint64_t hash, std::uint64_t attempt) {
    return ring[(ring.next(hash) + attempt) % ring.size()].owner;
  };
  if (what == "point") {
    CHECK(ring[seen] ==
          poise::Ring<std::uint64_t>::Point{numbers[1], static_cast<std::uint32_t>(numbers[0])});
    ++seen;
  } else if (what == "pick") {
    CHECK(owner(numbers[0], 0) == numbers[1]);
  } else if (what == "retry") {
    CHECK(owner(numbers[0], numbers[1]) == numbers[2]);
  } else if (what == "histogram") {
    std::vector<std::uint64_t> counts(one.keys.size());
    for (std::uint64_t i = 0; i < numbers[0]; ++i)
      ++counts[owner(i * (~std::uint64_t{0} / numbers[0]), 0)];
    CHECK(counts == std::vector(numbers.begin() + 1, numbers.end()));
  } else if (what == "size") {
    std::vector<std::uint64_t> counts(one.keys.size());
    for (std::size_t at = 0; at < ring.size(); ++at) ++counts[ring[at].owner];
    std::erase_if(counts, [&](auto const& count) {  // localities without weight are not on the ring
      auto const host = static_cast<std::size_t>(&count - counts.data());
      for (auto const& each : one.hosts)
        if (each.owner == host) return false;
      return true;
    });
    CHECK(ring.size() == numbers[0]);
    CHECK(*std::min_element(counts.begin(), counts.end()) == numbers[1]);
    CHECK(*std::max_element(counts.begin(), counts.end()) == numbers[2]);
  } else {
    FAIL("unknown fact: " << what);
  }
}

}  // namespace

TEST_CASE("the envoy ring dialect makes the rings that Envoy's own tests expect") {
  auto const cases = tests::envoy_cases("envoy_ring.txt");
  CHECK(cases.size() == 15);
  for (auto const& one : cases) {
    CAPTURE(one.name);
    poise::Ring<std::uint64_t> ring;
    std::size_t seen = 0;
    for (auto const& [what, rest] : one.facts)
      if (what == "ring") ring = ring_of(one, rest);
      else check_fact(what, tests::numbers_in(rest), one, ring, seen);
  }
}

TEST_CASE("the envoy ring dialect takes weights and hash keys from backends") {
  // Envoy's case HostWeightedTinyRing, through a balancer; the keys are found by their hash.
  auto balancer =
      tests::servers_with(HashRing<dialect::EnvoyRing>{.dialect = {.min_size = 6, .max_size = 6}},
                          {{.id = "a", .address = "127.0.0.1:90", .weight = 1},
                           {.id = "b", .address = "127.0.0.1:91", .weight = 2},
                           {.id = "c", .weight = 3, .labels = {{"hash_key", "127.0.0.1:92"}}}});
  std::vector<std::pair<std::uint64_t, char>> const ends{
      {928266305478181108U, 'c'},  {4443673547860492590U, 'c'},  {5583722120771150861U, 'b'},
      {6311230543546372928U, 'b'}, {13444792449719432967U, 'c'}, {16117243373044804889U, 'a'}};
  for (auto const& key : tests::recorded_keys()) {
    char expected = 'c';
    auto const hash = poise::hash::xxh64(key);
    for (auto const& [end, owner] : ends)
      if (hash <= end) {
        expected = owner;
        break;
      }
    REQUIRE(balancer.pick({.route_key = key})->id()[0] == expected);
  }
}

TEST_CASE("the pingora dialect sends every key where pingora's own tests expect it") {
  struct Case {
    tests::Recording recording{};
    std::vector<std::string> keys{};
    std::string walk{};
    std::vector<std::size_t> order{};
  };
  std::vector<std::pair<std::string, Case>> cases;
  for (auto const& line : tests::recorded_lines("pingora.txt")) {
    auto const [word, rest] = tests::first_word(line);
    if (word == "case") cases.emplace_back(rest, Case{});
    if (word == "server") tests::add_recorded_server(cases.back().second.recording, rest);
    if (word == "key") {
      auto const [server, key] = tests::first_word(rest);
      cases.back().second.recording.expect.push_back(std::stoul(server));
      cases.back().second.keys.push_back(key);
    }
    if (word == "walk") {
      std::istringstream text{rest};
      text >> cases.back().second.walk;
      for (std::size_t server = 0; text >> server;) cases.back().second.order.push_back(server);
    }
  }
  CHECK(cases.size() == 10);
  for (auto const& [name, one] : cases) {
    CAPTURE(name);
    if (one.walk.empty()) {
      CHECK(misses(one.recording, HashRing<dialect::Pingora>{}, one.keys) == 0);
      continue;
    }
    // Backends go out in the order in which the walk meets them: the key follows.
    auto balancer = tests::servers_with(HashRing<dialect::Pingora>{}, one.recording.servers);
    std::vector<std::size_t> met;
    for (auto const server : one.order) {
      if (std::find(met.begin(), met.end(), server) != met.end()) continue;
      CHECK(balancer.pick({.route_key = one.walk})->id() == one.recording.servers[server].id);
      balancer.drain(one.recording.servers[server].id);
      met.push_back(server);
    }
  }
}

namespace {

/// Decimal numbers as libketama's tests hash them, with the point and the server they meet.
struct Ketama {
  explicit Ketama(std::vector<std::pair<std::string, std::uint32_t>> const& servers)
      : backends{servers} {
    std::deque<tests::LoneBackend> all;
    std::vector<dialect::Member> members;
    for (std::uint32_t i = 0; i < servers.size(); ++i) {
      all.emplace_back(poise::Endpoint{.id = servers[i].first, .address = servers[i].first}, i);
      members.push_back({&all.back(), servers[i].second, i});
    }
    std::vector<poise::Ring<std::uint32_t>::Point> points;
    dialect::Libketama::place(members, points);
    ring = poise::Ring<std::uint32_t>{points};
  }
  std::vector<std::pair<std::string, std::uint32_t>> backends;
  poise::Ring<std::uint32_t> ring{};
};

}  // namespace

TEST_CASE("the libketama dialect places a million keys as libketama's own test") {
  Ketama const ketama{{{"10.0.1.1:11211", 600},
                       {"10.0.1.2:11211", 300},
                       {"10.0.1.3:11211", 200},
                       {"10.0.1.4:11211", 350},
                       {"10.0.1.5:11211", 1000},
                       {"10.0.1.6:11211", 800},
                       {"10.0.1.7:11211", 950},
                       {"10.0.1.8:11211", 100}}};
  CHECK(ketama.ring.size() == 1264);
  std::string text{"\n"};
  for (int i = 0; i < 1'000'000; ++i) {
    auto const hash = dialect::Libketama::hash(std::to_string(i));
    auto const& point = ketama.ring[ketama.ring.next(hash)];
    text += std::to_string(hash) + " " + std::to_string(point.hash) + " " +
            ketama.backends[point.owner].first + "\n";
  }
  // 5672b131391f5aa2b280936aec1eea74
  CHECK(poise::hash::md5(text) == poise::hash::Md5{0x31b17256, 0xa25a1f39, 0x6a9380b2, 0x74ea1eec});
}

TEST_CASE("the libketama dialect gives the values of the Python binding's tests") {
  Ketama const ketama{{{"127.0.0.1:11211", 600}, {"127.0.0.1:11212", 400}}};
  CHECK(ketama.ring.size() == 320);
  CHECK(dialect::Libketama::hash("test") == 3446378249U);
  auto const& point = ketama.ring[ketama.ring.next(3446378249U)];
  CHECK(point.hash == 3454255383U);
  CHECK(ketama.backends[point.owner].first == "127.0.0.1:11211");
}

TEST_CASE("addresses are split as nginx splits them") {
  auto const split = [](std::string_view text) {
    auto const [host, port] = dialect::split(text);
    return std::string{host} + "|" + std::string{port};
  };
  CHECK(split("h:80") == "h|80");
  CHECK(split("h") == "h|");
  CHECK(split("h:") == "h|");
  CHECK(split("[::1]:80") == "[::1]|80");
  CHECK(split("[::1]") == "[::1]|");
  CHECK(split("unix:/run/a:80") == "/run/a:80|");
  CHECK(split("UNIX:/run/a") == "/run/a|");
  CHECK(split("80") == "80|");
  CHECK(split("") == "|");
}

TEST_CASE("dialects refuse settings that their systems could not have") {
  using tests::mentions;
  CHECK(mentions(refused<dialect::Haproxy>({{.id = "a", .weight = 257}}),
                 "weight of \"a\" is 257; HAProxy's weights end at 256"));
  CHECK(mentions(refused<dialect::Haproxy>({{.id = "a", .labels = {{"id", "x1"}}}}),
                 "label id of \"a\" is \"x1\""));
  CHECK(mentions(refused<dialect::Haproxy>(
                     {{.id = "a", .labels = {{"id", "7"}}}, {.id = "b", .labels = {{"id", "7"}}}}),
                 "label id 7 is given to two"));
  CHECK(mentions(refused<dialect::Haproxy>({{.id = "a"}}, {.key = dialect::HaproxyKey::guid}),
                 "\"a\" has no label guid"));
  CHECK(mentions(refused<dialect::Haproxy>({{.id = "a"}}, {.key = dialect::HaproxyKey::addr}),
                 "is not IP, which"));
  CHECK(mentions(
      refused<dialect::Haproxy>({{.id = "127.0.0.1"}}, {.key = dialect::HaproxyKey::addr_port}),
      "is not IP:PORT"));
  CHECK(mentions(refused<dialect::Pingora>({{.id = "host:80"}}), "is not IP:PORT"));
  CHECK(mentions(refused<dialect::EnvoyRing>({{.id = "a"}}, {.min_size = 7, .max_size = 6}),
                 "a ring of 7 to 6 points"));
  CHECK(mentions(refused<dialect::GrpcRing>({{.id = "a"}}, {.cap = 0}), "ring of 0 to 0 points"));
  CHECK(mentions(refused<dialect::Nginx>({{.id = "a"}, {.id = "b", .weight = 1'000'000}}),
                 "would need 160000160 points"));
}

TEST_CASE("the haproxy dialect numbers servers without id from their place on") {
  auto const ids = [](std::vector<std::string> labels) {
    std::vector<poise::Endpoint> endpoints;
    for (auto const& label : labels) {
      endpoints.push_back({.id = std::to_string(endpoints.size())});
      if (!label.empty()) endpoints.back().labels.push_back({"id", label});
    }
    std::string text;
    auto balancer = tests::servers_with(HashRing<dialect::Haproxy>{}, endpoints);
    for (auto const& key : tests::recorded_keys()) text += balancer.pick({.route_key = key})->id();
    return text;
  };
  CHECK(ids({"", "2", ""}) == ids({"1", "2", "3"}));
  CHECK(ids({"", "1", ""}) == ids({"2", "1", "4"}));
  CHECK(ids({"100", "", "2", ""}) == ids({"100", "3", "2", "5"}));
  CHECK(ids({"", "1", ""}) != ids({"1", "2", "3"}));
}

}  // namespace unit_hashing_dialect_dialect
