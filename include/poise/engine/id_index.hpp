// SPDX-License-Identifier: MIT
#pragma once

// A hash table from id to position. It stores positions only, no ids.

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include <poise/hash/siphash.hpp>
#include <poise/random.hpp>

namespace poise::inline v0_1_0::detail {

/// A hash table from id to position. *Cost* 8 to 16 bytes a backend.
class IdIndex {
 public:
  static constexpr std::uint32_t absent = ~std::uint32_t{0};

  explicit IdIndex(std::size_t size) {
    std::size_t slots = 4;
    while (slots < 2 * size) slots *= 2;
    slots_.assign(slots, absent);
  }

  /// The position under this id, or `absent`. `id_at(position)` gives the id there.
  template <class IdAt>
  [[nodiscard]] std::uint32_t find(std::string_view id, IdAt const& id_at) const {
    return slots_[slot_of(id, id_at)];
  }
  /// Adds a position. Returns the position that already has this id, or `absent`.
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
    auto slot = hash::siphash(id, secret()) & mask;
    while (slots_[slot] != absent && id_at(slots_[slot]) != id) slot = (slot + 1) & mask;
    return slot;
  }

  /// One secret per process, so that an attacker can't compute ids which share a slot: n such ids
  /// would cost n^2 comparisons.
  static hash::Secret secret() {
    static hash::Secret const secret{fresh_seed(), fresh_seed()};
    return secret;
  }

  std::vector<std::uint32_t> slots_;
};

}  // namespace poise::inline v0_1_0::detail
