// SPDX-License-Identifier: MIT
#pragma once

// The backend with the least load. Ties are broken at random, in proportion to weight.
//
// Use it for few backends and long requests. It reads every backend, 1 ns each. Beyond about fifty
// backends PowerOfTwo balances nearly as well at a constant cost. Ties must not go to the first
// index: ten clients that start at the same time would all choose the same backend.

#include <cstddef>
#include <cstdint>
#include <string>

#include <poise/fwd.hpp>
#include <poise/load.hpp>
#include <poise/policy.hpp>

namespace poise::inline v0_1_0 {

/// *Cost* O(n) reads, no write. One pass; then a few draws if many are tied, two passes if few are.
template <class L>
struct Least : detail::HasLoad<L> {
  using detail::HasLoad<L>::HasLoad;
  using detail::HasLoad<L>::load;

  [[nodiscard]] std::string name() const {
    if constexpr (std::same_as<L, Weighted<InFlight>>) return "least_connections";
    else if constexpr (std::same_as<L, Ewma>) return "least_latency";
    else return "least(" + hooks::name(load) + ")";
  }

  std::size_t pick(Candidates const& candidates, Context& context) const {
    if (context.rehearsal() != nullptr) [[unlikely]]
      detail::tell_loads(load, candidates, context);
    if (detail::explores<L>(context)) [[unlikely]]
      if (auto const any = context.random.below(candidates.size());
          context.usable(candidates, any)) {
        if (context.trace() != nullptr) context.trace()->explore();
        return any;
      }
    if (context.trace() != nullptr) [[unlikely]]
      return pick_by<Mode::traced>(load, candidates, context);
    if constexpr (detail::is_weighted<L>)
      if (candidates.equal_weights()) return least_by(load.load, candidates, context);
    return least_by(load, candidates, context);
  }

 private:
  static std::size_t least_by(auto const& by, Candidates const& candidates, Context& context) {
    return context.unrestricted() ? pick_by<Mode::plain>(by, candidates, context)
                                  : pick_by<Mode::restricted>(by, candidates, context);
  }

  enum class Mode : std::uint8_t { plain, restricted, traced };

  /// A traced scan tells the scores that led on the way, and of those tied at the end the first 4.
  template <Mode Is>
  static std::size_t pick_by(auto const& load, Candidates const& candidates, Context& context) {
    auto const usable = [&](std::size_t i) {
      return Is == Mode::plain || context.usable(candidates, i);
    };
    auto const load_of = [&](std::size_t i) { return load(candidates, i, context); };
    auto const tell = [&](std::size_t i, auto const& score) {
      if constexpr (Is == Mode::traced) detail::tell_score(*context.trace(), candidates[i], score);
    };
    // One pass finds the least load, the first backend that has it, and the number of those.
    auto const size = candidates.size();
    std::size_t first = 0;
    while (first < size && !(usable(first) && detail::is_number(load_of(first)))) ++first;
    if (first == size) return context.random.below(size);
    auto least = load_of(first);
    tell(first, least);
    std::size_t count = 1;
    for (auto i = first + 1; i < size; ++i) {
      auto const each = load(candidates, i, context);  // load_of(i) costs a fifth more, g++ 12
      if (!(each <= least) || !usable(i)) continue;    // so that a NaN loses
      if (each == least) {
        ++count;
      } else {
        least = each;
        first = i;
        count = 1;
      }
      if (count <= 4) tell(i, each);
    }
    if (count == 1) return first;

    auto const tied = [&](std::size_t i) { return load_of(i) <= least && usable(i); };
    // If many are tied, draw until a tied backend is hit: fair and quick. If one in eight is tied,
    // 32 draws miss with a probability of 1.4 %.
    if (candidates.equal_weights() && count * 8 >= size) {
      constexpr int tries = 32;
      for (int i = 0; i < tries; ++i)
        if (auto const drawn = context.random.below(size); tied(drawn)) return drawn;
    }
    return draw_by_weight(tied, first, candidates, context);
  }

  /// Each tied backend wins in proportion to its weight. Takes two more passes.
  static std::size_t draw_by_weight(auto const& tied, std::size_t first,
                                    Candidates const& candidates, Context& context) {
    std::uint64_t total = 0;
    for (auto i = first; i < candidates.size(); ++i)
      if (tied(i)) total += candidates.weight(i);
    auto drawn = total == 0 ? 0 : context.random.below(total);
    for (auto i = first; i < candidates.size(); ++i) {
      if (!tied(i)) continue;
      if (drawn < candidates.weight(i)) return i;
      drawn -= candidates.weight(i);
    }
    return first;  // other threads changed the loads between the passes
  }
};

}  // namespace poise::inline v0_1_0
