// SPDX-License-Identifier: MIT

// Who outlives whom: leases their balancer, calls their balancer, backends their removal; and on
// which thread a payload may be destroyed.

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <poise/balancer.hpp>
#include <poise/policy/round_robin.hpp>

#include "stress/team.hpp"
#include "support/catch.hpp"

namespace {

using poise::Candidates;
using poise::Context;
using poise::Endpoint;
using poise::HealthState;
using poise::Result;
using tests::Census;
using tests::Mortal;
using tests::Number;

std::vector<Endpoint> endpoints(std::size_t count, std::size_t first = 0) {
  std::vector<Endpoint> result;
  for (std::size_t i = 0; i < count; ++i) {
    auto const id = std::to_string(first + i);
    result.push_back({.id = id, .address = id});
  }
  return result;
}

constinit thread_local bool serves_requests = false;

/// A connection pool, say: closing it takes time, so no request should have to do it.
struct Pool {
  Pool(Census& census, Number& closed_by_a_request)
      : mortal{census}, complaints{closed_by_a_request} {}
  Pool(Pool const&) = delete;
  ~Pool() {
    if (serves_requests) complaints.add(1);
  }
  Mortal mortal;
  Number& complaints;
};

struct Pools {
  Census census{};
  Number closed_by_a_request{0};
  auto factory() {
    return [this](Endpoint const&) { return Pool{census, closed_by_a_request}; };
  }
};

/// A rule that changes its mind at every request.
struct Fickle {
  void on_finish(poise::Finished const& event) const {
    event.report(event.outcome.result == Result::error ? HealthState::degraded
                                                       : HealthState::healthy);
  }
};

using WithRule = poise::Runtime<poise::SteadyClock, Fickle>;

}  // namespace

TEST_CASE("a lease outlives its balancer, and keeps its backend alive until it ends") {
  Pools pools;
  {
    using Servers = poise::Balancer<poise::RoundRobin, Pool>;
    Servers::Lease lease;
    Servers::Lease other;
    {
      Servers servers{endpoints(3), pools.factory()};
      lease = servers.pick();
      other = servers.pick();
      CHECK(pools.census.alive() == 3);
    }
    CHECK(pools.census.alive() == 2);
    CHECK(lease->payload().mortal.alive());
    CHECK(lease->in_flight() == 1);
    lease.finish(Result::timeout);
    CHECK(pools.census.alive() == 1);
    CHECK_FALSE(lease);
  }
  CHECK(pools.census.alive() == 0);
}

TEST_CASE("a rule may report what it found after the balancer is gone") {
  Pools pools;
  using Servers = poise::Balancer<poise::RoundRobin, Pool, WithRule>;
  std::vector<Servers::Lease> leases;
  {
    Servers servers{endpoints(3), pools.factory()};
    for (int i = 0; i < 6; ++i) leases.push_back(servers.pick());
  }
  for (auto& lease : leases) lease.finish(Result::error);
  CHECK(pools.census.alive() == 0);
}

TEST_CASE("leases finished on threads that never pick free each backend once, after its last use") {
  constexpr std::size_t size = 500;
  using Servers = poise::Balancer<poise::RoundRobin, Pool>;
  for (tests::Rounds rounds{2}; rounds.next();) {
    Pools pools;
    {
      Servers servers{endpoints(size), pools.factory()};
      std::array<std::vector<Servers::Lease>, 2> leases;
      for (auto& half : leases)
        for (std::size_t i = 0; i < size; ++i) half.push_back(servers.pick());
      servers.clear();
      servers.tick();
      CHECK(pools.census.alive() == size);

      // The second thread ends what the first has ended before it, so that it frees every backend;
      // and it learns so only by a number that orders nothing.
      Number ended{0};
      Number dead{0};
      auto const end = [&](std::size_t half) {
        serves_requests = true;
        for (std::size_t i = 0; i < size; ++i) {
          auto& lease = leases[half][i];
          while (half == 1 && ended.load() <= static_cast<std::int64_t>(i))
            std::this_thread::yield();
          if (!lease->payload().mortal.alive()) dead.add(1);
          lease.finish();
          if (half == 0) ended.add(1);
        }
      };
      std::thread first{end, 0U};
      std::thread second{end, 1U};
      while (pools.census.alive() != 0) servers.tick();
      first.join();
      second.join();
      CHECK(dead.load() == 0);
    }
    CHECK(pools.census.alive() == 0);
    CHECK(pools.closed_by_a_request.load() == 0);
  }
}

