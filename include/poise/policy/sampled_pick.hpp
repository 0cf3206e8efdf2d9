// SPDX-License-Identifier: MIT
#pragma once

// A real pick, as it was made: what was compared and by which numbers, what was refused, which
// random numbers were drawn, and who won. An observer asks for some picks (observer.hpp:
// wants_pick(), on_sampled_pick()); analysis/decisions.hpp keeps the last 256.
//
// The numbers are those that the policy compared. None is computed again for the record: a moment
// later it might be another one.
//
// It has a fixed size and owns nothing, so that a pick can fill it without an allocation. Backends
// are named by their serials, which no other backend ever gets.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string_view>

#include <poise/backend.hpp>
#include <poise/candidates.hpp>
#include <poise/error.hpp>
#include <poise/policy/trace.hpp>
#include <poise/random.hpp>
#include <poise/request.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0 {

/// *Threads* one writes it; a value then.
struct SampledPick {
  /// A backend that the policy looked at, or that refused.
  struct Entry {
    std::uint64_t serial = 0;
    double score = std::numeric_limits<double>::quiet_NaN();  ///< NaN: none was computed.
    RefusedBy refused_by = RefusedBy::nothing;
    bool compared = false;  ///< Among the few that the policy drew.
  };
  /// A wrapper, or the balancer, chose among some of the backends.
  struct Step {
    std::uint32_t kept = 0;  ///< So many.
    LeftOutBy by = LeftOutBy::nothing;
  };
  static constexpr std::size_t max_entries = 8;  ///< Of more, the last ones.
  static constexpr std::size_t max_steps = 4;    ///< Of more, the first ones.
  static constexpr std::size_t max_draws = 4;    ///< Of more, the first ones.
  static constexpr std::size_t max_key = 32;     ///< Bytes; of more, the first ones.

  Time at{};
  std::uint64_t winner = 0;     ///< Its serial; 0 if the pick failed.
  std::uint64_t position = 0;   ///< Of the random source, before the pick.
  std::uint32_t in_flight = 0;  ///< Requests of the winner, this one included.
  std::uint32_t told = 0;       ///< So many backends were told of.
  std::uint32_t key_size = 0;   ///< Of the whole key.
  std::uint16_t draws = 0;      ///< So many random numbers were drawn.
  std::uint8_t entry_count = 0;
  std::uint8_t step_count = 0;
  PickError error = PickError::none;
  Priority priority = Priority::normal;
  bool rotates = false;   ///< It was the winner's turn.
  bool explores = false;  ///< The policy took it in spite of its score, to learn.
  bool scanned = false;   ///< The balancer found it, not the policy: see Rehearsed::scanned.
  std::array<char, max_key> key_bytes{};
  std::array<Step, max_steps> step_list{};
  std::array<Entry, max_entries> entry_list{};  // last: see used_bytes()

  /// The bytes of it that say something: all up to the last entry.
  [[nodiscard]] std::size_t used_bytes() const noexcept {
    return sizeof *this - (max_entries - entry_count) * sizeof(Entry);
  }
  [[nodiscard]] std::string_view key() const noexcept {
    return {key_bytes.data(), std::min<std::size_t>(key_size, max_key)};
  }
  [[nodiscard]] std::span<Entry const> entries() const noexcept {
    return {entry_list.data(), entry_count};
  }
  [[nodiscard]] std::span<Step const> steps() const noexcept {
    return {step_list.data(), step_count};
  }
  /// The k-th random number, as a fraction of all. *Requires* k < draws. Those of other threads are
  /// among them if threads share the random source (with a seed).
  [[nodiscard]] double draw(std::size_t k) const noexcept {
    return static_cast<double>(detail::wyrand(position + k * detail::wyrand_step) >> 11U) * 0x1p-53;
  }
};

namespace detail {

/// Fills a SampledPick. *Threads* one.
class PickRecorder final : public PickTrace {
 public:
  void begin(Request const& request, Time now, std::uint64_t random_position) noexcept {
    auto const key = request.key();
    pick_.at = now;
    pick_.position = random_position;
    pick_.priority = request.priority;
    pick_.key_size = static_cast<std::uint32_t>(
        std::min<std::size_t>(key.size(), std::numeric_limits<std::uint32_t>::max()));
    std::ranges::copy(key.substr(0, SampledPick::max_key), pick_.key_bytes.begin());
  }
  void end_with(Backend const& winner, bool scanned) noexcept {
    pick_.winner = winner.serial();
    pick_.in_flight = winner.in_flight();
    pick_.scanned = scanned;
  }
  void end_with(PickError error) noexcept { pick_.error = error; }
  void end_draws(std::uint64_t random_position) noexcept {
    constexpr std::uint16_t many = 256;  // a scan of tied backends draws a few dozen
    auto position = pick_.position;
    for (; position != random_position && pick_.draws < many; ++pick_.draws)
      position += wyrand_step;
  }
  [[nodiscard]] SampledPick const& pick() const noexcept { return pick_; }

  void score(Backend const& backend, double score) noexcept override { at(backend).score = score; }
  void compare(Backend const& backend) noexcept override { at(backend).compared = true; }
  void rotate() noexcept override { pick_.rotates = true; }
  void explore() noexcept override { pick_.explores = true; }
  [[nodiscard]] std::size_t depth() const noexcept override { return pick_.step_count; }
  void narrow(Candidates const& kept, LeftOutBy reason) noexcept override {
    if (pick_.step_count < SampledPick::max_steps)
      pick_.step_list[pick_.step_count++] = {static_cast<std::uint32_t>(kept.size()), reason};
  }
  void widen(std::size_t depth) noexcept override {
    pick_.step_count = static_cast<std::uint8_t>(std::min<std::size_t>(depth, pick_.step_count));
  }
  void ask() noexcept override {
    pick_.step_count = 0;
    pick_.rotates = pick_.explores = false;
  }
  void refuse(Backend const& backend, RefusedBy what) noexcept override {
    at(backend).refused_by = what;
  }

 private:
  /// The entry of this backend. A new one takes the place of the oldest, if there is no other.
  [[nodiscard]] SampledPick::Entry& at(Backend const& backend) noexcept {
    auto const serial = backend.serial();
    for (std::size_t i = 0; i < pick_.entry_count; ++i)
      if (pick_.entry_list[i].serial == serial) return pick_.entry_list[i];
    auto& entry = pick_.entry_list[pick_.told++ % SampledPick::max_entries];
    if (pick_.entry_count < SampledPick::max_entries) ++pick_.entry_count;
    entry = {.serial = serial};
    return entry;
  }

  SampledPick pick_{};
};

}  // namespace detail

}  // namespace poise::inline v0_1_0
