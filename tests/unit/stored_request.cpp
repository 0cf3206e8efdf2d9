// SPDX-License-Identifier: MIT
// A stored request owns its texts.

#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include <poise/balancer.hpp>
#include <poise/stored_request.hpp>

#include "support/catch.hpp"
#include "support/servers.hpp"

namespace unit_stored_request {

using poise::Request;
using poise::StoredRequest;

namespace {

std::string text(char const* what) { return std::string{what} + ", too long for a small string"; }

StoredRequest stored() {
  std::vector<std::uint64_t> const excluded{1, 2, 3};
  return {{.id = text("id"),
           .client_id = text("client"),
           .route_key = text("key"),
           .priority = poise::Priority::low,
           .idempotent = false,
           .excluded = excluded,
           .after = 7,
           .preferred = text("preferred")}};
}

}  // namespace

TEST_CASE("a stored request keeps texts that were temporary") {
  auto const kept = stored();
  Request const request = kept;
  CHECK(request.id == text("id"));
  CHECK(request.client_id == text("client"));
  CHECK(request.route_key == text("key"));
  CHECK(request.preferred == text("preferred"));
  CHECK(request.priority == poise::Priority::low);
  CHECK_FALSE(request.idempotent);
  CHECK(request.after == 7);
  REQUIRE(request.excluded.size() == 3);
  CHECK(request.excluded[2] == 3);
}

TEST_CASE("a stored request may be copied and moved") {
  std::vector<StoredRequest> queue;
  for (int i = 0; i < 10; ++i) queue.push_back(stored());  // moves them as it grows
  auto const copy = queue[3];
  queue.clear();
  Request const request = copy;
  CHECK(request.route_key == text("key"));
}

TEST_CASE("a stored request picks as the request does") {
  auto balancer = tests::servers(tests::letters("ab"));
  StoredRequest const kept{{.route_key = text("key")}};
  CHECK(balancer.pick(kept));
  CHECK(balancer.call(kept, [](auto& backend) { return backend.id(); }).size() == 1);
}

TEST_CASE("a temporary stored request gives no request that outlives it") {
  CHECK(std::is_convertible_v<StoredRequest const&, Request>);
  CHECK_FALSE(std::is_convertible_v<StoredRequest, Request>);
}

}  // namespace unit_stored_request
