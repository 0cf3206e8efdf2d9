// SPDX-License-Identifier: MIT

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include <poise/health/monitor.hpp>
#include <poise/poise.hpp>
#include <poise/probe/http_answer.hpp>
#include <poise/probe/schedule.hpp>
#include <poise/probe/threads.hpp>

#include "support/catch.hpp"
#include "support/servers.hpp"

namespace unit_probe_schedule {

using namespace std::chrono_literals;
using namespace poise::health;
using poise::Duration;
using poise::Time;

namespace {

constexpr ProbeOptions exact{.jitter = 0};

std::vector<Target> targets(std::size_t count) {
  std::vector<Target> result;
  for (std::size_t i = 0; i < count; ++i)
    result.push_back({.id = std::to_string(i), .address = "10.0.0.1:" + std::to_string(i)});
  return result;
}

/// Drives a schedule in virtual time; `answer` says how a probe ends, nothing if it hangs.
struct Driver {
  using Answer = std::function<std::optional<bool>(std::string const&)>;
  Schedule schedule;
  Answer answer;
  Duration takes = 10ms;
  Time now{100s};
  std::map<std::string, std::vector<Duration>> starts{};  // since 100 s
  std::vector<std::string> reports{};

  explicit Driver(Answer how, ProbeOptions options = exact)
      : schedule{options, 1}, answer{std::move(how)} {}

