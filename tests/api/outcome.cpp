// SPDX-License-Identifier: MIT
// Seam: a user's reply type says how the request ended, found beside the type.

#include <poise/poise.hpp>

#include <chrono>
#include <utility>

#include "support/catch.hpp"

namespace api_outcome {

namespace http {

struct Response {
  int status;
  int retry_after_s = 0;
};

poise::Outcome outcome_of(Response const& response) {
  using poise::Result;
  if (response.status == 429 || response.status == 503)
    return {Result::overloaded, true, std::chrono::seconds{response.retry_after_s}};
  if (response.status >= 500) return Result::error;
  if (response.status >= 400) return Result::rejected;
  return Result::success;
}

}  // namespace http

TEST_CASE("seam outcome counts a user's replies as the user says") {
  poise::Balancer<poise::RoundRobin, void, poise::Runtime<poise::VirtualClock>> balancer{
      poise::endpoints({"a"}), {}, {.seed = 1}};
  for (int const status : {200, 404, 500, 503, 200})
    balancer.call([=](auto&) { return http::Response{status}; });
  auto const stats = balancer.stats().backends[0];
  CHECK(stats.ended(poise::Result::success) == 2);
  CHECK(stats.ended(poise::Result::rejected) == 1);
  CHECK(stats.ended(poise::Result::error) == 1);
  CHECK(stats.ended(poise::Result::overloaded) == 1);
  CHECK(stats.failed == 2);
}

TEST_CASE("seam outcome works by hand across a callback") {
  poise::Balancer<poise::RoundRobin, void, poise::Runtime<poise::VirtualClock>> balancer{
      poise::endpoints({"a"}), {}, {.seed = 1}};
  auto lease = balancer.pick();
  auto on_reply = [lease = std::move(lease)](http::Response const& response) mutable {
    lease.finish(outcome_of(response));
  };
  on_reply({503, 2});
  CHECK(balancer.stats().backends[0].ended(poise::Result::overloaded) == 1);
}

}  // namespace api_outcome
