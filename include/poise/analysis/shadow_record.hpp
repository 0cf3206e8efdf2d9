// SPDX-License-Identifier: MIT
#pragma once

// Where a shadow policy's samples are counted (analysis/shadow.hpp), and the handle that reads
// them.
//
// Threads add samples while others read, and nobody waits. Only making a plan and a report take a
// lock; no pick does.
//
// Invariants:
//   W1  A sample adds one to exactly one `live` count and to exactly one `shadow` count: of a
//       backend, or of "nowhere". It adds one to `both` if these are of the same.
//   W2  Counts only rise. A report that is made meanwhile may miss a part of a sample, but never
//       shows more of `both` than of `live` and of `shadow`.
//   W3  No count is lost. A tally belongs to the record and to the plans that may write it. The
//       record gives up those of backends that left long ago; the last owner then adds the tally to
//       those of all removed backends. The shared count orders this after the last writer.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/analysis/shadow_report.hpp>
#include <poise/backend.hpp>
#include <poise/candidates.hpp>
#include <poise/random.hpp>
#include <poise/sync/last_values.hpp>
#include <poise/sync/relaxed.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::analysis {

namespace detail {

/// ShadowCounts that threads add to.
struct SharedShadowCounts {
  sync::Relaxed<std::uint64_t> live{};
  sync::Relaxed<std::uint64_t> shadow{};
  sync::Relaxed<std::uint64_t> both{};

  void add(ShadowCounts const& more) noexcept {
    live.add(more.live);
    shadow.add(more.shadow);
    both.add(more.both);
  }
  [[nodiscard]] ShadowCounts load() const noexcept {
    ShadowCounts counts{.live = live.load(), .shadow = shadow.load(), .both = both.load()};
    counts.both = std::min({counts.both, counts.live, counts.shadow});  // W2
    return counts;
  }
};

/// The counts of one backend. Its last owner adds them to those of all removed ones (W3).
struct ShadowTally {
  ShadowTally(std::string of, std::shared_ptr<SharedShadowCounts> all_removed)
      : id{std::move(of)}, removed{std::move(all_removed)} {}
  ShadowTally(ShadowTally const&) = delete;
  ShadowTally& operator=(ShadowTally const&) = delete;
  ~ShadowTally() { removed->add(counts.load()); }

  std::string const id;
  SharedShadowCounts counts{};
  std::shared_ptr<SharedShadowCounts> const removed;
};

/// The tallies of a plan's members, by their entries: candidates first.
using ShadowTallies = std::vector<std::shared_ptr<ShadowTally>>;

/// The tallies of all backends, by serial.
class ShadowBackends {
 public:
  [[nodiscard]] ShadowTallies of(Candidates const& candidates) {
    ShadowTallies result;
    result.reserve(candidates.members());
    std::scoped_lock const lock{mutex_};
    auto const before = tallies_.size();
    for (auto const& entry : candidates.roster().entries) {
      auto& tally = tallies_[entry.backend->serial()];
      if (!tally) tally = std::make_shared<ShadowTally>(entry.backend->id(), removed_);
      result.push_back(tally);
    }
    if (tallies_.size() != before) forget_removed();
    return result;
  }

  void list(std::vector<ShadowShare>& into) const {
    std::scoped_lock const lock{mutex_};
    for (auto const& [serial, tally] : tallies_)
      into.push_back({.id = tally->id, .counts = tally->counts.load()});
    if (auto const counts = removed_->load(); counts.live + counts.shadow != 0)
      into.push_back({.id = {}, .counts = counts});
  }

 private:
  /// Of the tallies that no plan uses, keeps those of the last 1024 backends.
  void forget_removed() {
    constexpr std::ptrdiff_t kept = 1024;
    auto const is_unused = [](auto const& each) { return each.second.use_count() == 1; };
    auto surplus = std::ranges::count_if(tallies_, is_unused) - kept;
    for (auto each = tallies_.begin(); surplus > 0 && each != tallies_.end();)
      if (is_unused(*each)) {
        each = tallies_.erase(each);
        --surplus;
      } else {
        ++each;
      }
  }

