// SPDX-License-Identifier: MIT
#pragma once

// Consistent hashing on a ring: a key stays with its backend. When a backend is added or removed,
// only its own keys move.
//
// HashRing<> is poise's own ring: 64-bit hashes of the backends' ids, the nearest point, 1024
// points a weight unit (fewer if large weights would make millions). HashRing<dialect::Nginx> and
// the others in dialect/ map every key to the backend that the named system would choose, so that
// both can use the same cache.
//
// Use Maglev unless you need strictly minimal movement or a dialect: it is more even, and a lookup
// is cheaper. The shares of the native ring differ by 2.2 % (one standard deviation: each point
// owns half of the two gaps beside it, so sqrt(1/2 / 1024)). The heaviest of 1000 backends carries
// 6 to 9 % more than its due.
//
// An ineligible backend keeps its points. Meanwhile its keys go to the nearest points of others. So
// a change of health copies no table, and the backend's keys return with it. (Dialects of systems
// that rebuild the ring rebuild it here too.)
//
// Source: Karger et al. 1997, "Consistent hashing and random trees".

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/fwd.hpp>
#include <poise/hashing/dialect/member.hpp>
#include <poise/hashing/keyed.hpp>
#include <poise/hashing/ring.hpp>
#include <poise/policy.hpp>
#include <poise/random.hpp>
#include <poise/sync/relaxed.hpp>

namespace poise::inline v0_1_0 {

namespace dialect {

/// poise's own ring. Its points depend on each backend's id and weight and on nothing else.
struct Native {
  using Hash = std::uint64_t;
  static constexpr char const* name = "ring";
  static constexpr RingRule rule{.nearest = true};

  std::uint32_t points = 1024;  ///< A weight unit, if `limit` allows.
  /// The maximum number of points in all; every backend keeps at least one. 2^23: 200 MiB.
  std::uint64_t max_points = std::uint64_t{1} << 23U;
  std::optional<hash::Secret> secret{};  ///< Against crafted keys.

  [[nodiscard]] Hash hash(std::string_view key) const noexcept { return key_hash(key, secret); }

  void place(Members members, std::vector<Ring<Hash>::Point>& made) const {
    if (points == 0 || max_points == 0)
      throw ConfigError{"a ring with points = " + std::to_string(points) + " and max_points = " +
                        std::to_string(max_points) + " is empty; 1024 and 8388608 are usual"};
    std::uint64_t weights = 0;
    for (auto const& member : members) weights += member.weight;
    auto const most = limit(members.size());
    auto const all = std::min<poise::detail::Wide>(poise::detail::Wide{weights} * points, most);
    poise::detail::reserve_points(made, static_cast<std::uint64_t>(all) + members.size());
    for (auto const& member : members) {
      if (member.weight == 0) continue;
      auto state = hash::xxh64(member.id());
      // In proportion to weight: as many as fit. The division is exact if all do.
      auto const count =
          std::max<std::uint64_t>(1, static_cast<std::uint64_t>(all * member.weight / weights));
      for (std::uint64_t i = 0; i < count; ++i) {
        state += 0x9e3779b97f4a7c15U;  // splitmix64: a sequence without repetition
        made.push_back({poise::detail::mix(state), member.position});
      }
    }
  }

  /// The maximum number of points for so many backends: as if every weight were 1, at least 2^20
  /// (25 MB), at most `max_points`. If weights ask for more, a unit of weight gets fewer points,
  /// gradually: keys move no more than the weights changed.
  [[nodiscard]] std::uint64_t limit(std::size_t backends) const noexcept {
    constexpr std::uint64_t few = std::uint64_t{1} << 20U;
    auto const equal = poise::detail::Wide{backends} * points;
    return static_cast<std::uint64_t>(
        std::clamp<poise::detail::Wide>(equal, std::min(few, max_points), max_points));
  }
};

}  // namespace dialect

/// *Cost* a key hash and about three cache misses. The plan of the native ring takes 16 bytes a
/// point and 2 to 4 of index, 20 MB for 1000 backends of weight 1; all snapshots share it.
template <class Dialect>
struct HashRing {
  static constexpr Traits traits{.keyed = true};
  using Hash = typename Dialect::Hash;
  using Points = Ring<Hash>;

  Dialect dialect{};
  Warn warn{};  ///< Called when a backend has fewer than 100 points on average.

  struct Table {
    Table(detail::TableKey members, Points points, detail::SmoothRotation turns)
        : made_for{std::move(members)}, ring{std::move(points)}, smooth{std::move(turns)} {}
    detail::TableKey made_for;
    Points ring;
    detail::SmoothRotation smooth;
    mutable sync::Relaxed<std::uint64_t> turn{0};
  };
  using Plan = std::shared_ptr<Table const>;

  [[nodiscard]] std::string name() const { return hooks::name(dialect); }

  [[nodiscard]] Plan plan(Candidates const& candidates, Plan const* before) const {
    return detail::reuse_table(
        candidates, Dialect::rule.eligible_only, before,
        [&](detail::TableKey made_for) { return make(std::move(made_for), candidates); });
  }

  std::size_t pick(Plan const& plan, Candidates const& candidates, Context& context) const {
    auto const key = context.request.key();
    if (!detail::keyless<Dialect>(key) && context.unrestricted() && !plan->ring.empty())
        [[likely]] {
      auto const owner = plan->ring[find(plan->ring, dialect.hash(key))].owner;
      if (auto const i = candidates.index_of(owner); i != Candidates::none) [[likely]]
        return i;
    }
    return pick_where(plan, candidates, context, detail::AcceptUsable{candidates, context});
  }

