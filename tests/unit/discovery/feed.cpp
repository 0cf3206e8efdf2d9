// SPDX-License-Identifier: MIT

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include <poise/discovery/dns.hpp>
#include <poise/discovery/feed.hpp>
#include <poise/discovery/file.hpp>
#include <poise/discovery/list.hpp>
#include <poise/discovery/watcher.hpp>
#include <poise/poise.hpp>

#include "integration/no_descriptors.hpp"
#include "support/catch.hpp"

namespace unit_discovery_feed {

using namespace std::chrono_literals;
using namespace poise::discovery;
using poise::Endpoint;
using poise::Time;

namespace {

using Sources = std::vector<std::unique_ptr<Source>>;

/// A source whose answers the test writes.
class Scripted final : public Source {
 public:
  explicit Scripted(std::shared_ptr<std::optional<Look>> look) : look_{std::move(look)} {}
  [[nodiscard]] std::string name() const override { return "script"; }
  void ask(Time) override { asked_ = true; }
  void drop() override { asked_ = false; }
  [[nodiscard]] std::optional<Look> next(Time) override {
    if (!asked_ || !*look_) return std::nullopt;
    asked_ = false;
    return *look_;
  }
  void add_waits(Waits&) const override {}
  [[nodiscard]] bool busy() const override { return asked_; }

 private:
  std::shared_ptr<std::optional<Look>> look_;
  bool asked_ = false;
};

/// Needs one step for each answer, as all do that ask over a network.
class Slow final : public Source {
 public:
  Slow(int& looks, Look look) : looks_{&looks}, look_{std::move(look)} {}
  [[nodiscard]] std::string name() const override { return "slow"; }
  void ask(Time now) override { asked_ = now; }
  void drop() override { asked_.reset(); }
  [[nodiscard]] std::optional<Look> next(Time now) override {
    if (!asked_ || now == *asked_) return std::nullopt;
    asked_.reset();
    ++*looks_;
    return look_;
  }
  void add_waits(Waits&) const override {}
  [[nodiscard]] bool busy() const override { return asked_.has_value(); }

 private:
  int* looks_;
  Look look_;
  std::optional<Time> asked_{};
};

/// A feed in virtual time with one scripted source and a balancer.
struct Scene {
  std::shared_ptr<std::optional<Look>> look = std::make_shared<std::optional<Look>>();
  poise::Balancer<poise::RoundRobin> servers{{}};
  std::vector<std::string> events{};
  Feed feed;
  Time now{1000s};

  explicit Scene(FeedOptions options = {})
      : feed{std::make_unique<Scripted>(look), into(servers), with_log(std::move(options))} {}

  void say(std::string const& list) { *look = parse_list(list); }
  void run(poise::Duration time) {
    for (auto const end = now + time; now <= end; now += 100ms) feed.step(now);
  }
  std::string picked() {
    auto lease = servers.pick();
    return lease ? lease->id() : message(lease.error());
  }

