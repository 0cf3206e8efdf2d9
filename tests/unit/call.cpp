// SPDX-License-Identifier: MIT
// Balancer::call: picks, runs, classifies, reports, and tries again if the policy says so.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include <pthread.h>

#include <poise/balancer.hpp>

#include "support/catch.hpp"
#include "support/scripted.hpp"
#include "support/servers.hpp"
#include "support/text.hpp"

namespace unit_call {

using namespace std::chrono_literals;
using poise::Result;
using tests::letters;
using tests::mentions;
using tests::Scene;
using tests::servers;
using tests::stats_of;
using tests::thrown;

namespace {

struct Reply {
  int status = 200;
};
poise::Outcome outcome_of(Reply const& reply) {
  return reply.status >= 500 ? Result::error : Result::success;
}

/// Up to so many tries, whatever happened.
void allow_tries(Scene& scene, std::uint32_t tries, poise::Duration pause = {}) {
  scene.policy.hooks->decide = [=](poise::Attempt const& attempt) {
    return poise::Decision{attempt.request.attempt < tries, pause};
  };
}

/// Proposes the first backend that the request may have, so that a test can say which is next.
void pick_in_order(Scene& scene) {
  scene.policy.hooks->pick = [](poise::Candidates const& candidates, poise::Context& context) {
    return context.first_usable(candidates, 0);
  };
}

}  // namespace

TEST_CASE("an id with control characters can't forge lines of a log") {
  poise::CallReport report;
  auto balancer = servers({{.id = "a\r\nADMIN: all is well\x1b[2J"}});
  balancer.call(poise::any_request, [](auto&) { return poise::Outcome{Result::error}; },
                {.report = &report});
  CHECK(mentions(message(report), "a\\x0d\\x0aADMIN: all is well\\x1b[2J: error"));
}

#ifndef _LIBCPP_VERSION  // its ABI library can't go on with a cancellation that was caught
TEST_CASE("a thread that is cancelled within a call leaves nothing in flight") {
  auto balancer = servers(letters("a"));
  std::thread thread{[&] {
    balancer.call([](auto&) {
      pthread_cancel(pthread_self());
      pthread_testcancel();
    });
  }};
  thread.join();
  CHECK(stats_of(balancer, "a").in_flight == 0);
  CHECK(stats_of(balancer, "a").ended(Result::abandoned) == 1);
}
#endif

// -- once ----------------------------------------------------------------------------------------

TEST_CASE("call hands the backend over and returns the reply") {
  auto balancer = servers(letters("a"));
  CHECK(balancer.call([](auto& backend) { return "from " + backend.address(); }) == "from a");
  CHECK(stats_of(balancer, "a").ended(Result::success) == 1);
  CHECK(stats_of(balancer, "a").in_flight == 0);
}

TEST_CASE("call passes the request to functions that take it") {
  auto balancer = servers(letters("a"));
  auto const reply =
      balancer.call(poise::Request{.id = "r1"}, [](auto&, poise::Request const& request) {
        return std::string{request.id} + " try " + std::to_string(request.attempt);
      });
  CHECK(reply == "r1 try 1");
}

TEST_CASE("call runs functions that return nothing") {
  auto balancer = servers(letters("a"));
  bool ran = false;
  balancer.call([&](auto&) { ran = true; });
  CHECK(ran);
  CHECK(stats_of(balancer, "a").ended(Result::success) == 1);
}

TEST_CASE("call classifies the reply by its own outcome_of") {
  auto balancer = servers(letters("a"));
  CHECK(balancer.call([](auto&) { return Reply{503}; }).status == 503);
  CHECK(stats_of(balancer, "a").ended(Result::error) == 1);
}

TEST_CASE("call reports an exception as a failure and passes it on") {
  auto balancer = servers(letters("a"));
  CHECK(thrown<std::runtime_error>([&] {
          balancer.call([](auto&) -> Reply { throw std::runtime_error{"broken"}; });
        }) == "broken");
  CHECK(stats_of(balancer, "a").ended(Result::error) == 1);
  CHECK(stats_of(balancer, "a").in_flight == 0);
}

TEST_CASE("call keeps the meaning of a system error") {
  auto balancer = servers(letters("a"));
  CHECK_THROWS_AS(balancer.call([](auto&) {
    throw std::system_error{std::make_error_code(std::errc::connection_refused)};
  }),
                  std::system_error);
  CHECK(stats_of(balancer, "a").ended(Result::refused) == 1);
}

TEST_CASE("call says why no backend could be picked") {
  auto balancer = servers(letters("ab"));
  balancer.drain("a");
  balancer.report_health("b", poise::HealthState::unhealthy);
  CHECK(thrown<poise::NoBackend>([&] { balancer.call([](auto&) {}); }) ==
        "2 backends: 1 drained, 1 unhealthy");
}

TEST_CASE("call returns replies that can only be moved") {
  auto balancer = servers(letters("a"));
  auto const reply =
      balancer.call(poise::every_return_succeeds([](auto&) { return std::make_unique<int>(7); }));
  CHECK(*reply == 7);
}

TEST_CASE("the request is in flight while call runs") {
  auto balancer = servers(letters("a"));
  CHECK(balancer.call([](auto& backend) { return std::to_string(backend.in_flight()); }) == "1");
}

TEST_CASE("calls nest") {
  auto balancer = servers(letters("ab"));
  auto const both = balancer.call([&](auto& outer) {
    return outer.id() + balancer.call([](auto& inner) { return inner.id(); });
  });
  CHECK(both == "ab");
}

TEST_CASE("a call may change the balancer that it runs on") {
  auto balancer = servers(letters("ab"));
  balancer.call([&](auto& backend) { balancer.remove(backend.id()); });
  CHECK(tests::ids_of(balancer) == "b");
}

// -- again
// -------------------------------------------------------------------------------------------

TEST_CASE("a success is not tried again") {
  Scene scene{letters("ab")};
  allow_tries(scene, 5);
  int runs = 0;
  scene.balancer.call([&](auto&) { ++runs; });
  CHECK(runs == 1);
}

TEST_CASE("a failure is tried again on another backend until one answers") {
  Scene scene{letters("abc")};
  allow_tries(scene, 5);
  pick_in_order(scene);
  std::string asked;
  auto const reply = scene.balancer.call([&](auto& backend) {
    asked += backend.id();
    return Reply{backend.id() == "c" ? 200 : 500};
  });
  CHECK(reply.status == 200);
  CHECK(asked == "abc");
  CHECK(stats_of(scene.balancer, "a").failed == 1);
  CHECK(stats_of(scene.balancer, "c").ended(Result::success) == 1);
}

TEST_CASE("no backend is asked twice while one is untried") {
  Scene scene{letters("abcdefgh")};
  allow_tries(scene, 8);
  scene.policy.hooks->pick = [](auto const&, auto&) { return std::size_t{0}; };  // always the same
  std::vector<std::string> asked;
  scene.balancer.call([&](auto& backend) {
    asked.push_back(backend.id());
    return Reply{500};
  });
  std::sort(asked.begin(), asked.end());
  CHECK(asked == std::vector<std::string>{"a", "b", "c", "d", "e", "f", "g", "h"});
}

TEST_CASE("with all of them tried a backend is asked again") {
  Scene scene{letters("ab")};
  allow_tries(scene, 5);
  int runs = 0;
  scene.balancer.call([&](auto&) {
    ++runs;
    return Reply{500};
  });
  CHECK(runs == 5);
}

TEST_CASE("each try knows its number") {
  Scene scene{letters("abc")};
  allow_tries(scene, 3);
  std::vector<std::uint32_t> attempts;
  scene.balancer.call({}, [&](auto&, poise::Request const& request) {
    attempts.push_back(request.attempt);
    return Reply{500};
  });
  CHECK(attempts == std::vector<std::uint32_t>{1, 2, 3});
}

TEST_CASE("when tries run out the last reply is returned") {
  Scene scene{letters("abc")};
  allow_tries(scene, 3);
  int status = 500;
  CHECK(scene.balancer.call([&](auto&) { return Reply{status++}; }).status == 502);
}

TEST_CASE("when tries run out the last exception goes on to the caller") {
  Scene scene{letters("abc")};
  allow_tries(scene, 3);
  int run = 0;
  CHECK(thrown<std::runtime_error>([&] {
          scene.balancer.call([&](auto&) -> Reply {
            if (++run == 2) return {500};
            throw std::runtime_error{"try " + std::to_string(run)};
          });
        }) == "try 3");
}

TEST_CASE("an exception does not matter once a later try succeeds") {
  Scene scene{letters("ab")};
  allow_tries(scene, 2);
  int run = 0;
  CHECK(scene.balancer
            .call([&](auto&) -> Reply {
              if (++run == 1) throw std::runtime_error{"first"};
              return {207};
            })
            .status == 207);
}

TEST_CASE("functions that return nothing are tried again after an exception") {
  Scene scene{letters("ab")};
  allow_tries(scene, 2);
  int run = 0;
  scene.balancer.call([&](auto&) {
    if (++run == 1) throw std::runtime_error{"first"};
  });
  CHECK(run == 2);
}

TEST_CASE("the pause before a retry is slept by the runtime's clock") {
  Scene scene{letters("abc")};
  allow_tries(scene, 3, 50ms);
  scene.balancer.call([](auto&) { return Reply{500}; });
  CHECK(scene.clock.slept() == 100ms);
}

TEST_CASE("the policy decides with the request and the outcome before it") {
  Scene scene{letters("ab")};
  Result seen{};
  std::string id;
  scene.policy.hooks->decide = [&](poise::Attempt const& attempt) {
    seen = attempt.outcome.result;
    id = attempt.request.id;
    return poise::Decision{};
  };
  scene.balancer.call({.id = "r1"}, [](auto&) { return poise::Outcome{Result::reset}; });
  CHECK(seen == Result::reset);
  CHECK(id == "r1");
}

TEST_CASE("a retry avoids backends that the caller excluded") {
  Scene scene{letters("abc")};
  allow_tries(scene, 2);
  pick_in_order(scene);
  std::uint64_t const excluded[]{stats_of(scene.balancer, "b").serial};
  std::string asked;
  scene.balancer.call({.excluded = excluded}, [&](auto& backend) {
    asked += backend.id();
    return Reply{500};
  });
  CHECK(asked == "ac");
}

TEST_CASE("when no backend is left for a retry the last reply is returned") {
  Scene scene{letters("a")};
  allow_tries(scene, 3);
  auto const reply = scene.balancer.call([&](auto& backend) {
    scene.balancer.drain(backend.id());
    return Reply{500};
  });
  CHECK(reply.status == 500);
}

TEST_CASE("every try is reported once and nothing stays in flight") {
  Scene scene{letters("ab")};
  allow_tries(scene, 7);
  scene.balancer.call([](auto&) { return Reply{500}; });
  auto const a = stats_of(scene.balancer, "a");
  auto const b = stats_of(scene.balancer, "b");
  CHECK(a.total + b.total == 7);
  CHECK(a.failed + b.failed == 7);
  CHECK(a.in_flight + b.in_flight == 0);
}

TEST_CASE(
    "a request that failed on more than eight backends goes on with the last eight excluded") {
  Scene scene{letters("abcdefghijkl")};
  allow_tries(scene, 12);
  std::vector<std::string> asked;
  scene.balancer.call([&](auto& backend) {
    asked.push_back(backend.id());
    return Reply{500};
  });
  REQUIRE(asked.size() == 12);
  for (std::size_t i = 1; i < asked.size(); ++i)
    for (std::size_t j = i > 8 ? i - 8 : 0; j < i; ++j) REQUIRE(asked[i] != asked[j]);
}

TEST_CASE("a call survives the destruction of its balancer and is not tried again") {
  auto scene = std::make_unique<Scene>(letters("ab"));
  allow_tries(*scene, 5);
  int runs = 0;
  auto const reply = scene->balancer.call([&](auto& backend) {
    ++runs;
    scene.reset();
    return Reply{backend.id() == "a" ? 500 : 501};
  });
  CHECK(reply.status == 500);
  CHECK(runs == 1);
}

TEST_CASE("a policy that throws while deciding passes its exception on and leaks nothing") {
  Scene scene{letters("a")};
  scene.policy.hooks->decide = [](auto const&) -> poise::Decision {
    throw std::runtime_error{"why"};
  };
  CHECK(thrown<std::runtime_error>(
            [&] { scene.balancer.call([](auto&) { return Reply{500}; }); }) == "why");
  CHECK(stats_of(scene.balancer, "a").in_flight == 0);
}

}  // namespace unit_call
