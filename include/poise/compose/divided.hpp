// SPDX-License-Identifier: MIT
#pragma once

// Candidates divided into groups of which one is drawn for each pick, each with a copy of the
// policy: what wrappers that prefer some backends over others have in common (tiers, zones).
//
// A copy per group, because a rotation that groups share is none: a draw moves it on for all, and
// with groups of 3 and 2 the three got 22, 44 and 33 % instead of a third each.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include <poise/backend.hpp>
#include <poise/candidates.hpp>
#include <poise/compose/forward.hpp>
#include <poise/compose/part.hpp>
#include <poise/hash.hpp>
#include <poise/policy.hpp>
#include <poise/random.hpp>
#include <poise/time.hpp>

namespace poise::detail {

/// One policy and the copies made of it so far. Copies are made in plan(), one caller at a time,
/// and stay; a reader knows the number of a copy from a plan that was made after it.
template <class P>
class Copies : public Around<P> {
 protected:
  using Step = detail::Step<3>;
  static constexpr std::size_t most = Step::most;  // groups beyond share the last copy

 public:
  static constexpr unsigned path_bits = Around<P>::path_bits + 3;
  static_assert(path_bits <= 32,
                "poise wrappers are nested too deep: their paths need more than 32 bits");

  explicit Copies(P inner) : Around<P>{std::move(inner)} {}
  // What is copied was not planned with yet, or belongs to another balancer.
  Copies(Copies const& other) : Around<P>{other} {}
  Copies(Copies&&) noexcept = default;
  Copies& operator=(Copies const&) = delete;
  ~Copies() = default;

  void on_tick(Time now) const
    requires(hooks::has_on_tick<P>)
  {
    hooks::on_tick(this->inner(), now);
    for (auto const& other : others_)
      if (other) hooks::on_tick(*other, now);
  }
  [[nodiscard]] bool may_refuse() const
    requires(hooks::asks_may_refuse<P>)
  {
    return hooks::may_refuse(this->inner());
  }
  /// The copy that picked hears it; the first one what none of them picked.
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
  mutable std::array<std::unique_ptr<P const>, most - 1> others_{};
};

/// By chance; by key if the policy maps keys and there is one. The hash is mixed once more: the
/// balancer draws healthy or degraded ones by its remainder, which says nothing new here.
[[nodiscard]] inline std::uint64_t draw_below(std::uint64_t whole, bool keyed, Context& context) {
  auto const key = context.request.key();
  return keyed && !key.empty() ? mix(hash_text(key) + wyrand_step) % whole
                               : context.random.below(whole);
}

/// The groups, in the order in which they are preferred.
template <class P, class Key>
struct Division {
  struct Group {
    Key key{};
    std::size_t copy = 0;
    P const* policy = nullptr;  // the copy of that number
    Part<P> part{};
    std::uint64_t until = 0;  // where its part of `whole` ends
  };

  std::vector<Group> groups{};
  std::uint64_t whole = 0;
  std::size_t sole = Candidates::none;  // the group that has the whole
  bool keyed = false;

  [[nodiscard]] Group const* find(Key const& key) const {
    for (auto const& group : groups)
      if (group.key == key) return &group;
    return nullptr;
  }
};

/// A policy in a wrapper that divides. Derived makes the plan: groups with `divide`, then `share`.
template <class P, class Key>
class Dividing : public Copies<P> {
 public:
  using Plan = Division<P, Key>;
  using Copies<P>::Copies;

  [[gnu::always_inline]] std::size_t pick(Plan const& plan, Candidates const&,
                                          Context& context) const {
    auto const path = context.path;
    auto next = plan.sole != Candidates::none ? plan.sole : draw(plan, context);
    for (auto left = plan.groups.size(); left != 0; --left) {
      auto const& group = plan.groups[next];
      auto const i = group.part.pick(*group.policy, context);
      if (i != Candidates::none) [[likely]] {
        Copies<P>::Step::push(context.path, group.copy);
        return i;
      }
      context.path = path;  // nobody whom this request may have
      if (++next == plan.groups.size()) next = 0;
    }
    return Candidates::none;
  }

  [[nodiscard]] bool admit(Plan const& plan, Candidates const&, std::size_t i,
                           std::uint32_t in_flight, Context& context) const
    requires(hooks::has_admit<P>)
  {
    auto const path = context.path;
    (void)Copies<P>::Step::pop(context.path);
    for (auto const& group : plan.groups) {
      if (!group.part.holds(i)) continue;
      if (!group.part.admit(*group.policy, i, in_flight, context)) break;
      Copies<P>::Step::push(context.path, group.copy);
      return true;
    }
    context.path = path;
    return false;
  }

 protected:
  /// A group per key, of the members for which `keep(backend, key)` holds. A key that was in the
  /// plan before keeps its copy of the policy.
  template <class Keep>
  [[nodiscard]] Plan divide(std::vector<Key> const& keys, Candidates const& candidates,
                            Plan const* before, Keep const& keep) const {
    Plan plan;
    plan.keyed = hooks::keyed(this->inner());
    std::array<bool, Copies<P>::most> used{};
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
      group.part = Part<P>{*group.policy, candidates,
                           [&](Backend const& backend) { return keep(backend, key); },
                           old != nullptr ? &old->part : nullptr};
    }
    return plan;
  }

  /// Gives each group its part. *Requires* that only groups with candidates get one.
  static void share(Plan& plan, std::vector<std::uint64_t> const& shares) {
    plan.whole = 0;
    plan.sole = Candidates::none;
    std::size_t sharers = 0;
    for (std::size_t i = 0; i < shares.size(); ++i) {
      plan.groups[i].until = plan.whole += shares[i];
      if (shares[i] == 0) continue;
      ++sharers;
      plan.sole = i;
    }
    if (sharers != 1) plan.sole = Candidates::none;
  }

 private:
  static std::size_t take_unused(std::array<bool, Copies<P>::most>& used) noexcept {
    auto const unused = std::find(used.begin(), used.end() - 1, false);
    *unused = true;
    return static_cast<std::size_t>(unused - used.begin());
  }

  static std::size_t draw(Plan const& plan, Context& context) {
    auto const drawn = draw_below(plan.whole, plan.keyed, context);
    std::size_t group = 0;
    while (plan.groups[group].until <= drawn) ++group;
    return group;
  }
};

}  // namespace poise::detail