TEST_CASE(
    "a backend that is removed after its last request ended elsewhere is destroyed after that") {
  constexpr int size = 100;
  using Servers = poise::Balancer<poise::RoundRobin, Pool>;
  for (tests::Rounds rounds{2}; rounds.next();) {
    Pools pools;
    {
      Servers servers{endpoints(size), pools.factory()};
      std::vector<Servers::Lease> leases;
      for (int i = 0; i < size; ++i) leases.push_back(servers.pick());
      // Who ends the requests says so only by a number that orders nothing, and never picks.
      std::vector<std::string> ids;
      for (auto const& lease : leases) ids.push_back(lease->id());
      Number ended{0};
      Number dead{0};
      std::thread other{[&] {
        for (auto& lease : leases) {
          if (!lease->payload().mortal.alive()) dead.add(1);
          lease.finish();
          ended.add(1);
        }
      }};
      for (int i = 0; i < size; ++i) {
        while (ended.load() <= i) std::this_thread::yield();
        servers.remove(ids[static_cast<std::size_t>(i)]);
        CHECK(pools.census.alive() == size - i - 1);
      }
      other.join();
      CHECK(dead.load() == 0);
    }
  }
}

namespace {

using Reporting = poise::Balancer<poise::RoundRobin, Pool, WithRule>;

struct Client {
  explicit Client(Reporting& balancer) : servers{balancer} {}
  void work() {
    serves_requests = true;
    auto lease = servers.pick();
    if (!lease || !lease->payload().mortal.alive()) ++failures;
    else lease.finish(++picks % 3 == 0 ? Result::error : Result::success);
  }
  Reporting& servers;
  std::uint64_t picks = 0;
  int failures = 0;
};

}  // namespace

TEST_CASE("no request closes the pool of a removed backend while the balancer lives") {
  Pools pools;
  {
    Reporting servers{endpoints(8), pools.factory()};
    tests::Team<Client> clients{2, servers};
    std::size_t first = 0;
    for (tests::Rounds rounds{100}; rounds.next();) servers.update(endpoints(8, first += 3));
    for (auto const& client : clients.stop()) {
      CHECK(client.picks > 0);
      CHECK(client.failures == 0);
    }
    CHECK(servers.stats().observer_failures == 0);
  }
  CHECK(pools.census.alive() == 0);
  CHECK(pools.closed_by_a_request.load() == 0);
}

TEST_CASE("what rules report while backends change is neither lost nor given to the wrong one") {
  Pools pools;
  Reporting servers{endpoints(4), pools.factory()};
  {
    tests::Team<Client> clients{2, servers};
    // The order changes, so every backend's position does.
    for (tests::Rounds rounds{100}; rounds.next();) {
      auto all = endpoints(4 + static_cast<std::size_t>(rounds.made() % 3));
      std::rotate(all.begin(), all.begin() + rounds.made() % 4, all.end());
      servers.update(all);
      if (rounds.made() % 10 == 0) servers.set_weight("1", rounds.made() % 20 == 0 ? 1 : 2);
    }
    clients.stop();
  }
  servers.update(endpoints(4));
  for (auto const& [result, health] : {std::pair{Result::error, HealthState::degraded},
                                       std::pair{Result::success, HealthState::healthy}}) {
    for (auto const& backend : servers.stats().backends) {
      std::vector<std::uint64_t> others;
      for (auto const& other : servers.stats().backends)
        if (other.id != backend.id) others.push_back(other.serial);
      auto lease = servers.pick({.excluded = others});
      REQUIRE(lease->id() == backend.id);
      lease.finish(result);
      CHECK(lease.error().reason == poise::PickError::none);
    }
    for (auto const& backend : servers.stats().backends) CHECK(backend.health == health);
  }
}

namespace {

/// Retries as long as there is anybody.
struct Stubborn {
  std::size_t pick(Candidates const& candidates, Context& context) const {
    return context.random.below(candidates.size());
  }
  [[nodiscard]] poise::Decision decide(poise::Attempt const& attempt) const {
    return {.retry = attempt.outcome.result == Result::error};
  }
};

}  // namespace

TEST_CASE("a balancer may be destroyed while calls go on, which then bring their last reply") {
  constexpr int size = 3;
  for (tests::Rounds rounds{30}; rounds.next();) {
    Pools pools;
    using Servers = poise::Balancer<Stubborn, Pool>;
    auto servers = std::make_unique<Servers>(endpoints(4), pools.factory());
    std::atomic<int> inside{
        0};  // ordered: the balancer may go when every call is past its beginning
    Number dead{0};
    Number ended{0};
    std::vector<std::thread> callers;
    for (int caller = 0; caller < size; ++caller)
      callers.emplace_back([&] {
        bool first = true;
        auto const reply = servers->call([&](Servers::Backend& backend) {
          if (!backend.payload().mortal.alive()) dead.add(1);
          if (std::exchange(first, false)) ++inside;
          return poise::Outcome{poise::Result::error};  // try another
        });
        if (reply.result == poise::Result::error) ended.add(1);
      });
    while (inside < size) std::this_thread::yield();
    servers.reset();
    for (auto& caller : callers) caller.join();
    CHECK(ended.load() == size);
    CHECK(dead.load() == 0);
    CHECK(pools.census.alive() == 0);
  }
}
