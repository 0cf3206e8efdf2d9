// SPDX-License-Identifier: MIT
#pragma once

// What detectors look at, from what a meter counted: the difference between two snapshots.
//
//   poise::analysis::Intervals intervals;
//   changes.add(intervals.next(reader.read()));   // once a second; the first has no requests
//
// The latency is the mean of the interval's attempts. Intended shares are told only of policies
// that mean to give them: least connections gives a slow backend less, and a ring gives each the
// keys that it owns. Nor are they told of an interval with more than 1 % of retries and hedges:
// those are picks that no weight intends.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <poise/analysis/sample.hpp>
#include <poise/observe/snapshot.hpp>
#include <poise/outcome.hpp>

namespace poise::inline v0_1_0::analysis {

namespace detail {

/// True if all the policies of this name give shares by weight alone.
[[nodiscard]] inline bool gives_shares_by_weight(std::string_view policy) {
  constexpr std::array<std::string_view, 9> known{
      "round_robin", "exact_round_robin", "smooth_weighted", "random", "weighted_random", "retry",
      "shed",        "bounded",           "rate_limited"};
  while (!policy.empty()) {
    auto const end = std::min(policy.find_first_of("(), "), policy.size());
    if (end != 0 && !std::ranges::count(known, policy.substr(0, end))) return false;
    policy.remove_prefix(std::min(end + 1, policy.size()));
  }
  return true;
}

}  // namespace detail

/// *Threads* one at a time.
class Intervals {
 public:
  /// What happened since the snapshot before, of the backends that have a name in both. Valid until
  /// the next call. *Cost* O(n); allocates.
  [[nodiscard]] PoolSample next(observe::Snapshot const& now) {
    bool const by_weight = detail::gives_shares_by_weight(now.facts.policy) && !retried_much(now);
    std::unordered_map<std::string, Totals> before;
    before.swap(totals_);
    ids_.clear();
    samples_.clear();
    for (auto const& each : now.backends) ids_.push_back(each.id);  // before views of them are made
    for (std::size_t i = 0; i < ids_.size(); ++i) {
      Totals const totals{now.backends[i]};
      auto const found = before.find(ids_[i]);
      BackendSample sample{.id = ids_[i]};
      if (found != before.end() && !found->second.is_later_than(totals)) {
        sample = totals.since(found->second, ids_[i]);
        if (by_weight) sample.intended_share = now.backends[i].intended_share;
      }
      samples_.push_back(sample);
      totals_.emplace(ids_[i], totals);
    }
    return {now.at, samples_};
  }

 private:
  /// Of one backend, since it has a name.
  struct Totals {
    explicit Totals(observe::BackendSnapshot const& of)
        : completed{of.requests.all_completed()},
          in_flight{of.requests.in_flight},
          rejected{of.requests.completed[static_cast<std::size_t>(Result::rejected)]},
          timed{of.latency.count},
          seconds{of.latency.sum_s},
          failures{of.requests.all_failures()},
          verdicts{of.requests.completed[static_cast<std::size_t>(Result::success)] + failures} {}
    /// Then the backend of this id was counted anew.
    [[nodiscard]] bool is_later_than(Totals const& other) const noexcept {
      return completed > other.completed || timed > other.timed;
    }
    [[nodiscard]] BackendSample since(Totals const& before, std::string_view id) const {
      auto const picks = completed + in_flight;
      auto const picks_before = before.completed + before.in_flight;
      BackendSample sample{.id = id,
                           .requests = verdicts - before.verdicts,
                           .failures = failures - before.failures,
                           .rejected = rejected - before.rejected,
                           .picks = std::max(picks, picks_before) - picks_before};
      if (timed > before.timed)
        sample.latency = (seconds - before.seconds) / static_cast<double>(timed - before.timed);
      return sample;
    }
    std::uint64_t completed;
    std::uint64_t in_flight;
    std::uint64_t rejected;
    std::uint64_t timed;
    double seconds;
    std::uint64_t failures;
    std::uint64_t verdicts;
  };

  bool retried_much(observe::Snapshot const& now) {
    auto const extra = now.retries + now.hedges;
    auto const all = now.requests.all_completed();
    return 100 * (extra - std::exchange(extra_, extra)) > all - std::exchange(all_, all);
  }

  std::unordered_map<std::string, Totals> totals_;
  std::vector<std::string> ids_;
  std::vector<BackendSample> samples_;
  std::uint64_t extra_ = 0;
  std::uint64_t all_ = 0;
};

}  // namespace poise::inline v0_1_0::analysis
