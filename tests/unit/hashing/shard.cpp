// SPDX-License-Identifier: MIT
// Shards: jump hash's own values, and what it promises.

#include <poise/hashing/shard.hpp>

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/statistics.hpp"
#include "support/text.hpp"

namespace unit_hashing_shard {

using poise::shard;

TEST_CASE("shards are those of jump hash's known values") {
  // From the tests of Guava's and dgryski's implementations.
  CHECK(shard(std::uint64_t{1}, 1) == 0);
  CHECK(shard(std::uint64_t{42}, 57) == 43);
  CHECK(shard(std::uint64_t{0xdead10cc}, 1) == 0);
  CHECK(shard(std::uint64_t{0xdead10cc}, 666) == 361);
  CHECK(shard(std::uint64_t{256}, 1024) == 520);
}

TEST_CASE("a new shard takes keys from the others, and nothing else moves") {
  for (std::uint32_t shards = 1; shards < 50; ++shards)
    for (int i = 0; i < 500; ++i) {
      auto const key = "key-" + std::to_string(i);
      auto const before = shard(key, shards);
      auto const after = shard(key, shards + 1);
      REQUIRE((after == before || after == shards));
    }
}

TEST_CASE("shards get equal shares") {
  // n = 50 000 keys, expected 5000 each; 9 degrees of freedom.
  std::vector<std::uint64_t> counts(10);
  for (int i = 0; i < 50'000; ++i) ++counts[shard("key-" + std::to_string(i), 10)];
  CHECK(tests::chi_squared(counts, std::vector<double>(10, 1)) < tests::chi_squared_limit(10));
}

TEST_CASE("the largest number of shards works") {
  CHECK(shard("k", std::numeric_limits<std::uint32_t>::max()) <
        std::numeric_limits<std::uint32_t>::max());
}

TEST_CASE("no shards are refused") {
  CHECK(tests::mentions(tests::thrown<poise::ConfigError>([] { (void)shard("k", 0); }),
                        "one of 0 shards"));
}

}  // namespace unit_hashing_shard
