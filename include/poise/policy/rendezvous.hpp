// SPDX-License-Identifier: MIT
#pragma once

// Rendezvous (highest random weight) hashing: every backend draws a number for the key, and the
// best number wins. Shares follow the weights exactly, as few keys as possible move, and there is
// no table.
//
// Use it for small sets: a pick reads all backends. Up to a dozen backends it costs no more than a
// ring.
//
// With weights, backend i draws an exponentially distributed time of rate w_i, and the shortest
// time wins: -ln(u) / w, with u uniform between 0 and 1 from the key and the id.
//
// Source: Thaler and Ravishankar 1998, "Using name-based mappings to increase hit rates";
// Schindelhauer and Schomaker 2005, "Weighted distributed hash tables", logarithmic method.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <poise/hashing/keyed.hpp>
#include <poise/policy.hpp>
#include <poise/random.hpp>

namespace poise::inline v0_1_0 {

/// *Cost* O(n): 1 ns a backend, 6 ns with unequal weights. The plan holds 8 bytes a backend.
struct Rendezvous {
  static constexpr Traits traits{.keyed = true};
  static constexpr char const* name = "rendezvous";

  std::optional<hash::Secret> secret{};  ///< Against crafted keys.

  struct Table {
    detail::TableKey made_for;
    std::vector<std::uint64_t> ids;  // hashed, by position
  };
  using Plan = std::shared_ptr<Table const>;

  [[nodiscard]] static Plan plan(Candidates const& candidates, Plan const* before) {
    return detail::reuse_table(candidates, false, before, [&](detail::TableKey made_for) {
      std::vector<std::uint64_t> ids(candidates.members());
      for (std::size_t position = 0; position < ids.size(); ++position)
        ids[position] = hash::xxh64(candidates.member(position).id());
      return std::make_shared<Table const>(Table{std::move(made_for), std::move(ids)});
    });
  }

  std::size_t pick(Plan const& plan, Candidates const& candidates, Context& context) const {
    if (context.unrestricted())
      return pick_where(plan, candidates, context, [](std::size_t) { return true; });
    return pick_where(plan, candidates, context, detail::AcceptUsable{candidates, context});
  }

  /// The first backend in the key's order for which accept(index) holds; `none` if there is none.
  template <class Accept>
  std::size_t pick_where(Plan const& plan, Candidates const& candidates, Context& context,
                         Accept const& accept) const {
    auto const key = context.request.key();
    auto const hash = key.empty() ? context.random() : key_hash(key, secret);
    return candidates.equal_weights()
               ? best<std::uint64_t>(*plan, candidates, hash, accept,
                                     [](std::uint64_t drawn, std::size_t) { return ~drawn; })
               : best<double>(*plan, candidates, hash, accept,
                              [&](std::uint64_t drawn, std::size_t i) {
                                // The middle of one of 2^53 equal parts: never 0 or 1.
                                auto const u = (static_cast<double>(drawn >> 11U) + 0.5) * 0x1p-53;
                                return -std::log(u) / static_cast<double>(candidates.weight(i));
                              });
  }

  /// The fraction of all hashes that each member gets now, by position.
  [[nodiscard]] static std::vector<double> shares(Plan const&, Candidates const& candidates) {
    std::vector<double> weights(candidates.members());
    for (std::size_t position = 0; position < weights.size(); ++position)
      if (candidates.index_of(position) != Candidates::none)
        weights[position] = static_cast<double>(candidates.member_weight(position));
    return detail::as_shares(std::move(weights));
  }

 private:
  /// The candidate with the shortest time.
  template <class Time, class Accept, class Draw>
  [[nodiscard]] static std::size_t best(Table const& table, Candidates const& candidates,
                                        std::uint64_t hash, Accept const& accept,
                                        Draw const& draw) {
    std::size_t winner = Candidates::none;
    Time first{};
    for (std::size_t position = 0; position < table.ids.size(); ++position) {
      auto const i = candidates.index_of(position);
      if (i == Candidates::none || !accept(i)) continue;
      auto const time = draw(detail::mix(hash ^ table.ids[position]), i);
      if (winner != Candidates::none && !(time < first)) continue;
      first = time;
      winner = i;
    }
    return winner;
  }
};

}  // namespace poise::inline v0_1_0
