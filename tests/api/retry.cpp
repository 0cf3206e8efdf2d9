// SPDX-License-Identifier: MIT
// Seam: a policy decides whether to try again, and call() never repeats a backend while one is
// untried.

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include <poise/poise.hpp>

#include "support/catch.hpp"

namespace api_retry {

using namespace std::chrono_literals;
using poise::Result;

namespace {

/// Up to three tries of what failed, with a pause that doubles; at once if nothing was sent.
template <class P>
struct Retry {
  using Plan = poise::hooks::PlanOf<P>;
  P inner{};

  Plan plan(poise::Candidates const& candidates, Plan const* before) const {
    return poise::hooks::plan(inner, candidates, before);
  }
  std::size_t pick(Plan const& plan, poise::Candidates const& candidates,
                   poise::Context& context) const {
    return poise::hooks::pick(inner, plan, candidates, context);
  }
  poise::Decision decide(poise::Attempt const& attempt) const {
    auto const number = attempt.request.attempt;
    if (number >= 3 || !is_failure(attempt.outcome.result)) return {};
    return {.retry = true, .after = attempt.outcome.sent ? 10ms * (1 << number) : 0ms};
  }
};

/// Everything to the first backend, as a bad cursor or a hot key would.
struct Stubborn {
  std::size_t pick(poise::Candidates const&, poise::Context&) const { return 0; }
};

struct Fixture {
  poise::VirtualClock clock{};
  poise::Balancer<Retry<Stubborn>, void, poise::Runtime<poise::VirtualClock>> balancer{
      poise::endpoints({"a", "b", "c", "d"}), {}, {.clock = clock, .seed = 1}};
};

}  // namespace

TEST_CASE("seam retry asks another backend each time even of a stubborn policy") {
  Fixture test;
  std::string asked;
  auto const outcome = test.balancer.call([&](auto& backend) {
    CHECK(asked.find(backend.id()) == std::string::npos);
    asked += backend.id();
    return poise::Outcome{Result::timeout};
  });
  CHECK(asked.size() == 3);
  CHECK(outcome.result == Result::timeout);
}

TEST_CASE("seam retry sleeps by the runtime's clock and not where nothing was sent") {
  Fixture test;
  auto const before = test.clock.now();
  test.balancer.call([](auto&) { return poise::Outcome{Result::refused}; });
  CHECK(test.clock.now() == before);
  test.balancer.call([](auto&) { return poise::Outcome{Result::error}; });
  CHECK(test.clock.now() - before == 60ms);
}

TEST_CASE("seam retry hands on the last exception") {
  Fixture test;
  int run = 0;
  std::string message;
  try {
    test.balancer.call([&](auto&) { throw std::runtime_error{"try " + std::to_string(++run)}; });
  } catch (std::runtime_error const& error) {
    message = error.what();
  }
  CHECK(message == "try 3");
}

TEST_CASE("seam retry does not retry the caller's own faults") {
  Fixture test;
  int runs = 0;
  test.balancer.call([&](auto&) {
    ++runs;
    return poise::Outcome{Result::rejected};
  });
  CHECK(runs == 1);
}

TEST_CASE("seam retry can be driven by hand as coroutines do") {
  // The decision is pure: code with a timer of its own asks the same policy and picks again.
  Fixture test;
  Retry<Stubborn> const policy;
  poise::Request request;
  auto first = test.balancer.pick(request);
  std::uint64_t const tried[]{first.serial()};
  first.finish(Result::refused);
  auto const decision = policy.decide({request, Result::refused, {}, 0});
  REQUIRE(decision.retry);
  request.attempt = 2;
  request.excluded = tried;
  auto const second = test.balancer.pick(request);
  CHECK(second.serial() != tried[0]);
}

TEST_CASE("seam retry decides on attempts that are made by hand") {
  Fixture test;
  std::vector<std::uint64_t> tried;
  poise::Request request;
  std::string asked;
  for (;; ++request.attempt) {
    request.excluded = tried;
    auto lease = test.balancer.pick(request);
    REQUIRE(lease);
    asked += lease->id();
    tried.push_back(lease.serial());
    request.excluded = tried;
    lease.finish(Result::timeout);
    auto const decision = test.balancer.decide(request, Result::timeout);
    if (!decision.retry) break;
    CHECK(decision.after == 10ms * (1 << request.attempt));
  }
  CHECK(asked.size() == 3);
  CHECK(asked.find_first_of(asked[0], 1) == std::string::npos);
  CHECK_FALSE(test.balancer.decide(request, Result::success).retry);
  CHECK(test.balancer.timeouts() == poise::CallTimeouts{});

  poise::Balancer<poise::RoundRobin> plain{poise::endpoints({"a", "b"})};
  CHECK_FALSE(plain.decide({}, Result::refused).retry);
}

}  // namespace api_retry
