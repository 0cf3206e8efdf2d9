// SPDX-License-Identifier: MIT
// Balancer::call_or: a reply for the case that no backend gives one.

#include <exception>
#include <stdexcept>
#include <string>
#include <system_error>

#include <poise/balancer.hpp>
#include <poise/engine/fallback.hpp>

#include "support/catch.hpp"
#include "support/scripted.hpp"
#include "support/servers.hpp"
#include "support/text.hpp"

namespace unit_engine_fallback {

using namespace std::chrono_literals;
using poise::Result;
using poise::Unanswered;
using tests::letters;
using tests::Scene;
using tests::servers;
using tests::stats_of;
using tests::thrown;

namespace {

struct Page {
  int status = 200;
  std::string text{};
};
poise::Outcome outcome_of(Page const& page) { return poise::outcome_of_http(page.status); }

/// A backend that throws this error.
auto failing(std::errc code) {
  return [code](auto&) -> std::string { throw std::system_error{std::make_error_code(code)}; };
}

std::string what(Unanswered const& why) {
  try {
    if (why.thrown) std::rethrow_exception(why.thrown);
  } catch (std::exception const& thrown) {
    return thrown.what();
  }
  return "a reply";
}

}  // namespace

TEST_CASE("a reply of a backend goes before the fallback, which is not asked") {
  auto balancer = servers(letters("a"));
  auto const fallback = [](Unanswered const&) -> std::string { throw std::logic_error{"asked"}; };
  CHECK(balancer.call_or([](auto& backend) { return backend.id(); }, fallback) == "a");
}

TEST_CASE("the fallback may be a value, a function, or a function of why") {
  auto balancer = servers({});
  auto const ask = [](auto& backend) { return backend.id(); };
  CHECK(balancer.call_or(ask, "cached") == "cached");
  CHECK(balancer.call_or(ask, [] { return "made"; }) == "made");
  CHECK(balancer.call_or(ask, what) ==
        "no backends are configured: add some with add() or update()");
}

TEST_CASE("a value that is given as a fallback is copied, not used up") {
  auto balancer = servers({});
  std::string const cached = "cached, and too long for a small string";
  auto value = cached;
  auto const ask = [](auto& backend) { return backend.id(); };
  CHECK(balancer.call_or(ask, value) == cached);
  CHECK(value == cached);
}

TEST_CASE("a failed exception is told to the fallback and counts as the backend's failure") {
  auto balancer = servers(letters("a"));
  auto const fallback = [](Unanswered const& why) { return std::string{name(why.outcome.result)}; };
  CHECK(balancer.call_or(failing(std::errc::connection_refused), fallback) == "refused");
  auto const a = stats_of(balancer, "a");
  CHECK(a.ended(Result::refused) == 1);
  CHECK(a.ended(Result::success) == 0);
  CHECK(a.in_flight == 0);
}

TEST_CASE("a reply that is a failure gives way to the fallback and counts as one") {
  auto balancer = servers(letters("a"));
  auto const page =
      balancer.call_or([](auto&) { return Page{503, "go away"}; },
                       [](Unanswered const& why) {
                         return Page{200, std::string{name(why.outcome.result)} + ", " + what(why)};
                       });
  CHECK(page.text == "overloaded, a reply");
  CHECK(stats_of(balancer, "a").ended(Result::overloaded) == 1);
}

TEST_CASE("the fallback is asked once, after the last attempt") {
  Scene scene{letters("abc")};
  scene.policy.hooks->decide = [](poise::Attempt const& attempt) {
    return poise::Decision{attempt.request.attempt < 3, {}, poise::StopReason::attempts};
  };
  int asked = 0;
  poise::CallReport report;
  auto const page = scene.balancer.call_or([](auto&) { return Page{500}; },
                                           [&] {
                                             ++asked;
                                             return Page{203};
                                           },
                                           {.report = &report});
  CHECK(page.status == 203);
  CHECK(asked == 1);
  CHECK(report.attempts.size() == 3);
  CHECK(report.why == poise::StopReason::attempts);
}

TEST_CASE("the caller's own fault is no case for a fallback") {
  auto balancer = servers(letters("a"));
  CHECK(balancer.call_or([](auto&) { return Page{404}; }, Page{200}).status == 404);
  CHECK_THROWS_AS(balancer.call_or(failing(std::errc::invalid_argument), "cached"),
                  std::system_error);
}

TEST_CASE("a caller that gave up gets no fallback, a machine without descriptors does") {
  auto balancer = servers(letters("a"));
  CHECK_THROWS_AS(balancer.call_or(failing(std::errc::operation_canceled), "cached"),
                  std::system_error);
  CHECK(balancer.call_or(failing(std::errc::too_many_files_open), "cached") == "cached");
}

TEST_CASE("a call that comes after its deadline is answered by the fallback, and asks nobody") {
  tests::Clock const clock;
  auto balancer = servers(letters("a"), clock);
  auto const ask = [](auto& backend) { return backend.id(); };
  CHECK(balancer.call_or({.deadline = balancer.now() - 1ms}, ask, what) ==
        "no attempt; ended by: the deadline: Connection timed out");
  CHECK(stats_of(balancer, "a").total == 0);
}

TEST_CASE("an exception of the fallback reaches the caller") {
  auto balancer = servers({});
  auto const fallback = []() -> std::string { throw std::runtime_error{"no cache"}; };
  CHECK(thrown<std::runtime_error>([&] {
          (void)balancer.call_or([](auto& backend) { return backend.id(); }, fallback);
        }) == "no cache");
}

TEST_CASE("a call that returns nothing may have a fallback too") {
  auto balancer = servers({});
  int asked = 0;
  balancer.call_or([](auto&) {}, [&] { ++asked; });
  CHECK(asked == 1);
}

}  // namespace unit_engine_fallback
