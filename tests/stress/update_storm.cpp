// SPDX-License-Identifier: MIT

// Everything at once: requests on some threads while others change all that can be changed, with
// every policy of the library. What must hold in the end is bookkeeping: each pick counted once,
// nothing in flight, no backend and no snapshot left over.

#include <array>
#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include <poise/balancer.hpp>

#include "stress/team.hpp"
#include "support/catch.hpp"
#include "support/policies.hpp"

namespace {

using poise::Endpoint;
using poise::HealthState;
using poise::Result;
using tests::Census;
using tests::Mortal;
using tests::Number;

struct ObserverTraits {
  Census payloads{};
  Census plans{};
  Number dead_plans{0};
};

/// A policy that notices when it is asked to pick from a snapshot that is gone.
template <class P>
struct Monitored : P {
  struct Plan : poise::hooks::PlanOf<P>, Mortal {
    Plan(poise::hooks::PlanOf<P> plan, Census& census)
        : poise::hooks::PlanOf<P>(std::move(plan)), Mortal{census} {}
  };
  ObserverTraits* watch;

  Monitored(P const& policy, ObserverTraits& to_watch) : P{policy}, watch{&to_watch} {}

  [[nodiscard]] Plan plan(poise::Candidates const& candidates, Plan const* before) const {
    return {poise::hooks::plan<P>(*this, candidates, before), watch->plans};
  }
  std::size_t pick(Plan const& plan, poise::Candidates const& candidates,
                   poise::Context& context) const {
    static thread_local unsigned picks = 0;
    auto const choice = poise::hooks::pick<P>(*this, plan, candidates, context);
    if (++picks % 256 == 0) std::this_thread::yield();  // be preempted while reading, now and then
    if (!plan.alive()) watch->dead_plans.add(1);
    return choice;
  }
};

// Backends that stay, whatever else happens: only their totals can be compared in the end. Nothing
// is ever done to the first, so that a pick always succeeds.
constexpr std::size_t lasting = 4;
constexpr std::size_t passing = 8;

struct Host {
  explicit Host(Census& census, std::size_t place) : mortal{census}, number{place} {}
  Mortal mortal;
  std::size_t number;  // below `lasting`: of the lasting ones
};

std::string name_of(std::size_t number) { return "host-" + std::to_string(number); }

template <class P>
using Servers = poise::Balancer<Monitored<P>, Host>;

template <class P>
struct Client {
  explicit Client(Servers<P>& balancer) : servers{balancer} {}

  void work() {
    auto& lease = leases[picks++ % leases.size()];
    end(lease);
    lease = servers.pick();
    if (!lease) {
      ++refused;
      return;
    }
    if (!lease->payload().mortal.alive()) ++dead;
    if (auto const number = lease->payload().number; number < lasting) ++picked[number];
    if (picks % 64 == 0 && servers.record("host-2", Result::timeout)) ++recorded;
  }
  void end(typename Servers<P>::Lease& lease) {
    if (!lease) return;
    if (!lease->payload().mortal.alive()) ++dead;
    auto const number = lease->payload().number;
    switch (picks % 3) {
      case 0: lease.finish(); break;
      case 1:
        lease.finish(Result::error);
        if (number < lasting) ++errors[number];
        break;
      default:
        lease = {};
        if (number < lasting) ++abandoned[number];
    }
  }
  void end_all() {
    for (auto& lease : leases) end(lease);
  }

  Servers<P>& servers;
  std::array<typename Servers<P>::Lease, 8> leases{};
  std::size_t picks = 0;
  std::array<std::uint64_t, lasting> picked{};
  std::array<std::uint64_t, lasting> errors{};
  std::array<std::uint64_t, lasting> abandoned{};
  std::uint64_t recorded = 0;
  int refused = 0;
  int dead = 0;
};

/// Who comes and goes.
template <class P>
struct Discovery {
  explicit Discovery(Servers<P>& balancer) : servers{balancer} {}

  void work() {
    auto const number = lasting + random() % passing;
    auto& here = present[number - lasting];
    switch (random() % 6) {
      case 0: {
        for (auto& each : present) each = random() % 2 == 0;
        servers.update(all());
        break;
      }
      case 1:
        // Another address under the same id is another backend.
        if (here) {
          ++moves;
          servers.update(all());
        }
        break;
      case 2:
        if (here) servers.set_weight(name_of(number), static_cast<std::uint32_t>(random() % 4));
        break;
      default:
        if (here) servers.remove(name_of(number));
        else servers.add(endpoint(number));
        here = !here;
    }
    ++changes;
  }
  [[nodiscard]] Endpoint endpoint(std::size_t number) const {
    auto const move = number < lasting ? 0 : moves;
    return {.id = name_of(number), .address = name_of(number) + ":" + std::to_string(move)};
  }
  [[nodiscard]] std::vector<Endpoint> all() const {
    std::vector<Endpoint> result;
    for (std::size_t number = 0; number < lasting + passing; ++number)
      if (number < lasting || present[number - lasting]) result.push_back(endpoint(number));
    return result;
  }

