// SPDX-License-Identifier: MIT
#pragma once

// Consistent hashing by table, the keyed policy to use when in doubt. A key stays with its backend,
// shares are even to 1 %, and a lookup is one multiplication and one load.
//
// Every client that knows the same set of (id, weight) pairs makes the same table, in any order of
// the set. When a backend is added or removed, its keys move, and some keys of other backends too:
// up to 1 % of them with 65,537 slots, 0.25 % with 1,000,003. If no other key may move, use
// HashRing.
//
// An ineligible backend keeps its slots. Meanwhile its keys probe other slots, in an order that
// depends on the key alone. So a change of health builds nothing and moves no other key, and the
// backend's keys return with it.
//
// The table has 65,537 slots for up to 655 backends (100 slots each), else 1,000,003. The size
// follows `max_backends`, never the current number: otherwise clients that see 655 and 656 backends
// would disagree on every key. More backends than `max_backends` work; `warn` is called.
//
// Source: Eisenbud et al. 2016, "Maglev: a fast and reliable software network load balancer"; the
// weighting follows Envoy.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/error.hpp>
#include <poise/fwd.hpp>
#include <poise/hash/siphash.hpp>
#include <poise/hash/xxhash.hpp>
#include <poise/hashing/dialect/member.hpp>
#include <poise/hashing/keyed.hpp>
#include <poise/hashing/slot_table.hpp>
#include <poise/policy.hpp>
#include <poise/random.hpp>

namespace poise::inline v0_1_0 {

namespace dialect {

/// poise's own table.
struct NativeTable {
  static constexpr char const* name = "maglev";
  static constexpr bool eligible_only = false;

  /// The largest number of backends that will ever exist; decides the size of the table. All
  /// clients need the same number.
  std::size_t max_backends = 655;
  /// The number of slots, a prime; 0: by max_backends.
  std::uint32_t slots = 0;
  std::optional<hash::Secret> secret{};  ///< Against crafted keys.

  [[nodiscard]] std::uint64_t hash(std::string_view key) const noexcept {
    return key_hash(key, secret);
  }
  [[nodiscard]] std::uint32_t size() const {
    if (slots != 0) return slots;
    if (max_backends == 0)
      throw ConfigError{"max_backends of a maglev table is 0: say how many there will ever be"};
    return max_backends * poise::detail::few_slots <= 65537 ? 65537 : 1'000'003;
  }
  [[nodiscard]] static std::size_t slot(std::uint64_t hash, std::uint32_t size) noexcept {
    return static_cast<std::size_t>(poise::detail::high_half(poise::detail::Wide{hash} * size));
  }
  [[nodiscard]] static std::vector<std::uint32_t> fill(Members members, std::uint32_t size) {
    std::vector<poise::detail::Claimant> claimants;
    claimants.reserve(members.size());
    for (auto const& member : members) {
      if (member.weight == 0) continue;
      auto const first = hash::xxh64(member.id());
      auto const second = poise::detail::mix(first);
      claimants.push_back({first, member.id(), static_cast<std::uint32_t>(slot(first, size)),
                           static_cast<std::uint32_t>(slot(second, size - 1)) + 1, member.weight,
                           member.position});
    }
    return poise::detail::fill(std::move(claimants), size);
  }
};

}  // namespace dialect

/// Use it as Maglev, with `dialect` for settings: `Maglev{{.max_backends = 5000}}`.
///
/// *Cost* a key hash, a multiplication and two loads; a few more loads if the owner is ineligible.
/// The plan holds 4 bytes a slot, 256 KiB or 4 MB, which all snapshots share. Building it takes 2
/// ms or 30 ms.
template <class Dialect>
struct MaglevOf {
  static constexpr Traits traits{.keyed = true};

  Dialect dialect{};
  Warn warn{};  ///< Called when a backend has fewer than 100 slots on average.

  struct Table {
    detail::TableKey made_for;
    std::vector<std::uint32_t> owners;
  };
  using Plan = std::shared_ptr<Table const>;

  [[nodiscard]] std::string name() const { return Dialect::name; }

