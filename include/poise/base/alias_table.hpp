// SPDX-License-Identifier: MIT
#pragma once

// Draws an index in proportion to integer weights, in constant time.
//
// Each of n columns has the same probability and holds at most two indexes: its own, and the alias
// that fills it up. Probabilities are exact to 2^-32 of a column.
//
// Source: Walker 1977; Vose 1991, "A linear algorithm for generating random numbers with a given
// distribution".

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <poise/random.hpp>

namespace poise::inline v0_1_0 {

class AliasTable {
 public:
  AliasTable() = default;

  /// *Requires* at least one weight above 0. *Cost* O(n), one allocation that stays.
  explicit AliasTable(std::span<std::uint32_t const> weights) : columns_(weights.size()) {
    // A column holds `total` grains; index i has weights[i] * n grains. All in integers: n < 2^32,
    // total < 2^64, so a backend's grains need up to 96 bits.
    detail::Wide total = 0;
    for (auto const weight : weights) total += weight;
    auto const size = weights.size();
    std::vector<detail::Wide> grains(size);
    std::vector<std::uint32_t> poor;
    std::vector<std::uint32_t> rich;
    for (std::uint32_t index = 0; index < size; ++index) {
      grains[index] = static_cast<detail::Wide>(weights[index]) * size;
      (grains[index] < total ? poor : rich).push_back(index);
    }
    while (!poor.empty() && !rich.empty()) {
      auto const column = poor.back();
      auto const donor = rich.back();
      poor.pop_back();
      columns_[column] = {static_cast<std::uint32_t>((grains[column] << 32U) / total), donor};
      grains[donor] -= total - grains[column];
      if (grains[donor] < total) {
        rich.pop_back();
        poor.push_back(donor);
      }
    }
    for (auto const index : rich) columns_[index] = {0, index};  // full: own and alias are the same
    for (auto const index : poor) columns_[index] = {0, index};
  }

  /// *Requires* a table built from weights. *Cost* one draw.
  [[nodiscard]] std::uint32_t draw(Rng& rng) const noexcept {
    auto const bits = rng();
    // The high 32 bits choose the column, the low 32 bits its own index or its alias. The bias is
    // n / 2^32.
    auto const index = static_cast<std::uint32_t>((bits >> 32U) * columns_.size() >> 32U);
    auto const& column = columns_[index];
    // The choice is random, so a branch would be mispredicted. The mask is all ones for the own
    // index.
    auto const own = 0U - (static_cast<std::uint32_t>(bits) < column.own_part ? 1U : 0U);
    return (index & own) | (column.alias & ~own);
  }

  [[nodiscard]] std::size_t size() const noexcept { return columns_.size(); }
  [[nodiscard]] bool empty() const noexcept { return columns_.empty(); }

 private:
  struct Column {
    std::uint32_t own_part;  // of 2^32
    std::uint32_t alias;
  };
  std::vector<Column> columns_;
};

}  // namespace poise::inline v0_1_0
