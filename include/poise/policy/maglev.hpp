// SPDX-License-Identifier: MIT
#pragma once

// Consistent hashing by table, the one to use when in doubt: a key stays with its backend, shares
// are even to 1 %, and a lookup is one multiplication and one load.
//
// Every client that knows the same {(id, weight)} makes the same table, in whatever order it
// learned of them. When a backend comes or goes, its keys move, and some of the others' do too: up
// to 1 % of them with 65,537 slots, 0.25 % with 1,000,003. If not one may move, use HashRing.
//
// A backend that is out keeps its slots: its keys probe other slots, in an order that depends on
// the key alone, and come back with it. So a change of health builds nothing and moves no other
// key.
//
// The table has 65,537 slots for up to 655 backends (100 slots each), else 1,000,003: by
// `max_backends`, never by how many there are now, or clients that see 655 and 656 backends would
// disagree on every key. More backends than that work, and are told to `warn`.
//
// Source: Eisenbud et al. 2016, "Maglev: a fast and reliable software network load balancer"; the
// weighting follows Envoy.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <queue>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/dialect/envoy.hpp>
#include <poise/error.hpp>
#include <poise/fwd.hpp>
#include <poise/hash/siphash.hpp>
#include <poise/hash/xxhash.hpp>
#include <poise/keyed.hpp>
#include <poise/policy.hpp>
#include <poise/random.hpp>

namespace poise {

namespace detail {

/// A backend while a table is filled.
struct Claimant {
  std::uint64_t hash;    // orders the claimants, whatever order they came in
  std::string_view key;  // and settles ties
  std::uint32_t offset;  // its order of preference: offset, offset + skip, ..., modulo the size
  std::uint32_t skip;
  std::uint32_t weight;
  std::uint32_t owner;
  std::uint32_t quota = 0;
  std::uint32_t taken = 0;
};

constexpr bool is_prime(std::uint64_t number) noexcept {
  if (number < 4) return number > 1;
  if (number % 2 == 0) return false;
  for (std::uint64_t factor = 3; factor * factor <= number; factor += 2)
    if (number % factor == 0) return false;
  return true;
}

/// Slots, filled in turns: each claimant takes the next free one that it likes best.
class SlotTable {
 public:
  explicit SlotTable(std::uint32_t size) : owners_(size), taken_((size + 63) / 64) {}

  [[nodiscard]] bool full() const noexcept { return filled_ == owners_.size(); }
  void take_best(Claimant& claimant) noexcept {
    auto const size = static_cast<std::uint32_t>(owners_.size());
    auto at = claimant.offset;
    auto const next = [&] {  // skip < size < 2^31
      at += claimant.skip;
      if (at >= size) at -= size;
    };
    while ((taken_[at / 64] >> at % 64 & 1U) != 0) next();
    taken_[at / 64] |= std::uint64_t{1} << at % 64;
    owners_[at] = claimant.owner;
    next();
    claimant.offset = at;
    ++claimant.taken;
    ++filled_;
  }
  [[nodiscard]] std::vector<std::uint32_t> release() && noexcept { return std::move(owners_); }

 private:
  std::vector<std::uint32_t> owners_;
  std::vector<std::uint64_t> taken_;
  std::size_t filled_ = 0;
};

/// The order in which claimants take turns, the same for every order they came in.
inline void sort(std::vector<Claimant>& claimants) {
  std::sort(claimants.begin(), claimants.end(), [](auto const& a, auto const& b) {
    return a.hash != b.hash ? a.hash < b.hash : a.key < b.key;
  });
}

/// How many of `size` slots each claimant gets: in proportion to weight, by largest remainders. One
/// that is due less than a slot gets one, and the others share what is left. *Requires* size >=
/// claimants, all of weight above 0.
inline void set_quotas(std::vector<Claimant>& claimants, std::uint32_t size) {
  std::uint64_t slots = size;
  std::uint64_t weights = 0;
  for (auto const& each : claimants) weights += each.weight;
  std::vector<Claimant*> order;
  order.reserve(claimants.size());
  for (auto& each : claimants) order.push_back(&each);
  auto const is_light = [&](Claimant const* each) {
    return Wide{each->weight} * slots < Wide{weights};
  };
  auto heavy = order.begin();
  if (std::any_of(order.begin(), order.end(), is_light)) {
    std::stable_sort(order.begin(), order.end(),
                     [](auto const* a, auto const* b) { return a->weight < b->weight; });
    // Those that stay are due more for each that goes, so whoever is light now is light in the end.
    for (; heavy != order.end() && is_light(*heavy); ++heavy) {
      (*heavy)->quota = 1;
      weights -= (*heavy)->weight;
      --slots;
    }
  }
  struct Rest {  // what rounding down took away
    std::uint64_t amount;
    Claimant* of;
  };
  std::vector<Rest> rests;
  rests.reserve(claimants.size());
  auto left = static_cast<std::ptrdiff_t>(slots);
  for (; heavy != order.end(); ++heavy) {
    auto const exact = Wide{(*heavy)->weight} * slots;
    (*heavy)->quota = static_cast<std::uint32_t>(exact / weights);
    left -= (*heavy)->quota;
    rests.push_back({static_cast<std::uint64_t>(exact % weights), *heavy});
  }
  std::nth_element(
      rests.begin(), rests.begin() + left, rests.end(), [](auto const& a, auto const& b) {
        return a.amount != b.amount ? a.amount > b.amount : a.of < b.of;  // they are sorted
      });
  for (auto const& rest : std::span{rests}.first(static_cast<std::size_t>(left))) ++rest.of->quota;
}

/// Fills a table by quotas: in each round a claimant takes weight / greatest weight of a slot.
[[nodiscard]] inline std::vector<std::uint32_t> fill(std::vector<Claimant> claimants,
                                                     std::uint32_t size) {
  sort(claimants);
  set_quotas(claimants, size);
  std::uint64_t heaviest = 0;
  std::uint64_t greatest = 0;
  for (auto const& each : claimants) {
    heaviest = std::max<std::uint64_t>(heaviest, each.weight);
    greatest = std::max<std::uint64_t>(greatest, each.quota);
  }
  // Where one weight dwarfs the others there would be as many rounds as it has slots, and nothing
  // for the others to do in most: then several are made at once, so that 4 looks a slot suffice.
  std::uint64_t stride = 1;
  while (greatest / stride * claimants.size() > std::uint64_t{4} * size) stride *= 2;
  SlotTable table{size};
  std::vector<Claimant*> waiting;
  waiting.reserve(claimants.size());
  for (auto& each : claimants) waiting.push_back(&each);
  for (std::uint64_t round = stride; !table.full(); round += stride)
    std::erase_if(waiting, [&](Claimant* each) {
      while (each->taken < each->quota &&
             round * each->weight > static_cast<std::uint64_t>(each->taken) * heaviest)
        table.take_best(*each);
      return each->taken == each->quota;
    });
  return std::move(table).release();
}

}  // namespace detail

namespace dialect {

/// poise's own table.
struct NativeTable {
  static constexpr char const* name = "maglev";
  static constexpr bool eligible_only = false;

