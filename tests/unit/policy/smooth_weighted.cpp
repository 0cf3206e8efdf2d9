// SPDX-License-Identifier: MIT
// Smooth weighted round robin: nginx's exact order, exact counts, and the scheme past the size cap.

#include <poise/policy/smooth_weighted.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/sanitized.hpp"
#include "support/stage.hpp"

namespace unit_policy_smooth_weighted {

using tests::Stage;
using Weights = std::vector<std::uint32_t>;

namespace {

/// nginx's loop as it stands in ngx_http_upstream_round_robin.c, pick by pick.
class Nginx {
 public:
  explicit Nginx(Weights const& weights)
      : weights_{weights.begin(), weights.end()},
        current_(weights.size()),
        total_{std::accumulate(weights_.begin(), weights_.end(), std::int64_t{0})} {}
  std::size_t pick() {
    std::size_t best = 0;
    for (std::size_t i = 0; i < weights_.size(); ++i) {
      current_[i] += weights_[i];
      if (current_[i] > current_[best]) best = i;
    }
    current_[best] -= total_;
    return best;
  }

 private:
  std::vector<std::int64_t> weights_;
  std::vector<std::int64_t> current_;
  std::int64_t total_;
};

struct Error {
  double most;                // |count - exact share| of any backend, over any consecutive picks
  std::size_t distinct_gaps;  // at most, between two turns of one backend
};

/// Follows so many picks. A backend's error from the start is greatest just after one of its turns
/// and least just before; between any two moments it moves by no more than the distance of the two.
Error error_of(Stage<poise::SmoothWeighted>& stage, Weights const& weights, std::size_t picks) {
  auto const total = std::accumulate(weights.begin(), weights.end(), 0.0);
  struct Track {
    double share;
    double most = 0;
    double least = 0;
    std::uint32_t count = 0;
    std::size_t last = 0;
    std::vector<std::size_t> gaps{};
  };
  std::vector<Track> tracks;
  for (auto const weight : weights) tracks.push_back({weight / total});
  for (std::size_t k = 1; k <= picks; ++k) {
    auto& track = tracks[stage.pick()];
    auto const due = static_cast<double>(k) * track.share;
    track.least = std::min(track.least, track.count - (due - track.share));
    ++track.count;
    track.most = std::max(track.most, track.count - due);
    auto const gap = k - std::exchange(track.last, k);
    if (track.count > 1 && std::find(track.gaps.begin(), track.gaps.end(), gap) == track.gaps.end())
      track.gaps.push_back(gap);
  }
  Error error{0, 0};
  for (auto const& track : tracks) {
    auto const end = track.count - static_cast<double>(picks) * track.share;
    error.most = std::max(error.most, track.most - std::min(track.least, end));
    error.distinct_gaps = std::max(error.distinct_gaps, track.gaps.size());
  }
  return error;
}

/// What smooth_weighted.hpp states for so many consecutive picks.
double stated_bound(std::size_t picks) {
  auto const golden_ratio = (1 + std::sqrt(5.0)) / 2;
  return 1.1 + 0.2 * std::log(static_cast<double>(picks)) / std::log(golden_ratio);
}

Weights random_weights(poise::Rng& random, std::size_t count, std::uint32_t greatest) {
  Weights weights(count);
  for (auto& weight : weights) weight = static_cast<std::uint32_t>(1 + random.below(greatest));
  return weights;
}

}  // namespace

TEST_CASE("weights 5 1 1 come in the order that nginx documents") {
  Stage<poise::SmoothWeighted> stage{{5, 1, 1}};
  CHECK(stage.letters(14) == "aabacaaaabacaa");
}

TEST_CASE("weights 10 20 30 come in nginx's order") {
  Stage<poise::SmoothWeighted> stage{{10, 20, 30}};
  CHECK(stage.letters(12) == "cbacbccbacbc");
}

TEST_CASE("weights 7 3 3 2 come in nginx's order") {
  Stage<poise::SmoothWeighted> stage{{7, 3, 3, 2}};
  CHECK(stage.letters(15) == "abcadabacadabca");
}

TEST_CASE("weights 1 to 8 come in nginx's order") {
  Stage<poise::SmoothWeighted> stage{{1, 2, 3, 4, 5, 6, 7, 8}};
  CHECK(stage.letters(36) == "hgfedchgbfehgdfhacgehfdghebfghcdefgh");
}

TEST_CASE("2000 random weight vectors come in the order of nginx's loop with exact counts") {
  // Half of them draw from few weights, so that classes of equal ones appear.
  poise::RandomSource chance{2024, &poise::detail::mix};
  poise::Rng random{chance, poise::sync::Lane::shared};
  for (int round = 0; round < 2000; ++round) {
    auto const count = 1 + random.below(12);
    auto const weights = random_weights(random, count, round % 2 == 0 ? 3 : 40);
    auto const period = std::accumulate(weights.begin(), weights.end(), std::uint64_t{0});
    Stage<poise::SmoothWeighted> stage{weights};
    Nginx nginx{weights};
    std::vector<std::uint64_t> counts(count);
    bool same_order = true;
    for (std::uint64_t k = 0; k < period; ++k) {
      auto const i = stage.pick();
      same_order = same_order && i == nginx.pick();
      ++counts[i];
    }
    CAPTURE(weights);
    REQUIRE(same_order);
    REQUIRE(counts == std::vector<std::uint64_t>(weights.begin(), weights.end()));
  }
}

TEST_CASE("after a flip the remaining backends follow the order of a set without it") {
  Stage<poise::SmoothWeighted> stage{{7, 3, 3, 2}};
  stage.backends.set_eligible(1, false);
  stage.rebuild();
  Nginx nginx{{7, 3, 2}};
  std::string expected;
  for (int i = 0; i < 24; ++i) expected += "acd"[nginx.pick()];
  CHECK(stage.letters(24) == expected);
}

TEST_CASE("equal weights need no table and come in turn") {
  Stage<poise::SmoothWeighted> stage{Weights(1000, 4'000'000'000U)};
  CHECK(stage.plan->sequence.empty());
  CHECK(stage.counts(5000) == std::vector<std::uint64_t>(1000, 5));
}

TEST_CASE("one period never takes more than its size cap") {
  // Just inside the cap, then just outside.
  Stage<poise::SmoothWeighted> inside{{(1U << 16U) - 1, 1}};
  Stage<poise::SmoothWeighted> outside{{1U << 16U, 1}};
  CHECK(inside.plan->sequence.size() == 1U << 16U);
  CHECK(outside.plan->sequence.empty());
}

TEST_CASE("past the size cap a count stays as close to its share as stated") {
  // n = 300 000 consecutive picks from each of 6 sets; the [big] test goes on to 10^7. The sequence
  // is deterministic, and the bound holds for all weights: only which weights are tried is chance.
  poise::RandomSource chance{7, &poise::detail::mix};
  poise::Rng random{chance, poise::sync::Lane::shared};
  for (std::size_t const count : {2U, 3U, 5U, 20U, 200U, 1000U}) {
    auto const weights = random_weights(random, count, 1'000'000'000);
    Stage<poise::SmoothWeighted> stage{weights};
    REQUIRE(stage.plan->sequence.empty());
    auto const error = error_of(stage, weights, 300'000);
    CAPTURE(count);
    CHECK(error.most <= stated_bound(300'000));
  }
}

TEST_CASE("past the size cap the gaps between two turns of a backend take at most three values") {
  poise::RandomSource chance{11, &poise::detail::mix};
  poise::Rng random{chance, poise::sync::Lane::shared};
  for (std::size_t const count : {2U, 7U, 100U}) {
    auto const weights = random_weights(random, count, 1'000'000'000);
    Stage<poise::SmoothWeighted> stage{weights};
    CAPTURE(count);
    CHECK(error_of(stage, weights, 100'000).distinct_gaps <= 3);
  }
}

TEST_CASE("past the size cap a count stays within 8 of its share over ten million picks", "[big]") {
  poise::RandomSource chance{8, &poise::detail::mix};
  poise::Rng random{chance, poise::sync::Lane::shared};
  auto const weights = random_weights(random, 20, 1'000'000'000);
  Stage<poise::SmoothWeighted> stage{weights};
  CHECK(error_of(stage, weights, tests::sanitized ? 1'000'000 : 10'000'000).most <= 8);
}

TEST_CASE("no weights at all can take the golden rotation beyond the stated error") {
  // The greatest |points in an arc - their due| over every arc, and so over every backend of every
  // weight, from the sorted points: 1 + max(i - n x_i) - min(i - n x_i). The lengths reach new
  // records; they were found by a search over all lengths up to 30 000.
  for (std::size_t const n : {1U, 19U, 169U, 883U, 1870U, 7921U, 12'816U, 25'632U}) {
    std::vector<std::uint64_t> points(n);
    for (std::size_t k = 0; k < n; ++k) points[k] = k * std::uint64_t{0x9e3779b97f4a7c15U};
    std::sort(points.begin(), points.end());
    double most = -1e9;
    double least = 1e9;
    for (std::size_t i = 0; i < n; ++i) {
      auto const lead = static_cast<double>(i + 1) -
                        static_cast<double>(n) * std::ldexp(static_cast<double>(points[i]), -64);
      most = std::max(most, lead);
      least = std::min(least, lead);
    }
    CAPTURE(n);
    CHECK(1 + most - least <= stated_bound(n));
  }
}

TEST_CASE("the greatest weights there are do not overflow") {
  constexpr auto greatest = std::numeric_limits<std::uint32_t>::max();
  Weights const weights{greatest, greatest - 1, greatest, 1};
  Stage<poise::SmoothWeighted> stage{weights};
  CHECK(error_of(stage, weights, 100'000).most <= stated_bound(100'000));
}

TEST_CASE("a backend with a million times the weight of the others leaves them their turns") {
  // Each of the others is due 3 times in 3 000 027 picks, and the bound allows 7 more or less; so
  // what can be asked is that together they come 27 times within that bound, and that the heavy one
  // does.
  Weights weights(10, 1);
  weights[9] = 1'000'000;
  Stage<poise::SmoothWeighted> stage{weights};
  auto const counts = stage.counts(3'000'027);
  auto const light = std::accumulate(counts.begin(), counts.begin() + 9, std::uint64_t{0});
  CHECK(light >= 20);
  CHECK(light <= 34);
}

TEST_CASE("a thousand backends with random weights get a plan of bounded size at each flip") {
  poise::RandomSource chance{9, &poise::detail::mix};
  poise::Rng random{chance, poise::sync::Lane::shared};
  Stage<poise::SmoothWeighted> stage{random_weights(random, 1000, 100)};
  for (std::size_t flip = 0; flip < 5; ++flip) {
    stage.backends.set_eligible(flip, false);
    stage.rebuild();
    REQUIRE(stage.plan->sequence.size() <= 1U << 16U);
    REQUIRE(stage.pick() < 995);
  }
}

}  // namespace unit_policy_smooth_weighted
