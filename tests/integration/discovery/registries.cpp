// SPDX-License-Identifier: MIT
// Services under load while their registry is killed, stopped, emptied, restarted and wrong: real
// etcd, real Consul where it can be had, and a scripted server for the rest.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include <poise/discovery/curl/sources.hpp>
#include <poise/discovery/watcher.hpp>
#include <poise/poise.hpp>

#include "integration/discovery/servers.hpp"
#include "integration/discovery/service.hpp"
#include "support/catch.hpp"
#include "support/recorded_http.hpp"

namespace integration_discovery_registries {

using namespace std::chrono_literals;
using namespace poise::discovery;
using tests::Node;
using tests::quick;
using tests::Service;

namespace {

std::unique_ptr<Source> etcd(tests::EtcdServer const& server) {
  return from_etcd(server.url(), "web/");
}

struct Fleet {
  std::deque<Node> nodes{};
  tests::EtcdServer server{};

  explicit Fleet(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) add();
  }
  void add() {
    nodes.emplace_back();
    server.put(key(nodes.back()), nodes.back().address());
  }
  /// As a deployment does: deregister, wait, end.
  void remove_first() {
    server.remove(key(nodes.front()));
    std::this_thread::sleep_for(200ms);
    nodes.pop_front();
  }
  static std::string key(Node const& node) { return "web/" + std::to_string(node.port()); }
};

}  // namespace

TEST_CASE("etcd: backends come, change and go as their keys do") {
  tests::EtcdServer const server;
  server.put("web/1", "127.0.0.1:1001");
  server.put("webber/1", "127.0.0.1:1");  // not below web/
  Service service{etcd(server)};
  CHECK(service.has(1));
  server.put("web/2", "127.0.0.1:1002 weight=3 zone=z");
  server.put("web/3", R"({"address":"127.0.0.1:1003"})");
  CHECK(service.has(3));
  CHECK(service.servers().stats().backends[1].weight == 3);
  server.put("web/2", "127.0.0.1:1002");
  CHECK(tests::soon([&] { return service.servers().stats().backends[1].weight == 1; }));
  server.remove("web/1");
  CHECK(service.has(2));
  server.put("web/4", "nonsense");
  CHECK(service.says("problem: \"web/4\""));
  CHECK(service.size() == 2);
}

TEST_CASE("etcd: killed under load and started again, no call fails") {
  Fleet fleet{4};
  Service service{etcd(fleet.server)};
  REQUIRE(service.has(4));
  service.start();
  fleet.server.kill();
  CHECK(service.says("failed: etcd web/ at"));
  std::this_thread::sleep_for(2s);
  fleet.server.start();
  CHECK(service.says("recovered"));
  fleet.add();
  CHECK(service.has(5));
  tests::check(service);
}

TEST_CASE("etcd: stopped and silent under load, no call fails") {
  Fleet fleet{4};
  auto options = quick();
  options.follower.full_read = 500ms;
  Service service{etcd(fleet.server), options};
  REQUIRE(service.has(4));
  service.start();
  fleet.server.stop();
  CHECK(service.says("failed: no answer within 1 s"));
  fleet.server.go_on();
  CHECK(service.says("recovered"));
  tests::check(service);
}

TEST_CASE("etcd: all keys vanish, and the last backends stay") {
  Fleet fleet{4};
  Service service{etcd(fleet.server)};
  REQUIRE(service.has(4));
  service.start();
  fleet.server.remove_all();
  CHECK(service.says("held: the source names no backend: the last 4 stay"));
  CHECK(service.size() == 4);
  CHECK(service.status().held == 4);
  tests::check(service);
}

TEST_CASE("etcd: started again without its data, as a cluster made anew, and the backends stay") {
  Fleet fleet{4};
  Service service{etcd(fleet.server)};
  REQUIRE(service.has(4));
  service.start();
  fleet.server.kill();
  fleet.server.forget();
  fleet.server.start();
  CHECK(service.says("held: the source names no backend"));
  for (auto const& node : fleet.nodes) fleet.server.put(Fleet::key(node), node.address());
  CHECK(tests::soon([&] { return service.status().held == 0; }));
  CHECK(service.size() == 4);
  tests::check(service);
}

