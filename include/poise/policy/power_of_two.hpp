// SPDX-License-Identifier: MIT
#pragma once

// The less loaded of two backends that are drawn at random. It is nearly as even as a scan of all
// backends, at a constant cost. Many clients do not rush to the same least loaded backend.
//
// Use it if requests in flight say enough and two clock reads cost too much (else use Adaptive).
// The two backends are always distinct. They are drawn in proportion to weight, and the load of
// each is divided by its weight, too.
//
// Source: Mitzenmacher 2001, "The power of two choices in randomized load balancing".

#include <cstddef>
#include <cstdint>
#include <string>

#include <poise/base/alias_table.hpp>
#include <poise/fwd.hpp>
#include <poise/load.hpp>
#include <poise/policy.hpp>
#include <poise/random.hpp>

namespace poise::inline v0_1_0 {

/// *Cost* O(1): one random number and two loads. With unequal weights the plan holds 8 bytes a
/// backend.
template <class L>
struct PowerOfTwo : detail::HasLoad<L> {
  using detail::HasLoad<L>::HasLoad;
  using detail::HasLoad<L>::load;
  using Plan = AliasTable;  // empty when all weights are equal

  [[nodiscard]] std::string name() const {
    if constexpr (std::same_as<L, Weighted<InFlight>>) return "p2c";
    else return "p2c(" + hooks::name(load) + ")";
  }

  [[nodiscard]] Plan plan(Candidates const& candidates, Plan const*) const {
    if (candidates.equal_weights()) return {};
    return AliasTable{candidates.weights()};
  }

  [[gnu::always_inline]] std::size_t pick(Plan const& plan, Candidates const& candidates,
                                          Context& context) const {
    if (candidates.size() == 1) return 0;
    auto const pair = draw(plan, candidates.size(), context);
    Candidates const all{candidates.roster()};  // read again, rather than kept while drawing
    auto const first = pair.first;
    auto const second = pair.second;
    if (context.trace() != nullptr) [[unlikely]]
      return choose_traced(first, second, detail::explores<L>(pair.rest), candidates, context);
    if (detail::explores<L>(pair.rest)) [[unlikely]]
      return first;
    if constexpr (detail::is_weighted<L>)
      if (all.equal_weights()) [[likely]]
        return less_loaded(load.load, first, second, all, context);
    return less_loaded(load, first, second, all, context);
  }

 private:
  /// The same choice, and the trace is told how it comes about. Takes copies, like
  /// draw_by_weight().
  [[nodiscard, gnu::noinline, gnu::cold]] std::size_t choose_traced(std::size_t first,
                                                                    std::size_t second,
                                                                    bool explores,
                                                                    Candidates candidates,
                                                                    Context context) const {
    auto& trace = *context.trace();
    if (context.rehearsal() != nullptr) detail::tell_loads(load, candidates, context);
    trace.compare(candidates[first]);
    trace.compare(candidates[second]);
    if (explores) {
      trace.explore();
      return first;
    }
    auto const a = detail::load_of(load, candidates, first, context);
    auto const b = detail::load_of(load, candidates, second, context);
    detail::tell_score(trace, candidates[first], a);
    detail::tell_score(trace, candidates[second], b);
    return less(a, b, first, second);
  }

  [[gnu::always_inline]] static std::size_t less_loaded(auto const& by, std::size_t first,
                                                        std::size_t second,
                                                        Candidates const& candidates,
                                                        Context const& context) {
    auto const a = detail::load_of(by, candidates, first, context);
    auto const b = detail::load_of(by, candidates, second, context);
    return less(a, b, first, second);
  }
  /// The order of the two is random, so it is fair that the first wins ties.
  [[gnu::always_inline]] static std::size_t less(auto const& a, auto const& b, std::size_t first,
                                                 std::size_t second) {
    // Which is less is chance too, so a branch would be mispredicted: the mask is all ones for the
    // second.
    auto const better =
        static_cast<std::size_t>(b < a) | static_cast<std::size_t>(!detail::is_number(a));
    return first ^ ((first ^ second) & (std::size_t{0} - better));
  }

  [[gnu::always_inline]] static Rng::Pair draw(Plan const& plan, std::size_t size,
                                               Context& context) noexcept {
    if (plan.empty()) [[likely]]
      return context.random.two_below(size);
    return draw_by_weight(plan, context.random.chance(), context.lane);
  }

  /// Takes plain values: a context, or a copy of its generator, would live in memory in every pick.
  /// (g++ 12 stores the parts of such a copy one by one and reads them together, which takes 15
  /// ns.)
  [[gnu::noinline]] static Rng::SmallPair draw_by_weight(Plan const& plan, RandomSource& chance,
                                                         sync::Lane lane) noexcept {
    Rng random{chance, lane};
    // One weight may outweigh all others, so drawing until two differ could take for ever. After 4
    // tries the second is any other backend.
    constexpr int tries = 4;
    auto const rest = detail::explores_one_in<L> == 0 ? 0 : random();
    auto const first = plan.draw(random);
    for (int i = 0; i < tries; ++i)
      if (auto const second = plan.draw(random); second != first) return {first, second, rest};
    auto const other = static_cast<std::uint32_t>(random.below(plan.size() - 1));
    return {first, other + (other >= first ? 1U : 0U), rest};
  }
};

}  // namespace poise::inline v0_1_0
