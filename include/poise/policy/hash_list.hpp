// SPDX-License-Identifier: MIT
#pragma once

// Hashing by remainder: backends stand in a list, each as often as its weight says, and
// hash % length chooses. It is what proxies and memcached clients do unless told otherwise.
//
// Use it only to agree with one of them (HashList<dialect::HaproxyMap> and so on): when a backend
// comes or goes nearly all keys move.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/dialect/member.hpp>
#include <poise/keyed.hpp>
#include <poise/policy.hpp>
#include <poise/sync/relaxed.hpp>

namespace poise {

/// *Cost* a key hash, a division, two loads. The plan holds 4 bytes a weight unit.
template <class Dialect>
struct HashList {
  static constexpr bool keyed = true;

  Dialect dialect{};

  struct Table {
    Table(detail::MadeFor members, std::vector<std::uint32_t> list, detail::SmoothTurns turns)
        : made_for{std::move(members)}, owners{std::move(list)}, smooth{std::move(turns)} {}
    detail::MadeFor made_for;
    std::vector<std::uint32_t> owners;
    detail::SmoothTurns smooth;
    mutable sync::Relaxed<std::uint64_t> turn{0};
  };
  using Plan = std::shared_ptr<Table const>;

  [[nodiscard]] std::string name() const { return hooks::name(dialect); }

  [[nodiscard]] Plan plan(Candidates const& candidates, Plan const* before) const {
    detail::MadeFor made_for{candidates, Dialect::rule.eligible_only};
    if (before != nullptr && *before && (*before)->made_for == made_for) return *before;
    auto const members = dialect::members_of(candidates, Dialect::rule.eligible_only);
    std::vector<std::uint32_t> owners;
    if (!members.empty()) {
      if constexpr (requires { dialect.list(members, members, owners); })
        dialect.list(members, dialect::members_of(candidates, false), owners);
      else dialect.list(members, owners);
    }
    return std::make_shared<Table const>(std::move(made_for), std::move(owners),
                                         detail::SmoothTurns{candidates.members()});
  }

  std::size_t pick(Plan const& plan, Candidates const& candidates, Context& context) const {
    return pick_where(plan, candidates, context, detail::AcceptUsable{candidates, context});
  }

  /// The first backend in the key's order for which accept(index) holds; `none` if there is none.
  template <class Accept>
  std::size_t pick_where(Plan const& plan, Candidates const& candidates, Context& context,
                         Accept const& accept) const {
    auto const key = context.request.key();
    auto const& owners = plan->owners;
    if (owners.empty()) return Candidates::none;
    auto const found = [&](std::uint64_t slot) {
      auto const i = candidates.index_of(owners[slot % owners.size()]);
      return i != Candidates::none && accept(i) ? i : Candidates::none;
    };
    if (detail::keyless<Dialect>(key)) {
      if constexpr (Dialect::rule.keyless == Keyless::smooth)
        return plan->smooth.next(candidates, accept);
      auto const start = Dialect::rule.keyless == Keyless::turns ? plan->turn.add(1)
                                                                 : std::uint64_t{context.random()};
      return walk(start, owners.size(), found);
    }
    auto hash = dialect.hash(key);
    if constexpr (requires { dialect.again(key, hash, 1U); }) {
      for (unsigned n = 1; n <= Dialect::rule.patience + 1; ++n) {
        if (auto const i = found(hash); i != Candidates::none) return i;
        hash = dialect.again(key, hash, n);
      }
      return plan->smooth.next(candidates, accept);
    } else {
      return walk(hash, owners.size(), found);
    }
  }

  /// The share of the list that each member has, by position.
  [[nodiscard]] std::vector<double> shares(Plan const& plan, Candidates const& candidates) const {
    return detail::shares_of(plan->owners, candidates);
  }

 private:
  /// On along the list: the systems give no rule, and so everybody who is usable is met.
  template <class Found>
  [[nodiscard]] static std::size_t walk(std::uint64_t start, std::size_t length,
                                        Found const& found) {
    for (std::uint64_t step = 0; step < length; ++step)
      if (auto const i = found(start + step); i != Candidates::none) return i;
    return Candidates::none;
  }
};

}  // namespace poise
