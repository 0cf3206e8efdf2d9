// SPDX-License-Identifier: MIT
#include <poise/observe/lease_watch.hpp>

#include <chrono>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include <poise/poise.hpp>
#include <support/catch.hpp>

namespace unit_observe_lease_watch {

namespace {

using namespace std::chrono_literals;
using namespace poise;
using observe::LeaseWatch;
using Runtime = poise::Runtime<VirtualClock, LeaseWatch>;
using Servers = Balancer<RoundRobin, void, Runtime>;

struct Watched {
  VirtualClock clock{};
  Servers servers;

  explicit Watched(LeaseWatch watch = {}, std::vector<std::string> const& addresses = {"a", "b"})
      : servers{endpoints(addresses), {}, {.clock = clock, .seed = 1, .observers = {watch}}} {}

  /// The warning up to the time of day, or nothing.
  [[nodiscard]] std::string warning() const {
    auto const warnings = servers.stats().warnings;
    if (warnings.empty()) return {};
    REQUIRE(warnings.size() == 1);
    return warnings[0].substr(0, warnings[0].find(", picked before 20"));
  }
};

}  // namespace

TEST_CASE("leases held too long are listed with their backend, number and age", "[observe]") {
  Watched watched;
  std::vector<Servers::Lease> kept;
  while (kept.size() < 3) {
    auto lease = watched.servers.pick();
    if (lease->id() == "b") kept.push_back(std::move(lease));
  }
  watched.clock.advance(60s);
  CHECK(watched.warning().empty());
  watched.clock.advance(35s);
  CHECK(watched.warning() == R"(leases held too long: 3 on "b", the oldest for at least 87 s)");
  CHECK(watched.servers.stats().warnings[0].ends_with(
      "Z: finish or drop a lease when its request ends"));
  kept.pop_back();
  kept[0].finish();
  CHECK(watched.warning() == R"(leases held too long: 1 on "b", the oldest for at least 87 s)");
  kept.clear();
  CHECK(watched.warning().empty());
}

TEST_CASE("each backend with a lease that is held too long has its line", "[observe]") {
  Watched watched;
  auto const first = watched.servers.pick();
  auto const second = watched.servers.pick();
  watched.clock.advance(2min);
  CHECK(watched.servers.stats().warnings.size() == 2);
}

TEST_CASE("a lease that is held for ever stays listed beside the requests that come and go",
          "[observe]") {
  Watched watched{LeaseWatch{8s}, {"a"}};
  auto lease = watched.servers.pick();
  for (int second = 0; second < 1000; ++second) {
    watched.servers.pick().finish();
    watched.clock.advance(1s);
  }
  CHECK(watched.warning() == R"(leases held too long: 1 on "a", the oldest for at least 63 s)");
  lease.finish();
  CHECK(watched.warning().empty());
}

TEST_CASE("a request with a latency of its own, and one that was recorded, mislead no watch",
          "[observe]") {
  Watched watched{LeaseWatch{8s}, {"a"}};
  auto kept = watched.servers.pick();
  watched.servers.pick().finish(Result::success, 30s);
  watched.servers.record("a", Result::success);
  watched.servers.record("a", Result::timeout, 1h);
  watched.clock.advance(10s);
  CHECK(watched.warning() == R"(leases held too long: 1 on "a", the oldest for at least 9 s)");
}

TEST_CASE("leases of broadcasts and of calls are watched, too", "[observe]") {
  Watched watched{LeaseWatch{8s}};
  auto leases = watched.servers.pick_all();
  watched.servers.call([&](auto&) {
    watched.clock.advance(10s);
    CHECK(watched.servers.stats().warnings.size() == 2);
  });
  leases.clear();
  CHECK(watched.warning().empty());
}

TEST_CASE("a watch refuses a limit that is too short", "[observe]") {
  CHECK_THROWS_WITH(LeaseWatch{500ms}, "limit of LeaseWatch is 500 ms: use 1 s or more");
  CHECK_THROWS_WITH(LeaseWatch{-1s}, "limit of LeaseWatch is -1 s: use 1 s or more");
}

}  // namespace unit_observe_lease_watch