  /// The first backend in the key's order for which accept(index) holds; `none` if there is none.
  template <class Accept>
  [[gnu::noinline]] std::size_t pick_where(Plan const& plan, Candidates const& candidates,
                                           Context& context, Accept const& accept) const {
    auto const key = context.request.key();
    if (plan->ring.empty()) return Candidates::none;
    if (!detail::keyless<Dialect>(key))
      return find_where(*plan, dialect.hash(key), candidates, accept, context.rehearsal());
    if constexpr (Dialect::rule.keyless == Keyless::smooth)
      return plan->smooth.next(candidates, accept, context.rehearsal());
    if constexpr (Dialect::rule.keyless == Keyless::turns) {
      auto const turn = detail::add(plan->turn, std::uint64_t{0}, context.rehearsal());
      auto const start = static_cast<std::size_t>(turn % plan->ring.size());
      auto at = start;
      auto const i = walk(plan->ring, at, plan->ring.size(), candidates, accept);
      detail::add(plan->turn, std::uint64_t{at} + 1 - start, context.rehearsal());
      return i;
    }
    return find_where(*plan, static_cast<Hash>(context.random()), candidates, accept,
                      context.rehearsal());
  }

  /// The fraction of all hashes that each member gets now, by position.
  [[nodiscard]] std::vector<double> shares(Plan const& plan, Candidates const& candidates) const {
    std::vector<double> result(candidates.members());
    std::vector<std::size_t> positions(candidates.size());
    for (std::size_t position = 0; position < result.size(); ++position)
      if (auto const i = candidates.index_of(position); i != Candidates::none)
        positions[i] = position;
    auto const& ring = plan->ring;
    auto const all = [](std::size_t) { return true; };
    auto const add = [&](Hash hash, Hash width) {
      if (auto const i = find_where(*plan, hash, candidates, all, nullptr); i != Candidates::none)
        result[positions[i]] += static_cast<double>(width);
    };
    for (std::size_t at = 0; at < ring.size(); ++at) {
      // The arc that ends with this point; with `nearest`, in two halves.
      auto const end = ring[at].hash;
      auto const start = ring[ring.before(at)].hash;
      auto const width = static_cast<Hash>(end - start);
      if (!Dialect::rule.nearest) {
        add(end, width);
      } else if (width != 0) {
        add(static_cast<Hash>(start + width / 2), width / 2);
        add(end, static_cast<Hash>(width - width / 2));
      }
    }
    return detail::as_shares(std::move(result));
  }

 private:
  static constexpr bool patient = Dialect::rule.patience != 0;
  static constexpr bool smooth = patient || Dialect::rule.keyless == Keyless::smooth;

  [[nodiscard]] Plan make(detail::TableKey made_for, Candidates const& candidates) const {
    auto const members = dialect::members_of(candidates, Dialect::rule.eligible_only);
    std::vector<typename Points::Point> points;
    if (!members.empty()) dialect.place(members, points);
    auto table =
        std::make_shared<Table const>(std::move(made_for), Points{points, Dialect::rule.drop_equal},
                                      detail::SmoothRotation{smooth ? candidates.members() : 0});
    detail::warn_if_few(warn, "the hash ring", table->ring.size(), members.size(),
                        "shares will be uneven; give it more points or higher weights");
    return table;
  }

  [[nodiscard]] static std::size_t find(Points const& ring, Hash hash) noexcept {
    return Dialect::rule.nearest ? ring.nearest(hash) : ring.next(hash);
  }

  template <class Accept>
  [[nodiscard]] std::size_t find_where(Table const& table, Hash hash, Candidates const& candidates,
                                       Accept const& accept, Rehearsal* rehearsal) const {
    auto at = start(table.ring, hash, candidates);
    auto const steps = patient ? Dialect::rule.patience + 1 : table.ring.size();
    auto const i = walk(table.ring, at, steps, candidates, accept);
    return patient && i == Candidates::none ? table.smooth.next(candidates, accept, rehearsal) : i;
  }

  /// The first owner from the point `at` on that is eligible and accepted.
  template <class Accept>
  [[nodiscard]] static std::size_t walk(Points const& ring, std::size_t& at, std::size_t steps,
                                        Candidates const& candidates, Accept const& accept) {
    for (std::size_t step = 0; step < steps; ++step, at = ring.after(at)) {
      auto const i = candidates.index_of(ring[at].owner);
      if (i != Candidates::none && accept(i)) return i;
    }
    return Candidates::none;
  }

  /// The point where the search starts: with `nearest`, the nearest point of an eligible backend.
  [[nodiscard]] static std::size_t start(Points const& ring, Hash hash,
                                         Candidates const& candidates) {
    auto after = ring.next(hash);
    if (!Dialect::rule.nearest) return after;
    auto before = ring.before(after);
    auto const out = [&](std::size_t at) {
      return candidates.index_of(ring[at].owner) == Candidates::none;
    };
    for (std::size_t step = 0; step < ring.size() && out(after); ++step) after = ring.after(after);
    for (std::size_t step = 0; step < ring.size() && out(before); ++step)
      before = ring.before(before);
    return ring.nearer(before, after, hash);
  }
};

}  // namespace poise::inline v0_1_0