  mutable std::mutex mutex_;
  std::shared_ptr<SharedShadowCounts> removed_ = std::make_shared<SharedShadowCounts>();
  std::map<std::uint64_t, std::shared_ptr<ShadowTally>> tallies_{};
};

/// The text of an exception, cut off so that it can be kept without an allocation.
struct ExceptionText {
  static constexpr std::size_t max_size = 112;
  std::uint64_t size = 0;
  std::array<char, max_size> bytes{};

  explicit ExceptionText(std::string_view text = {}) noexcept
      : size{std::min(text.size(), max_size)} {
    std::ranges::copy(text.substr(0, max_size), bytes.begin());
  }
  [[nodiscard]] std::string text() const { return {bytes.data(), size}; }
};

}  // namespace detail

/// What a shadow policy's sampled picks came to. A handle: copies share the counts, and outlive the
/// policy and the balancer. *Threads* any.
class ShadowRecord {
 public:
  /// The names are those of the policies. `keyed`: the shadow policy spreads requests by keys.
  ShadowRecord(std::string live, std::string shadow, unsigned sampling, bool keyed)
      : shared_{std::make_shared<Shared>()} {
    shared_->head.live = std::move(live);
    shared_->head.shadow = std::move(shadow);
    shared_->head.sampling = sampling;
    shared_->head.keyed = keyed;
  }

  /// All samples until now. *Cost* O(backends), allocates; picks do not wait for it.
  [[nodiscard]] ShadowReport report() const {
    auto report = shared_->head;
    shared_->backends.list(report.backends);
    report.nowhere = shared_->nowhere.load();
    detail::conclude(report);
    report.keyless = std::min(shared_->keyless.load(), report.samples);
    report.exceptions = shared_->exceptions.next();
    if (report.exceptions != 0)
      if (auto const last = shared_->exceptions.at(report.exceptions - 1))
        report.last_exception = last->text();
    report.max_cost = Duration{shared_->max_cost.load()};
    if (report.samples != 0)
      report.mean_cost =
          Duration{shared_->cost.load() / static_cast<Duration::rep>(report.samples)};
    return report;
  }

  // -- for the policy ----------------------------------------------------------------------------

  /// What the two policies chose in one pick; null for no backend.
  struct Sample {
    detail::ShadowTally* live = nullptr;
    detail::ShadowTally* shadow = nullptr;
    bool has_key = false;
    Duration cost{};
  };
  void add(Sample const& sample) const noexcept {
    auto& live = counts_of(sample.live);
    auto& shadow = counts_of(sample.shadow);
    live.live.add(1);
    shadow.shadow.add(1);
    if (sample.live == sample.shadow) live.both.add(1);
    if (!sample.has_key) shared_->keyless.add(1);
    shared_->cost.add(sample.cost.count());
    shared_->max_cost.raise(sample.cost.count());
  }
  void add_exception(std::string_view text) const noexcept {
    shared_->exceptions.add(detail::ExceptionText{text});
  }
  [[nodiscard]] detail::ShadowTallies tallies(Candidates const& candidates) const {
    return shared_->backends.of(candidates);
  }
  /// The shadow's own random numbers: drawn from the balancer's they would change its picks.
  [[nodiscard]] RandomSource& random() const noexcept { return shared_->random; }

 private:
  struct Shared {
    ShadowReport head{};  // what does not change
    detail::ShadowBackends backends{};
    detail::SharedShadowCounts nowhere{};
    sync::Relaxed<std::uint64_t> keyless{};
    sync::Relaxed<Duration::rep> cost{};
    sync::Relaxed<Duration::rep> max_cost{};
    sync::LastValues<detail::ExceptionText, 4> exceptions{};
    // The shared lane, that of balancers with a seed, starts at a constant that is no usual seed:
    // with the same one two random policies would always agree.
    RandomSource random{0x8f1bbcdc5a827999U, [](std::uint64_t) { return fresh_seed(); }};
  };

  [[nodiscard]] detail::SharedShadowCounts& counts_of(detail::ShadowTally* tally) const noexcept {
    return tally == nullptr ? shared_->nowhere : tally->counts;
  }

  std::shared_ptr<Shared> shared_;
};

}  // namespace poise::inline v0_1_0::analysis