  void run_until(Time end) {
    while (true) {
      auto const next = schedule.next();
      auto const first = std::min(next.value_or(end), ends.empty() ? end : ends.begin()->first);
      if (first >= end) break;
      now = std::max(now, first);
      while (!ends.empty() && ends.begin()->first <= now) {
        auto const probe = ends.begin()->second;
        ends.erase(ends.begin());
        note(schedule.finish(probe.id, probe.ticket, {*answer(probe.id), "cause"}, now));
      }
      while (auto expired = schedule.expire(now)) note(expired->report);
      while (auto probe = schedule.start(now)) {
        starts[probe->id].push_back(now - Time{100s});
        if (answer(probe->id)) ends.emplace(now + takes, *probe);
      }
    }
    now = end;
  }
  void note(std::optional<Schedule::Report> const& report) {
    if (report) reports.push_back(report->id + " " + std::string{name(report->signal)});
  }
  std::multimap<Time, Schedule::Probe> ends{};
};

std::vector<long> seconds(std::vector<Duration> const& times) {
  std::vector<long> result;
  for (auto const time : times)
    result.push_back(std::chrono::round<std::chrono::seconds>(time - times[0]).count());
  return result;
}

}  // namespace

TEST_CASE("the first probes come soon but not all at once") {
  Driver driver{[](auto const&) { return true; }};
  driver.schedule.update(targets(1000), driver.now);
  driver.run_until(Time{100s} + 12s);
  std::map<long, int> per_tenth;
  for (auto const& [id, starts] : driver.starts) {
    CHECK(starts.front() < 11s);
    ++per_tenth[starts.front() / 100ms];
  }
  CHECK(driver.starts.size() == 1000);
  for (auto const& [tenth, count] : per_tenth) CHECK(count < 30);  // 9 expected
  Driver few{[](auto const&) { return true; }};
  few.schedule.update(targets(3), few.now);
  few.run_until(Time{101s});
  CHECK(few.starts.size() == 3);
}

TEST_CASE("a healthy backend is probed each interval from start to start") {
  Driver driver{[](auto const&) { return true; }};
  driver.takes = 900ms;
  driver.schedule.update(targets(1), driver.now);
  driver.run_until(Time{121s});
  CHECK(seconds(driver.starts["0"]) == std::vector<long>{0, 5, 10, 15, 20});
  CHECK(driver.reports.empty());
}

TEST_CASE("doubt makes probes faster, three failures say down, and waits grow with the outage") {
  Driver driver{[](auto const&) { return false; }};
  driver.schedule.update(targets(1), driver.now);
  driver.run_until(Time{100s} + 100s);
  CHECK(seconds(driver.starts["0"]) == std::vector<long>{0,  1,  2,  3,  4,  6,  10, 15,
                                                         20, 25, 30, 35, 40, 45, 50, 55,
                                                         60, 66, 73, 80, 87, 96});
  CHECK(std::vector<std::string>(driver.reports.begin(), driver.reports.begin() + 4) ==
        std::vector<std::string>{"0 doubt", "0 doubt", "0 down", "0 down"});
}

TEST_CASE("one failure among successes is a doubt that the next success takes back") {
  int probes = 0;
  Driver driver{[&](auto const&) { return ++probes / 2 != 2; }};  // asked twice a probe
  driver.schedule.update(targets(1), driver.now);
  driver.run_until(Time{130s});
  CHECK(driver.reports == std::vector<std::string>{"0 doubt", "0 up"});
}

TEST_CASE("two good answers in a row end a down") {
  bool works = false;
  Driver driver{[&](auto const&) { return works; }};
  driver.schedule.update(targets(1), driver.now);
  driver.run_until(Time{110s});
  works = true;
  driver.reports.clear();
  driver.run_until(Time{150s});
  CHECK(driver.reports == std::vector<std::string>{"0 up"});
  auto const& starts = driver.starts["0"];
  CHECK(starts[starts.size() - 1] - starts[starts.size() - 2] == 5s);
}

TEST_CASE("probes that hang count as failed after the timeout and late answers are ignored") {
  Driver driver{[](auto const&) -> std::optional<bool> { return std::nullopt; }};
  driver.schedule.update(targets(1), driver.now);
  driver.run_until(Time{105s});
  CHECK(driver.reports == std::vector<std::string>{"0 doubt", "0 doubt", "0 down", "0 down"});
  CHECK_FALSE(driver.schedule.finish("0", 1, {true, ""}, driver.now));
  CHECK_FALSE(driver.schedule.finish("gone", 1, {true, ""}, driver.now));
}

TEST_CASE("a thousand hung probes don't delay a healthy backend's") {
  Driver driver{[](std::string const& id) -> std::optional<bool> {
    return id == "500" ? std::optional{true} : std::nullopt;
  }};
  driver.schedule.update(targets(1001), driver.now);
  driver.run_until(Time{100s} + 120s);
  auto const& starts = driver.starts["500"];
  CHECK(starts.size() >= 21);
  for (std::size_t i = 1; i < starts.size(); ++i) CHECK(starts[i] - starts[i - 1] == 5s);
}

TEST_CASE("jitter makes intervals longer by up to its share and never shorter") {
  Driver driver{[](auto const&) { return true; }, {.jitter = 0.2}};
  driver.schedule.update(targets(1), driver.now);
  driver.run_until(Time{100s} + 1h);
  auto const& starts = driver.starts["0"];
  Duration least = 1h;
  Duration most{};
  for (std::size_t i = 1; i < starts.size(); ++i) {
    least = std::min(least, starts[i] - starts[i - 1]);
    most = std::max(most, starts[i] - starts[i - 1]);
  }
  CHECK(least >= 5s);
  CHECK(least < 5050ms);
  CHECK(most > 5950ms);
  CHECK(most <= 6s);
}

TEST_CASE("a removed backend is not probed any more, and a new address is a new backend") {
  Driver driver{[](auto const&) { return true; }};
  driver.schedule.update(targets(3), driver.now);
  driver.run_until(Time{103s});
  auto const probe = [&] {
    driver.now += 10s;
    return *driver.schedule.start(driver.now);
  }();
  driver.schedule.update({}, driver.now);
  CHECK_FALSE(driver.schedule.next());
  CHECK_FALSE(driver.schedule.finish(probe.id, probe.ticket, {false, ""}, driver.now));
  driver.schedule.update(std::vector<Target>{{.id = "0", .address = "a"}}, driver.now);
  driver.schedule.update(std::vector<Target>{{.id = "0", .address = "b"}}, driver.now);
  CHECK(driver.schedule.start(driver.now + 1s)->address == "b");
}

TEST_CASE("a backend that others doubt is asked soon") {
  Driver driver{[](auto const&) { return true; }};
  driver.schedule.update(targets(1), driver.now);
  driver.run_until(Time{102s});
  driver.schedule.update(
      std::vector<Target>{{.id = "0", .address = "10.0.0.1:0", .in_doubt = true}}, driver.now);
  driver.run_until(Time{103s} + 1ms);
  CHECK(driver.starts["0"].size() == 2);
}

TEST_CASE("a schedule refuses numbers that make no sense") {
  auto const refused = [](ProbeOptions const& options) {
    try {
      Schedule const schedule{options};
      return false;
    } catch (poise::ConfigError const&) {
      return true;
    }
  };
  CHECK(refused({.interval = 0s}));
  CHECK(refused({.timeout = 0s}));
  CHECK(refused({.timeout = -1s}));
  CHECK(refused({.interval = 1s, .timeout = 1s}));
  CHECK(refused({.rise = 0}));
  CHECK(refused({.fall = 0}));
  CHECK(refused({.doubt_interval = 0s}));
  CHECK(refused({.max_down_interval = 500ms}));
  CHECK(refused({.jitter = 1.5}));
  CHECK(refused({.spread = -1s}));
}

TEST_CASE("probes and the monitor together take a backend out and bring it back") {
  using Balancer =
      poise::Balancer<poise::RoundRobin, void, poise::Runtime<poise::VirtualClock, Standard>>;
  poise::VirtualClock const clock;
  Standard const monitor{{.seed = 1}};
  Balancer balancer{tests::letters("ab"), {}, {.clock = clock, .seed = 1, .observers = {monitor}}};
  balancer.tick();
  Probing const probing{balancer, monitor};
  CHECK(probing.targets().size() == 2);
  CHECK_FALSE(probing.report({"a", Signal::doubt, "tcp"}));  // that can wait for the next tick
  probing.tick();
  CHECK(monitor.phase("a") == Phase::suspect);
  CHECK(probing.targets()[0].in_doubt);
  CHECK(probing.report({"a", Signal::down, "tcp: refused"}));
  probing.tick();
  CHECK_FALSE(probing.report({"a", Signal::down, "tcp: refused"}));
  CHECK(monitor.phase("a") == Phase::ejected);
  CHECK(message(monitor.history("a").back()).find("tcp: refused") != std::string::npos);
  CHECK(probing.report({"a", Signal::up, "tcp"}));
  probing.tick();
  CHECK(monitor.phase("a") == Phase::probation);
}

TEST_CASE("a prober that would be taken for dead between two probes is refused") {
  Standard const monitor{{.probe_silence = 60s, .seed = 1}};
  poise::Balancer<poise::RoundRobin, void, poise::Runtime<poise::VirtualClock, Standard>> balancer{
      tests::letters("ab"), {}, {.observers = {monitor}}};
  Probing const probing{balancer, monitor};
  probing.check({.max_down_interval = 45s});  // with jitter 54 s and 1 s
  CHECK_THROWS_AS(probing.check({.max_down_interval = 50s}), poise::ConfigError);
  CHECK_THROWS_AS((ProbeThreads{balancer, monitor, {}, {.max_down_interval = 50s}}),
                  poise::ConfigError);
}

// -- late, hung, inconclusive, never -------------------------------------------------------------

TEST_CASE("an answer after the timeout is a failure, whatever it says") {
  Schedule schedule{exact, 1};
  auto const all = targets(1);
  Time now{100s};
  schedule.update(all, now);
  now += 1s;
  auto const probe = schedule.start(now);
  REQUIRE(probe);
  CHECK(probe->deadline == now + 1s);
  auto const report = schedule.finish("0", probe->ticket, {true, "late"}, probe->deadline + 1ns);
  REQUIRE(report);
  CHECK(report->signal == Signal::doubt);
  CHECK(report->cause == "no answer in time");
  CHECK_FALSE(schedule.finish("0", probe->ticket, {true, "again"}, now));
  // It hangs, so a thread for backends that answer leaves it alone.
  CHECK_FALSE(schedule.start(now + 10s, [](Pace pace) { return pace != Pace::hangs; }));
  CHECK(schedule.start(now + 10s));
}

TEST_CASE("a probe that gives up after its whole timeout hangs, one that fails at once does not") {
  for (auto const& [takes, pace] :
       {std::pair{950ms, Pace::hangs}, std::pair{10ms, Pace::answers}}) {
    Schedule schedule{exact, 1};
    schedule.update(targets(1), Time{100s});
    auto const probe = schedule.start(Time{101s});
    REQUIRE(probe);
    CHECK(schedule.finish("0", probe->ticket, {false, "no"}, Time{101s} + takes));
    CHECK(schedule.start(Time{200s}, [&](Pace found) { return found == pace; }));
  }
}

TEST_CASE("probes that the client could not make are no verdict, and are made again soon") {
  Schedule schedule{exact, 1};
  schedule.update(targets(1), Time{100s});
  Time now{101s};
  for (int i = 0; i < 10; ++i) {
    auto const probe = schedule.start(now);
    REQUIRE(probe);
    CHECK_FALSE(
        schedule.finish("0", probe->ticket, {.cause = "no descriptor", .inconclusive = true}, now));
    CHECK_FALSE(schedule.start(now));
    now += 1s;
  }
  auto const probe = schedule.start(now);
  REQUIRE(probe);
  CHECK_FALSE(schedule.finish("0", probe->ticket, {true, "ok"}, now));  // there was no doubt
}

TEST_CASE("probes that can't be made as often as failures decide are a warning") {
  Schedule schedule{exact, 1};
  schedule.update(targets(3), Time{100s});
  Time now{102s};
  auto const go_round = [&](poise::health::Probed const& of_two) {
    while (auto const probe = schedule.start(now))
      (void)schedule.finish(probe->id, probe->ticket,
                            probe->id == "1" ? poise::health::Probed{true, "ok"} : of_two, now);
    now += 10s;
  };
  for (int i = 0; i < 2; ++i) go_round({.cause = "no descriptor", .inconclusive = true});
  CHECK(schedule.warning().empty());
  go_round({.cause = "no descriptor", .inconclusive = true});
  CHECK(schedule.warning() ==
        "no probe of 2 of 3 backends can be made, so that only requests judge them; the last of "
        "\"2\": no descriptor");
  go_round({.cause = "no"});  // a verdict
  CHECK(schedule.warning().empty());
  for (int i = 0; i < 3; ++i) go_round({.cause = "no descriptor", .inconclusive = true});
  CHECK_FALSE(schedule.warning().empty());
  schedule.update({}, now);
  CHECK(schedule.warning().empty());
}

TEST_CASE("the longest duration is never, in every option of probes") {
  constexpr auto never = Duration::max();
  std::vector<ProbeOptions> const all{{.interval = never},
                                      {.interval = never, .timeout = never - 1ns},
                                      {.doubt_interval = never, .max_down_interval = never},
                                      {.max_down_interval = never, .jitter = 1},
                                      {.interval = never, .jitter = 1, .spread = never}};
  for (auto const& options : all) {
    Schedule schedule{options, 1};
    schedule.update(targets(1000), Time{100s});
    Time now{100s};
    std::size_t probes = 0;
    for (int step = 0; step < 10'000; ++step) {
      if (auto const probe = schedule.start(now)) {
        ++probes;
        (void)schedule.finish(probe->id, probe->ticket, {step % 3 == 0, "x"}, now);
      } else if (auto const next = schedule.next(); next && *next < Time::max()) {
        now = std::max(now, *next);
        if (schedule.expire(now)) continue;
      } else {
        break;
      }
    }
    CHECK(schedule.next());
    if (options.interval == never) CHECK(probes < 10'000);
  }
  Schedule once{{.interval = never, .jitter = 0}, 1};
  once.update(targets(1), Time{100s});
  auto const probe = once.start(Time{102s});
  REQUIRE(probe);
  CHECK_FALSE(once.finish("0", probe->ticket, {true, "ok"}, Time{102s}));
  CHECK(once.next() == Time::max());
}

// -- HTTP
// --------------------------------------------------------------------------------------------

namespace {

Probed whole(std::string_view text, HttpExpectation const& expectation = {}) {
  HttpAnswer answer{expectation};
  auto const result = answer.feed(text);
  return result ? *result : answer.end();
}
Probed piecewise(std::string_view text, std::size_t size, HttpExpectation const& expectation) {
  HttpAnswer answer{expectation};
  for (; !text.empty(); text.remove_prefix(std::min(size, text.size())))
    if (auto const result = answer.feed(text.substr(0, size))) return *result;
  return answer.end();
}

}  // namespace

TEST_CASE("an HTTP answer passes by its status") {
  CHECK(whole("HTTP/1.1 200 OK\r\n\r\n").passed);
  CHECK(whole("HTTP/1.0 204\r\n\r\n").passed);
  CHECK(whole("HTTP/1.1 200 OK\n\n").passed);
  CHECK(whole("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n").passed);
  CHECK(whole("HTTP/1.1 503 Busy\r\n\r\n").cause == "status 503");
  CHECK_FALSE(whole("HTTP/1.1 503 Busy\r\n\r\n").passed);
  CHECK_FALSE(whole("HTTP/1.1 200 OK\r\n\r\n", {.min_status = 204}).passed);
}

TEST_CASE("a redirect is not followed, and passes only where it is expected") {
  auto const moved = [](std::string const& field, HttpExpectation const& expectation = {}) {
    return whole("HTTP/1.1 302 Found\r\nServer: x\r\n" + field + "\r\n", expectation);
  };
  CHECK(moved("Location: /login\r\n").cause == "status 302 to \"/login\"");
  CHECK_FALSE(moved("Location: /login\r\n").passed);
  CHECK(moved("lOCATION:\t/a\"\x1b\r\n").cause == "status 302 to \"/a\\\"\\x1b\"");
  CHECK(moved("Location: " + std::string(10'000, 'x') + "\r\n").cause.size() < 120);
  for (auto const* none : {"", "Location:\r\n", "Locations: /x\r\n", "X-Location: /x\r\n"})
    CHECK(moved(none).cause == "status 302");
  CHECK(moved("Location: /login\r\n", {.max_status = 399}).passed);
  CHECK(whole("HTTP/1.1 503 No\r\nLocation: /x\r\n\r\n").cause == "status 503");
}

TEST_CASE("an HTTP answer passes by a text in its body") {
  HttpExpectation const ready{.body = "ready"};
  CHECK(whole("HTTP/1.1 200 OK\r\n\r\nall is ready.", ready).passed);
  CHECK_FALSE(whole("HTTP/1.1 200 OK\r\n\r\nall is red", ready).passed);
  CHECK_FALSE(whole("HTTP/1.1 200 OK\r\nX: ready\r\n\r\n", ready).passed);
  CHECK(whole("HTTP/1.1 200 OK\r\n\r\n" + std::string(1000, 'r') + "ready", ready).passed);
  CHECK_FALSE(whole("HTTP/1.1 200 OK\r\n\r\n" + std::string(70'000, 'x') + "ready", ready).passed);
}

TEST_CASE("an answer that is not HTTP fails and says why") {
  CHECK(whole("").cause == "closed without an answer");
  CHECK(whole("HTTP/1.1 200 OK\r\nA: b\r\n").cause == "closed in the head");
  for (auto const* text :
       {"SSH-2.0-OpenSSH\r\n", "HTTP/2 200\r\n\r\n", "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n", "HTTP/1.1  200\r\n\r\n", "\r\n\r\n", "HTTP/1.1 099 No\r\n\r\n",
        "HTTP/1.x 200 OK\r\n\r\n", "HTTP/1.1200 O\r\n"})
    CHECK_FALSE(whole(text).passed);
  CHECK(whole("HTTP/1.1 200 OK\r\nA: " + std::string(20'000, 'a')).cause ==
        "a head of more than 16 KiB");
}

TEST_CASE("an endless answer ends the probe and takes no memory") {
  HttpAnswer head{{}};
  HttpAnswer body{{.body = "never"}};
  body.feed("HTTP/1.1 200 OK\r\n\r\n");
  std::string const piece(1024 * 1024, 'x');
  CHECK(head.feed("HTTP/1.1 200 OK\r\n" + piece)->passed == false);
  CHECK(body.feed(piece)->passed == false);
  for (int i = 0; i < 100; ++i) CHECK_FALSE(body.feed(piece)->passed);
}

TEST_CASE("however an HTTP answer is cut into pieces the verdict is the same") {
  HttpExpectation const ready{.body = "ready"};
  for (std::string const text :
       {"HTTP/1.1 200 OK\r\nA: b\r\n\r\nit is reready", "HTTP/1.1 500 No\r\n\r\nready",
        "HTTP/1.1 100 Go on\r\n\r\nHTTP/1.0 200\n\nready", "HTTP/1.1 200 OK\r\n\r\nno"})
    for (std::size_t size = 1; size < text.size(); ++size)
      CHECK(piecewise(text, size, ready).passed == whole(text, ready).passed);
}

TEST_CASE("a text is found in a chunked body, however it is cut") {
  HttpExpectation const ready{.body = "ready"};
  std::string const head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n";
  auto const judged = [&](std::string const& body) {
    auto const verdict = whole(head + body, ready);
    for (std::size_t size = 1; size < 40; ++size)
      CHECK(piecewise(head + body, size, ready).cause == verdict.cause);
    return verdict;
  };
  CHECK(judged("3\r\nrea\r\n02;x=y\r\ndy\r\n0\r\n\r\n").passed);
  CHECK(judged("A\r\nit is read\r\n1\ny\n0\n\n").passed);
  CHECK(judged("5\r\nready").passed);  // no need to see the end
  CHECK(judged("3\r\nrea\r\n0\r\n\r\ndy").cause == "the body lacks the expected text");
  CHECK(judged("2\r\nready").cause == "a broken chunk");
  for (auto const* const broken : {"ready", "\r\n", "-1\r\n", "5x\r\n", "1000000000000000000\r\n"})
    CHECK(judged(broken).cause == "a broken chunk");
  CHECK(judged("5" + std::string(5000, ' ') + "\r\nready").cause == "a broken chunk");
}

TEST_CASE("a body of known length is complete before its connection closes") {
  HttpAnswer answer{{.body = "ready"}};
  auto const result = answer.feed("HTTP/1.1 200 OK\r\ncontent-length: 4 \r\n\r\nread");
  REQUIRE(result);
  CHECK(result->cause == "the body lacks the expected text");
  CHECK(HttpAnswer{{.body = "x"}}.feed("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
  CHECK(whole("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nready", {.body = "ready"}).passed);
}

TEST_CASE("random answers never do harm and split the same way") {
  // 50,000 mutants of good answers; the sanitizers are the judges, and both readings agree.
  std::mt19937_64 dice{1};
  std::string const good = "HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 5\r\n\r\nready";
  HttpExpectation const ready{.body = "ready"};
  int passed = 0;
  for (int i = 0; i < 50'000; ++i) {
    auto text = good;
    for (auto edits = dice() % 4; edits > 0; --edits) {
      auto const at = dice() % text.size();
      switch (dice() % 4) {
        case 0: text[at] = static_cast<char>(dice()); break;
        case 1: text.erase(at, 1 + dice() % 5); break;
        case 2: text.insert(at, 1 + dice() % 3, "\r\n \0:H1"[dice() % 8]); break;
        default: text.insert(at, text.substr(0, dice() % text.size()));
      }
      if (text.empty()) text = "H";
    }
    auto const verdict = whole(text, ready).passed;
    passed += verdict ? 1 : 0;
    if (piecewise(text, 1 + dice() % 7, ready).passed != verdict) FAIL("split differs: " << text);
  }
  CHECK(passed > 10'000);
  CHECK(passed < 45'000);
}

}  // namespace unit_probe_schedule
