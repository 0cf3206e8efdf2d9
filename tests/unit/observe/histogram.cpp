// SPDX-License-Identifier: MIT
#include <poise/observe/histogram.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include <support/catch.hpp>

namespace unit_observe_histogram {

namespace {

using namespace std::chrono_literals;
using poise::Duration;
using poise::observe::BucketCounts;
using poise::observe::Histogram;
using poise::observe::Scale;

constexpr std::size_t count = 1'000'000;

using Latencies = std::vector<std::int64_t>;  // ns

Latencies drawn(auto const& draw, std::uint64_t seed = 1) {
  std::mt19937_64 random{seed};
  Latencies latencies(count);
  for (auto& each : latencies) each = draw(random);
  return latencies;
}

std::int64_t lognormal(std::mt19937_64& random, double median_ns, double sigma) {
  return std::llround(std::lognormal_distribution{std::log(median_ns), sigma}(random));
}

/// The largest relative error from the median to p99.9.
double error_of(Latencies latencies) {
  Histogram histogram;
  for (auto const each : latencies) histogram.add(Duration{each});
  BucketCounts counts;
  counts.add(histogram);
  CHECK(counts.total() == latencies.size());
  std::ranges::sort(latencies);
  double worst = 0;
  for (auto const q : {0.5, 0.75, 0.9, 0.95, 0.99, 0.999}) {
    auto const rank = static_cast<std::size_t>(std::ceil(q * static_cast<double>(count)));
    auto const exact = static_cast<double>(latencies[rank - 1]);
    auto const found = counts.quantile(q);
    REQUIRE(found);
    worst = std::max(worst, std::abs(static_cast<double>(found->count()) - exact) / exact);
  }
  return worst;
}

}  // namespace

TEST_CASE("every latency is known to one per cent by its bucket", "[observe]") {
  CHECK(sizeof(Histogram) <= 4096);
  CHECK(Scale::lower(0) == 2048);
  CHECK(Scale::lower(Scale::buckets) == std::int64_t{1} << 37U);
  for (std::size_t i = 0; i < Scale::buckets; ++i) {
    CAPTURE(i);
    auto const low = Scale::lower(i);
    auto const high = Scale::lower(i + 1);
    REQUIRE(low < high);
    REQUIRE(Scale::index(Duration{low}) == i);
    REQUIRE(Scale::index(Duration{high - 1}) == i);
    REQUIRE(Scale::middle(i) / static_cast<double>(low) - 1 <= Scale::bound);
    REQUIRE(1 - Scale::middle(i) / static_cast<double>(high) <= Scale::bound);
  }
}

TEST_CASE("latencies off the scale count in its first and last buckets", "[observe]") {
  CHECK(Scale::index(Duration{0}) == 0);
  CHECK(Scale::index(Duration{-5}) == 0);
  CHECK(Scale::index(Duration::min()) == 0);
  CHECK(Scale::index(Duration{2047}) == 0);
  CHECK(Scale::index(138s) == Scale::buckets - 1);
  CHECK(Scale::index(Duration::max()) == Scale::buckets - 1);
}

TEST_CASE("percentiles of smooth latencies are known to 0.3 per cent", "[observe]") {
  for (std::uint64_t const seed : {1U, 2U, 3U}) {
    CAPTURE(seed);
    CHECK(error_of(drawn([](auto& random) { return lognormal(random, 2e6, 0.8); }, seed)) <= 0.003);
    CHECK(error_of(drawn(
              [](auto& random) {
                return random() % 5 == 0 ? lognormal(random, 4e7, 0.4)
                                         : lognormal(random, 1e6, 0.5);
              },
              seed)) <= 0.003);
    CHECK(error_of(drawn(
              [](auto& random) {
                auto const u = std::uniform_real_distribution{1e-12, 1.0}(random);
                return std::llround(std::min(3e5 * std::pow(u, -1 / 1.5), 1e11));
              },
              seed)) <= 0.003);
  }
}

TEST_CASE("percentiles of latencies that are the same keep the bound", "[observe]") {
  for (std::int64_t const ns : {1'000'000L, 1'234'567L, 999'999'999L, 5'000'000'000L}) {
    CAPTURE(ns);
    CHECK(error_of(drawn([&](auto&) { return ns; })) <= Scale::bound);
  }
  // 60 % within 0.1 %, the others smooth.
  CHECK(error_of(drawn([](auto& random) {
          return random() % 5 < 3 ? 7'300'000 + static_cast<std::int64_t>(random() % 7'300)
                                  : lognormal(random, 5e6, 0.7);
        })) <= Scale::bound);
  // A timeout that 3 % of the requests run into.
  CHECK(error_of(drawn([](auto& random) {
          return random() % 100 < 3 ? std::int64_t{2'000'000'000} : lognormal(random, 3e6, 0.6);
        })) <= Scale::bound);
  // A few different values, wherever they lie in their buckets.
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    std::mt19937_64 choice{seed};
    std::vector<std::int64_t> atoms(1 + seed);
    for (auto& atom : atoms) atom = lognormal(choice, 1e7, 1.5);
    CAPTURE(seed);
    CHECK(error_of(drawn([&](auto& random) { return atoms[random() % atoms.size()]; })) <=
          Scale::bound);
  }
}

TEST_CASE("a window is the difference of two readings, also when counts wrap", "[observe]") {
  Histogram histogram;
  for (int i = 0; i < 100; ++i) histogram.add(1ms);
  BucketCounts before;
  before.add(histogram);
  for (int i = 0; i < 50; ++i) histogram.add(20ms);
  BucketCounts after;
  after.add(histogram);
  auto const window = after.since(before);
  CHECK(window.total() == 50);
  auto const found = static_cast<double>(window.rough_quantile(0.01)->count());
  CHECK(std::abs(found - 20e6) <= 20e6 * Scale::bound);

  BucketCounts high;
  high.add(5, ~std::uint64_t{0});
  BucketCounts higher = high;
  higher.add(5, 3);
  CHECK(higher.since(high)[5] == 3);
}

TEST_CASE("histograms merge by addition", "[observe]") {
  Histogram one;
  Histogram other;
  one.add(1ms);
  other.add(1ms);
  other.add(1s);
  BucketCounts both;
  both.add(one);
  both.add(other);
  CHECK(both.total() == 3);
  CHECK(both[Scale::index(1ms)] == 2);
  CHECK(std::abs(both.sum_s() - 1.002) <= 1.002 * Scale::bound);
}

TEST_CASE("a percentile of too few latencies is not given", "[observe]") {
  BucketCounts counts;
  CHECK_FALSE(counts.quantile(0.5));
  CHECK_FALSE(counts.rough_quantile(0.5));
  counts.add(Scale::index(1ms), 19);
  CHECK_FALSE(counts.quantile(0.5));
  counts.add(Scale::index(1ms), 1);
  CHECK(counts.quantile(0.5));
  CHECK_FALSE(counts.quantile(0.99));
  CHECK(counts.rough_quantile(1.0));
  counts.add(Scale::index(1ms), 980);
  CHECK(counts.quantile(0.99));
  CHECK_FALSE(counts.quantile(0.999));
}

}  // namespace unit_observe_histogram
