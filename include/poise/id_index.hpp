// SPDX-License-Identifier: MIT
#pragma once

// Which position has this id? An index that stores positions only; the ids stay where they are.

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include <poise/hash.hpp>

namespace poise::detail {

/// From id to position. *Cost* 8 to 16 bytes a backend.
class IdIndex {
 public:
  static constexpr std::uint32_t absent = ~std::uint32_t{0};

  explicit IdIndex(std::size_t size) {
    std::size_t slots = 4;
    while (slots < 2 * size) slots *= 2;
    slots_.assign(slots, absent);
  }

  /// The position under this id, or `absent`. `id_at(position)` tells the ids.
  template <class IdAt>
  [[nodiscard]] std::uint32_t find(std::string_view id, IdAt const& id_at) const {
    return slots_[slot_of(id, id_at)];
  }
  /// Adds a position. Returns the one that has the id already, or `absent`.
  template <class IdAt>
  std::uint32_t insert(std::uint32_t position, IdAt const& id_at) {
    auto& slot = slots_[slot_of(id_at(position), id_at)];
    if (slot == absent) {
      slot = position;
      return absent;
    }
    return slot;
  }

 private:
  template <class IdAt>
  [[nodiscard]] std::size_t slot_of(std::string_view id, IdAt const& id_at) const {
    auto const mask = slots_.size() - 1;
    auto slot = hash_text(id) & mask;
    while (slots_[slot] != absent && id_at(slots_[slot]) != id) slot = (slot + 1) & mask;
    return slot;
  }

  std::vector<std::uint32_t> slots_;
};

}  // namespace poise::detail
