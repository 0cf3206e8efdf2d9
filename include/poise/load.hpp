// SPDX-License-Identifier: MIT
#pragma once

// A load says how busy a backend is: one number, less is better. Policies such as Least and
// PowerOfTwo compare loads. Policy and load are two independent choices.
//
// A load is a value with a const operator()(candidates, i, context), which many threads call at
// once. The rest is optional, and a missing part costs nothing:
//
//   State                 per-backend data of its own: candidates.state<State>(i)
//   on_finish(finish)     a request was completed
//   on_tick(now)          periodic work, off the hot path
//   uses_time             true: context.now is set, and latencies are measured
//   explores_one_in       one pick in so many ignores the load and takes any backend, so that a
//                         backend that looked bad is tried again; a power of two, 0 is never
//   name                  its name in messages and metrics

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include <poise/policy.hpp>
#include <poise/policy/trace.hpp>

namespace poise::inline v0_1_0 {

template <class L>
concept Load = std::copyable<L> && requires(L const& load, Candidates const& candidates,
                                            std::size_t i, Context const& context) {
  { load(candidates, i, context) } -> std::totally_ordered;
};

namespace detail {

template <class L>
inline constexpr std::uint64_t explores_one_in = [] {
  if constexpr (requires { L::explores_one_in; }) return std::uint64_t{L::explores_one_in};
  else return std::uint64_t{0};
}();

/// True if this pick explores, decided by a uniform number.
template <class L>
[[nodiscard, gnu::always_inline]] inline bool explores(std::uint64_t uniform) noexcept {
  constexpr auto one_in = explores_one_in<L>;
  if constexpr (one_in == 0) return false;
  else return uniform <= ~std::uint64_t{0} / one_in;
}
/// The same with a fresh random number. A load that never explores draws none.
template <class L>
[[nodiscard, gnu::always_inline]] inline bool explores(Context& context) noexcept {
  if constexpr (explores_one_in<L> == 0) return false;
  else return explores<L>(context.random());
}

/// False for NaN, which must not win: it compares as false with everything, itself included.
[[nodiscard]] constexpr bool is_number(auto const& load) noexcept { return load == load; }

/// Calls the load's always inlined function of(), if it has one. In a big program g++ 12 stops
/// inlining the call operators, which costs 0.8 ns a pick of two. If the operators themselves were
/// always inlined, scans would take a third longer.
template <class L>
[[gnu::always_inline]] inline auto load_of(L const& load, Candidates const& candidates,
                                           std::size_t i, Context const& context) {
  if constexpr (requires { load.of(candidates, i, context); })
    return load.of(candidates, i, context);
  else return load(candidates, i, context);
}

/// Tells a rehearsal the load of every candidate. Takes copies: references would force those of the
/// pick out of its registers.
template <class L>
[[gnu::noinline, gnu::cold]] void tell_loads(L const& load, Candidates candidates,
                                             Context context) {
  for (std::size_t i = 0; i < candidates.size(); ++i)
    tell_score(*context.trace(), candidates[i], load(candidates, i, context));
}

/// The base of policies with a load, and of Weighted: forwards all hooks to the load.
template <class L>
struct HasLoad {
  static_assert(Load<L>,
                "a poise load needs: an ordered value from operator()(Candidates const&, "
                "std::size_t, Context const&) const");
  using State = hooks::StateOf<L>;
  static constexpr Traits traits{.uses_time = hooks::declares_time<L>};

  HasLoad() = default;
  explicit HasLoad(L with) : load{std::move(with)} {}

  [[gnu::always_inline]] void on_finish(Finish& finish) const
    requires hooks::has_on_finish<L>
  {
    load.on_finish(finish);
  }
  void on_tick(Time now) const
    requires hooks::has_on_tick<L>
  {
    load.on_tick(now);
  }

  [[no_unique_address]] L load{};
};

}  // namespace detail

/// Requests in flight.
struct InFlight {
  static constexpr char const* name = "in_flight";
  std::uint32_t operator()(Candidates const& candidates, std::size_t i,
                           Context const&) const noexcept {
    return candidates.in_flight(i);
  }
  [[gnu::always_inline]] static std::uint32_t of(Candidates const& candidates, std::size_t i,
                                                 Context const&) noexcept {
    return candidates.in_flight(i);
  }
};

/// Another load per unit of weight: a backend of weight 2 is as busy with two requests as one of
/// weight 1 with one.
///
/// Use it for loads that count requests, not for latency. A bigger backend answers sooner, so its
/// latency already contains its size; dividing by the weight counts the size twice.
template <class L>
struct Weighted : detail::HasLoad<L> {
  using detail::HasLoad<L>::HasLoad;
  using detail::HasLoad<L>::load;
  static constexpr bool uses_time = hooks::declares_time<L>;
  static constexpr std::uint64_t explores_one_in = detail::explores_one_in<L>;

  [[nodiscard]] std::string name() const { return "weighted(" + hooks::name(load) + ")"; }
  float operator()(Candidates const& candidates, std::size_t i, Context const& context) const {
    return static_cast<float>(load(candidates, i, context)) * candidates.per_weight(i);
  }
  [[nodiscard, gnu::always_inline]] float of(Candidates const& candidates, std::size_t i,
                                             Context const& context) const {
    return static_cast<float>(detail::load_of(load, candidates, i, context)) *
           candidates.per_weight(i);
  }
};

namespace detail {

/// While all weights are equal, policies compare by the load inside Weighted. That changes no
/// comparison, and saves a conversion and a multiplication per backend.
template <class L>
inline constexpr bool is_weighted = false;
template <class L>
inline constexpr bool is_weighted<Weighted<L>> = true;

}  // namespace detail

}  // namespace poise::inline v0_1_0
