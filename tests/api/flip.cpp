// SPDX-License-Identifier: MIT
// Seam: membership and eligibility are two kinds of change. A keyed policy keeps its table over
// flips.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/poise.hpp>

#include "support/catch.hpp"

namespace api_flip {

namespace {

/// Each of 1009 slots belongs to a member; a key whose owner is out walks on to the next slot.
struct Keyed {
  static constexpr poise::Traits traits{.keyed = true};
  static constexpr std::size_t slots = 1009;
  struct Plan {
    std::uint64_t generation = 0;
    std::shared_ptr<std::vector<std::size_t> const> owners{};  // slot -> position
  };
  std::shared_ptr<int> tables_built = std::make_shared<int>(0);

  Plan plan(poise::Candidates const& candidates, Plan const* before) const {
    if (before != nullptr && before->generation == candidates.generation()) return *before;
    ++*tables_built;
    auto owners = std::make_shared<std::vector<std::size_t>>(slots);
    for (std::size_t slot = 0; slot < slots; ++slot) (*owners)[slot] = slot % candidates.members();
    return {candidates.generation(), std::move(owners)};
  }
  std::size_t pick(Plan const& plan, poise::Candidates const& candidates,
                   poise::Context& context) const {
    auto const start = std::hash<std::string_view>{}(context.request.key()) % slots;
    for (std::size_t step = 0; step < slots; ++step) {
      auto const i = candidates.index_of((*plan.owners)[(start + step) % slots]);
      if (i != poise::Candidates::none && context.usable(candidates, i)) return i;
    }
    return 0;
  }
};

struct Fixture {
  Keyed policy{};
  poise::Balancer<Keyed, void, poise::Runtime<poise::VirtualClock>> balancer{
      poise::endpoints({"a", "b", "c", "d", "e"}), policy, {.seed = 1}};

  std::map<std::string, std::string> owners() {
    std::map<std::string, std::string> result;
    for (int i = 0; i < 500; ++i) {
      auto const key = "user-" + std::to_string(i);
      result[key] = balancer.pick({.route_key = key})->id();
    }
    return result;
  }
};

}  // namespace

TEST_CASE("seam flip rebuilds no table") {
  Fixture test;
  CHECK(*test.policy.tables_built == 1);
  test.balancer.drain("b");
  test.balancer.report_health("c", poise::HealthState::unhealthy);
  test.balancer.report_health("d", poise::HealthState::degraded);
  test.balancer.undrain("b");
  CHECK(*test.policy.tables_built == 1);
}

TEST_CASE("seam flip rebuilds the table when members or weights change") {
  Fixture test;
  test.balancer.add({.id = "f"});
  CHECK(*test.policy.tables_built == 2);
  test.balancer.set_weight("f", 2);
  CHECK(*test.policy.tables_built == 3);
}

TEST_CASE("seam flip moves only the keys of the backend that went out and they return") {
  Fixture test;
  auto const before = test.owners();
  test.balancer.drain("b");
  auto const during = test.owners();
  for (auto const& [key, owner] : before) {
    if (owner == "b") CHECK(during.at(key) != "b");
    else CHECK(during.at(key) == owner);
  }
  test.balancer.undrain("b");
  CHECK(test.owners() == before);
}

TEST_CASE("seam flip keeps the table while all backends are out") {
  Fixture test;
  auto const before = test.owners();
  for (auto const* id : {"a", "b", "c", "d", "e"}) test.balancer.drain(id);
  CHECK_FALSE(test.balancer.pick());
  for (auto const* id : {"a", "b", "c", "d", "e"}) test.balancer.undrain(id);
  CHECK(*test.policy.tables_built == 1);
  CHECK(test.owners() == before);
}

TEST_CASE("seam flip lets the key decide between healthy and degraded") {
  // 3 of 5 healthy carry 1.4 * 60 % = 84 % of the keys: n = 500, standard deviation 0.016;
  // tolerance 5 of them. The same key always gets the same answer.
  Fixture test;
  for (auto const* id : {"a", "b"}) test.balancer.report_health(id, poise::HealthState::degraded);
  auto const owners = test.owners();
  auto const degraded = std::count_if(owners.begin(), owners.end(), [](auto const& owner) {
    return owner.second == "a" || owner.second == "b";
  });
  CHECK(std::abs(static_cast<double>(degraded) / 500 - 0.16) < 0.08);
  CHECK(test.owners() == owners);
}

TEST_CASE("seam flip sends a retried key to another backend and always to the same") {
  Fixture test;
  auto const first = test.balancer.pick({.route_key = "user-7"});
  std::uint64_t const tried[]{first.serial()};
  auto const second = test.balancer.pick({.route_key = "user-7", .excluded = tried});
  auto const third = test.balancer.pick({.route_key = "user-7", .excluded = tried});
  CHECK(second->id() != first->id());
  CHECK(third->id() == second->id());
}

}  // namespace api_flip