  /// The most backends there will ever be; decides the size of the table. All clients need the
  /// same.
  std::size_t max_backends = 655;
  /// The size itself, a prime, instead; 0: by max_backends.
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

/// Envoy, lb_policy MAGLEV: the very same table, made from the hosts that are eligible now.
struct EnvoyMaglev {
  static constexpr char const* name = "envoy-maglev";
  static constexpr bool eligible_only = true;

  std::uint32_t slots = 65537;

  [[nodiscard]] static std::uint64_t hash(std::string_view key) noexcept {
    return hash::xxh64(key);
  }
  [[nodiscard]] std::uint32_t size() const noexcept { return slots; }
  [[nodiscard]] static std::size_t slot(std::uint64_t hash, std::uint32_t size) noexcept {
    return static_cast<std::size_t>(hash % size);
  }
  [[nodiscard]] static std::vector<std::uint32_t> fill(Members members, std::uint32_t size) {
    return fill(detail::shares(members), size);
  }
  /// In rounds, each over all hosts: a host takes a slot in the first round in which round * share
  /// has caught up with `target`, its slots so far times the greatest share. That is Envoy's
  /// arithmetic, but not its loop, which looks at every host in every round.
  [[nodiscard]] static std::vector<std::uint32_t> fill(std::vector<detail::Share> const& hosts,
                                                       std::uint32_t size) {
    struct Host {
      poise::detail::Claimant claimant;
      double share;
      double target = 0;
    };
    std::vector<Host> order;
    double greatest = 0;
    for (auto const& host : hosts) {
      order.push_back(
          {{0, host.key, static_cast<std::uint32_t>(hash::xxh64(host.key) % size),
            static_cast<std::uint32_t>(hash::xxh64(host.key, 1) % (size - 1)) + 1, 0, host.owner},
           host.share});
      greatest = std::max(greatest, host.share);
    }
    std::stable_sort(order.begin(), order.end(),
                     [](auto const& a, auto const& b) { return a.claimant.key < b.claimant.key; });
    using Turn = std::pair<std::uint64_t, std::size_t>;  // round, host
    std::priority_queue<Turn, std::vector<Turn>, std::greater<>> turns;
    for (std::size_t i = 0; i < order.size(); ++i) turns.emplace(1, i);
    poise::detail::SlotTable table{size};
    while (!table.full()) {
      auto const [round, i] = turns.top();
      auto& host = order[i];
      host.target += greatest;
      table.take_best(host.claimant);
      turns.pop();
      auto const guess = static_cast<std::uint64_t>(host.target / host.share);
      auto next = std::max(round + 1, guess - std::min<std::uint64_t>(guess, 1));
      while (static_cast<double>(next) * host.share < host.target) ++next;
      turns.emplace(next, i);
    }
    return std::move(table).release();
  }
};

}  // namespace dialect

/// Use it as Maglev, with `dialect` for settings: `Maglev{{.max_backends = 5000}}`.
///
/// *Cost* a key hash, a multiplication, two loads; if the owner is out, some more. The plan holds 4
/// bytes a slot, 256 KiB or 4 MB, which all snapshots share. Building takes 2 ms or 30 ms.
template <class Dialect>
struct MaglevOf {
  static constexpr bool keyed = true;

  Dialect dialect{};
  Warn warn{};  ///< Told when a backend has fewer than 100 slots on average.

  struct Table {
    detail::MadeFor made_for;
    std::vector<std::uint32_t> owners;
  };
  using Plan = std::shared_ptr<Table const>;

  [[nodiscard]] std::string name() const { return Dialect::name; }

  [[nodiscard]] Plan plan(Candidates const& candidates, Plan const* before) const {
    detail::MadeFor made_for{candidates, Dialect::eligible_only};
    if (before != nullptr && *before && (*before)->made_for == made_for) return *before;
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
  /// The order: the key's slot, then 15 that its hash leads to, then one after the other. With half
  /// of the backends out, 1 key in 65,536 gets that far.
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

  /// The share of all hashes that each member gets at this moment, by position: exact to 2^-43.
  /// What members that are out own goes to the others in proportion.
  [[nodiscard]] std::vector<double> shares(Plan const& plan, Candidates const& candidates) const {
    return detail::shares_of(plan->owners, candidates);
  }

 private:
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

}  // namespace poise