 private:
  FeedOptions with_log(FeedOptions options) {
    options.log = [this](std::string const& source, Event const& event) {
      events.push_back(source + ": " + std::string{name(event.kind)} + ": " + event.text);
    };
    return options;
  }
};

}  // namespace

TEST_CASE("a balancer follows its source") {
  Scene scene;
  scene.say("a:1,b:1");
  scene.run(1s);
  CHECK(scene.servers.stats().backends.size() == 2);
  scene.say("a:1,b:1,c:1");
  scene.run(40s);
  CHECK(scene.servers.stats().backends.size() == 3);
  CHECK(scene.events.size() == 2);
}

TEST_CASE("an answer that took time is good for its time, and a failure that did backs off") {
  auto const looks_in_an_hour = [](Look look) {
    int looks = 0;
    Feed feed{std::make_unique<Slow>(looks, std::move(look)), [](std::vector<Endpoint> const&) {}};
    for (Time now{1000s}; now < Time{4600s}; now += 100ms) feed.step(now);
    return looks;
  };
  CHECK(looks_in_an_hour(Found{.endpoints = {{.id = "a:1", .address = "a:1"}}, .good_for = 60s}) ==
        60);
  CHECK(looks_in_an_hour(Found{.endpoints = {{.id = "a:1", .address = "a:1"}}}) ==
        120);                                         // refresh: 30 s
  CHECK(looks_in_an_hour(Failed{"down", {}}) < 240);  // 15 to 30 s each
}

TEST_CASE("what an operator drained stays drained when the list changes") {
  Scene scene;
  scene.say("a:1,b:1");
  scene.run(1s);
  scene.servers.drain("a:1");
  scene.say("a:1 weight=5,c:1");
  scene.run(40s);
  auto const stats = scene.servers.stats();
  CHECK(stats.backends[0].drained);
  CHECK(stats.backends[0].weight == 5);
}

TEST_CASE("weight 0 in discovery takes a backend out, and its return brings it back") {
  Scene scene;
  scene.say("a:1,b:1");
  scene.run(1s);
  scene.say("a:1 weight=0,b:1");
  scene.run(40s);
  for (int i = 0; i < 4; ++i) CHECK(scene.picked() == "b:1");
  scene.say("a:1,b:1");
  scene.run(40s);
  CHECK(scene.servers.stats().backends[0].weight == 1);
}

TEST_CASE("a registry that says nobody empties no balancer, unless that is wanted") {
  Scene kept;
  kept.say("a:1,b:1");
  kept.run(1s);
  kept.say("");
  kept.run(10min);
  CHECK(kept.picked().ends_with(":1"));
  FeedOptions options;
  options.follower.guard.on_empty = OnEmpty::obey;
  Scene obeyed{options};
  obeyed.say("a:1,b:1");
  obeyed.run(1s);
  obeyed.say("");
  obeyed.run(30s);
  CHECK(obeyed.picked().ends_with(":1"));  // not confirmed yet
  obeyed.run(10min);
  CHECK(obeyed.picked() == "no backends are configured: add some with add() or update()");
}

TEST_CASE("a payload that can't be made is tried again, and the old list serves meanwhile") {
  auto look = std::make_shared<std::optional<Look>>(parse_list("a:1"));
  bool broken = false;
  struct Pool {};
  poise::Balancer<poise::RoundRobin, Pool> pools{{}, [&](Endpoint const& endpoint) {
                                                   if (broken && endpoint.id == "b:1")
                                                     throw std::runtime_error{"no memory for b"};
                                                   return Pool{};
                                                 }};
  std::string refused;
  Feed feed{std::make_unique<Scripted>(look),
            into(pools),
            {.log = [&](std::string const&, Event const& event) {
              if (event.kind == Event::Kind::refused) refused = event.text;
            }}};
  Time now{1000s};
  feed.step(now);
  broken = true;
  *look = parse_list("a:1,b:1");
  feed.step(now += 40s);
  CHECK(pools.stats().backends.size() == 1);
  CHECK(refused == "a list of 2 was not taken, and is offered again in 1 s: no memory for b");
  broken = false;
  feed.step(now += 1s);
  CHECK(pools.stats().backends.size() == 2);
}

TEST_CASE("what a source or a log throws is a failed look, and ends no thread") {
  int asked = 0;
  auto source = std::make_unique<ReadySource>("throws", [&]() -> Look {
    if (++asked == 1) return parse_list("a:1");
    throw std::runtime_error{"no token"};
  });
  poise::Balancer<> servers{{}};
  Feed feed{std::move(source), into(servers), {.log = [](std::string const&, Event const&) {
              throw std::runtime_error{"the disk is full"};
            }}};
  Time now{1000s};
  feed.step(now);
  feed.step(now += 40s);
  CHECK(feed.status(now)[0].last_error == "no token");
  CHECK(servers.stats().backends.size() == 1);
}

TEST_CASE("the last list is on disk, and serves a start without registry") {
  auto const path =
      (std::filesystem::temp_directory_path() / ("poise-snapshot-" + std::to_string(::getpid())))
          .string();
  FeedOptions const options{.snapshot = path};
  {
    Scene scene{options};
    scene.say("a:1 weight=3,b:1 zone=z");
    scene.run(1s);
  }
  {
    Scene scene{options};
    *scene.look = Failed{"connection refused", {}};
    scene.run(1s);
    CHECK(scene.servers.stats().backends.size() == 2);
    CHECK(scene.servers.stats().backends[0].weight == 3);
    CHECK(scene.feed.status(scene.now)[0].freshness == Freshness::snapshot);
  }
  std::ofstream{path} << "# poise snapshot, fingerprint 0123456789abcdef\na:1\n";
  {
    Scene scene{options};
    scene.run(1s);
    CHECK(scene.servers.stats().backends.empty());
    CHECK(scene.events[0].find("the file is damaged") != std::string::npos);
  }
  std::filesystem::remove(path);
}

TEST_CASE("two sources are one list, and either may fail") {
  auto first = std::make_shared<std::optional<Look>>(Failed{"down", {}});
  auto second = std::make_shared<std::optional<Look>>(parse_list("b:1"));
  auto const sources = [&] {
    Sources result;
    result.push_back(std::make_unique<Scripted>(first));
    result.push_back(std::make_unique<Scripted>(second));
    return result;
  };
  Feed all{sources(), {}, {.merge = Merge::all}};
  Feed fallback{sources(), {}, {.merge = Merge::first}};
  Feed tiers{sources(), {}, {.merge = Merge::tiers}};
  Time now{1000s};
  auto const step = [&] {
    for (auto* each : {&all, &fallback, &tiers}) each->step(now);
  };
  step();
  CHECK(all.endpoints().size() == 1);
  CHECK(fallback.endpoints()[0].id == "b:1");
  *first = parse_list("a:1");
  now += 10s;
  step();
  CHECK(all.endpoints().size() == 2);
  CHECK(fallback.endpoints()[0].id == "a:1");
  CHECK(tiers.endpoints()[1].tier == 1);
}

TEST_CASE("a source without a list, or a list that is wrong, is refused with the reason") {
  CHECK_THROWS_AS((Feed{Sources{}, {}, {}}), poise::ConfigError);
  CHECK_THROWS_WITH(from_list("a:1,b:0"),
                    "list \"a:1,b:0\": line 2: \"b:0\" is not host:port with a port from 1 to "
                    "65535 (IPv6 needs brackets: [::1]:80)");
  CHECK_THROWS_AS(from_dns("host", 0), poise::ConfigError);
  CHECK_THROWS_AS(from_dns("", 80), poise::ConfigError);
}

TEST_CASE("an environment variable is a source, without it the list stays") {
  ::setenv("POISE_TEST_BACKENDS", "a:1,b:1 weight=2", 1);
  auto const source = from_environment("POISE_TEST_BACKENDS");
  source->ask({});
  CHECK(std::get<Found>(*source->next({})).endpoints.size() == 2);
  ::unsetenv("POISE_TEST_BACKENDS");
  source->ask({});
  CHECK(std::get<Failed>(*source->next({})).why == "POISE_TEST_BACKENDS is not set");
}

TEST_CASE("a name is looked up by the system, literal addresses need no server") {
  auto const found = std::get<Found>(look_up("127.0.0.1", 80));
  REQUIRE(found.endpoints.size() == 1);
  CHECK(found.endpoints[0].address == "127.0.0.1:80");
  CHECK(std::get<Found>(look_up("::1", 80)).endpoints[0].address == "[::1]:80");
  CHECK(std::get<Found>(look_up("::1", 80, {.family = Family::both})).endpoints.size() == 1);
}

namespace {

/// Until it holds, for ten seconds at most.
template <class Condition>
bool soon(Condition const& condition) {
  for (int i = 0; i < 1000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(10ms);
  }
  return false;
}

}  // namespace

TEST_CASE("a watcher feeds balancers from its thread until the handle is gone") {
  std::atomic<int> calls{0};
  FeedOptions options;
  options.follower.refresh = 20ms;
  options.follower.floor = 10ms;
  options.follower.debounce = 0ms;
  poise::Balancer<> servers{{}};
  Watcher watcher;
  auto source = from_function("mine", [&]() -> Look {
    return parse_list("a:" + std::to_string(1 + calls++ % 50) + ",b:1,c:1");
  });
  auto handle = watcher.follow(std::move(source), servers, options);
  CHECK(handle.status().size() == 1);  // from the beginning
  CHECK(soon([&] { return calls > 5 && servers.stats().backends.size() >= 3; }));
  CHECK(handle.status()[0].freshness == Freshness::fresh);
  handle.hint();
  handle = {};
  auto const then = calls.load();
  std::this_thread::sleep_for(50ms);
  CHECK(calls.load() <= then + 1);
}

TEST_CASE("functions that block or throw delay and break nothing else") {
  poise::Balancer<> servers{{}};
  std::mutex mutex;
  std::condition_variable released;
  bool release = false;
  {
    Watcher watcher;
    poise::Balancer<> others{{}};
    FeedOptions options;
    options.follower.answer_within = 50ms;
    options.follower.floor = 10ms;
    auto const blocked =
        watcher.follow(from_function("blocks",
                                     [&]() -> Look {
                                       std::unique_lock lock{mutex};
                                       released.wait(lock, [&] { return release; });
                                       return Failed{"too late", {}};
                                     }),
                       others, options);
    auto const throws = watcher.follow(
        from_function("throws", []() -> Look { throw std::runtime_error{"no route"}; }), others);
    auto const works = watcher.follow(from_list("a:1,b:1"), servers);
    CHECK(soon([&] { return servers.stats().backends.size() == 2; }));
    CHECK(soon([&] { return throws.status()[0].last_error == "no route"; }));
    CHECK(soon([&] { return blocked.status()[0].last_error == "no answer within 50 ms"; }));
    {
      std::scoped_lock const lock{mutex};
      release = true;
    }
    released.notify_all();
  }
  CHECK(servers.pick());
}

TEST_CASE("nothing of a feed lives on when its handle is gone") {
  auto const used = std::make_shared<int>();
  Watcher watcher;
  for (int i = 0; i < 300; ++i) {
    auto handle = watcher.follow(
        std::make_unique<Feed>(from_list("a:1"), [used](std::vector<Endpoint> const&) {}));
    auto const other = watcher.follow(
        std::make_unique<Feed>(from_list("a:1"), [](std::vector<Endpoint> const&) {}));
    handle = {};
    REQUIRE(used.use_count() == 1);
  }
}

TEST_CASE("a sink may end its own feed, and handles may go in any order") {
  Watcher watcher;
  std::optional<Watcher::Handle> handle;
  std::atomic<bool> ended{false};
  std::mutex mutex;
  {
    std::scoped_lock const lock{mutex};
    handle = watcher.follow(std::make_unique<Feed>(from_list("a:1"), [&](auto const&) {
      std::scoped_lock const inner{mutex};
      handle.reset();
      ended = true;
    }));
  }
  CHECK(soon([&] { return ended.load(); }));
  auto first = watcher.follow(std::make_unique<Feed>(from_list("a:1"), [](auto const&) {}));
  auto second = watcher.follow(std::make_unique<Feed>(from_list("b:1"), [](auto const&) {}));
  first = std::move(second);
}

TEST_CASE("a watcher or a source without descriptors says so") {
  tests::NoDescriptors const none;
  CHECK_THROWS_AS(Watcher{}, std::system_error);
  CHECK_THROWS_AS(from_function("f", [] { return Look{}; }), std::system_error);
}

TEST_CASE("a source that ends with its own list may use another handle") {
  struct Parting final : Source {
    explicit Parting(std::function<void()> last) : last_words{std::move(last)} {}
    ~Parting() override { last_words(); }
    [[nodiscard]] std::string name() const override { return "parting"; }
    void ask(Time) override { asked = true; }
    void drop() override { asked = false; }
    [[nodiscard]] std::optional<Look> next(Time) override {
      if (!std::exchange(asked, false)) return std::nullopt;
      return Found{.endpoints = {{.id = "a", .address = "a:1"}}};
    }
    void add_waits(Waits&) const override {}
    [[nodiscard]] bool busy() const override { return asked; }
    std::function<void()> last_words;
    bool asked = false;
  };
  Watcher watcher;
  auto const other =
      watcher.follow(std::make_unique<Feed>(from_list("b:1"), [](std::vector<Endpoint> const&) {}));
  std::promise<void> assigned;
  std::promise<void> ended;
  Watcher::Handle own;
  auto feed = std::make_unique<Feed>(std::make_unique<Parting>([&] {
                                       other.hint();
                                       ended.set_value();
                                     }),
                                     [&](std::vector<Endpoint> const&) {
                                       assigned.get_future().wait();
                                       own = {};
                                     });
  own = watcher.follow(std::move(feed));
  assigned.set_value();
  CHECK(ended.get_future().wait_for(20s) == std::future_status::ready);
}

}  // namespace unit_discovery_feed
