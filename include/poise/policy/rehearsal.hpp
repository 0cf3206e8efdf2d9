// SPDX-License-Identifier: MIT
#pragma once

// A pick that changes nothing, and what can be learnt from it. Balancer::rehearse() runs the same
// policy by the same code as pick(), with a context that has a rehearsal.
//
// What such a pick would write, it writes to copies that the rehearsal keeps: the random source,
// positions of rotations. Cursor does so by itself. A policy of yours that writes anything else in
// pick() or admit() asks for context.rehearsal(), and does not write if there is one:
//
//   if (context.rehearsal() == nullptr) picks_.add(1);
//
// A rehearsed claim counts no request in: during admit() the backend has `in_flight` requests, in a
// real pick one more.
//
// Policies tell a rehearsal how they choose (trace.hpp): the scores that they compare, and which
// backends they leave out. poise/analysis/explain.hpp makes sentences of that.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <poise/backend.hpp>
#include <poise/candidates.hpp>
#include <poise/policy/trace.hpp>
#include <poise/sync/lanes.hpp>
#include <poise/sync/relaxed.hpp>

namespace poise::inline v0_1_0 {

/// *Threads* one.
class Rehearsal final : public PickTrace {
 public:
  /// What it knows of a backend.
  struct Note {
    std::optional<double> score{};  ///< As the policy computes it: less is better.
    bool compared = false;          ///< Among the few that the policy drew.
    /// In the policy's last proposal.
    LeftOutBy left_out_by = LeftOutBy::nothing;
    RefusedBy refused_by = RefusedBy::nothing;  ///< The last one.
    std::size_t depth = 0;                      ///< Of the wrapper that left it out.
  };

  // -- for policies ------------------------------------------------------------------------------

  /// A copy of the lane of these counters, the same one at each call.
  [[nodiscard]] sync::Lanes& copy_of(sync::Lanes const& lanes, sync::Lane lane) {
    for (auto& each : lanes_)
      if (each->of == &lanes && each->lane == lane) return each->copy;
    return lanes_.emplace_back(std::make_unique<LaneCopy>(lanes, lane))->copy;
  }
  /// Adds to a copy of this number, the same one at each call, and returns the value before.
  template <class T>
  T add(sync::Relaxed<T> const& number, T amount) {
    auto& copy =
        numbers_.try_emplace(&number, static_cast<std::uint64_t>(number.load())).first->second;
    auto const before = static_cast<T>(copy);
    copy += static_cast<std::uint64_t>(amount);
    return before;
  }

  void score(Backend const& backend, double score) override { notes_[&backend].score = score; }
  void compare(Backend const& backend) override {
    notes_[&backend].compared = true;
    compares_ = true;
  }
  void rotate() noexcept override { rotates_ = true; }
  void explore() noexcept override { explores_ = true; }

  [[nodiscard]] std::size_t depth() const noexcept override { return depth_; }
  void narrow(Candidates const& kept, LeftOutBy reason) override {
    ++depth_;
    std::vector<Backend const*> inside(kept.size());
    for (std::size_t i = 0; i < inside.size(); ++i) inside[i] = &kept[i];
    std::sort(inside.begin(), inside.end(), std::less<>{});
    for (auto& [backend, note] : notes_) {
      if (note.left_out_by != LeftOutBy::nothing ||
          std::binary_search(inside.begin(), inside.end(), backend, std::less<>{}))
        continue;
      note.left_out_by = reason;
      note.depth = depth_;
    }
  }
  void widen(std::size_t depth) noexcept override {
    depth_ = depth;
    for (auto& [backend, note] : notes_)
      if (note.depth > depth) {
        note.left_out_by = LeftOutBy::nothing;
        note.depth = 0;
      }
  }

  // -- for the balancer --------------------------------------------------------------------------

  /// The balancer has this backend.
  void list(Backend const& backend) { notes_.try_emplace(&backend); }
  void ask() noexcept override {
    widen(0);
    for (auto& [backend, note] : notes_) note.compared = false;
    compares_ = rotates_ = explores_ = false;
  }
  void refuse(Backend const& backend, RefusedBy what) override {
    notes_[&backend].refused_by = what;
  }

  // -- what was learnt ---------------------------------------------------------------------------

  [[nodiscard]] Note note(Backend const& backend) const {
    auto const found = notes_.find(&backend);
    return found == notes_.end() ? Note{} : found->second;
  }
  /// True if the policy drew some of its candidates, and compared only those.
  [[nodiscard]] bool compares() const noexcept { return compares_; }
  [[nodiscard]] bool rotates() const noexcept { return rotates_; }
  [[nodiscard]] bool explores() const noexcept { return explores_; }

 private:
  struct LaneCopy {
    LaneCopy(sync::Lanes const& lanes, sync::Lane which)
        : of{&lanes}, lane{which}, copy{lanes, which} {}
    sync::Lanes const* of;
    sync::Lane lane;
    sync::Lanes copy;
  };

  std::vector<std::unique_ptr<LaneCopy>> lanes_{};
  std::map<void const*, std::uint64_t> numbers_{};
  std::map<Backend const*, Note> notes_{};
  std::size_t depth_ = 0;
  bool compares_ = false;
  bool rotates_ = false;
  bool explores_ = false;
};

}  // namespace poise::inline v0_1_0
