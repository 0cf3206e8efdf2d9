// SPDX-License-Identifier: MIT

// The cost of consistent hashing: look-ups compared with a binary search over the same points, as
// other libraries do it; picks compared with the hash of the key alone; rebuilding of tables.
//
//   indexed   the point for a hash, by the ring's index; the program first checks that both
//   halves    and a binary search find the same point for a million hashes
//   slot      the owner of a key in a maglev table, with the hash of the key
//   pick      the whole policy: hash the key, look up, ask whether the owner is eligible
//   key_hash  of that, the hash of the key alone (16 bytes)
//   fill      rebuilding a table or ring
//   flip      one backend out of so many goes out or comes back: a whole change of a balancer

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <poise/balancer.hpp>
#include <poise/hashing/dialect/nginx.hpp>
#include <poise/policy/hash_ring.hpp>
#include <poise/policy/maglev.hpp>
#include <poise/policy/rendezvous.hpp>

#include "support/ratios.hpp"

namespace {

using namespace poise;

struct Loose : Backend {
  explicit Loose(Endpoint endpoint, std::uint64_t serial) : Backend{std::move(endpoint), serial} {}
};

/// Backends outside of any balancer, as dialects and policies see them.
struct Fleet {
  explicit Fleet(std::size_t count, std::uint32_t heaviest = 1) {
    for (std::uint32_t i = 0; i < count; ++i) {
      auto const id = "10." + std::to_string(i >> 16U) + "." + std::to_string(i >> 8U & 255U) +
                      "." + std::to_string(i & 255U) + ":80";
      auto const weight = i == count / 2 ? heaviest : 1;
      backends.push_back(std::make_unique<Loose>(Endpoint{.id = id, .weight = weight}, i + 1));
      members.push_back({backends.back().get(), weight, i});
    }
    roster = Roster::of(count, 1, [&](std::size_t i) {
      return Roster::Member{backends[i].get(), members[i].weight, true};
    });
  }
  std::vector<std::unique_ptr<Loose>> backends;
  std::vector<dialect::Member> members;
  Roster roster;
};

/// Hashes in no order, so many that the processor learns none of them.
std::vector<std::uint64_t> const& hashes() {
  static auto const all = [] {
    std::vector<std::uint64_t> result(1U << 16U);
    std::uint64_t state = 1;
    for (auto& each : result) each = detail::wyrand(state += detail::wyrand_step);
    return result;
  }();
  return all;
}

std::vector<std::string> const& keys() {
  static auto const all = [] {
    std::vector<std::string> result;
    for (std::size_t i = 0; i < 1U << 14U; ++i)
      result.push_back("user-" + std::to_string(10'000'000'000 + i));
    return result;
  }();
  return all;
}

template <class Hash>
std::size_t by_halves(Ring<Hash> const& ring, Hash hash) {
  std::size_t first = 0;
  for (auto length = ring.size(); length > 0;) {
    auto const half = length / 2;
    if (ring[first + half].hash < hash) {
      first += half + 1;
      length -= half + 1;
    } else {
      length = half;
    }
  }
  return first == ring.size() ? 0 : first;
}

template <class D>
Ring<typename D::Hash> const& ring_of(std::size_t count) {
  static std::map<std::size_t, Ring<typename D::Hash>> all;
  auto& ring = all[count];
  if (!ring.empty()) return ring;
  std::vector<typename Ring<typename D::Hash>::Point> points;
  D{}.place(Fleet{count}.members, points);
  ring = Ring<typename D::Hash>{points, D::rule.drop_equal};
  std::uint64_t state = 7;
  for (int i = 0; i < 1'000'000; ++i) {
    auto const hash = static_cast<typename D::Hash>(detail::wyrand(state += detail::wyrand_step));
    if (ring.next(hash) == by_halves(ring, hash)) continue;
    std::puts("the index and the binary search disagree");
    std::exit(1);
  }
  return ring;
}

template <class D>
void indexed(benchmark::State& state) {
  auto const& ring = ring_of<D>(static_cast<std::size_t>(state.range(0)));
  std::size_t i = 0;
  for (auto _ : state)
    benchmark::DoNotOptimize(
        ring[ring.next(static_cast<typename D::Hash>(hashes()[i++ % hashes().size()]))].owner);
}

template <class D>
void halves(benchmark::State& state) {
  auto const& ring = ring_of<D>(static_cast<std::size_t>(state.range(0)));
  std::size_t i = 0;
  for (auto _ : state)
    benchmark::DoNotOptimize(
        ring[by_halves(ring, static_cast<typename D::Hash>(hashes()[i++ % hashes().size()]))]
            .owner);
}

template <std::uint32_t Slots>
void slot(benchmark::State& state) {
  Fleet const fleet{static_cast<std::size_t>(state.range(0))};
  auto const table = dialect::NativeTable::fill(fleet.members, Slots);
  std::size_t i = 0;
  for (auto _ : state) {
    auto const hash = hash::xxh64(keys()[i++ % keys().size()]);
    benchmark::DoNotOptimize(table[dialect::NativeTable::slot(hash, Slots)]);
  }
}

void key_hash_alone(benchmark::State& state) {
  std::size_t i = 0;
  for (auto _ : state) benchmark::DoNotOptimize(hash::xxh64(keys()[i++ % keys().size()]));
}

template <class P>
void pick(benchmark::State& state, P const& policy) {
  Fleet const fleet{static_cast<std::size_t>(state.range(0))};
  Candidates const candidates{fleet.roster};
  auto const plan = hooks::plan(policy, candidates, nullptr);
  RandomSource chance{1, &detail::mix};
  std::size_t i = 0;
  for (auto _ : state) {
    Request const request{.route_key = keys()[i++ % keys().size()]};
    Context context{request, chance, sync::Lane::shared};
    benchmark::DoNotOptimize(hooks::pick(policy, plan, candidates, context));
  }
}

template <std::uint32_t Slots, std::uint32_t Heaviest = 1>
void fill_table(benchmark::State& state) {
  Fleet const fleet{static_cast<std::size_t>(state.range(0)), Heaviest};
  for (auto _ : state) benchmark::DoNotOptimize(dialect::NativeTable::fill(fleet.members, Slots));
}

void fill_ring(benchmark::State& state) {
  Fleet const fleet{static_cast<std::size_t>(state.range(0))};
  for (auto _ : state) {
    std::vector<Ring<std::uint64_t>::Point> points;
    dialect::Native{}.place(fleet.members, points);
    benchmark::DoNotOptimize(Ring<std::uint64_t>{points});
  }
}

template <class P>
void flip(benchmark::State& state) {
  std::vector<Endpoint> endpoints;
  for (auto const& backend : Fleet{static_cast<std::size_t>(state.range(0))}.backends)
    endpoints.push_back({.id = backend->id()});
  Balancer<P> balancer{endpoints};
  bool out = false;
  for (auto _ : state) {
    out = !out;
    if (out) balancer.drain(endpoints[0].id);
    else balancer.undrain(endpoints[0].id);
  }
}

template <class Run>
void enlist(char const* name, Run const& run, std::initializer_list<int> counts) {
  auto* registered = benchmark::RegisterBenchmark(name, run);
  for (auto const count : counts) registered->Arg(count);
}

}  // namespace

int main(int argc, char** argv) {
  enlist("nginx_indexed", indexed<dialect::Nginx>, {10, 100, 1000});
  enlist("nginx_halves", halves<dialect::Nginx>, {10, 100, 1000});
  enlist("ring_indexed", indexed<dialect::Native>, {10, 100, 1000});
  enlist("ring_halves", halves<dialect::Native>, {10, 100, 1000});
  enlist("maglev_slot_65537", slot<65537>, {10, 100, 1000});
  enlist("maglev_slot_1000003", slot<1'000'003>, {10, 100, 1000});
  enlist("key_hash", key_hash_alone, {10, 100, 1000});
  enlist("maglev_pick", [](auto& state) { pick(state, Maglev{}); }, {10, 100, 1000});
  enlist("ring_pick", [](auto& state) { pick(state, HashRing<>{}); }, {10, 100, 1000});
  enlist("rendezvous_pick", [](auto& state) { pick(state, Rendezvous{}); }, {10, 100, 1000});
  enlist("fill_65537", fill_table<65537>, {10, 1000});
  enlist("fill_65537_one_heavy", fill_table<65537, 1'000'000>, {10'000});
  enlist("fill_1000003", fill_table<1'000'003>, {1000, 100'000});
  enlist("fill_1000003_one_heavy", fill_table<1'000'003, 1'000'000>, {10'000});
  enlist("fill_ring", fill_ring, {100, 1000});
  enlist("flip_maglev", flip<Maglev>, {1000});
  enlist("flip_ring", flip<HashRing<>>, {1000});

  auto const difference = bench::Comparison::difference;
  return bench::run(argc, argv,
                    {{"nginx_indexed", "nginx_halves", 0.2, 1000},
                     {"ring_indexed", "ring_halves", 0.2, 1000},
                     {"maglev_slot_65537", "key_hash", 3, 10, difference},
                     {"maglev_slot_1000003", "key_hash", 0, 0, difference},
                     {"maglev_pick", "key_hash", 0, 0, difference},
                     {"ring_pick", "key_hash", 0, 0, difference},
                     {"rendezvous_pick", "key_hash", 0, 0, difference}});
}
