// SPDX-License-Identifier: MIT

// Threads come and go, pick while they end, and pick inside a pick. Each must have a reader slot
// and a lane that no other thread uses at the same time, and must give them back.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <pthread.h>

#include <poise/balancer.hpp>
#include <poise/policy/round_robin.hpp>
#include <poise/sync/epoch.hpp>

#include "stress/team.hpp"
#include "support/catch.hpp"

namespace {

using poise::Candidates;
using poise::Context;
using poise::Endpoint;
using tests::Census;
using tests::Mortal;
using tests::Number;

/// Notices when two threads pick on one lane at the same time. The shared lane is for all.
struct LaneGuard {
  struct Shared {
    std::array<Number, poise::sync::lane_count> inside{};
    Number clashes{0};
    Number picks{0};
  };
  Shared* shared;

  std::size_t pick(Candidates const& candidates, Context& context) const {
    auto const lane = static_cast<std::size_t>(context.lane);
    if (lane != 0 && shared->inside[lane].add(1) != 0) shared->clashes.add(1);
    if (shared->picks.add(1) % 8 == 0) std::this_thread::yield();
    if (lane != 0) shared->inside[lane].add(-1);
    return context.random.below(candidates.size());
  }
};

struct Host {
  Mortal mortal;
};

using Servers = poise::Balancer<LaneGuard, Host>;

Endpoint host(std::size_t number) {
  auto const id = std::to_string(number);
  return {.id = id, .address = id};
}

/// Picks, and says whether it got a living backend.
bool ask(Servers& servers) {
  auto lease = servers.pick();
  if (!lease || !lease->payload().mortal.alive()) return false;
  lease.finish();
  return true;
}

struct Changer {
  explicit Changer(Servers& balancer) : servers{balancer} {}
  void work() {
    servers.add(host(2 + made % 5));
    servers.remove(std::to_string(2 + made % 5));
    ++made;
  }
  Servers& servers;
  std::size_t made = 0;
};

/// Backends 0 and 1, others that come and go, and threads that must not meet on a lane.
struct Scene {
  Scene() = default;
  ~Scene() {
    CHECK(shared.clashes.load() == 0);
    CHECK(failures.load() == 0);
  }
  Census census{};
  LaneGuard::Shared shared{};
  Number failures{0};
  Number greatest_index{0};
  Servers servers{{host(0), host(1)},
                  [this](Endpoint const&) { return Host{Mortal{census}}; },
                  LaneGuard{&shared}};
};

/// What ending threads do.
void pick_for_the_last_time(Scene& scene) {
  for (int i = 0; i < 3; ++i)
    if (!ask(scene.servers)) scene.failures.add(1);
  auto const index = poise::sync::ReadSection{}.thread_index();
  if (index > scene.greatest_index.load()) scene.greatest_index.store(index);  // more or less
}

/// A thread-local value whose destructor picks, before poise lets go of the thread.
struct LastWord {
  Scene* scene = nullptr;
  ~LastWord() {
    if (scene != nullptr) pick_for_the_last_time(*scene);
  }
};

/// A key that was made after poise's: its values are destroyed after poise let go of the thread.
class LateKey {
 public:
  LateKey() {
    poise::sync::start();
    pthread_key_create(&key_,
                       [](void* scene) { pick_for_the_last_time(*static_cast<Scene*>(scene)); });
  }
  LateKey(LateKey const&) = delete;
  LateKey& operator=(LateKey const&) = delete;
  ~LateKey() { pthread_key_delete(key_); }
  void set(Scene& scene) const { pthread_setspecific(key_, &scene); }

 private:
  pthread_key_t key_{};
};

}  // namespace

TEST_CASE("there are no more reader slots than threads that read at the same time") {
  constexpr unsigned size = 8;
  poise::sync::start();
  std::set<std::uint32_t> indexes;
  for (tests::Rounds rounds{50}; rounds.next();) {
    std::array<std::uint32_t, size> of_wave{};
    Number ready{0};
    tests::together(size, [&](unsigned number) {
      of_wave[number] = poise::sync::ReadSection{}.thread_index();
      ready.add(1);
      while (ready.load() < size) std::this_thread::yield();  // all have one before any gives back
    });
    std::set<std::uint32_t> const wave{of_wave.begin(), of_wave.end()};
    REQUIRE(wave.size() == size);
    indexes.insert(wave.begin(), wave.end());
  }
  CHECK(indexes.size() == size);
}

