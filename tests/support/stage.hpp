// SPDX-License-Identifier: MIT
#pragma once

// A policy among backends of given weights, without a balancer: for tests of the policy alone.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <poise/candidates.hpp>
#include <poise/policy.hpp>

namespace tests {

/// A backend that stands alone.
class LoneBackend : public poise::Backend {
 public:
  LoneBackend(poise::Endpoint endpoint, std::uint64_t serial)
      : Backend{std::move(endpoint), serial} {}

  using Backend::count;
  using Backend::forget;
  using Backend::inherit;
  void claim(std::uint32_t times = 1) {
    for (std::uint32_t i = 0; i < times; ++i) word_.claim();
  }
  void release() { (void)word_.release(); }
};

/// Backends "a", "b", ... with serials 1, 2, ...; those not eligible stay members.
class Backends {
 public:
  explicit Backends(std::vector<std::uint32_t> weights) : weights_{std::move(weights)} {
    for (std::size_t i = 0; i < weights_.size(); ++i) {
      auto const id = i < 26 ? std::string(1, static_cast<char>('a' + i)) : std::to_string(i);
      all_.emplace_back(poise::Endpoint{.id = id, .address = id, .weight = weights_[i]}, i + 1);
    }
    eligible_.assign(weights_.size(), true);
  }

  LoneBackend& operator[](std::size_t i) { return all_[i]; }
  [[nodiscard]] std::size_t size() const { return all_.size(); }
  void set_eligible(std::size_t i, bool eligible) { eligible_[i] = eligible; }
  [[nodiscard]] poise::Roster roster(std::uint64_t generation = 1) {
    return poise::Roster::of(all_.size(), generation, [&](std::size_t i) {
      return poise::Roster::Member{&all_[i], weights_[i], eligible_[i]};
    });
  }

 private:
  std::vector<std::uint32_t> weights_;
  std::deque<LoneBackend> all_;  // never moved: rosters point to them
  std::vector<bool> eligible_;
};

template <class P>
class Stage {
 public:
  explicit Stage(std::vector<std::uint32_t> weights, P with = {}, std::uint64_t seed = 1)
      : backends{std::move(weights)}, policy{std::move(with)}, chance{seed, &poise::detail::mix} {
    rebuild();
  }

  /// After a change of who is eligible.
  void rebuild() {
    roster = backends.roster();
    while (states.size() < backends.size()) states.push_back(poise::hooks::make_state(policy));
    if (!states.empty() && states[0] != nullptr) {
      roster.states.resize(states.size());
      for (std::size_t i = 0; i < states.size(); ++i)
        roster.states[roster.places[i]] = states[i].get();
    }
    plan = std::make_unique<poise::hooks::PlanOf<P>>(
        poise::hooks::plan(policy, poise::Candidates{roster}, plan.get()));
  }

  std::size_t pick(poise::Request const& request = poise::any_request, poise::Time now = {}) {
    poise::Context context{request, chance, poise::sync::Lane::shared};
    context.now = now;
    return poise::hooks::pick(policy, *plan, poise::Candidates{roster}, context);
  }
  /// The end of a request that went to number i of the backends.
  void finish(std::size_t i, poise::Outcome outcome, poise::Duration latency, poise::Time now) {
    poise::Finish finish{backends[i], outcome, latency, now, poise::Path{}, states[i].get()};
    poise::hooks::on_finish(policy, finish);
  }
  /// The next picks as letters.
  std::string letters(std::size_t count) {
    std::string text;
    for (std::size_t i = 0; i < count; ++i) text += poise::Candidates{roster}[pick()].id();
    return text;
  }
  /// How often each candidate comes in so many picks.
  std::vector<std::uint64_t> counts(std::size_t picks) {
    std::vector<std::uint64_t> result(poise::Candidates{roster}.size());
    for (std::size_t i = 0; i < picks; ++i) ++result[pick()];
    return result;
  }

  Backends backends;
  P policy;
  poise::RandomSource chance;
  poise::Roster roster;
  std::vector<std::shared_ptr<void>> states{};  // by number of the backend; null if it has none
  std::unique_ptr<poise::hooks::PlanOf<P>> plan;
};

}  // namespace tests
