// SPDX-License-Identifier: MIT

// Who may be picked changes under load: whole sets are replaced, nearly all backends vanish and
// come back, some are drained. Picks go on evenly, and what a change says holds when it returns.

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <poise/balancer.hpp>
#include <poise/policy/power_of_two.hpp>
#include <poise/policy/round_robin.hpp>

#include "stress/team.hpp"
#include "support/catch.hpp"

namespace {

using poise::Endpoint;
using poise::HealthState;
using tests::Census;
using tests::Mortal;
using tests::Number;

struct Host {
  Host(Census& census, std::size_t place) : mortal{census}, number{place} {}
  Mortal mortal;
  std::size_t number;
};

template <class P>
using Servers = poise::Balancer<P, Host>;

std::vector<Endpoint> endpoints(std::size_t count, std::size_t generation) {
  std::vector<Endpoint> result;
  for (std::size_t i = 0; i < count; ++i) {
    auto const id = std::to_string(i);
    result.push_back({.id = id, .address = id + "@" + std::to_string(generation)});
  }
  return result;
}

auto hosts(Census& census) {
  return [&census](Endpoint const& endpoint) {
    return Host{census, static_cast<std::size_t>(std::stoul(endpoint.id))};
  };
}

/// Counts whom it got.
template <class P>
struct Client {
  Client(Servers<P>& balancer, std::size_t size) : servers{balancer}, counts(size) {}
  void work() {
    auto lease = servers.pick();
    if (!lease) {
      ++refused;
      return;
    }
    if (!lease->payload().mortal.alive()) ++dead;
    ++counts[lease->payload().number];
    lease.finish();
  }
  Servers<P>& servers;
  std::vector<std::uint64_t> counts;
  int refused = 0;
  int dead = 0;
};

}  // namespace

TEST_CASE("a rotation goes on evenly while all of 1000 backends are replaced over and over") {
  constexpr std::size_t size = 1000;
  Census census;
  {
    Servers<poise::RoundRobin> servers{endpoints(size, 0), hosts(census)};
    tests::Team<Client<poise::RoundRobin>> clients{2, servers, size};
    std::size_t generation = 0;
    for (tests::Rounds rounds{20}; rounds.next();) {
      servers.update(endpoints(size, ++generation));
      CHECK(servers.stats().retired_snapshots <= 64);
    }
    for (auto const& client : clients.stop()) {
      CHECK(client.refused == 0);
      CHECK(client.dead == 0);
      auto const [least, most] = std::minmax_element(client.counts.begin(), client.counts.end());
      CHECK(*most - *least <= 1);  // the thread's place in the rotation outlives every update
    }
    servers.tick();
    CHECK(census.alive() == size);
  }
  CHECK(census.alive() == 0);
}

TEST_CASE("255 of 256 backends may go and come back: picks go on, and each that came is picked") {
  constexpr std::size_t size = 256;
  Census census;
  {
    Servers<poise::RoundRobin> servers{endpoints(size, 0), hosts(census)};
    tests::Team<Client<poise::RoundRobin>> clients{8, servers, size};
    auto const seen = [&](std::size_t picks) {
      std::set<std::size_t> numbers;
      for (std::size_t i = 0; i < picks; ++i) numbers.insert(servers.pick()->payload().number);
      return numbers;
    };
    std::size_t left = 0;
    for (tests::Rounds rounds{6}; rounds.next(); left = (left + 7) % size) {
      if (rounds.made() % 2 == 0) {
        servers.update({{.id = std::to_string(left), .address = std::to_string(left) + "@0"}});
      } else {
        for (std::size_t i = 0; i < size; ++i)
          if (i != left) servers.remove(std::to_string(i));
      }
      CHECK(seen(3) == std::set{left});
      if (rounds.made() % 3 == 0) {
        for (std::size_t i = 0; i < size; ++i)
          if (i != left)
            servers.add({.id = std::to_string(i), .address = std::to_string(i) + "@0"});
      } else {
        servers.update(endpoints(size, 0));
      }
      CHECK(seen(size).size() == size);
      servers.remove("255");
      servers.add({.id = "255", .address = "255@0"});
      CHECK(seen(size).contains(255));
      if (left == 255) left = 0;  // 255 has just come back as another backend
    }
    std::set<std::size_t> picked;
    for (auto const& client : clients.stop()) {
      CHECK(client.refused == 0);
      CHECK(client.dead == 0);
      for (std::size_t i = 0; i < size; ++i)
        if (client.counts[i] != 0) picked.insert(i);
    }
    CHECK(picked.size() == size);
    servers.tick();
    CHECK(census.alive() == size);
  }
  CHECK(census.alive() == 0);
}

namespace {

/// What was taken out, told to clients only after the change has returned, and taken back before
/// the change that undoes it begins. In `round` the number of the backend, and which time it is.
struct Banned {
  static constexpr std::uint64_t nobody = 0;
  std::atomic<std::uint64_t> word{nobody};
  void say(std::size_t number, std::uint64_t round) { word = round << 16U | (number + 1); }
  void take_back() { word = nobody; }
  static std::size_t number_of(std::uint64_t word) { return (word & 0xffffU) - 1; }
};

struct Warned {
  Warned(Servers<poise::P2C>& balancer, Banned& to_heed, Number& all_checked)
      : servers{balancer}, banned{to_heed}, checked{all_checked} {}
  void work() {
    auto const before = banned.word.load();
    auto const lease = servers.pick();
    auto const after = banned.word.load();
    if (before == Banned::nobody || before != after) return;
    checked.add(1);
    // This pick began after the change returned, and ended before the next one began.
    if (lease && lease->payload().number == Banned::number_of(before)) ++wrong;
  }
  Servers<poise::P2C>& servers;
  Banned& banned;
  Number& checked;
  int wrong = 0;
};

}  // namespace