TEST_CASE("threads that come and go while backends do never share a lane or see a dead backend") {
  Scene scene;
  tests::Team<Changer> changers{1, scene.servers};
  for (tests::Rounds rounds{30}; rounds.next();)
    tests::together(4, [&](unsigned number) {
      for (unsigned i = 0; i <= number; ++i)
        if (!ask(scene.servers)) scene.failures.add(1);
    });
  CHECK(changers.stop()[0].made > 0);
}

TEST_CASE("a thread may pick while it ends: before and after poise let go of it") {
  Scene scene;
  tests::Team<Changer> changers{1, scene.servers};
  LateKey const late;
  int threads = 0;
  std::int64_t enough = 0;  // slots
  for (tests::Rounds rounds{60}; rounds.next();) {
    tests::together(4, [&](unsigned number) {
      if (number % 2 == 0) late.set(scene);
      if (number != 0 && !ask(scene.servers)) scene.failures.add(1);
      static thread_local LastWord before;
      before.scene = &scene;
    });
    threads += 4;
    if (rounds.made() == 1) enough = scene.greatest_index.load() + 16;
  }
  changers.stop();
  CHECK(scene.greatest_index.load() <= enough);
  CHECK(scene.shared.picks.load() == threads / 4 * (3 + 2 * 3 + 4 * 3));
}

TEST_CASE("threads beyond the last lane share one, and all their picks count") {
  constexpr unsigned size = 80;
  static_assert(size > poise::sync::lane_count);
  poise::Balancer<poise::RoundRobin> servers{poise::endpoints({"a", "b", "c"})};
  constexpr std::uint64_t each = 300;
  tests::together(size, [&](unsigned) {
    for (std::uint64_t i = 0; i < each; ++i) servers.pick().finish();
  });
  std::uint64_t total = 0;
  std::uint64_t most = 0;
  auto least = ~std::uint64_t{0};
  for (auto const& backend : servers.stats().backends) {
    total += backend.total;
    most = std::max(most, backend.total);
    least = std::min(least, backend.total);
    CHECK(backend.in_flight == 0);
  }
  CHECK(total == size * each);
  CHECK(most - least <= poise::sync::lane_count);  // one for each lane's unfinished round
}

TEST_CASE("threads that follow each other go on with one rotation") {
  poise::Balancer<poise::RoundRobin> servers{poise::endpoints({"a", "b", "c", "d", "e"})};
  for (int i = 0; i < 100; ++i)
    std::thread{[&] {
      for (int pick = 0; pick < 3; ++pick) servers.pick().finish();
    }}.join();
  for (auto const& backend : servers.stats().backends) CHECK(backend.total == 60);
}

namespace {

/// A policy that asks another balancer first, as one that shards or falls back would.
struct Nested {
  Servers* inner;
  Number* failures;

  std::size_t pick(Candidates const& candidates, Context& context) const {
    auto const* const before = &candidates[0];
    if (!ask(*inner)) failures->add(1);
    auto lease = inner->pick();
    if (!lease || !lease->payload().mortal.alive()) failures->add(1);
    // The outer section must still hold after the inner ones have ended.
    if (&candidates[0] != before || candidates[0].id().empty()) failures->add(1);
    return context.random.below(candidates.size());
  }
};

using Outer = poise::Balancer<Nested>;

struct OuterChanger {
  explicit OuterChanger(Outer& balancer) : servers{balancer} {}
  void work() {
    servers.add(host(3));
    servers.remove("3");
  }
  Outer& servers;
};

struct OuterClient {
  explicit OuterClient(Outer& balancer) : servers{balancer} {}
  void work() {
    if (!servers.pick()) ++refused;
    ++picks;
  }
  Outer& servers;
  std::uint64_t picks = 0;
  int refused = 0;
};

}  // namespace

TEST_CASE("a pick inside a pick leaves the outer one protected") {
  Scene scene;
  Number failures{0};
  Outer outer{{host(0), host(1)}, Nested{&scene.servers, &failures}};
  tests::Team<Changer> inner_changers{1, scene.servers};
  tests::Team<OuterChanger> outer_changers{1, outer};
  tests::Team<OuterClient> clients{2, outer};
  for (tests::Rounds rounds{20}; rounds.next();) outer.tick();
  for (auto const& client : clients.stop()) {
    CHECK(client.picks > 0);
    CHECK(client.refused == 0);
  }
  inner_changers.stop();
  outer_changers.stop();
  CHECK(failures.load() == 0);
  outer.tick();
  scene.servers.tick();
  CHECK(outer.stats().retired_snapshots == 0);
  CHECK(scene.servers.stats().retired_snapshots == 0);
  CHECK(scene.census.alive() == 2);
}
