// SPDX-License-Identifier: MIT
#pragma once

// Decides how much of a new list to believe. Nearly every outage by discovery was a registry that
// said "there are none", or named a few of many.
//
//   new backends                   join at once
//   no backend left                the list in force stays (on_empty)
//   fewer than min_endpoints       those that are missing stay
//   more than max_shrink missing   those stay until the same list was seen `confirmations` times,
//                                  or until they were missing for `confirm_for`
//   fewer missing                  they leave, after hold_removals
//
// A backend whose weight becomes 0 counts as missing, too. "More than max_shrink" also looks at the
// last confirm_for together: a list that loses a third at each look is caught at the second look.
// Once a loss is in doubt, it stays so until it is confirmed or all are back: a registry that
// was restarted empty fills up again, and must not cost those that come last.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/base/check.hpp>
#include <poise/base/saturating.hpp>
#include <poise/discovery/look.hpp>
#include <poise/endpoint.hpp>
#include <poise/hash/xxhash.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::discovery {

/// Whether an empty list is ever believed.
enum class OnEmpty : std::uint8_t {
  keep,  ///< Never: the last backends stay, for ever.
  obey,  ///< Once confirmed, as any other loss.
};

struct GuardOptions {
  std::uint32_t min_endpoints = 1;  ///< Fewer than this are never left.
  double max_shrink = 0.5;          ///< A larger fraction must be confirmed.
  std::uint32_t confirmations = 3;
  Duration apart = std::chrono::seconds{5};  ///< Sightings closer than this count once.
  Duration confirm_for = std::chrono::seconds{60};
  OnEmpty on_empty = OnEmpty::keep;
  Duration hold_removals = Duration::zero();  ///< A missing backend stays for this time.

  /// Believes everything, empty lists included.
  [[nodiscard]] static GuardOptions off() {
    return {.min_endpoints = 0,
            .max_shrink = 1,
            .confirmations = 1,
            .apart = Duration::zero(),
            .on_empty = OnEmpty::obey};
  }
};

/// Why backends stay that the source no longer names.
enum class Hold : std::uint8_t { none, empty, too_few, shrink, removal };

/// What is to be in force now, and what was held back.
struct Verdict {
  std::vector<Endpoint> endpoints{};
  std::size_t held = 0;  ///< Backends that stay although the source does not name them.
  Hold why = Hold::none;
  std::optional<Time> until{};  ///< When to judge again, if the source says nothing new.
};

/// The verdict for people; empty if nothing is held.
[[nodiscard]] inline std::string message(Verdict const& verdict, GuardOptions const& options) {
  auto const count = std::to_string(verdict.held);
  switch (verdict.why) {
    case Hold::none: return {};
    case Hold::empty:
      return "the source names no backend: the last " + count + " stay (GuardOptions::on_empty)";
    case Hold::too_few:
      return "fewer than " + std::to_string(options.min_endpoints) +
             " backends would be left: " + count +
             " stay that the source does not name (GuardOptions::min_endpoints)";
    case Hold::shrink:
      return "more than " + poise::detail::in_words(options.max_shrink * 100) +
             " % went missing: " + count + " stay until the list was seen " +
             std::to_string(options.confirmations) + " times, or for " +
             poise::detail::in_words(options.confirm_for);
    case Hold::removal:
      return count + " stay for " + poise::detail::in_words(options.hold_removals) +
             " after the source left them out (GuardOptions::hold_removals)";
  }
  return {};
}

/// Pure: reads no clock. *Threads* one at a time. *Errors* ConfigError.
/// *Cost* O(n) per judgement, for lists sorted by id.
class Guard {
 public:
  explicit Guard(GuardOptions const& options = {}) : options_{options} {
    poise::detail::check_fraction("max_shrink of discovery::GuardOptions", options.max_shrink);
    poise::detail::check_at_least_one("confirmations of discovery::GuardOptions",
                                      options.confirmations);
    for (auto const& [name, value] :
         {std::pair{"apart", options.apart}, std::pair{"confirm_for", options.confirm_for},
          std::pair{"hold_removals", options.hold_removals}})
      poise::detail::check_not_negative(std::string{name} + " of discovery::GuardOptions", value,
                                        "0 switches it off");
  }

  /// Notes that the source stated this list at this time. Call it once per answer.
  void see(std::vector<Endpoint> const& proposed, Time now) {
    auto const ids = serving_ids(proposed);
    if (ids != seen_ids_) {
      seen_ids_ = ids;
      sightings_ = 1;
      last_sighting_ = now;
    } else if (now - last_sighting_ >= options_.apart || now < last_sighting_) {
      ++sightings_;
      last_sighting_ = now;
    }
  }

  /// Notes that the source stated just what is in force, and that nothing is held.
  void agree(Time now) noexcept {
    missing_since_.clear();
    sightings_ = 0;
    seen_ids_ = 0;
    doubting_ = holding_ = false;
    if (!sizes_.empty()) sizes_.back().at = now;
  }

  /// What of `proposed`, which was seen last, is to be in force. *Requires* lists sorted by id.
  [[nodiscard]] Verdict judge(std::vector<Endpoint> const& in_force,
                              std::vector<Endpoint> const& proposed, Time now) {
    auto const missing = note_missing(in_force, proposed, now);
    auto const left = count_serving(proposed);
    Verdict verdict;
    if (left == 0 && options_.on_empty == OnEmpty::keep && missing != 0) {
      verdict = {in_force, in_force.size(), Hold::empty, std::nullopt};
      missing_since_.clear();  // the time to come back begins with the first list that has any
    } else {
      auto const why = missing == 0 ? Hold::none : reason(missing, left, in_force, now);
      verdict = combine(in_force, proposed, why, now);
    }
    remember_size(verdict, now);
    return verdict;
  }

