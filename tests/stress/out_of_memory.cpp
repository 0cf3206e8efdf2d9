// SPDX-License-Identifier: MIT

// More threads than have reader slots, and no memory for more: they take turns with the last one,
// and none of them sees a dead backend.

#include <cstddef>
#include <cstdint>
#include <limits>
#include <new>
#include <thread>

#include <poise/balancer.hpp>
#include <poise/policy/round_robin.hpp>
#include <poise/sync/epoch.hpp>

#include "stress/team.hpp"
#include "support/catch.hpp"

namespace {

using Servers = poise::Balancer<poise::RoundRobin, tests::Mortal>;
static_assert(alignof(poise::sync::ReaderSlot) > __STDCPP_DEFAULT_NEW_ALIGNMENT__);

tests::Number refused_slots{0};

struct Changer {
  explicit Changer(Servers& balancer) : servers{balancer} {}
  void work() {
    servers.add({.id = "c", .address = "c"});
    servers.remove("c");
    ++made;
  }
  Servers& servers;
  int made = 0;
};

/// One section at a time has the last slot, and updates see it.
void read_by_turns(tests::Number& inside, tests::Number& failures) {
  poise::sync::ReadSection const section;
  if (section.thread_index() != poise::sync::detail::last_resort.index) return;
  if (inside.add(1) != 0) failures.add(1);
  if (poise::sync::oldest_reader() == std::numeric_limits<std::uint64_t>::max()) failures.add(1);
  std::this_thread::yield();
  inside.add(-1);
}

}  // namespace

/// What a new reader slot is allocated by; nothing else in this program uses it.
void* operator new(std::size_t, std::align_val_t, std::nothrow_t const&) noexcept {
  refused_slots.add(1);
  return nullptr;
}

TEST_CASE("threads without a slot of their own take turns and see living backends") {
  constexpr auto size = static_cast<unsigned>(poise::sync::detail::first_slots.size() + 40);
  tests::Census census;
  tests::Number failures{0};
  {
    Servers servers{poise::endpoints({"a", "b"}),
                    [&](poise::Endpoint const&) { return tests::Mortal{census}; }};
    tests::Team<Changer> changers{1, servers};
    tests::Number reading{0};
    tests::Number inside{0};
    tests::together(size, [&](unsigned) {
      auto const pick = [&] {
        auto lease = servers.pick();
        if (!lease || !lease->payload().alive()) failures.add(1);
        read_by_turns(inside, failures);
      };
      pick();
      reading.add(1);
      while (reading.load() < size) {
        pick();
        std::this_thread::yield();  // all have a slot or none before any gives back
      }
      for (int i = 0; i < 100; ++i) pick();
    });
    CHECK(changers.stop()[0].made > 0);
    for (auto const& backend : servers.stats().backends) CHECK(backend.in_flight == 0);
    servers.tick();
    CHECK(servers.stats().retired_snapshots == 0);
  }
  CHECK(refused_slots.load() > 0);
  CHECK(failures.load() == 0);
  CHECK(census.alive() == 0);
}
