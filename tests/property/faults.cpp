// SPDX-License-Identifier: MIT
// What random schedules and their neighbourhood brought to light, each as small as it can be.

#include <vector>

#include <poise/compose/any_policy.hpp>
#include <poise/compose/shed.hpp>
#include <poise/policy/round_robin.hpp>

#include "support/catch.hpp"
#include "support/servers.hpp"

namespace property_faults {

TEST_CASE("a policy that sheds does so whatever type its inner policy has") {
  using poise::AnyPolicy;
  auto const admitted = [](AnyPolicy policy) {
    auto servers = tests::servers_with(policy, tests::letters("a"));
    servers.set_admission("a", {.max_in_flight = 10});
    std::vector<tests::AnyServers::Lease> leases;
    for (int i = 0; i < 20; ++i)
      if (auto lease = servers.pick({.priority = poise::Priority::low}))
        leases.push_back(std::move(lease));
    return leases.size();
  };
  CHECK(admitted(AnyPolicy{poise::Shed<poise::RoundRobin>{}}) == 5);
  CHECK(admitted(AnyPolicy{poise::Shed<AnyPolicy>{{}, AnyPolicy{poise::RoundRobin{}}}}) == 5);
}

}  // namespace property_faults
