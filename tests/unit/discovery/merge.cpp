// SPDX-License-Identifier: MIT

#include <cstdint>
#include <vector>

#include <poise/discovery/merge.hpp>

#include "support/catch.hpp"

namespace unit_discovery_merge {

using namespace poise::discovery;
using poise::Endpoint;
using Lists = std::vector<std::vector<Endpoint>>;

TEST_CASE("the union of two sources takes what both name from the first") {
  Lists const lists{{{.id = "b", .weight = 2}}, {{.id = "a"}, {.id = "b", .weight = 9}}};
  CHECK(merge(Merge::all, lists) == std::vector<Endpoint>{{.id = "a"}, {.id = "b", .weight = 2}});
}

TEST_CASE("a fallback is used while the source before it names no backend with weight") {
  Lists lists{{}, {{.id = "a", .weight = 0}}, {{.id = "b"}}, {{.id = "c"}}};
  CHECK(merge(Merge::first, lists) == lists[2]);
  lists[0] = {{.id = "x"}};
  CHECK(merge(Merge::first, lists) == lists[0]);
  CHECK(merge(Merge::first, Lists{{}, {}}).empty());
}

TEST_CASE("each source gets tiers of its own, after those of the one before") {
  Lists const lists{
      {{.id = "a"}, {.id = "b", .tier = 2}}, {{.id = "c"}, {.id = "d", .tier = 1}}, {{.id = "e"}}};
  CHECK(merge(Merge::tiers, lists) == std::vector<Endpoint>{{.id = "a"},
                                                            {.id = "b", .tier = 2},
                                                            {.id = "c", .tier = 3},
                                                            {.id = "d", .tier = 4},
                                                            {.id = "e", .tier = 5}});
  CHECK(merge(Merge::tiers, Lists{{{.id = "a", .tier = UINT32_MAX}}, {{.id = "b", .tier = 5}}})[1]
            .tier == UINT32_MAX);
}

}  // namespace unit_discovery_merge
