// SPDX-License-Identifier: MIT
#pragma once

// All detectors over what a meter counts, for the rules "changed", "unfair" and "breach ahead".
//
//   changed    latency changed just now (change.hpp), or failures or rejections differ from those
//              of the peers (peers.hpp). A backend that has always been slow is none: see
//              suggestions.hpp.
//   unfair     the share of the picks is not the intended one (peers.hpp), of policies that intend
//              shares (intervals.hpp)
//   breaching  the pool's p99 will reach its objective (forecast.hpp): all backends, or none. Of
//              single backends too much would be foretold by chance in a large pool.

#include <algorithm>
#include <span>
#include <string_view>
#include <vector>

#include <poise/analysis/change.hpp>
#include <poise/analysis/forecast.hpp>
#include <poise/analysis/intervals.hpp>
#include <poise/analysis/peers.hpp>
#include <poise/analysis/sample.hpp>
#include <poise/observe/snapshot.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::analysis {

/// Of each detector.
struct DetectorOptions {
  ChangeOptions change{};
  PeerOptions peers{};
  ForecastOptions forecast{};  ///< Of the p99 of the last minute, in seconds.
};

/// *Threads* one at a time. *Cost* 2 kB a backend, 7 in a pool of one or two.
class Detectors {
 public:
  /// *Errors* ConfigError: see the detectors.
  explicit Detectors(DetectorOptions const& options = {})
      : changes_{options.change}, peers_{options.peers}, forecast_{options.forecast} {}

  /// A snapshot of each second. *Cost* O(n log n): 0.1 ms for 100 backends.
  void add(observe::Snapshot const& now) {
    auto const sample = intervals_.next(now);
    changes_.add(sample);
    peers_.add(sample);
    if (now.last_60s.p99) forecast_.add(now.at, seconds_of(*now.last_60s.p99));
    note_differences();
  }
  // All are valid until the next add().
  [[nodiscard]] std::span<std::string_view const> changed() const noexcept { return changed_; }
  [[nodiscard]] std::span<std::string_view const> unfair() const noexcept { return unfair_; }
  [[nodiscard]] std::span<std::string_view const> breaching() const noexcept {
    return forecast_.breach() ? std::span{all} : std::span<std::string_view const>{};
  }

 private:
  static constexpr std::string_view all[]{"all backends"};

  void note_differences() {
    changed_.clear();
    unfair_.clear();
    for (auto const& each : changes_.changes())
      if (!each.id.empty()) changed_.push_back(each.id);
    for (auto const& each : peers_.differences()) {
      if (each.aspect == Aspect::share) unfair_.push_back(each.id);
      else if (each.aspect != Aspect::latency && !std::ranges::count(changed_, each.id))
        changed_.push_back(each.id);
    }
  }

  Intervals intervals_;
  ChangeDetector changes_;
  PeerComparison peers_;
  Forecast forecast_;
  std::vector<std::string_view> changed_;
  std::vector<std::string_view> unfair_;
};

}  // namespace poise::inline v0_1_0::analysis