TEST_CASE("a backend is picked no more once the change that takes it out has returned") {
  constexpr std::size_t size = 4;
  Census census;
  Servers<poise::P2C> servers{endpoints(size, 0), hosts(census)};
  Banned banned;
  Number checked{0};
  tests::Team<Warned> clients{2, servers, banned, checked};
  std::uint64_t round = 0;
  for (tests::Rounds rounds{100}; rounds.next();) {
    auto const number = static_cast<std::size_t>(++round % size);
    auto const id = std::to_string(number);
    auto const out = [&] {
      banned.say(number, round);
      for (int i = 0; i < 20; ++i)
        if (servers.pick()->payload().number == number) return false;
      auto const before = checked.load();
      while (round % 8 == 0 && checked.load() == before) std::this_thread::yield();
      banned.take_back();
      return true;
    };
    switch (round % 5) {
      case 0:
        servers.drain(id);
        REQUIRE(out());
        servers.undrain(id);
        break;
      case 1:
        servers.set_health(id, HealthState::unhealthy);
        REQUIRE(out());
        servers.set_health(id, std::nullopt);
        break;
      case 2:
        servers.report_health(id, HealthState::unhealthy);
        REQUIRE(out());
        servers.report_health(id, HealthState::healthy);
        break;
      case 3:
        servers.set_weight(id, 0);
        REQUIRE(out());
        servers.set_weight(id, 1);
        break;
      default: {
        auto rest = endpoints(size, 0);
        rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(number));
        servers.update(rest);
        REQUIRE(out());
        servers.update(endpoints(size, 0));
      }
    }
  }
  for (auto const& client : clients.stop()) CHECK(client.wrong == 0);
}

namespace {

/// A pick that has seen its candidates, and chooses the last of them only when told to.
struct Slow {
  struct Stop {
    Number inside{0};
    Number go{0};
  };
  Stop* stop;
  std::size_t pick(poise::Candidates const& candidates, poise::Context&) const {
    stop->inside.store(1);
    while (stop->go.load() == 0) std::this_thread::yield();
    return candidates.size() - 1;
  }
};

}  // namespace

TEST_CASE("a backend that a pick is about to choose stays alive when it is removed meanwhile") {
  Census census;
  Slow::Stop stop;
  {
    Servers<Slow> servers{endpoints(2, 0), hosts(census), Slow{&stop}};
    Servers<Slow>::Lease lease;
    std::thread picker{[&] { lease = servers.pick(); }};
    while (stop.inside.load() == 0) std::this_thread::yield();
    servers.remove("1");
    servers.tick();
    servers.tick();
    CHECK(census.alive() == 2);
    CHECK(servers.stats().retired_snapshots == 1);
    stop.go.store(1);
    picker.join();
    REQUIRE(lease);
    CHECK(lease->id() == "1");
    CHECK(lease->payload().mortal.alive());
    servers.tick();
    CHECK(servers.stats().retired_snapshots == 0);
    CHECK(census.alive() == 2);
    CHECK(lease->in_flight() == 1);
    lease.finish();
    servers.tick();
    CHECK(census.alive() == 1);
  }
  CHECK(census.alive() == 0);
}

TEST_CASE("a change that waits for readers publishes nothing once the balancer is closed") {
  // A snapshot that is published after the end would keep core and payloads alive for ever.
  Census census;
  Slow::Stop stop;
  {
    auto servers = std::make_unique<Servers<Slow>>(endpoints(2, 0), hosts(census), Slow{&stop});
    std::thread picker{[&] { servers->pick().finish(); }};
    while (stop.inside.load() == 0) std::this_thread::yield();
    for (std::uint32_t change = 0; change < 64; ++change) servers->set_weight("0", 2 + change);
    // One more would be the 65th: it waits until the pick has ended.
    auto const core = poise::detail::Inside::core(*servers);
    Number changing{0};
    std::thread changer{[&] {
      changing.store(1);
      core->set_weight("0", 100);
    }};
    while (changing.load() == 0) std::this_thread::yield();
    for (int i = 0; i < 1000; ++i) std::this_thread::yield();
    std::thread closer{[&] { servers.reset(); }};
    while (!core->stats().backends.empty()) std::this_thread::yield();
    stop.go.store(1);
    picker.join();
    changer.join();
    closer.join();
  }
  CHECK(census.alive() == 0);
}

TEST_CASE("while a reader is stuck 64 old snapshots wait for it, and changes go on when it does") {
  constexpr int changes = 200;
  Slow::Stop stop;
  poise::Balancer<Slow> servers{endpoints(2, 0), Slow{&stop}};
  std::thread picker{[&] { servers.pick().finish(); }};
  while (stop.inside.load() == 0) std::this_thread::yield();
  Number made{0};
  std::thread changer{[&] {
    for (int change = 0; change < changes; ++change) {
      servers.set_weight("0", 2 + static_cast<std::uint32_t>(change));
      made.add(1);
    }
  }};
  while (servers.stats().retired_snapshots < 64) std::this_thread::yield();
  for (int i = 0; i < 1000; ++i) {
    REQUIRE(servers.stats().retired_snapshots == 64);
    REQUIRE(made.load() <= 64);
    std::this_thread::yield();
  }
  stop.go.store(1);
  picker.join();
  changer.join();
  CHECK(servers.stats().backends[0].weight == 1 + changes);
  servers.tick();
  CHECK(servers.stats().retired_snapshots == 0);
}
