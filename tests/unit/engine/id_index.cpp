// SPDX-License-Identifier: MIT
// From id to position: finds what was inserted, and who else has an id.

#include <poise/engine/id_index.hpp>
#include <poise/hash/local.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/catch.hpp"

namespace unit_engine_id_index {

using poise::detail::IdIndex;

namespace {

/// An index over ids; returns what each insertion said.
struct Ids {
  auto at() const {
    return [this](std::uint32_t i) -> std::string_view { return ids[i]; };
  }
  explicit Ids(std::vector<std::string> all) : ids{std::move(all)}, index{ids.size()} {
    for (std::uint32_t i = 0; i < ids.size(); ++i) answers.push_back(index.insert(i, at()));
  }
  std::uint32_t find(std::string_view id) const { return index.find(id, at()); }

  std::vector<std::string> ids;
  IdIndex index;
  std::vector<std::uint32_t> answers{};
};

}  // namespace

TEST_CASE("every id is found at its position") {
  std::vector<std::string> all;
  for (int i = 0; i < 10'000; ++i) all.push_back("backend-" + std::to_string(i));
  Ids const ids{all};
  for (std::uint32_t i = 0; i < 10'000; ++i) REQUIRE(ids.find(all[i]) == i);
}

TEST_CASE("an id that was not inserted is absent") {
  CHECK(Ids{{"a", "b"}}.find("c") == IdIndex::absent);
  CHECK(Ids{{}}.find("a") == IdIndex::absent);
  CHECK(Ids{{}}.find("") == IdIndex::absent);
}

TEST_CASE("an id given twice keeps its first position and reports it") {
  Ids const ids{{"a", "b", "a"}};
  CHECK(ids.answers == std::vector<std::uint32_t>{IdIndex::absent, IdIndex::absent, 0});
  CHECK(ids.find("a") == 0);
}

TEST_CASE("ids that were made to collide are found as fast as others") {
  // 512 ids with one slot among 1024, by a hash that is known outside of this process.
  constexpr std::size_t count = 512;
  std::vector<std::string> crafted;
  for (std::uint64_t i = 0; crafted.size() < count; ++i) {
    auto id = std::to_string(i);
    if (poise::detail::hash_text(id) % 1024 == 0) crafted.push_back(std::move(id));
  }
  std::size_t comparisons = 0;
  auto const at = [&](std::uint32_t i) -> std::string_view {
    ++comparisons;
    return crafted[i];
  };
  IdIndex index{count};
  for (std::uint32_t i = 0; i < count; ++i) index.insert(i, at);
  // At most half full, an insertion compares 1.5 ids on average; in a single chain 256.
  CHECK(comparisons < 10 * count);
}

}  // namespace unit_engine_id_index
