// SPDX-License-Identifier: MIT

#include <chrono>
#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

#include <poise/discovery/guard.hpp>

#include "support/catch.hpp"

namespace unit_discovery_guard {

using namespace std::chrono_literals;
using namespace poise::discovery;
using poise::Endpoint;
using poise::Time;

namespace {

std::vector<Endpoint> list(std::string const& letters) {
  std::vector<Endpoint> result;
  for (char const letter : letters) {
    std::string const id(1, letter);
    result.push_back({.id = id, .address = id + ":80"});
  }
  return result;
}
std::string letters(std::vector<Endpoint> const& endpoints) {
  std::string result;
  for (auto const& each : endpoints) result += each.id;
  return result;
}

/// A guard with the list in force beside it.
struct Scene {
  Guard guard;
  std::vector<Endpoint> in_force{};
  Time now{1000s};
  Verdict last{};

  explicit Scene(std::string const& start, GuardOptions const& options = {}) : guard{options} {
    say(start);
  }
  std::string say(std::vector<Endpoint> const& proposed) {
    guard.see(proposed, now);
    proposed_ = proposed;
    return wait(0s);
  }
  std::string say(std::string const& proposed) { return say(list(proposed)); }
  /// The source says nothing for this time.
  std::string wait(poise::Duration time) {
    now += time;
    last = guard.judge(in_force, proposed_, now);
    in_force = last.endpoints;
    return letters(in_force);
  }

