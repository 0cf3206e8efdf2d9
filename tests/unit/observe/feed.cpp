// SPDX-License-Identifier: MIT
#include <poise/observe/feed.hpp>
#include <poise/observe/page.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <poise/health/monitor.hpp>
#include <poise/poise.hpp>
#include <support/catch.hpp>

namespace unit_observe_feed {

namespace {

using namespace std::chrono_literals;
using namespace poise;
using namespace poise::observe;

struct World {
  using R = Runtime<VirtualClock, health::Standard, Meter<>>;

  explicit World(std::vector<Endpoint> backends, FeedOptions options = {})
      : servers{std::move(backends), {}, R{.clock = clock, .seed = 1}},
        feed{std::make_shared<Feed>(Metrics{.readers = {std::make_shared<Reader>(
                                                "orders", servers, ReaderOptions{.cap = 5000})}},
                                    std::move(options))} {}

  /// A second later.
  void advance() {
    clock.advance(1s);
    feed->advance();
  }
  /// Requests until the backend is out.
  void eject(std::string_view id) {
    while (servers.observer<health::Standard>().phase(id) != health::Phase::ejected) {
      auto lease = servers.pick();
      lease.finish(lease->id() == id ? Result::refused : Result::success);
    }
  }

  VirtualClock clock;
  Balancer<RoundRobin, void, R> servers;
  std::shared_ptr<Feed> feed;
};

std::vector<Endpoint> many(std::size_t count, std::string const& prefix = "b") {
  std::vector<Endpoint> all;
  for (std::size_t i = 0; i < count; ++i) all.push_back({.id = prefix + std::to_string(i)});
  return all;
}

bool is(std::string_view event, std::string_view kind) {
  return event.find("\nevent: " + std::string{kind} + "\n") != std::string_view::npos;
}
bool has(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}
/// A number in its `id:` line.
std::string id_of(std::string_view event) { return std::string{event.substr(0, event.find('\n'))}; }

}  // namespace

TEST_CASE("a viewer is told all there is, then what changed", "[page]") {
  World world{endpoints({"a", "b"})};
  world.advance();
  Feed::Seen seen;
  auto const first = world.feed->next(seen);
  CHECK(is(first, "full"));
  CHECK(has(first, R"("name":"orders")"));
  CHECK(has(first, R"("names":[[1,"a","a","",0],[2,"b","b","",0]])"));
  CHECK(first.ends_with("\n\n"));
  CHECK(world.feed->next(seen).empty());

  world.advance();
  auto const idle = world.feed->next(seen);
  CHECK(is(idle, "tick"));
  CHECK(has(idle, R"("rows":[])"));
  CHECK(id_of(idle) != id_of(first));

  auto const lease = world.servers.pick();
  world.advance();
  auto const busy = world.feed->next(seen);
  CHECK(has(busy, R"("in_flight":1)"));
  CHECK(has(busy, R"("rows":[[)"));
  CHECK_FALSE(has(busy, "names"));
}

TEST_CASE("a viewer that missed something is told all there is again", "[page]") {
  World world{endpoints({"a"})};
  Feed::Seen seen;
  CHECK(is(world.feed->next(seen), "full"));
  world.advance();
  CHECK(is(world.feed->next(seen), "tick"));
  world.advance();
  world.advance();
  CHECK(is(world.feed->next(seen), "full"));
  world.advance();
  CHECK(is(world.feed->next(seen), "tick"));
}

TEST_CASE("all viewers get the same event", "[page]") {
  World world{endpoints({"a", "b"})};
  Feed::Seen one;
  Feed::Seen other;
  CHECK(world.feed->next(one) == world.feed->next(other));
  world.servers.pick().finish();
  world.advance();
  CHECK(world.feed->next(one) == world.feed->next(other));
}

TEST_CASE("an ejected backend's row says why, since when and until when", "[page]") {
  World world{endpoints({"a", "b", "c"})};
  world.advance();
  Feed::Seen seen;
  (void)world.feed->next(seen);
  world.eject("c");
  world.advance();
  auto const event = world.feed->next(seen);
  CHECK(has(event, "[3,3,0,"));  // slot 3 is ejected, and has nothing in flight
  CHECK(has(event, R"("consecutive failures",)"));
  CHECK(has(event, R"({"refused":)"));
  CHECK(has(event, R"("unhealthy":1)"));
  CHECK(has(event, R"(c: healthy -\u003e ejected for)"));
  world.advance();
  CHECK_FALSE(has(world.feed->next(seen), R"(c: healthy -\u003e ejected for)"));
}

TEST_CASE("nothing is told of traffic that ended seconds ago", "[page]") {
  World world{endpoints({"a"})};
  world.advance();
  for (int i = 0; i < 5000; ++i) world.servers.pick().finish(Result::cancelled);
  for (int i = 0; i < 5000; ++i) world.servers.pick().finish(Result::success);
  Feed::Seen seen;
  for (int second = 0; second < 5; ++second) {
    world.advance();
    CHECK_FALSE(has(world.feed->next(seen), R"("rate":0,)"));
  }
  world.advance();
  CHECK(has(world.feed->next(seen), R"("rate":0,)"));
}

TEST_CASE("ill backends beyond the cap have rows, and of very many the rest is counted", "[page]") {
  World world{many(60)};
  auto const reader = std::make_shared<Reader>("orders", world.servers, ReaderOptions{.cap = 10});
  Feed feed{Metrics{.readers = {reader}}};
  world.eject("b33");
  feed.advance();
  Feed::Seen seen;
  auto const one = feed.next(seen);
  CHECK(has(one, R"("unhealthy":1,)"));
  CHECK(has(one, R"("unlisted":49,"unlisted_unhealthy":0,"unlisted_degraded":0)"));
  CHECK(has(one, R"("b33")"));
  CAPTURE(one);
  CHECK(has(one, R"("consecutive failures",)"));
  for (int i = 0; i < 40; ++i)
    world.servers.set_health("b" + std::to_string(20 + i), HealthState::unhealthy);
  world.advance();
  feed.advance();
  auto const many_ill = feed.next(seen);
  CAPTURE(many_ill);
  CHECK(has(many_ill, R"("unhealthy":40,)"));
  CHECK(has(many_ill, R"("unlisted":30,"unlisted_unhealthy":20,"unlisted_degraded":0)"));
  for (int i = 0; i < 40; ++i) world.servers.set_health("b" + std::to_string(20 + i), std::nullopt);
  world.clock.advance(10min);
  world.servers.tick();
  feed.advance();
  CHECK(has(feed.next(seen), R"("unlisted_unhealthy":0)"));
}

TEST_CASE("a set that changes is told as a whole, without the past", "[page]") {
  World world{endpoints({"a", "b"})};
  world.advance();
  Feed::Seen seen;
  (void)world.feed->next(seen);
  world.servers.add({.id = "c"});
  world.advance();
  auto const more = world.feed->next(seen);
  CHECK(is(more, "set"));
  CHECK(has(more, R"([3,"c",)"));
  CHECK_FALSE(has(more, "past"));
  world.servers.remove("a");
  world.advance();
  auto const fewer = world.feed->next(seen);
  CHECK(is(fewer, "set"));
  CHECK(has(fewer, R"("names":[[2,"b",)"));
  world.servers.update(endpoints({"c", "b"}));
  world.advance();
  CHECK(has(world.feed->next(seen), R"("names":[[3,"c",)"));
}

TEST_CASE("a tick of 1000 busy backends keeps its bound, and all are told in turn", "[page]") {
  World world{many(1000)};
  world.advance();
  Feed::Seen seen;
  (void)world.feed->next(seen);
  std::vector<decltype(world.servers)::Lease> held;
  for (int i = 0; i < 1000; ++i) held.push_back(world.servers.pick());
  std::vector<bool> told(1001);
  for (int tick = 0; tick < 20; ++tick) {
    world.advance();
    auto const event = world.feed->next(seen);
    REQUIRE(is(event, "tick"));
    CHECK(event.size() <= Feed::max_tick + 100);
    for (std::size_t slot = 1; slot <= 1000; ++slot)
      if (has(event, "[" + std::to_string(slot) + ",0,1,")) told[slot] = true;
  }
  CHECK(std::ranges::count(told, true) == 1000);
}

TEST_CASE("a backend that goes out is told before a thousand that only count", "[page]") {
  World world{many(1000)};
  world.advance();
  Feed::Seen seen;
  (void)world.feed->next(seen);
  world.eject("b999");
  world.advance();
  CHECK(has(world.feed->next(seen), "[1000,3,"));
}

TEST_CASE("the past of 15 minutes is told to a new viewer, and is bounded", "[page]") {
  World world{many(300)};
  for (int second = 0; second < 2000; second += 4) {
    for (int i = 0; i < 10; ++i) world.servers.pick().finish();
    world.clock.advance(3s);
    world.advance();
  }
  Feed::Seen seen;
  auto const event = world.feed->next(seen);
  auto const begin = event.find(R"("points":[[)");
  REQUIRE(begin != std::string::npos);
  auto const points = event.substr(begin, event.find("]]", begin) - begin);
  CHECK(std::ranges::count(points, '[') == 301);
  CHECK(event.size() < 150'000);
}

TEST_CASE("nothing that an id says ends an event or the string that it is in", "[page]") {
  World world{std::vector<Endpoint>{{.id = "<img src=x onerror=alert(1)>"},
                                    {.id = "a\n\nevent: full\ndata: \"{}"}}};
  Feed::Seen seen;
  auto const event = world.feed->next(seen);
  CHECK(std::ranges::count(event, '\n') == 4);
  CHECK_FALSE(has(event, "<img"));
  CHECK(has(event, R"(\u003cimg src=x onerror=alert(1)\u003e)"));
}

TEST_CASE("an outage began with its first ejection, whatever trial requests did", "[page]") {
  World world{endpoints({"a", "b"})};
  world.eject("a");
  auto const began = world.clock.now().time_since_epoch();
  auto const began_text = "," + std::to_string(began / 1s) + "]";
  world.advance();
  Feed::Seen seen;
  CHECK(has(world.feed->next(seen), began_text));
  for (int second = 0; second < 200; ++second) {
    for (int request = 0; request < 10; ++request) {
      auto lease = world.servers.pick();
      lease.finish(lease->id() == "a" ? Result::refused : Result::success);
    }
    world.servers.tick();
    world.advance();
  }
  CHECK(world.servers.observer<health::Standard>().history("a").size() > 3);  // it was tried
  Feed::Seen other;
  CHECK(has(world.feed->next(other), began_text));
}

TEST_CASE("a backend of the same id that is ejected anew has an outage of its own", "[page]") {
  World world{endpoints({"a", "b"})};
  world.eject("a");
  world.advance();
  Feed::Seen seen;
  (void)world.feed->next(seen);
  for (int second = 0; second < 9; ++second) world.advance();
  world.servers.update({{.id = "a", .address = "elsewhere:1"}, {.id = "b", .address = "b"}});
  world.servers.tick();
  world.eject("a");
  auto const began = world.clock.now().time_since_epoch();
  world.advance();
  CHECK(has(world.feed->next(seen), "," + std::to_string(began / 1s) + "]"));
}

TEST_CASE("a backend that joins is new, one that comes back is in slow start", "[page]") {
  World world{endpoints({"a", "b"})};
  world.servers.tick();
  world.clock.advance(1min);
  world.servers.tick();
  world.servers.add({.id = "c", .address = "c"});
  world.servers.tick();
  world.advance();
  Feed::Seen seen;
  auto const told = world.feed->next(seen);
  CAPTURE(told);
  CHECK(has(told, "[3,8,0,"));
}

TEST_CASE("notices are told as long as they hold", "[page]") {
  std::vector<Notice> notices;
  World world{endpoints({"a"}), {.notices = [&](auto const&) { return notices; }}};
  world.advance();
  Feed::Seen seen;
  CHECK(has(world.feed->next(seen), R"("notices":[])"));
  notices.push_back({Level::error, "the error budget burns"});
  world.advance();
  CHECK(has(world.feed->next(seen), R"("notices":[[2,"the error budget burns","",null]])"));
}

TEST_CASE("the page is small, lets only its own script run, and has no data in it", "[page]") {
  World world{endpoints({"secret-id"})};
  Handler handler;
  add_page(handler, {.readers = {std::make_shared<Reader>("orders", world.servers)}});
  auto const get = [&](std::string_view target) {
    return handler({.method = "GET", .target = target, .host = "localhost"});
  };
  auto const page = get("/");
  CHECK(page.type == "text/html; charset=utf-8");
  CHECK(page.body.size() < 150'000);
  CHECK_FALSE(has(page.body, "secret-id"));
  CHECK_FALSE(has(page.body, "innerHTML"));
  auto const policy = std::ranges::find(page.headers, "Content-Security-Policy",
                                        &std::pair<std::string, std::string>::first);
  REQUIRE(policy != page.headers.end());
  CHECK(has(policy->second, "default-src 'none'"));
  CHECK_FALSE(has(policy->second, "unsafe"));
  auto const nonce = policy->second.substr(policy->second.find("'nonce-") + 7, 20);
  CHECK(has(page.body, "<script nonce=\"" + nonce));
  CHECK_FALSE(has(get("/").body, nonce));

  auto const events = get("/events");
  CHECK(events.type == "text/event-stream; charset=utf-8");
  CHECK(has(events.body, "secret-id"));
  REQUIRE(events.stream);
  CHECK(events.stream->next() == std::string{});
  REQUIRE(handler.tasks().size() == 1);
  handler.tasks()[0].run();
  CHECK(is(*events.stream->next(), "tick"));
}

TEST_CASE("the page knows where explanations are", "[page]") {
  World world{endpoints({"a"})};
  auto const reader = [&](std::string const& name) {
    return std::make_shared<Reader>(name, world.servers);
  };
  auto const page_with = [](Metrics const& metrics, std::vector<std::string> const& places) {
    Handler handler;
    add_page(handler, metrics);
    auto const nothing = [](HttpRequest const&) { return HttpResponse{}; };
    for (auto const& under : places) {
      handler.add(under + "/explain", nothing);
      handler.add_below(under + "/why/", nothing);
    }
    return handler({.method = "GET", .target = "/", .host = "localhost"}).body;
  };
  Metrics const one{.readers = {reader("orders")}};
  Metrics const two{.readers = {reader("orders"), reader("users")}};
  CHECK(has(page_with(one, {}), "EXPLAINED = [null,]"));
  CHECK(has(page_with(one, {""}), "EXPLAINED = [\"\",]"));
  CHECK(has(page_with(one, {"/orders"}), "EXPLAINED = [\"orders/\",]"));
  CHECK(has(page_with(two, {""}), "EXPLAINED = [null,null,]"));  // whose would it be?
  CHECK(has(page_with(two, {"/users"}), "EXPLAINED = [null,\"users/\",]"));
  Metrics const odd{.readers = {reader("a <b>/50%"), reader("users")}};
  CHECK(has(page_with(odd, {"/a <b>/50%"}), "EXPLAINED = [\"a%20%3Cb%3E%2F50%25/\",null,]"));
}

TEST_CASE("a balancer that is gone is told so, without rates, and time goes on", "[page]") {
  auto const clock = std::make_shared<VirtualClock>();
  using R = Runtime<VirtualClock, Meter<>>;
  auto servers = std::make_unique<Balancer<RoundRobin, void, R>>(endpoints({"a", "b"}),
                                                                 RoundRobin{}, R{.clock = *clock});
  auto const reader = std::make_shared<Reader>("orders", *servers);
  Feed feed{Metrics{.readers = {reader}}};
  feed.advance();
  for (int i = 0; i < 100; ++i) servers->pick().finish(Result::error);
  clock->advance(1s);
  feed.advance();
  Feed::Seen seen;
  CHECK(has(feed.next(seen), R"("gone":null,"requests":100,"in_flight":0,"rate":100,)"));
  auto const last = reader->read().at;
  servers.reset();
  feed.advance();
  auto const told = feed.next(seen);
  CAPTURE(told);
  CHECK_FALSE(has(told, R"("gone":null)"));
  CHECK(has(told, R"("requests":100,"in_flight":0,"rate":0,"failures":0,"causes":{})"));
  CHECK(has(told, "[1,9,0,0,0,"));
  auto const snapshot = reader->read();
  REQUIRE(snapshot.facts.gone);
  CHECK(snapshot.facts.gone->since >= last);
  CHECK(snapshot.at >= snapshot.facts.gone->since);
  std::this_thread::sleep_for(1ms);
  auto const later = reader->read();
  CHECK(later.at > snapshot.at);
  CHECK(later.facts.gone->since == snapshot.facts.gone->since);
}

TEST_CASE("what the operator ordered has its time and is called so", "[page]") {
  World world{endpoints({"a", "b", "c"})};
  world.advance();
  Feed::Seen seen;
  (void)world.feed->next(seen);
  world.servers.set_health("a", HealthState::degraded);
  world.servers.set_health("b", HealthState::unhealthy);
  world.servers.drain("c");
  world.advance();
  auto const since = std::to_string(world.clock.now().time_since_epoch() / 1s);
  auto const why = "[" + since + R"(,null,"by the operator",0,0,)" + since + "]";
  for (int second = 0; second < 2; ++second) {
    Feed::Seen other;
    auto const told = world.feed->next(other);
    CAPTURE(told);
    CHECK(has(told, "[1,11,0,"));
    CHECK(has(told, "[2,12,0,"));
    CHECK(has(told, "[3,6,0,"));
    CHECK(has(told, why));
    CHECK(has(told, "a: declared degraded by the operator"));
    world.advance();
  }
  world.servers.set_health("a", std::nullopt);
  world.advance();
  Feed::Seen other;
  auto const told = world.feed->next(other);
  CHECK(has(told, "[1,0,0,"));
  CHECK(has(told, "a: no longer declared by the operator, healthy as found"));
}

TEST_CASE("a panic is shown only while ill backends get requests", "[page]") {
  World world{endpoints({"a", "b", "c"})};
  world.servers.tick();
  for (auto const* id : {"a", "b", "c"}) world.servers.set_health(id, HealthState::unhealthy);
  world.advance();
  Feed::Seen seen;
  CHECK(has(world.feed->next(seen), R"("panic":true,"panic_opens":false)"));
  CHECK_FALSE(world.servers.pick());
  for (auto const* id : {"a", "b", "c"}) {
    world.servers.set_health(id, std::nullopt);
    world.servers.report_health(id, HealthState::unhealthy);
  }
  world.clock.advance(1s);
  world.servers.tick();
  world.advance();
  CHECK(has(world.feed->next(seen), R"("panic":true,"panic_opens":true)"));
  CHECK(world.servers.pick());
}

TEST_CASE("ids that differ look different, and are asked for by their bytes", "[page]") {
  World world{{{.id = "  "},
               {.id = "b"},
               {.id = "b "},
               {.id = "\xff"},
               {.id = "\xfe"},
               {.id = "\\xff"},
               {.id = "c:\\d"}}};
  Feed::Seen seen;
  auto const told = world.feed->next(seen);
  CAPTURE(told);
  CHECK(has(told, R"([1,"\\x20\\x20","","",0,"%20%20"])"));
  CHECK(has(told, R"([2,"b","","",0])"));
  CHECK(has(told, R"([3,"b\\x20",)"));
  CHECK(has(told, R"([4,"\\xff","","",0,"%FF"])"));
  CHECK(has(told, R"([5,"\\xfe",)"));
  CHECK(has(told, R"([6,"\\\\xff",)"));
  CHECK(has(told, R"([7,"c:\\d","","",0])"));
}

TEST_CASE("two readers of one name are refused", "[page]") {
  World world{endpoints({"a"})};
  auto const reader = [&] { return std::make_shared<Reader>("orders", world.servers); };
  Metrics const metrics{.readers = {reader(), reader()}};
  Handler handler;
  CHECK_THROWS_WITH(add_page(handler, metrics),
                    Catch::Matchers::Contains("two readers are named \"orders\""));
  CHECK_THROWS_AS(add_metrics(handler, metrics), ConfigError);
}

}  // namespace unit_observe_feed