TEST_CASE("etcd: a watch that was compacted away reads again") {
  Fleet fleet{3};
  Service service{etcd(fleet.server)};
  REQUIRE(service.has(3));
  service.start();
  fleet.server.kill();  // the watch will begin at a revision that is gone
  fleet.server.start();
  for (int i = 0; i < 20; ++i) fleet.server.put("web/x", "127.0.0.1:1 weight=0");
  fleet.server.compact();
  fleet.add();
  CHECK(service.has(5));
  tests::check(service);
}

TEST_CASE("etcd: all replicas are replaced one by one, and no call fails") {
  Fleet fleet{4};
  Service service{etcd(fleet.server)};
  REQUIRE(service.has(4));
  service.start();
  for (int i = 0; i < 4; ++i) {
    fleet.add();
    CHECK(service.has(5));
    fleet.remove_first();
    CHECK(service.has(4));
  }
  tests::check(service);
}

TEST_CASE("Consul: backends come and go, and a restart in memory loses none") {
  if (!tests::consul_program()) {
    WARN("no consul: install it, or set POISE_TEST_CONSUL to the program (Debian 11 has 1.8.7)");
    return;
  }
  std::deque<Node> nodes(4);
  tests::ConsulServer server;
  auto const add_all = [&] {
    for (auto const& each : nodes) server.add(std::to_string(each.port()), each.port());
  };
  add_all();
  Service service{from_consul(server.url(), "web", {.wait = 2s})};
  REQUIRE(service.has(4));
  service.start();
  nodes.emplace_back();
  server.add(std::to_string(nodes.back().port()), nodes.back().port());
  CHECK(service.has(5));
  server.remove(std::to_string(nodes.front().port()));
  CHECK(service.has(4));
  nodes.pop_front();
  server.kill();
  CHECK(service.says("failed: consul web at"));
  server.start();  // it knows nobody now, and says so with status 200
  CHECK(service.says("held: the source names no backend"));
  CHECK(service.size() == 4);
  add_all();
  CHECK(tests::soon([&] { return service.status().held == 0; }));
  tests::check(service);
}

TEST_CASE("Kubernetes, replayed (1.20.2, recorded 2026-11-28): list, watch, 410, list again") {
  auto const body = [](char const* name) { return tests::recorded(name).body; };
  auto const list = body("kubernetes-1.20.2/list.http");
  auto const events =
      tests::recorded_lines("kubernetes-1.20.2/watch-modified-deleted-bookmark.jsonl");
  auto const expired = body("kubernetes-1.20.2/watch-410-in-stream.http");
  std::atomic<int> watches{0};
  tests::ScriptedServer const server{[&](std::string const& request) {
    std::string const head = "HTTP/1.1 200 OK\r\n\r\n";
    if (request.find("watch=1") == std::string::npos) return tests::http_200(list);
    switch (watches++) {
      case 0: return head + events[0] + "\n" + events[1].substr(0, 100);  // cut off
      case 1: return head + expired;
      case 2: return head + events[0] + "\n" + events[1] + "\n" + events[2] + "\n\f";
      default: return head + "\f";
    }
  }};
  Service service{from_kubernetes(server.url(), "default", "web")};
  CHECK(tests::soon([&] { return watches >= 3; }));
  CHECK(tests::soon([&] {
    auto const stats = service.servers().stats();
    return std::ranges::any_of(stats.backends, [](auto const& each) {
      return each.address == "10.1.0.2:8080" && each.weight == 0;
    });
  }));
  INFO(service.log());
  CHECK(service.status().last_error.empty());
}