 private:
  std::vector<Endpoint> proposed_{};
};

}  // namespace

TEST_CASE("the guard lets small losses and every newcomer through at once") {
  Scene scene{"abcd"};
  CHECK(scene.say("abc") == "abc");
  CHECK(scene.say("abcxyz") == "abcxyz");
  CHECK(scene.last.why == Hold::none);
  CHECK(scene.say("bcdxyz") == "bcdxyz");
}

TEST_CASE("removals that are held without a limit stay, and nothing is waited for") {
  Scene scene{"abcd", {.hold_removals = poise::Duration::max()}};
  CHECK(scene.say("abc") == "abcd");
  CHECK(scene.wait(1000h) == "abcd");
  CHECK(scene.last.until == Time::max());
}

TEST_CASE("an empty list never removes a backend, however often it is said") {
  Scene scene{"abcd"};
  for (int i = 0; i < 100; ++i) {
    scene.now += 10s;
    CHECK(scene.say("") == "abcd");
  }
  CHECK(scene.last.why == Hold::empty);
  CHECK(scene.last.held == 4);
  CHECK(message(scene.last, {}).find("names no backend") != std::string::npos);
  CHECK(scene.say("abcd") == "abcd");
  CHECK(scene.say("abc") == "abc");
}

TEST_CASE("a registry that was empty for long and fills up again costs no backend") {
  Scene scene{"abcdef"};
  scene.say("");
  scene.now += 10min;
  scene.say("");
  for (auto const* each : {"a", "abc", "abcd", "abcde"}) {
    scene.now += 2s;
    CHECK(scene.say(each) == "abcdef");
    CHECK(scene.last.why == Hold::shrink);
  }
  CHECK(scene.say("abcdef") == "abcdef");
  CHECK(scene.last.why == Hold::none);
  CHECK(scene.say("abcde") == "abcde");
}

TEST_CASE("a backend that does not come back after an outage is gone a minute later") {
  Scene scene{"abcdef"};
  scene.say("");
  scene.now += 10min;
  CHECK(scene.say("abcde") == "abcdef");
  CHECK(scene.wait(59s) == "abcdef");
  CHECK(scene.wait(1s) == "abcde");
}

TEST_CASE("an empty list is obeyed after its confirmation, if that is asked for") {
  Scene scene{"abcd", {.on_empty = OnEmpty::obey}};
  CHECK(scene.say("") == "abcd");
  CHECK(scene.last.why == Hold::shrink);
  scene.now += 5s;
  CHECK(scene.say("") == "abcd");
  scene.now += 5s;
  CHECK(scene.say("").empty());
}

TEST_CASE("a large loss waits until the same list was seen three times") {
  Scene scene{"abcdefgh"};
  CHECK(scene.say("ab") == "abcdefgh");
  CHECK(scene.last.why == Hold::shrink);
  CHECK(scene.last.held == 6);
  scene.now += 5s;
  CHECK(scene.say("ab") == "abcdefgh");
  scene.now += 5s;
  CHECK(scene.say("ab") == "ab");
  CHECK(scene.say("a") == "a");  // half of them: no reason to doubt the next loss
}

TEST_CASE("sightings in quick succession count once") {
  Scene scene{"abcdefgh"};
  for (int i = 0; i < 100; ++i) {
    scene.now += 10ms;
    CHECK(scene.say("ab") == "abcdefgh");
  }
}

TEST_CASE("a large loss is believed after a minute, if the source says nothing else") {
  Scene scene{"abcdefgh"};
  scene.say("ab");
  REQUIRE(scene.last.until);
  CHECK(*scene.last.until - scene.now == 60s);
  CHECK(scene.wait(59s) == "abcdefgh");
  CHECK(scene.wait(1s) == "ab");
  CHECK_FALSE(scene.last.until);
}

TEST_CASE("partial lists that differ each time remove nobody who comes back") {
  Scene scene{"abcdefgh"};
  for (auto const* each : {"abc", "def", "gha", "bcd", "efg", "habc", "def", "gha", "abc", "dfg"}) {
    scene.now += 5s;
    CHECK(scene.say(each).size() >= 7);  // who was missing for a minute may go
  }
  CHECK(scene.say("abcdefgh") == "abcdefgh");
}

TEST_CASE("a list that melts away in steps is held at the second one") {
  Scene scene{"abcdefghij"};
  CHECK(scene.say("abcdef") == "abcdef");
  scene.now += 1s;
  CHECK(scene.say("abc") == "abcdef");
  CHECK(scene.last.why == Hold::shrink);
}

TEST_CASE("backends that are replaced all at once overlap until that is confirmed") {
  Scene scene{"abc"};
  CHECK(scene.say("xyz") == "abcxyz");
  scene.now += 5s;
  scene.say("xyz");
  scene.now += 5s;
  CHECK(scene.say("xyz") == "xyz");
}

TEST_CASE("backends that are replaced one by one are never held") {
  Scene scene{"abcdefgh"};
  std::string current = "abcdefgh";
  for (char next = 'i'; next <= 'p'; ++next) {
    current = current.substr(1) + next;
    scene.now += 1s;
    CHECK(scene.say(current) == current);
    CHECK(scene.last.why == Hold::none);
  }
}

TEST_CASE("a weight of 0 counts as missing, and the old weight holds meanwhile") {
  Scene scene{"abcd"};
  auto drained = list("abcd");
  for (auto& each : drained) each.weight = 0;
  scene.say(drained);
  CHECK(scene.last.why == Hold::empty);
  CHECK(scene.in_force == list("abcd"));
  drained[3].weight = 1;
  scene.say(drained);
  CHECK(scene.last.why == Hold::shrink);
  CHECK(scene.in_force == list("abcd"));
}

TEST_CASE("a backend that joins with weight 0 and one that is drained are no loss") {
  Scene scene{"abcd"};
  auto next = list("abcde");
  next[4].weight = 0;
  next[0].weight = 0;
  scene.say(next);
  CHECK(scene.in_force == next);
  CHECK(scene.last.why == Hold::none);
}

TEST_CASE("min_endpoints keeps the missing ones for ever") {
  Scene scene{"abcd", {.min_endpoints = 3}};
  for (int i = 0; i < 20; ++i) {
    scene.now += 10s;
    CHECK(scene.say("ab") == "abcd");
  }
  CHECK(scene.last.why == Hold::too_few);
  CHECK(scene.say("abx") == "abx");
}

TEST_CASE("removals are held for as long as asked, and forgotten if the backend returns") {
  Scene scene{"abcd", {.hold_removals = 30s}};
  CHECK(scene.say("abc") == "abcd");
  CHECK(scene.last.why == Hold::removal);
  CHECK(scene.wait(29s) == "abcd");
  CHECK(scene.say("abcd") == "abcd");
  CHECK(scene.say("abc") == "abcd");
  CHECK(scene.wait(29s) == "abcd");
  CHECK(scene.wait(1s) == "abc");
}

TEST_CASE("a clock that is set back holds no backend for longer than before") {
  Scene scene{"abcdefgh"};
  scene.say("ab");
  scene.wait(-500s);
  CHECK(scene.wait(60s) == "ab");
}

TEST_CASE("a guard that is off obeys everything at once") {
  Scene scene{"abcd", GuardOptions::off()};
  CHECK(scene.say("a") == "a");
  CHECK(scene.say("").empty());
}

TEST_CASE("options of a guard that make no sense are refused by name") {
  CHECK_THROWS_WITH(Guard{{.max_shrink = 50}},
                    "max_shrink of discovery::GuardOptions is 50: use a fraction from 0 to 1");
  CHECK_THROWS_AS(Guard{{.confirmations = 0}}, poise::ConfigError);
  CHECK_THROWS_AS(Guard{{.confirm_for = -1s}}, poise::ConfigError);
}

}  // namespace unit_discovery_guard
