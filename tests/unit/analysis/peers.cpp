// SPDX-License-Identifier: MIT

#include <chrono>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <support/catch.hpp>
#include <support/series.hpp>

#include <poise/analysis/peers.hpp>
#include <poise/error.hpp>

namespace unit_analysis_peers {

using namespace poise;
using analysis::Aspect;
using analysis::BackendSample;
using analysis::PeerComparison;

namespace {

std::vector<BackendSample> alike(std::size_t size) {
  static constexpr std::string_view ids[]{"a", "b", "c", "d", "e", "f", "g", "h"};
  std::vector<BackendSample> result;
  for (std::size_t i = 0; i < size; ++i)
    result.push_back({.id = ids[i],
                      .requests = 100,
                      .failures = 1,
                      .latency = 0.010,
                      .picks = 100,
                      .intended_share = 1 / static_cast<double>(size)});
  return result;
}

/// What is found after this many seconds of the same sample.
std::vector<analysis::Difference> found(PeerComparison& peers,
                                        std::vector<BackendSample> const& sample,
                                        int seconds = 300) {
  Time now{};
  for (int i = 0; i < seconds; ++i) peers.add({now += std::chrono::seconds{1}, sample});
  return {peers.differences().begin(), peers.differences().end()};
}

}  // namespace

TEST_CASE("backends that are alike do not differ") {
  for (std::size_t size = 0; size <= 8; ++size) {
    PeerComparison peers;
    CHECK(found(peers, alike(size)).empty());
  }
}

TEST_CASE("a backend that was always slow differs in its latency, with the numbers") {
  auto pool = alike(6);
  pool[2].latency = 0.025;
  PeerComparison peers;
  auto const result = found(peers, pool);
  REQUIRE(result.size() == 1);
  CHECK(result[0].id == "c");
  CHECK(result[0].aspect == Aspect::latency);
  CHECK(result[0].value == Approx(0.025));
  CHECK(result[0].expected == Approx(0.010));
  CHECK(result[0].samples >= 29'000);
}

TEST_CASE("in a pool of different machines none is odd") {
  auto pool = alike(8);
  double latency = 0.005;
  for (auto& each : pool) each.latency = latency *= 1.3;
  PeerComparison peers;
  CHECK(found(peers, pool).empty());
}

TEST_CASE("a backend that fails more than the others is told from one that fails as they do") {
  auto pool = alike(3);
  pool[1].failures = 8;
  PeerComparison peers;
  auto const result = found(peers, pool);
  REQUIRE(result.size() == 1);
  CHECK(result[0].id == "b");
  CHECK(result[0].aspect == Aspect::failures);
  CHECK(result[0].value == Approx(0.08));
  CHECK(result[0].expected == Approx(0.01));

  for (auto& each : pool) each.failures = each.requests;
  PeerComparison outage;
  CHECK(found(outage, pool).empty());
}

TEST_CASE("few failures among few requests are no difference") {
  auto pool = alike(4);
  for (auto& each : pool) each.requests = 1, each.failures = 0;
  pool[0].failures = 1;
  PeerComparison peers;
  CHECK(found(peers, pool, 100).empty());
}

TEST_CASE("a backend that rejects more than the others differs in rejections") {
  auto pool = alike(4);
  pool[3].rejected = 40;
  PeerComparison peers;
  auto const result = found(peers, pool);
  REQUIRE(result.size() == 1);
  CHECK(result[0].aspect == Aspect::rejections);
  CHECK(result[0].value == Approx(40.0 / 140));
}

TEST_CASE("a share is judged against the intended one, beyond what sampling explains") {
  auto pool = alike(4);
  pool[0].picks = 130;
  PeerComparison peers;
  auto const result = found(peers, pool);
  REQUIRE(!result.empty());
  CHECK(result[0].id == "a");
  CHECK(result[0].aspect == Aspect::share);
  CHECK(result[0].expected == Approx(0.25));
  CHECK(result[0].value == Approx(130.0 / 430));

  // 130 of 430 picks, but of three seconds with few requests: chance does that.
  pool[0].picks = 13;
  for (std::size_t i = 1; i < 4; ++i) pool[i].picks = 10;
  PeerComparison small;
  CHECK(found(small, pool, 10).empty());
}

TEST_CASE("random picks do not differ from their shares in hours") {
  test::Normal random{3};
  auto pool = alike(8);
  PeerComparison peers;
  Time now{};
  std::size_t differences = 0;
  for (int second = 0; second < 20'000; ++second) {
    for (auto& each : pool) each.picks = 0;
    for (int pick = 0; pick < 20; ++pick)
      ++pool[static_cast<std::size_t>(random.uniform() * 8)].picks;
    peers.add({now += std::chrono::seconds{1}, pool});
    differences += peers.differences().size();
  }
  CHECK(differences == 0);
}

TEST_CASE("in a large pool with few requests chance makes no difference") {
  test::Normal random{9};
  std::vector<std::string> ids;
  for (int i = 0; i < 300; ++i) ids.push_back("backend-" + std::to_string(i));
  PeerComparison peers;
  Time now{};
  std::size_t differences = 0;
  for (int minute = 0; minute < 500; ++minute) {  // at 200 requests a window, of which 1 % fail
    std::vector<BackendSample> pool;
    for (auto const& id : ids) {
      BackendSample each{.id = id, .requests = 40, .picks = 0, .intended_share = 1.0 / 300};
      for (int request = 0; request < 40; ++request) each.failures += random.uniform() < 0.01;
      pool.push_back(each);
    }
    for (int pick = 0; pick < 300; ++pick)
      ++pool[static_cast<std::size_t>(random.uniform() * 300)].picks;
    peers.add({now += std::chrono::minutes{1}, pool});
    differences += peers.differences().size();
  }
  CHECK(differences == 0);
}

TEST_CASE("a difference ends once the window has left it behind") {
  auto pool = alike(5);
  pool[4].latency = 0.030;
  PeerComparison peers;
  Time now{};
  for (int i = 0; i < 300; ++i) peers.add({now += std::chrono::seconds{1}, pool});
  CHECK(peers.differences().size() == 1);
  pool[4].latency = 0.010;
  for (int i = 0; i < 310; ++i) peers.add({now += std::chrono::seconds{1}, pool});
  CHECK(peers.differences().empty());
}

TEST_CASE("the comparison bears noise, drift, waves and spikes among alike backends") {
  test::LatencySeries series{10, 21, {.spread = 0}};
  PeerComparison peers;
  std::size_t differences = 0;
  for (int i = 0; i < 5'000; ++i) {
    peers.add(series.next());
    differences += peers.differences().size();
  }
  CHECK(differences == 0);
}

TEST_CASE("options of the comparison that make no sense are refused by name") {
  CHECK_THROWS_WITH(PeerComparison({.fraction_gap = std::numeric_limits<double>::quiet_NaN()}),
                    "fraction_gap of analysis::PeerOptions is nan: use a fraction from 0 to 1");
  CHECK_THROWS_AS(PeerComparison({.window = {}}), ConfigError);
  CHECK_THROWS_AS(PeerComparison({.latency_gap = 0}), ConfigError);
}

TEST_CASE("a comparison of peers bears times at the ends of the range") {
  PeerComparison peers;
  for (auto const now : {Time::min(), Time{}, Time::max(), Time::min()}) peers.add({now, alike(4)});
  CHECK(peers.differences().empty());
}

}  // namespace unit_analysis_peers
