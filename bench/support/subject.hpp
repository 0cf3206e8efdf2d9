// SPDX-License-Identifier: MIT
#pragma once

// A balancer, and beside it its floor: the same policy, records and cursors behind a raw pointer
// that is never freed. What a request through it costs is what is left when only the protection is
// removed.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>
#include <poise/poise.hpp>

namespace bench {

inline std::vector<poise::Endpoint> backends(std::size_t count, bool weighted) {
  std::vector<poise::Endpoint> result;
  for (std::size_t i = 0; i < count; ++i)
    result.push_back({.id = "backend-" + std::to_string(i),
                      .address = "10.0.0.1:" + std::to_string(1000 + i),
                      .weight = weighted ? static_cast<std::uint32_t>(1 + i % 3) : 1});
  return result;
}

/// A record as poise has it, with its policy's state and without an owner.
template <class P>
struct Loose : poise::Backend {
  explicit Loose(poise::Endpoint endpoint) : Backend{std::move(endpoint), 1} {}
  void claim() noexcept { benchmark::DoNotOptimize(word_.claim()); }
  void end(P const& policy, poise::Duration latency = poise::detail::unmeasured,
           poise::Time now = {}) noexcept {
    count(poise::Result::success, latency);
    if constexpr (poise::hooks::has_on_finish<P>) {
      poise::Finish finish{*this, poise::Result::success, latency, now, poise::Path{}, state.get()};
      poise::hooks::on_finish(policy, finish);
    }
    benchmark::DoNotOptimize(word_.release());
  }
  std::shared_ptr<void> state = poise::hooks::make_state(P{});
};

/// What the threads of a benchmark share: built once per size, kept for the whole run.
template <class P, bool Weighted = false>
struct Subject {
  explicit Subject(std::size_t count) : balancer{backends(count, Weighted)} {
    for (auto const& endpoint : backends(count, Weighted))
      loose.push_back(std::make_unique<Loose<P>>(endpoint));
    auto* roster = new poise::Roster{poise::Roster::of(count, 1, [&](std::size_t i) {
      return poise::Roster::Member{loose[i].get(), loose[i]->weight(), true};
    })};
    if constexpr (poise::hooks::has_state<P>)
      for (auto const& each : loose) roster->states.push_back(each->state.get());
    plan.emplace(poise::hooks::plan(policy, poise::Candidates{*roster}, nullptr));
    leaked = roster;
  }

  [[nodiscard]] static Subject& of(benchmark::State const& state) {
    static std::mutex mutex;
    static std::map<std::size_t, std::unique_ptr<Subject>> all;
    auto const count = static_cast<std::size_t>(state.range(0));
    std::scoped_lock const lock{mutex};
    auto& found = all[count];
    if (!found) found = std::make_unique<Subject>(count);
    return *found;
  }

  /// The candidates as the floor sees them.
  [[nodiscard]] poise::Candidates candidates() const noexcept {
    return poise::Candidates{*leaked.load(std::memory_order_acquire)};
  }
  /// The proposal of the policy, claimed.
  [[gnu::always_inline]] Loose<P>& pick(poise::Context& context) {
    auto const all = candidates();
    auto const i = poise::hooks::pick(policy, *plan, all, context);
    auto& record = const_cast<Loose<P>&>(static_cast<Loose<P> const&>(all[i]));
    record.claim();
    return record;
  }
  [[gnu::always_inline]] poise::Context context(benchmark::State const& state) noexcept {
    auto const lane = static_cast<std::uint32_t>(state.thread_index()) + 1;
    return {poise::any_request, chance, poise::sync::Lane{lane}};
  }

  poise::Balancer<P> balancer;
  P policy{};
  std::optional<poise::hooks::PlanOf<P>> plan;
  std::vector<std::unique_ptr<Loose<P>>> loose;
  std::atomic<poise::Roster const*> leaked{nullptr};
  poise::RandomSource chance{1, &poise::detail::mix};
};

/// The latency of the next request: 8 to 12 ms, reported by requests that end at once. An
/// estimate's age would otherwise be that of a service which answers in 50 ns.
class Latencies {
 public:
  poise::Duration next() noexcept {
    state_ = state_ * 1664525 + 1013904223;
    return poise::Duration{8'000'000 + state_ % 4'000'000};
  }

 private:
  std::uint32_t state_ = 1;
};

}  // namespace bench
