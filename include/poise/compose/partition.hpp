// SPDX-License-Identifier: MIT
#pragma once

// Candidates divided into groups (tiers, zones): each pick draws a group and asks that group's copy
// of the policy. The common base of Failover and ZoneAware.
//
// Each group has a copy because groups cannot share a rotation: each draw moves it on for all
// groups, and with groups of 3 and 2 backends the three got 22, 44 and 33 % instead of a third
// each.

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include <poise/backend.hpp>
#include <poise/candidates.hpp>
#include <poise/compose/planned_subset.hpp>
#include <poise/compose/wrapper.hpp>
#include <poise/hash/draw.hpp>
#include <poise/policy.hpp>
#include <poise/policy/trace.hpp>
#include <poise/random.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::detail {

/// A policy and its copies. Copies are made in plan(), one caller at a time, and stay. A reader
/// takes the number of a copy from a plan, which was made after the copy.
template <class P>
class PolicyCopies : public Around<P> {
 protected:
  using Step = detail::Step<3>;
  static constexpr std::size_t max_copies = Step::max;  // further groups share the last copy

 public:
  static constexpr unsigned path_bits = Around<P>::path_bits + 3;
  static_assert(path_bits <= 32,
                "poise wrappers are nested too deep: their paths need more than 32 bits");

  explicit PolicyCopies(P inner) : Around<P>{std::move(inner)} {}
  // A copy starts without copies of the inner policy: they belong to one balancer.
  PolicyCopies(PolicyCopies const& other) : Around<P>{other} {}
  PolicyCopies(PolicyCopies&&) noexcept = default;
  PolicyCopies& operator=(PolicyCopies const&) = delete;
  ~PolicyCopies() = default;

  void on_tick(Time now) const
    requires(hooks::has_on_tick<P>)
  {
    hooks::on_tick(this->inner(), now);
    for (auto const& other : others_)
      if (other) hooks::on_tick(*other, now);
  }
  [[nodiscard]] hooks::TraitsOfType<hooks::time_use<P>, hooks::asks_may_refuse<P>> traits() const {
    return {hooks::traits(this->inner())};
  }
  /// Goes to the copy that picked; to the first copy if none of them did.
  void on_finish(Finish& finish) const
    requires(hooks::has_on_finish<P>)
  {
    auto const number = finish.path ? Step::pop(*finish.path) : std::nullopt;
    hooks::on_finish(copy(number.value_or(0)), finish);
  }

 protected:
  [[nodiscard]] P const& copy(std::size_t number) const {
    if (number == 0) return this->inner();
    auto& other = others_[number - 1];
    if (!other) other = std::make_unique<P const>(this->inner());
    return *other;
  }

 private:
  mutable std::array<std::unique_ptr<P const>, max_copies - 1> others_{};
};

/// At random; by key if the policy maps keys and the request has one. The draw is mixed once more,
/// because the balancer chooses healthy or degraded backends by its remainder. Wrappers inside each
/// other need different salts: otherwise all keys that go to the outer one's second group would
/// also draw the end of the inner one's range.
[[nodiscard]] inline std::uint64_t draw_below(std::uint64_t whole, bool keyed, std::uint64_t salt,
                                              Context& context) {
  auto const key = context.request.key();
  return keyed && !key.empty() ? mix(draw_of(key) + (salt + 1) * wyrand_step) % whole
                               : context.random.below(whole);
}

/// The groups in order of preference.
template <class P, class Key>
struct Partition {
  struct Group {
    Key key{};
    std::size_t copy = 0;
    P const* policy = nullptr;  // the copy of that number
    PlannedSubset<P> subset{};
    std::uint64_t until = 0;  // the end of its range in [0, whole)
  };

  std::vector<Group> groups{};
  std::uint64_t whole = 0;
  std::size_t sole = Candidates::none;  // the only group with a load
  std::uint64_t salt = 0;
  bool keyed = false;

  [[nodiscard]] Group const* find(Key const& key) const {
    for (auto const& group : groups)
      if (group.key == key) return &group;
    return nullptr;
  }
};

/// A wrapper that draws a group per pick. A derived class makes the plan with divide(), then
/// set_loads().
template <class P, class Key>
class PartitionedPolicy : public PolicyCopies<P> {
 public:
  using Plan = Partition<P, Key>;
  using PolicyCopies<P>::PolicyCopies;