  Servers<P>& servers;
  std::array<bool, passing> present{};
  std::minstd_rand random{1};
  int moves = 0;
  int changes = 0;
};

/// The party that decides about the lasting ones.
template <class P>
struct Operator {
  Operator(Servers<P>& balancer, Monitored<P> const& others) : servers{balancer}, policy{others} {}

  void work() {
    auto const id = name_of(1 + random() % (lasting - 1));
    switch (random() % 8) {
      case 0: servers.drain(id); break;
      case 1: servers.undrain(id); break;
      case 2: servers.set_health(id, HealthState::unhealthy); break;
      case 3: servers.set_health(id, HealthState::degraded); break;
      case 4: servers.set_health(id, std::nullopt); break;
      case 5: servers.set_weight(id, 1 + static_cast<std::uint32_t>(random() % 4)); break;
      case 6: servers.set_policy(policy); break;
      default:
        servers.set_admission(id, {.max_in_flight = static_cast<std::uint32_t>(random() % 3),
                                   .share = static_cast<std::uint32_t>(random() % 2 - 1)});
        servers.tick();
    }
    if (++changes % 8 != 0) return;
    auto const stats = servers.stats();
    most_retired = std::max(most_retired, stats.retired_snapshots);
  }

  Servers<P>& servers;
  Monitored<P> policy;
  std::minstd_rand random{2};
  int changes = 0;
  std::size_t most_retired = 0;
};

template <class P>
void storm(P const& plain) {
  ObserverTraits watch;
  {
    std::vector<Endpoint> start;
    for (std::size_t number = 0; number < lasting; ++number)
      start.push_back({.id = name_of(number), .address = name_of(number) + ":0"});
    auto const make = [&](Endpoint const& endpoint) {
      return Host{watch.payloads, static_cast<std::size_t>(std::stoul(endpoint.id.substr(5)))};
    };
    Monitored<P> const policy{plain, watch};
    Servers<P> servers{start, make, policy};
    tests::Team<Discovery<P>> discovery{1, servers};
    tests::Team<Operator<P>> operators{1, servers, policy};
    tests::Team<Client<P>> clients{2, servers};
    for (tests::Rounds rounds{20}; rounds.next();) servers.tick();

    CHECK(discovery.stop()[0].changes > 0);
    auto const& chief = operators.stop()[0];
    CHECK(chief.changes > 0);
    CHECK(chief.most_retired <= 64);
    Client<P> sum{servers};
    for (auto& client : clients.stop()) {
      CHECK(client.picks > 0);
      CHECK(client.refused == 0);
      client.end_all();
      CHECK(client.dead == 0);
      sum.recorded += client.recorded;
      for (std::size_t i = 0; i < lasting; ++i) {
        sum.picked[i] += client.picked[i];
        sum.errors[i] += client.errors[i];
        sum.abandoned[i] += client.abandoned[i];
      }
    }
    CHECK(watch.dead_plans.load() == 0);

    auto const stats = servers.stats();
    for (auto const& backend : stats.backends) CHECK(backend.in_flight == 0);
    for (std::size_t i = 0; i < lasting; ++i) {
      auto const& backend = stats.backends[i];
      REQUIRE(backend.id == name_of(i));
      CHECK(backend.total == sum.picked[i] + (i == 2 ? sum.recorded : 0));
      CHECK(backend.ended(Result::error) == sum.errors[i]);
      CHECK(backend.ended(Result::abandoned) == sum.abandoned[i]);
    }
    servers.tick();  // without readers
    CHECK(servers.stats().retired_snapshots == 0);
    CHECK(watch.payloads.alive() == static_cast<std::int64_t>(stats.backends.size()));
  }
  CHECK(watch.payloads.alive() == 0);
  CHECK(watch.plans.alive() == 0);
}

}  // namespace

TEST_CASE("while everything changes no pick fails, and each is counted exactly once") {
  for (auto const& policy : tests::erased({})) {
    CAPTURE(policy.name());
    storm(policy);
  }
}

TEST_CASE("while everything changes no pick fails either where the policy's type is known") {
  storm(poise::PowerOfTwo<poise::PeakEwma>{});
}
