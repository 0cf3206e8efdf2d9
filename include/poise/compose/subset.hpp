// SPDX-License-Identifier: MIT
#pragma once

// Each client uses k of n backends, another k each: for fleets where every client connected to
// every backend would be too many connections.
//
//   poise::Subset<poise::P2C>{{.client = 7, .clients = 300, .size = 20}}
//
// Use it beyond some hundred clients and backends; below, connections are cheaper than a choice
// among fewer. Clients agree without a word: each computes the same table from the backends' ids,
// the number of clients, and k. How even that is and how little a change moves: coverage.hpp.
//
// Weights play no part in who uses whom. In a large fleet give several clients the same number.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <poise/backend.hpp>
#include <poise/candidates.hpp>
#include <poise/compose/coverage.hpp>
#include <poise/compose/forward.hpp>
#include <poise/compose/part.hpp>
#include <poise/error.hpp>
#include <poise/policy.hpp>

namespace poise {

struct SubsetOptions {
  std::uint32_t client = 0;   ///< This client's number, below `clients`.
  std::uint32_t clients = 1;  ///< How many numbers there are; the same for all.
  std::uint32_t size = 20;    ///< How many backends each uses; the same for all.
};

/// All backends if there are no more than `size`. For each of its own that can't be picked now, the
/// next one in this client's own order stands in until it can, so that a client has `size` backends
/// as long as so many are there at all. Nobody else is picked: if those are at their limits, a pick
/// fails.
/// *Errors* ConfigError: size 0, no clients, a client number that is not below their number.
/// *Cost* a pick as in Filter. When backends come, go or change weight, about 10 ns per backend and
/// client: 3 ms for 300 clients of 1000 backends; when health changes, O(n log n).
template <class P>
class Subset : public detail::Around<P> {
 public:
  struct Plan {
    std::uint64_t generation = 0;
    std::vector<std::uint32_t> own{};  // positions, ascending; the client's when all is well
    detail::Part<P> part{};
  };

  explicit Subset(SubsetOptions options, P inner = {})
      : detail::Around<P>{std::move(inner)}, options_{options} {
    check(options);
  }

  [[nodiscard]] std::string name() const { return "subset(" + hooks::name(this->inner()) + ")"; }

  [[nodiscard]] Plan plan(Candidates const& candidates, Plan const* before) const {
    Plan plan;
    plan.generation = candidates.generation();
    plan.own =
        before != nullptr && before->generation == plan.generation ? before->own : own(candidates);
    auto const used = with_stand_ins(plan.own, candidates);
    plan.part = detail::Part<P>{this->inner(), candidates,
                                [&](Backend const& backend) {
                                  return std::binary_search(used.begin(), used.end(), &backend);
                                },
                                before == nullptr ? nullptr : &before->part};
    return plan;
  }
  [[gnu::always_inline]] std::size_t pick(Plan const& plan, Candidates const&,
                                          Context& context) const {
    return plan.part.pick(this->inner(), context);
  }
  /// Also what a scan found past this policy must pass.
  [[nodiscard]] bool admit(Plan const& plan, Candidates const&, std::size_t i,
                           std::uint32_t in_flight, Context& context) const {
    return plan.part.admit(this->inner(), i, in_flight, context);
  }

 private:
  using Backends = std::vector<Backend const*>;  // in the order of their addresses

  [[nodiscard]] std::vector<std::uint32_t> own(Candidates const& candidates) const {
    std::vector<std::uint64_t> hashes(candidates.members());
    for (std::size_t position = 0; position < hashes.size(); ++position)
      hashes[position] = detail::stable_hash(candidates.member(position).id());
    if (hashes.size() > options_.size)
      return detail::cover(hashes, options_.clients, options_.size)[options_.client];
    std::vector<std::uint32_t> all(hashes.size());
    for (std::uint32_t position = 0; position < all.size(); ++position) all[position] = position;
    return all;
  }

  [[nodiscard]] Backends with_stand_ins(std::vector<std::uint32_t> const& own,
                                        Candidates const& candidates) const {
    Backends used;
    std::size_t missing = 0;
    for (auto const position : own) {
      used.push_back(&candidates.member(position));
      if (candidates.index_of(position) == Candidates::none) ++missing;
    }
    std::sort(used.begin(), used.end());
    if (missing == 0) return used;
    std::vector<std::pair<std::uint64_t, Backend const*>> others;
    for (std::size_t i = 0; i < candidates.size(); ++i)
      if (auto const* other = &candidates[i]; !std::binary_search(used.begin(), used.end(), other))
        others.emplace_back(detail::pair_score(options_.client, detail::stable_hash(other->id())),
                            other);
    std::sort(others.begin(), others.end());
    others.resize(std::min(missing, others.size()));
    for (auto const& [score, other] : others) used.push_back(other);
    std::sort(used.begin(), used.end());
    return used;
  }

  static void check(SubsetOptions const& options) {
    if (options.size == 0)
      throw ConfigError{"size of Subset is 0: each client needs a backend; 20 is usual"};
    if (options.client >= options.clients)
      throw ConfigError{"client of Subset is " + std::to_string(options.client) + " of " +
                        std::to_string(options.clients) +
                        ": clients are numbered from 0 to one less than their number"};
  }

  SubsetOptions options_;
};

}  // namespace poise