  [[gnu::always_inline]] std::size_t pick(Plan const& plan, Candidates const&,
                                          Context& context) const {
    auto const path = context.path;
    auto* const trace = context.trace();  // read here, where it is known to be null
    auto const depth = trace == nullptr ? 0 : trace->depth();
    auto next = plan.sole != Candidates::none ? plan.sole : draw(plan, context);
    for (auto left = plan.groups.size(); left != 0; --left) {
      auto const& group = plan.groups[next];
      if (trace != nullptr) [[unlikely]]
        trace->narrow(Candidates{group.subset.roster()}, others);
      auto const i = group.subset.pick(*group.policy, context);
      if (i != Candidates::none) [[likely]] {
        PolicyCopies<P>::Step::push(context.path, group.copy);
        return i;
      }
      context.path = path;  // no usable backend there
      context.note_asked();
      if (trace != nullptr) [[unlikely]]
        trace->widen(depth);
      if (++next == plan.groups.size()) next = 0;
    }
    return Candidates::none;
  }

  [[nodiscard]] bool admit(Plan const& plan, Candidates const&, std::size_t i,
                           std::uint32_t in_flight, Context& context) const
    requires(hooks::has_admit<P>)
  {
    auto const path = context.path;
    (void)PolicyCopies<P>::Step::pop(context.path);
    for (auto const& group : plan.groups) {
      if (!group.subset.holds(i)) continue;
      if (!group.subset.admit(*group.policy, i, in_flight, context)) break;
      PolicyCopies<P>::Step::push(context.path, group.copy);
      return true;
    }
    context.path = path;
    return false;
  }

 protected:
  /// A group per key: the members for which `keep(backend, key)` holds. A key of the plan before
  /// keeps its copy of the policy.
  template <class Keep>
  [[nodiscard]] Plan divide(std::vector<Key> const& keys, Candidates const& candidates,
                            Plan const* before, Keep const& keep) const {
    Plan plan;
    plan.keyed = hooks::traits(this->inner()).keyed;
    if constexpr (std::convertible_to<Key, std::uint64_t>) plan.salt = keys.empty() ? 0 : keys[0];
    else plan.salt = std::uint64_t{1} << 32U;
    std::array<bool, PolicyCopies<P>::max_copies> used{};
    for (auto const& key : keys)
      if (auto const* old = before == nullptr ? nullptr : before->find(key); old != nullptr)
        used[old->copy] = true;
    plan.groups.reserve(keys.size());
    for (auto const& key : keys) {
      auto const* old = before == nullptr ? nullptr : before->find(key);
      auto& group = plan.groups.emplace_back();
      group.key = key;
      group.copy = old != nullptr ? old->copy : take_unused(used);
      group.policy = &this->copy(group.copy);
      group.subset = PlannedSubset<P>{*group.policy, candidates,
                                      [&](Backend const& backend) { return keep(backend, key); },
                                      old != nullptr ? &old->subset : nullptr};
    }
    return plan;
  }

  /// Gives each group its fraction of the picks, in any unit. *Requires* 0 for groups without
  /// candidates.
  static void set_loads(Plan& plan, std::vector<std::uint64_t> const& loads) {
    plan.whole = 0;
    plan.sole = Candidates::none;
    std::size_t loaded = 0;
    for (std::size_t i = 0; i < loads.size(); ++i) {
      plan.groups[i].until = plan.whole += loads[i];
      if (loads[i] == 0) continue;
      ++loaded;
      plan.sole = i;
    }
    if (loaded != 1) plan.sole = Candidates::none;
  }

 private:
  static constexpr auto others =
      std::convertible_to<Key, std::uint64_t> ? LeftOutBy::tier : LeftOutBy::zone;

  static std::size_t take_unused(std::array<bool, PolicyCopies<P>::max_copies>& used) noexcept {
    auto const unused = std::find(used.begin(), used.end() - 1, false);
    *unused = true;
    return static_cast<std::size_t>(unused - used.begin());
  }

  static std::size_t draw(Plan const& plan, Context& context) {
    auto const drawn = draw_below(plan.whole, plan.keyed, plan.salt, context);
    std::size_t group = 0;
    while (plan.groups[group].until <= drawn) ++group;
    return group;
  }
};

}  // namespace poise::inline v0_1_0::detail