  [[nodiscard]] Plan plan(Candidates const& candidates, Plan const* before) const {
    return detail::reuse_table(
        candidates, Dialect::eligible_only, before,
        [&](detail::TableKey made_for) { return make(std::move(made_for), candidates); });
  }

  [[gnu::always_inline]] std::size_t pick(Plan const& plan, Candidates const& candidates,
                                          Context& context) const {
    auto const key = context.request.key();
    auto const& owners = plan->owners;
    if (!key.empty() && context.unrestricted() && !owners.empty()) [[likely]] {
      auto const owner =
          owners[Dialect::slot(dialect.hash(key), static_cast<std::uint32_t>(owners.size()))];
      if (auto const i = candidates.index_of(owner); i != Candidates::none) [[likely]]
        return i;
    }
    return pick_where(plan, candidates, context, detail::AcceptUsable{candidates, context});
  }

  /// The first backend in the key's order for which accept(index) holds; `none` if there is none.
  ///
  /// The order: the key's slot, then 15 slots that its hash leads to, then one slot after the
  /// other. If half of the backends are ineligible, 1 key in 65,536 needs the last step.
  template <class Accept>
  [[gnu::noinline]] std::size_t pick_where(Plan const& plan, Candidates const& candidates,
                                           Context& context, Accept const& accept) const {
    constexpr int probes = 16;
    auto const key = context.request.key();
    auto const& owners = plan->owners;
    auto const size = static_cast<std::uint32_t>(owners.size());
    if (size == 0) return Candidates::none;
    auto hash = key.empty() ? context.random() : dialect.hash(key);
    auto const found = [&](std::size_t slot) {
      auto const i = candidates.index_of(owners[slot]);
      return i != Candidates::none && accept(i) ? i : Candidates::none;
    };
    auto slot = Dialect::slot(hash, size);
    for (int probe = 1; probe <= probes; ++probe) {
      if (auto const i = found(slot); i != Candidates::none) return i;
      hash = detail::mix(hash + 0x9e3779b97f4a7c15U);
      slot = Dialect::slot(hash, size);
    }
    for (std::uint32_t step = 0; step < size; ++step) {
      if (auto const i = found(slot); i != Candidates::none) return i;
      slot = slot + 1 == size ? 0 : slot + 1;
    }
    return Candidates::none;
  }

  /// The fraction of all hashes that each member gets now, by position: exact to 2^-43. The slots
  /// of ineligible members are divided among the others in proportion.
  [[nodiscard]] std::vector<double> shares(Plan const& plan, Candidates const& candidates) const {
    return detail::shares_of(plan->owners, candidates);
  }

 private:
  [[nodiscard]] Plan make(detail::TableKey made_for, Candidates const& candidates) const {
    auto const members = dialect::members_of(candidates, Dialect::eligible_only);
    auto const size = dialect.size();
    auto const weighted = std::count_if(members.begin(), members.end(),
                                        [](auto const& member) { return member.weight != 0; });
    check(size, static_cast<std::size_t>(weighted));
    detail::warn_if_few(warn, "the maglev table", size, static_cast<std::size_t>(weighted),
                        "set max_backends");
    return std::make_shared<Table const>(
        Table{std::move(made_for),
              members.empty() ? std::vector<std::uint32_t>{} : dialect.fill(members, size)});
  }

  static void check(std::uint32_t size, std::size_t backends) {
    constexpr std::uint32_t most = 10'000'019;  // 40 MB; 100 slots each for 100,000 backends
    if (!detail::is_prime(size) || size > most)
      throw ConfigError{
          "a maglev table of " + std::to_string(size) +
          " slots: a prime of at most 10000019 is needed; 65537 and 1000003 are usual"};
    if (backends <= size) return;
    auto enough = static_cast<std::uint64_t>(backends) * detail::few_slots;
    if (enough > most) enough = backends;
    while (!detail::is_prime(enough)) ++enough;
    throw ConfigError{"a maglev table of " + std::to_string(size) + " slots is too small for " +
                      std::to_string(backends) + " backends: set slots to " +
                      std::to_string(enough)};
  }
};

}  // namespace poise::inline v0_1_0
