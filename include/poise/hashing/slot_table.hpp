// SPDX-License-Identifier: MIT
#pragma once

// Fills the slots of a Maglev table: backends take turns, and each turn takes the first free slot
// in the backend's own order of preference.
//
// Source: Eisenbud et al. 2016, "Maglev: a fast and reliable software network load balancer".

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/random.hpp>

namespace poise::inline v0_1_0::detail {

/// A backend while a table is filled.
struct Claimant {
  std::uint64_t hash;    // sorts the claimants, so that their given order does not matter
  std::string_view key;  // breaks ties
  std::uint32_t offset;  // its order of preference: offset, offset + skip, ..., modulo the size
  std::uint32_t skip;
  std::uint32_t weight;
  std::uint32_t owner;
  std::uint32_t quota = 0;
  std::uint32_t taken = 0;
};

constexpr bool is_prime(std::uint64_t number) noexcept {
  if (number < 4) return number > 1;
  if (number % 2 == 0) return false;
  for (std::uint64_t factor = 3; factor * factor <= number; factor += 2)
    if (number % factor == 0) return false;
  return true;
}

/// A table of slots. take_best() gives a claimant the free slot that it prefers most.
class SlotTable {
 public:
  explicit SlotTable(std::uint32_t size) : owners_(size), taken_((size + 63) / 64) {}

  [[nodiscard]] bool full() const noexcept { return filled_ == owners_.size(); }
  void take_best(Claimant& claimant) noexcept {
    auto const size = static_cast<std::uint32_t>(owners_.size());
    auto at = claimant.offset;
    auto const next = [&] {  // skip < size < 2^31
      at += claimant.skip;
      if (at >= size) at -= size;
    };
    while ((taken_[at / 64] >> at % 64 & 1U) != 0) next();
    taken_[at / 64] |= std::uint64_t{1} << at % 64;
    owners_[at] = claimant.owner;
    next();
    claimant.offset = at;
    ++claimant.taken;
    ++filled_;
  }
  [[nodiscard]] std::vector<std::uint32_t> release() && noexcept { return std::move(owners_); }

 private:
  std::vector<std::uint32_t> owners_;
  std::vector<std::uint64_t> taken_;
  std::size_t filled_ = 0;
};

/// Sorts claimants into the order in which they take turns.
inline void sort(std::vector<Claimant>& claimants) {
  std::sort(claimants.begin(), claimants.end(), [](auto const& a, auto const& b) {
    return a.hash != b.hash ? a.hash < b.hash : a.key < b.key;
  });
}

/// Sets how many of `size` slots each claimant gets: in proportion to weight, by largest
/// remainders. A claimant that is due less than one slot gets one, and the others share the rest.
/// *Requires* size >= claimants, all of weight above 0.
inline void set_quotas(std::vector<Claimant>& claimants, std::uint32_t size) {
  std::uint64_t slots = size;
  std::uint64_t weights = 0;
  for (auto const& each : claimants) weights += each.weight;
  std::vector<Claimant*> order;
  order.reserve(claimants.size());
  for (auto& each : claimants) order.push_back(&each);
  auto const is_light = [&](Claimant const* each) {
    return Wide{each->weight} * slots < Wide{weights};
  };
  auto heavy = order.begin();
  if (std::any_of(order.begin(), order.end(), is_light)) {
    std::stable_sort(order.begin(), order.end(),
                     [](auto const* a, auto const* b) { return a->weight < b->weight; });
    // Each light claimant that gets its one slot lowers the due of the others. So a claimant that
    // is light stays light.
    for (; heavy != order.end() && is_light(*heavy); ++heavy) {
      (*heavy)->quota = 1;
      weights -= (*heavy)->weight;
      --slots;
    }
  }
  struct Rest {  // lost by rounding down
    std::uint64_t amount;
    Claimant* of;
  };
  std::vector<Rest> rests;
  rests.reserve(claimants.size());
  auto left = static_cast<std::ptrdiff_t>(slots);
  for (; heavy != order.end(); ++heavy) {
    auto const exact = Wide{(*heavy)->weight} * slots;
    (*heavy)->quota = static_cast<std::uint32_t>(exact / weights);
    left -= (*heavy)->quota;
    rests.push_back({static_cast<std::uint64_t>(exact % weights), *heavy});
  }
  std::nth_element(
      rests.begin(), rests.begin() + left, rests.end(), [](auto const& a, auto const& b) {
        return a.amount != b.amount ? a.amount > b.amount : a.of < b.of;  // they are sorted
      });
  for (auto const& rest : std::span{rests}.first(static_cast<std::size_t>(left))) ++rest.of->quota;
}

/// Fills a table by quotas. In each round a claimant is due weight / greatest weight of a slot.
[[nodiscard]] inline std::vector<std::uint32_t> fill(std::vector<Claimant> claimants,
                                                     std::uint32_t size) {
  sort(claimants);
  set_quotas(claimants, size);
  std::uint64_t heaviest = 0;
  std::uint64_t greatest = 0;
  for (auto const& each : claimants) {
    heaviest = std::max<std::uint64_t>(heaviest, each.weight);
    greatest = std::max<std::uint64_t>(greatest, each.quota);
  }
  // If one weight is much greater than the others, there would be one round per slot of it, and in
  // most rounds the others would take nothing. Then several rounds are made at once, so that 4
  // looks per slot suffice.
  std::uint64_t stride = 1;
  while (greatest / stride * claimants.size() > std::uint64_t{4} * size) stride *= 2;
  SlotTable table{size};
  std::vector<Claimant*> waiting;
  waiting.reserve(claimants.size());
  for (auto& each : claimants) waiting.push_back(&each);
  for (std::uint64_t round = stride; !table.full(); round += stride)
    std::erase_if(waiting, [&](Claimant* each) {
      while (each->taken < each->quota &&
             round * each->weight > static_cast<std::uint64_t>(each->taken) * heaviest)
        table.take_best(*each);
      return each->taken == each->quota;
    });
  return std::move(table).release();
}

}  // namespace poise::inline v0_1_0::detail