TEST_CASE("answers that no registry should give leave the list as it is") {
  std::string const good = tests::http_200(R"(["127.0.0.1:1001","127.0.0.1:1002"])");
  auto const bad = GENERATE(values<std::pair<std::string, std::string>>({
      {tests::http_200("<html><body>welcome</body></html>"), "no entry can be used"},
      {tests::http_200("[\"127.0.0.1:1001\""), "is no JSON"},
      {tests::http_200(""), ""},
      {"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n[\"127.0.0.1:1001\"]",
       "Transferred a partial file"},
      {"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
       "redirects are not followed"},
      {"HTTP/1.1 500 No\r\nContent-Length: 17\r\n\r\nNo cluster leader", "No cluster leader"},
      {"HTTP/1.1 200 OK\r\n\r\n\f", "no answer within 1 s"},
      {"nonsense\r\n", "failed: http list at"},
      {"", "Server returned nothing"},
      {tests::http_200(R"([{"address":"a:1","address":"b:1"}])"), "twice in one object"},
      {tests::http_200(std::string(100'000, '[')), "nested deeper than 64"},
      {tests::http_200("[\"\xff\xfe\"]"), "is no JSON"},
      {tests::http_200(std::string(3'000'000, ' ')), "more than 1000000 bytes"},
  }));
  std::atomic<bool> broken{false};
  tests::ScriptedServer const server{[&](std::string const&) { return broken ? bad.first : good; }};
  Service service{
      from_http_list(server.url(), "/list", json::parse_any, {.max_answer = 1'000'000})};
  REQUIRE(service.has(2));
  broken = true;
  auto const before = server.requests.load();
  CHECK(tests::soon([&] { return server.requests >= before + 3; }));
  INFO(service.log());
  CHECK(service.size() == 2);
  if (bad.second.empty()) CHECK(service.said("held: the source names no backend"));
  else CHECK(service.says(bad.second));
}

TEST_CASE("etcd, scripted: a burst of events is a few lists, of which the last is whole") {
  constexpr int count = 5000;
  auto const event = [](int i) {
    auto const text = json::detail::base64("127.0.0.1:" + std::to_string(1000 + i));
    return R"({"result":{"events":[{"kv":{"key":")" + text + R"(","value":")" + text + "\"}}]}}\n";
  };
  std::string events = "HTTP/1.1 200 OK\r\n\r\n";
  for (int i = 0; i < count; ++i) events += event(i);
  tests::ScriptedServer const server{[&](std::string const& request) {
    return request.find("/v3/watch") != std::string::npos
               ? events + '\f'
               : tests::http_200(R"({"header":{"revision":"1"}})");
  }};
  auto const source = from_etcd(server.url(), "");
  int looks = 0;
  std::size_t size = 0;
  source->ask(poise::SteadyClock{}.now());
  CHECK(tests::soon([&] {
    while (auto const look = source->next(poise::SteadyClock{}.now())) {
      ++looks;
      size = std::get<Found>(look.value()).endpoints.size();
    }
    return size == count;
  }));
  CHECK(looks < count / 4);
}

TEST_CASE("Consul, scripted: an index that goes back, and one that never moves, are no storm") {
  auto const body = tests::recorded("consul-1.8.7/health-passing.http").body;
  std::atomic<int> index{500};
  tests::ScriptedServer const server{[&](std::string const&) {
    return tests::http_200(body, "X-Consul-Index: " + std::to_string(--index) + "\r\n");
  }};
  Service service{from_consul(server.url(), "web")};
  CHECK(service.has(1));
  std::this_thread::sleep_for(2s);
  CHECK(server.requests <= 5);  // one a second
}

TEST_CASE("of several servers the next is asked when one is down, and no other before") {
  auto const list = [](char const* text) {
    return [text](std::string const&) { return tests::http_200(text); };
  };
  std::optional<tests::ScriptedServer> first{std::in_place, list(R"(["a:1"])")};
  tests::ScriptedServer second{list(R"(["a:1", "b:1"])")};
  auto const source =
      from_http_list("http://127.0.0.1:1," + first->url() + "/," + second.url(), "/");
  auto const ask = [&]() -> std::string {
    source->ask(poise::SteadyClock{}.now());
    std::optional<Look> look;
    CHECK(tests::soon([&] {
      look = source->next(poise::SteadyClock{}.now());
      return look.has_value();
    }));
    if (!look) return "nothing";
    if (auto const* const failed = std::get_if<Failed>(&*look)) return failed->why;
    return std::to_string(std::get<Found>(*look).endpoints.size());
  };
  CHECK(ask().find("at http://127.0.0.1:1,http://127.0.0.1:") != std::string::npos);
  for (int i = 0; i < 3; ++i) CHECK(ask() == "1");
  CHECK(second.requests == 0);
  first.reset();
  CHECK(ask().find("onnect") != std::string::npos);
  for (int i = 0; i < 3; ++i) CHECK(ask() == "2");
}

TEST_CASE("of several servers one that never answers is left for the next") {
  tests::ScriptedServer const silent{[](std::string const&) { return std::string{"\f"}; }};
  tests::ScriptedServer const second{
      [](std::string const&) { return tests::http_200(R"(["a:1"])"); }};
  auto const source = from_http_list(silent.url() + "," + second.url(), "/");
  source->ask(poise::SteadyClock{}.now());
  CHECK(tests::soon([&] {
    CHECK_FALSE(source->next(poise::SteadyClock{}.now()));
    return silent.requests == 1;
  }));
  source->drop();  // as a follower does after answer_within
  source->ask(poise::SteadyClock{}.now());
  CHECK(tests::soon([&] { return source->next(poise::SteadyClock{}.now()).has_value(); }));
  CHECK(second.requests == 1);
}

TEST_CASE("each of several URLs is checked, and named without its secrets") {
  CHECK_THROWS_WITH(from_etcd("http://a:1,me:secret@b:2", "p"),
                    Catch::Contains("begin with http://") && !Catch::Contains("http://a"));
  CHECK_THROWS_AS(from_etcd("http://a:1,", "p"), poise::ConfigError);
  CHECK(from_etcd("http://me:secret@a:1/,https://b:2", "p")
            ->name()
            .find(" at http://a:1,https://b:2") != std::string::npos);
}

TEST_CASE("a server that claims to be TLS and is not is refused") {
  tests::ScriptedServer const server{[](std::string const&) { return tests::http_200("[]"); }};
  Service service{from_http_list("https://127.0.0.1:" + std::to_string(server.port), "/list")};
  CHECK(service.says("failed: http list at https://127.0.0.1"));
  CHECK(service.size() == 0);
}

namespace {

using Moment = std::chrono::steady_clock::time_point;

/// What a command prints, with the time of each line.
class Lines {
 public:
  explicit Lines(std::string const& command) : pipe_{::popen(command.c_str(), "r")} {
    thread_ = std::thread{[this] {
      char line[65536];
      while (std::fgets(line, sizeof line, pipe_) != nullptr) {
        std::scoped_lock const lock{mutex_};
        times_.push_back(std::chrono::steady_clock::now());
      }
    }};
  }
  Lines(Lines const&) = delete;
  Lines& operator=(Lines const&) = delete;
  ~Lines() {
    thread_.join();
    ::pclose(pipe_);
  }
  Moment wait_for(std::size_t number) {
    REQUIRE(tests::soon([&] {
      std::scoped_lock const lock{mutex_};
      return times_.size() > number;
    }));
    std::scoped_lock const lock{mutex_};
    return times_[number];
  }

 private:
  std::FILE* pipe_;
  std::mutex mutex_;
  std::vector<Moment> times_{};
  std::thread thread_{};
};

double percentile(std::vector<double> all, double share) {
  std::ranges::sort(all);
  return all[static_cast<std::size_t>(share * static_cast<double>(all.size() - 1))];
}

/// From a put to the moment when the new backend can be picked, beside curl on the same API.
void measure_etcd(std::size_t rounds) {
  tests::EtcdServer server;
  server.put("web/0", "127.0.0.1:1000");
  Service service{etcd(server)};
  REQUIRE(service.has(1));
  Lines curl{"curl -sN " + server.url() +
             R"(/v3/watch -d '{"create_request":{"key":"d2ViLw==","range_end":"d2ViMA=="}}')"};
  curl.wait_for(0);
  std::vector<double> ours;
  std::vector<double> theirs;
  for (std::size_t i = 0; i < rounds; ++i) {
    std::this_thread::sleep_for(150ms);  // more than the debounce: a change that is no burst
    auto const address = "127.0.0.1:" + std::to_string(2000 + i);
    auto const begin = std::chrono::steady_clock::now();
    server.put("web/1", address);
    while (std::ranges::none_of(service.servers().stats().backends,
                                [&](auto const& each) { return each.address == address; }))
      std::this_thread::sleep_for(100us);
    auto const seen = std::chrono::steady_clock::now();
    using Milliseconds = std::chrono::duration<double, std::milli>;
    ours.push_back(Milliseconds{seen - begin}.count());
    theirs.push_back(Milliseconds{curl.wait_for(i + 1) - begin}.count());
  }
  server.kill();
  for (double const share : {0.5, 0.99}) {
    auto const seen = percentile(ours, share);
    auto const floor = percentile(theirs, share);
    std::printf("etcd, %zu changes, p%.0f: poise %.1f ms, curl %.1f ms\n", rounds, 100 * share,
                seen, floor);
    CHECK(seen <= 1.2 * floor + 50);
  }
}

}  // namespace

TEST_CASE("the figures in docs/design/discovery.md", "[.][figures]") { measure_etcd(100); }

}  // namespace integration_discovery_registries
