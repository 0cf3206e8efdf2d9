// SPDX-License-Identifier: MIT
#pragma once

// A policy for each priority of requests. If the policies are Filters, each priority has its own
// backends.
//
//   poise::PriorityRouter{{}, poise::LeastConnections{}, poise::P2C{}, poise::RoundRobin{}}
//
// Use it to keep batch work away from interactive requests. It is no queue: a request of low
// priority does not wait for requests of high priority, and does not give way to them on the same
// backend.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <utility>

#include <poise/candidates.hpp>
#include <poise/compose/wrapper.hpp>
#include <poise/policy.hpp>
#include <poise/request.hpp>

namespace poise::inline v0_1_0 {

/// What happens to a request if no backend of its class takes it.
struct PriorityOptions {
  /// True: the policy of the next lower class picks (high, normal, low; none after low). False: the
  /// request fails.
  bool fallback = false;
};

/// *Errors* a pick fails if the policy of its class picks no backend: "at a limit or filtered out".
/// With `fallback` it fails only if the lower classes pick none either.
/// *Cost* one jump; the plan holds a copy of the roster for each policy that has state.
template <class High, class Normal, class Low>
class PriorityRouter : public detail::Several<High, Normal, Low> {
  using Base = detail::Several<High, Normal, Low>;
  using Step = typename Base::Step;

 public:
  /// One child's candidates and plan.
  template <class P>
  struct View {
    std::optional<Roster> own{};  // with its own states; empty if it has none
    hooks::PlanOf<P> plan;

    [[nodiscard]] Candidates of(Candidates const& all) const noexcept {
      return own ? Candidates{*own} : all;
    }
  };
  using Plan = std::tuple<View<High>, View<Normal>, View<Low>>;

  // NOLINTNEXTLINE(*-explicit-*): a default argument of Balancer
  PriorityRouter(PriorityOptions options = {}, High high = detail::default_policy<High>(),
                 Normal normal = detail::default_policy<Normal>(),
                 Low low = detail::default_policy<Low>())
      : Base{std::move(high), std::move(normal), std::move(low)}, options_{options} {}

  [[nodiscard]] std::string name() const {
    return "priority(" + hooks::name(high()) + ", " + hooks::name(normal()) + ", " +
           hooks::name(low()) + ")";
  }
  [[nodiscard]] High const& high() const noexcept { return this->template child<0>(); }
  [[nodiscard]] Normal const& normal() const noexcept { return this->template child<1>(); }
  [[nodiscard]] Low const& low() const noexcept { return this->template child<2>(); }

  [[nodiscard]] Plan plan(Candidates const& candidates, Plan const* before) const {
    return {view<0>(candidates, before), view<1>(candidates, before), view<2>(candidates, before)};
  }

  [[gnu::always_inline]] std::size_t pick(Plan const& plan, Candidates const& candidates,
                                          Context& context) const {
    auto const path = context.path;
    for (auto child = class_of(context.request);; ++child) {
      auto const i = with(child, [&](auto number) {
        auto const& view = std::get<number()>(plan);
        return hooks::pick(this->template child<number()>(), view.plan, view.of(candidates),
                           context);
      });
      if (i < candidates.size() || !options_.fallback || child == last) {
        Step::push(context.path, child);
        return i;
      }
      context.path = path;
      context.note_asked();
    }
  }

  /// The child that picked decides. After a scan, the child of the class decides, then the ones to
  /// which it may fall back.
  [[nodiscard]] bool admit(Plan const& plan, Candidates const& candidates, std::size_t i,
                           std::uint32_t in_flight, Context& context) const
    requires(hooks::has_admit<High> || hooks::has_admit<Normal> || hooks::has_admit<Low>)
  {
    auto const path = context.path;
    auto const picked = Step::pop(context.path);
    auto const below = context.path;
    auto const final = picked ? *picked : options_.fallback ? last : class_of(context.request);
    for (auto child = picked.value_or(class_of(context.request)); child <= final; ++child) {
      bool const admitted = with(child, [&](auto number) {
        auto const& view = std::get<number()>(plan);
        return hooks::admit(this->template child<number()>(), view.plan, view.of(candidates), i,
                            in_flight, context);
      });
      if (admitted) {
        Step::push(context.path, child);
        return true;
      }
      context.path = below;
    }
    context.path = path;
    return false;
  }

  /// The policy of the request's class decides.
  [[nodiscard]] Decision decide(Attempt const& attempt) const
    requires(hooks::has_decide<High> || hooks::has_decide<Normal> || hooks::has_decide<Low>)
  {
    return with(class_of(attempt.request), [&](auto number) {
      return hooks::decide(this->template child<number()>(), attempt);
    });
  }
  [[nodiscard]] CallTimeouts timeouts(Request const& request) const
    requires(hooks::has_timeouts<High> || hooks::has_timeouts<Normal> || hooks::has_timeouts<Low>)
  {
    return with(class_of(request), [&](auto number) {
      return hooks::timeouts(this->template child<number()>(), request);
    });
  }

 private:
  static constexpr std::size_t last = 2;

  static std::size_t class_of(Request const& request) noexcept {
    return std::min(static_cast<std::size_t>(request.priority), last);
  }

  template <class Call>
  [[gnu::always_inline]] static auto with(std::size_t child, Call const& call) {
    if (child == 0) return call(std::integral_constant<std::size_t, 0>{});
    if (child == 1) return call(std::integral_constant<std::size_t, 1>{});
    return call(std::integral_constant<std::size_t, 2>{});
  }

  template <std::size_t Number>
  [[nodiscard]] auto view(Candidates const& candidates, Plan const* before) const {
    auto own = Base::own_roster(candidates, Number);
    auto const* old = before != nullptr ? &std::get<Number>(*before).plan : nullptr;
    auto plan =
        hooks::plan(this->template child<Number>(), own ? Candidates{*own} : candidates, old);
    return std::tuple_element_t<Number, Plan>{std::move(own), std::move(plan)};
  }

  PriorityOptions options_;
};

}  // namespace poise::inline v0_1_0
