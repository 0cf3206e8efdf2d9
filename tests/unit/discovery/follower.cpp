// SPDX-License-Identifier: MIT

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <poise/discovery/follower.hpp>

#include "support/catch.hpp"

namespace unit_discovery_follower {

using namespace std::chrono_literals;
using namespace poise::discovery;
using poise::Duration;
using poise::Endpoint;
using poise::Time;

namespace {

Found found(std::string const& letters, std::optional<Duration> good_for = {}) {
  Found result{.good_for = good_for};
  for (char const letter : letters)
    result.endpoints.push_back({.address = std::string(1, letter) + ":80"});
  return result;
}

/// A follower in virtual time, and a source that answers at once.
struct Scene {
  using Answer = std::function<std::optional<Look>(Time)>;
  Follower follower;
  Answer answer;
  Time now{1000s};
  std::vector<Time> asked{};
  std::vector<std::string> events{};

  explicit Scene(Answer how, FollowerOptions const& options = {}, std::uint64_t seed = 1)
      : follower{options, seed}, answer{std::move(how)} {}

  void step() {
    for (;;) {
      auto const todo = follower.next(now);
      if (todo == Follower::Do::nothing) break;
      if (todo == Follower::Do::drop) continue;
      asked.push_back(now);
      if (auto look = answer(now)) follower.take(std::move(*look), now);
    }
    for (auto const& each : follower.take_events())
      events.push_back(std::string{name(each.kind)} + ": " + each.text);
  }
  void run(Duration time) {
    auto const end = now + time;
    for (step(); follower.wake() <= end; step()) now = std::max(now, follower.wake());
    now = end;
  }
  std::string list() const {
    std::string result;
    for (auto const& each : follower.endpoints()) result += each.id[0];
    return result;
  }
  std::size_t count(std::string const& begin) const {
    return static_cast<std::size_t>(std::ranges::count_if(
        events, [&](std::string const& each) { return each.starts_with(begin); }));
  }
};

}  // namespace

TEST_CASE("a source is asked at once, and again when its answer has expired") {
  Scene scene{[](Time) { return found("abc", 5s); }};
  scene.run(21s);
  CHECK(scene.asked.size() == 5);
  CHECK(scene.list() == "abc");
  CHECK(scene.follower.revision() == 1);  // an answer that says the same is no change
  CHECK(scene.count("applied") == 1);
}

TEST_CASE("a TTL of 0 asks once a second, and one of 68 years once") {
  Scene zero{[](Time) { return found("a", 0s); }};
  zero.run(10s);
  CHECK(zero.asked.size() == 11);
  Scene endless{[](Time) { return found("a", std::chrono::seconds{1L << 31U}); }};
  endless.run(24h);
  CHECK(endless.asked.size() == 1);
  Scene longest{[](Time) { return found("a", Duration::max()); }};
  longest.run(24h);
  CHECK(longest.asked.size() == 1);
}

TEST_CASE("every duration of a follower may be the longest there is") {
  constexpr auto never = Duration::max();
  for (auto const& options : {FollowerOptions{.refresh = never},
                              {.floor = never},
                              {.backoff = never, .max_backoff = never},
                              {.max_backoff = never},
                              {.answer_within = never},
                              {.full_read = never},
                              {.stale_after = never},
                              {.debounce = never},
                              {.hint_gap = never},
                              {.guard = {.apart = never}},
                              {.guard = {.confirm_for = never}},
                              {.guard = {.hold_removals = never}}})
    for (bool const watched : {false, true}) {
      int looks = 0;
      Scene scene{[&](Time) -> std::optional<Look> {
                    if (++looks % 3 == 0) return Failed{"SERVFAIL", never};
                    auto answer = found(looks % 2 == 0 ? "abcdefgh" : "ab");
                    answer.watched = watched;
                    return answer;
                  },
                  options};
      for (int round = 0; round < 50; ++round) {
        scene.run(1min);
        scene.follower.ended(scene.now);
        scene.follower.hint(scene.now);
        (void)message(scene.follower.status(scene.now));
      }
      CHECK(looks < 3000);
      CHECK_FALSE(scene.list().empty());
      CHECK(scene.follower.status(scene.now).next_look >= Duration::zero());
    }
}

TEST_CASE("failures never change the list, and back off to half a minute") {
  bool fails = false;
  Scene scene{[&](Time) -> std::optional<Look> {
    if (fails) return Failed{"SERVFAIL", {}};
    return found("abc", 5s);
  }};
  scene.run(1s);
  fails = true;
  scene.run(2h);
  CHECK(scene.list() == "abc");
  CHECK(scene.count("failed: SERVFAIL; 3 endpoints stay; next look in") == 1);
  CHECK(scene.count("stale: no answer for 600 s") == 1);
  CHECK(scene.follower.status(scene.now).freshness == Freshness::stale);
  CHECK(message(scene.follower.status(scene.now)).find("failing: SERVFAIL") != std::string::npos);
  auto const mean = Duration{2h} / scene.asked.size();
  CHECK(mean > 20s);  // uniform from 15 to 30 s: 22.5 s expected; 320 waits, deviation 0.25 s
  CHECK(mean < 25s);
  for (std::size_t i = 1; i < scene.asked.size(); ++i)
    CHECK(scene.asked[i] - scene.asked[i - 1] >= 1s);
  fails = false;
  scene.run(40s);
  CHECK(scene.count("recovered") == 1);
  CHECK(scene.follower.status(scene.now).freshness == Freshness::fresh);
}

TEST_CASE("a source that never answers is dropped and asked again") {
  Scene scene{[](Time) { return std::nullopt; }};
  scene.run(60s);
  CHECK(scene.asked.size() >= 3);
  CHECK(scene.count("failed: no answer within 10 s") == 1);
  CHECK(scene.follower.revision() == 0);
  CHECK(scene.follower.status(scene.now).freshness == Freshness::never);
}

TEST_CASE("a source that watches is still read in full now and then") {
  Scene scene{[](Time) {
    auto look = found("abc");
    look.watched = true;
    return look;
  }};
  scene.run(1h);
  CHECK(scene.asked.size() >= 12);
  CHECK(scene.asked.size() <= 25);
  auto next = found("abcd");
  next.watched = true;
  scene.follower.take(next, scene.now);
  CHECK(scene.list() == "abcd");
}

TEST_CASE("a source that announces a change each second is still read in full now and then") {
  auto const watched = [](std::string const& letters) {
    auto look = found(letters);
    look.watched = true;
    return look;
  };
  Scene scene{[&](Time) { return watched("abc"); }};
  scene.run(1s);
  for (int second = 0; second < 3600; ++second) {
    scene.follower.take(watched(second % 2 == 0 ? "abcd" : "abc"), scene.now);
    scene.run(1s);
  }
  CHECK(scene.asked.size() >= 12);
  CHECK(scene.asked.size() <= 26);
}

TEST_CASE("a watch that ended is begun again within a second") {
  Scene scene{[](Time) {
    auto look = found("abc");
    look.watched = true;
    return look;
  }};
  scene.run(30s);
  scene.follower.ended(scene.now);
  scene.run(1s);
  CHECK(scene.asked.size() == 2);
}

TEST_CASE("an empty answer holds the list, and says so once") {
  bool empty = false;
  Scene scene{[&](Time) { return empty ? found("", 5s) : found("abc", 5s); }};
  scene.run(1s);
  empty = true;
  scene.run(1h);
  CHECK(scene.list() == "abc");
  CHECK(scene.count("held: the source names no backend: the last 3 stay") == 1);
  CHECK(scene.follower.status(scene.now).held == 3);
  CHECK(scene.follower.status(scene.now).freshness == Freshness::fresh);
}

TEST_CASE("a true loss is asked for again and believed within a minute, also under a watch") {
  Scene scene{[](Time now) {
    auto look = now < Time{1001s} ? found("abcdefgh") : found("ab");
    look.watched = true;
    return look;
  }};
  scene.run(30s);
  auto loss = found("ab");
  loss.watched = true;
  scene.follower.take(loss, scene.now);
  CHECK(scene.list() == "abcdefgh");
  scene.run(60s);
  CHECK(scene.list() == "ab");
  CHECK(scene.asked.size() <= 5);
}

TEST_CASE("changes in a burst are applied at once, then in steps of the debounce") {
  Scene scene{[](Time) {
    auto look = found("a");
    look.watched = true;
    return look;
  }};
  scene.run(1s);
  std::string letters = "a";
  for (char letter = 'b'; letter <= 'z'; ++letter) {
    letters += letter;
    auto look = found(letters);
    look.watched = true;
    scene.follower.take(std::move(look), scene.now);
    scene.run(10ms);
  }
  CHECK(scene.list() >= "abcdefghijklmnopqrstu");
  CHECK(scene.follower.revision() <= 5);
  scene.run(100ms);
  CHECK(scene.list() == letters);
}

TEST_CASE("a hint asks soon, but a storm of hints asks once in five seconds") {
  Scene scene{[](Time) { return found("abc", 1h); }};
  scene.run(60s);
  for (int i = 0; i < 1000; ++i) {
    scene.follower.hint(scene.now);
    scene.run(10ms);
  }
  CHECK(scene.asked.size() >= 3);
  CHECK(scene.asked.size() <= 4);
}

TEST_CASE("a snapshot serves until the first answer, which replaces it whole") {
  bool answers = false;
  Scene scene{[&](Time) -> std::optional<Look> {
    if (answers) return found("x", 5s);
    return Failed{"connection refused", {}};
  }};
  scene.follower.restore(found("abcdefgh").endpoints, scene.now);
  scene.run(60s);
  CHECK(scene.list().size() == 8);
  CHECK(scene.follower.status(scene.now).freshness == Freshness::snapshot);
  answers = true;
  scene.run(40s);
  CHECK(scene.list() == "x");
}

TEST_CASE("an answer that comes right after a snapshot leaves no moment without a list") {
  Follower follower{{}, 1};
  Time const now{1000s};
  follower.restore(found("abcdefgh").endpoints, now);
  CHECK(follower.next(now) == Follower::Do::ask);
  follower.take(found("xyz"), now + 1ms);
  CHECK(follower.endpoints().size() == 3);
}

TEST_CASE("as many sightings as there are numbers are waited for in peace") {
  bool few = false;
  FollowerOptions options;
  options.guard.confirmations = ~std::uint32_t{0};
  Scene scene{[&](Time) { return few ? found("a", 5s) : found("abcd", 5s); }, options};
  scene.run(10s);
  few = true;
  scene.run(20s);
  CHECK(scene.list() == "abcd");
}

TEST_CASE("a snapshot outlives a registry that starts empty") {
  Scene scene{[](Time) { return found("", 5s); }};
  std::vector<Endpoint> const old{{.id = "a:80", .address = "a:80"}};
  scene.follower.restore(old, scene.now);
  scene.run(10min);
  CHECK(scene.follower.endpoints() == old);
}

TEST_CASE("a clock that jumps back an hour stops nothing for longer than that") {
  Scene scene{[](Time) { return found("abc", 5s); }};
  scene.run(1min);
  scene.now -= 1h;
  scene.run(1h + 10s);
  CHECK(scene.asked.size() >= 14);
  CHECK(scene.list() == "abc");
}

TEST_CASE("a thousand clients of a registry that restarts do not ask in step") {
  auto const outage = GENERATE(Duration{20s}, Duration{60s}, Duration{300s});
  auto const down_at = Time{1000s} + 40s;
  auto const up_at = down_at + outage;
  std::vector<int> per_second(31);
  for (std::uint64_t seed = 1; seed <= 1000; ++seed) {
    auto const answer = [&](Time now) -> std::optional<Look> {
      if (now >= down_at && now < up_at) return Failed{"refused", {}};
      auto look = found("abc");
      look.watched = true;
      return look;
    };
    Scene scene{answer, {}, seed};
    scene.run(40s);
    scene.follower.take(Failed{"the connection was closed", {}}, scene.now);
    scene.asked.clear();
    scene.run(outage + 31s);
    auto const first = std::ranges::find_if(scene.asked, [&](Time each) { return each >= up_at; });
    REQUIRE(first != scene.asked.end());  // within the longest backoff
    ++per_second[static_cast<std::size_t>((*first - up_at) / 1s)];
  }
  // Evenly over 30 s that would be 33 a second. A Poisson count of 33 has a deviation of 6, so the
  // largest of 30 is about 45 at best.
  auto const peak = std::ranges::max(per_second);
  INFO("the peak is " << peak << " a second");
  CHECK(peak <= 2 * 1000 / 30);
}

TEST_CASE("options of a follower that make no sense are refused by name") {
  CHECK_THROWS_WITH(Follower{{.floor = 0s}},
                    "floor of discovery::FollowerOptions is 0 s: without a floor a TTL of 0 asks "
                    "without end");
  CHECK_THROWS_AS((Follower{{.backoff = 2s, .max_backoff = 1s}}), poise::ConfigError);
  CHECK_THROWS_AS((Follower{{.guard = {.max_shrink = -1}}}), poise::ConfigError);
}

}  // namespace unit_discovery_follower
