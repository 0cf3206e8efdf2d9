// SPDX-License-Identifier: MIT
#pragma once

// Hashing by remainder: a list contains each backend as often as its weight says, and
// hash % length chooses. Many proxies and memcached clients do this by default.
//
// Use it only to agree with one of them (HashList<dialect::HaproxyMap> and so on): when a backend
// is added or removed, nearly all keys move.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/hashing/dialect/member.hpp>
#include <poise/hashing/keyed.hpp>
#include <poise/policy.hpp>
#include <poise/sync/relaxed.hpp>

namespace poise::inline v0_1_0 {

/// *Cost* a key hash, a division, two loads. The plan holds 4 bytes a weight unit.
template <class Dialect>
struct HashList {
  static constexpr Traits traits{.keyed = true};

  Dialect dialect{};

  struct Table {
    Table(detail::TableKey members, std::vector<std::uint32_t> list, detail::SmoothRotation turns)
        : made_for{std::move(members)}, owners{std::move(list)}, smooth{std::move(turns)} {}
    detail::TableKey made_for;
    std::vector<std::uint32_t> owners;
    detail::SmoothRotation smooth;
    mutable sync::Relaxed<std::uint64_t> turn{0};
  };
  using Plan = std::shared_ptr<Table const>;

  [[nodiscard]] std::string name() const { return hooks::name(dialect); }

  [[nodiscard]] Plan plan(Candidates const& candidates, Plan const* before) const {
    return detail::reuse_table(
        candidates, Dialect::rule.eligible_only, before, [&](detail::TableKey made_for) {
          return std::make_shared<Table const>(std::move(made_for), list(candidates),
                                               detail::SmoothRotation{candidates.members()});
        });
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
        return plan->smooth.next(candidates, accept, context.rehearsal());
      auto const start = Dialect::rule.keyless == Keyless::turns
                             ? detail::add(plan->turn, std::uint64_t{1}, context.rehearsal())
                             : std::uint64_t{context.random()};
      return walk(start, owners.size(), found);
    }
    auto hash = dialect.hash(key);
    if constexpr (requires { dialect.again(key, hash, 1U); }) {
      for (unsigned n = 1; n <= Dialect::rule.patience + 1; ++n) {
        if (auto const i = found(hash); i != Candidates::none) return i;
        hash = dialect.again(key, hash, n);
      }
      return plan->smooth.next(candidates, accept, context.rehearsal());
    } else {
      return walk(hash, owners.size(), found);
    }
  }

  /// The fraction of the list that each member has, by position.
  [[nodiscard]] std::vector<double> shares(Plan const& plan, Candidates const& candidates) const {
    return detail::shares_of(plan->owners, candidates);
  }

 private:
  [[nodiscard]] std::vector<std::uint32_t> list(Candidates const& candidates) const {
    auto const members = dialect::members_of(candidates, Dialect::rule.eligible_only);
    std::vector<std::uint32_t> owners;
    if (members.empty()) return owners;
    if constexpr (requires { dialect.list(members, members, owners); })
      dialect.list(members, dialect::members_of(candidates, false), owners);
    else dialect.list(members, owners);
    return owners;
  }

  /// Walks on along the list. The imitated systems define no rule here; this one finds every usable
  /// backend.
  template <class Found>
  [[nodiscard]] static std::size_t walk(std::uint64_t start, std::size_t length,
                                        Found const& found) {
    for (std::uint64_t step = 0; step < length; ++step)
      if (auto const i = found(start + step); i != Candidates::none) return i;
    return Candidates::none;
  }
};

}  // namespace poise::inline v0_1_0