  [[nodiscard]] GuardOptions const& options() const noexcept { return options_; }

 private:
  struct Size {
    Time at;
    std::size_t serving;
  };

  static bool serves(Endpoint const& endpoint) noexcept { return endpoint.weight != 0; }
  static std::size_t count_serving(std::vector<Endpoint> const& list) {
    return static_cast<std::size_t>(std::ranges::count_if(list, serves));
  }
  static std::uint64_t serving_ids(std::vector<Endpoint> const& list) {
    std::uint64_t ids = list.size();
    for (auto const& each : list)
      if (serves(each)) ids = hash::xxh64(each.id, ids);
    return ids;
  }

  /// Calls with(mine, theirs) for each backend in force that serves, and what is proposed of it.
  template <class With>
  static void each_serving(std::vector<Endpoint> const& in_force,
                           std::vector<Endpoint> const& proposed, With const& with) {
    auto other = proposed.begin();
    for (auto const& mine : in_force) {
      if (!serves(mine)) continue;
      while (other != proposed.end() && other->id < mine.id) ++other;
      bool const there = other != proposed.end() && other->id == mine.id && serves(*other);
      with(mine, there);
    }
  }

  /// Keeps in missing_since_ those in force that the proposal lacks, and counts them.
  std::size_t note_missing(std::vector<Endpoint> const& in_force,
                           std::vector<Endpoint> const& proposed, Time now) {
    std::map<std::string, Time, std::less<>> missing;
    each_serving(in_force, proposed, [&](Endpoint const& mine, bool there) {
      if (there) return;
      auto const before = missing_since_.find(mine.id);
      // A clock that was set back must not hold a backend for ever.
      missing.emplace(mine.id,
                      before == missing_since_.end() ? now : std::min(before->second, now));
    });
    missing_since_ = std::move(missing);
    return missing_since_.size();
  }

  Hold reason(std::size_t missing, std::size_t left, std::vector<Endpoint> const& in_force,
              Time now) {
    if (left != 0 && left < options_.min_endpoints) return Hold::too_few;
    std::erase_if(sizes_, [&](Size const& each) {
      return now - each.at > options_.confirm_for || each.at > now;
    });
    auto const exceeds = [&](std::size_t lost, std::size_t of) {
      return static_cast<double>(lost) > options_.max_shrink * static_cast<double>(of);
    };
    auto const before = count_serving(in_force);
    auto peak = before;
    for (auto const& each : sizes_) peak = std::max(peak, each.serving);
    bool const shrinks =
        doubting_ || exceeds(missing, before) || (peak > left && exceeds(peak - left, peak));
    if (shrinks && sightings_ < options_.confirmations) return Hold::shrink;
    return options_.hold_removals > Duration::zero() ? Hold::removal : Hold::none;
  }

  /// The proposal, and of what it lacks those that stay.
  Verdict combine(std::vector<Endpoint> const& in_force, std::vector<Endpoint> const& proposed,
                  Hold why, Time now) {
    Verdict verdict{proposed, 0, Hold::none, std::nullopt};
    if (why == Hold::none) return verdict;
    auto const wait = why == Hold::shrink ? std::max(options_.confirm_for, options_.hold_removals)
                                          : options_.hold_removals;
    auto& list = verdict.endpoints;
    each_serving(in_force, proposed, [&](Endpoint const& mine, bool there) {
      if (there) return;
      auto const since = missing_since_.find(mine.id)->second;
      if (why != Hold::too_few && now - since >= wait) return;
      if (why != Hold::too_few)
        verdict.until = std::min(verdict.until.value_or(Time::max()),
                                 poise::detail::saturating_add(since, wait));
      auto const at = std::ranges::lower_bound(list, mine.id, {}, &Endpoint::id);
      if (at != list.end() && at->id == mine.id) *at = mine;  // proposed with weight 0
      else held_.push_back(mine);
      ++verdict.held;
    });
    merge_held(list);
    verdict.why = verdict.held == 0 ? Hold::none : why;
    return verdict;
  }

  void merge_held(std::vector<Endpoint>& list) {
    auto const middle = static_cast<std::ptrdiff_t>(list.size());
    std::ranges::move(held_, std::back_inserter(list));
    held_.clear();
    std::ranges::inplace_merge(list, list.begin() + middle, {}, &Endpoint::id);
  }

  /// A loss that was believed is no reason to doubt the next one.
  void remember_size(Verdict const& verdict, Time now) {
    auto const serving = count_serving(verdict.endpoints);
    bool const was_holding = std::exchange(holding_, verdict.held != 0);
    if (was_holding && !holding_) sizes_.clear();
    doubting_ = holding_ && (verdict.why == Hold::empty || verdict.why == Hold::shrink);
    if (sizes_.empty() || sizes_.back().serving != serving) sizes_.push_back({now, serving});
    else sizes_.back().at = now;
  }

  GuardOptions options_;
  std::uint64_t seen_ids_ = 0;
  std::uint32_t sightings_ = 0;
  Time last_sighting_{};
  std::map<std::string, Time, std::less<>> missing_since_{};
  std::vector<Size> sizes_{};
  bool holding_ = false;
  bool doubting_ = false;
  std::vector<Endpoint> held_{};
};

}  // namespace poise::inline v0_1_0::discovery
