// SPDX-License-Identifier: MIT
#pragma once

// Each client uses k of n backends: for fleets where connecting every client to every backend would
// need too many connections.
//
//   poise::Subset<poise::P2C>{{.client = 7, .clients = 300, .size = 20}}
//
// Use it from some hundred clients and backends on; with fewer, connections cost less than a narrow
// choice. Clients need not communicate: each computes the same table from the backends' ids, the
// number of clients, and k. How even the table is and how little a change moves:
// subset_assignment.hpp.
//
// The table ignores weights. In a large fleet several clients may have the same number. Where a
// registry knows the clients, `live` takes them from there, and nobody counts by hand: clients.hpp.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <poise/backend.hpp>
#include <poise/base/check.hpp>
#include <poise/candidates.hpp>
#include <poise/compose/clients.hpp>
#include <poise/compose/planned_subset.hpp>
#include <poise/compose/subset_assignment.hpp>
#include <poise/compose/wrapper.hpp>
#include <poise/error.hpp>
#include <poise/policy.hpp>
#include <poise/policy/trace.hpp>

namespace poise::inline v0_1_0 {

/// Which of the clients this one is, and how many backends each uses.
struct SubsetOptions {
  std::uint32_t client = 0;   ///< This client's number, below `clients`.
  std::uint32_t clients = 1;  ///< How many numbers there are; the same for all.
  std::uint32_t size = 20;    ///< How many backends each uses; the same for all.
  /// The clients by their ids instead, once it has a list: number and count follow it.
  Clients live{};
};

/// Uses all backends if there are at most `size`. If one of the client's backends is not eligible,
/// the next one in the client's own order replaces it for that time, so a client has `size`
/// backends while that many are eligible. No other backend is picked: if all of them are at their
/// limits, a pick fails.
/// *Errors* ConfigError: size 0, no clients, a client number that is not below `clients`.
/// *Cost* a pick as in Filter. When backends come, go or change weight, about 10 ns per backend and
/// client: 3 ms for 300 clients of 1000 backends, and as much when live clients come or go (at
/// replan()); when health changes, O(n log n).
template <class P>
class Subset : public detail::Around<P> {
 public:
  struct Plan {
    std::uint64_t generation = 0;
    std::vector<std::uint32_t> own{};  // positions, ascending; the client's when all is well
    detail::PlannedSubset<P> subset{};
  };

  explicit Subset(SubsetOptions const& options, P inner = detail::default_policy<P>())
      : detail::Around<P>{std::move(inner)}, options_{options} {
    check(options);
  }

  [[nodiscard]] std::string name() const { return "subset(" + hooks::name(this->inner()) + ")"; }

  [[nodiscard]] Plan plan(Candidates const& candidates, Plan const* before) const {
    Plan plan;
    plan.generation = candidates.generation();
    auto const clients = options_.live.view();
    plan.own = before != nullptr && before->generation == plan.generation
                   ? before->own
                   : own(candidates, clients.get());
    auto const used = with_stand_ins(plan.own, candidates, own_key(clients.get()));
    plan.subset =
        detail::PlannedSubset<P>{this->inner(), candidates,
                                 [&](Backend const& backend) {
                                   return std::binary_search(used.begin(), used.end(), &backend);
                                 },
                                 before == nullptr ? nullptr : &before->subset};
    return plan;
  }
  [[gnu::always_inline]] std::size_t pick(Plan const& plan, Candidates const&,
                                          Context& context) const {
    if (auto* trace = context.trace(); trace != nullptr) [[unlikely]]
      trace->narrow(Candidates{plan.subset.roster()}, LeftOutBy::subset);
    return plan.subset.pick(this->inner(), context);
  }
  /// Applies to backends that a scan found, too.
  [[nodiscard]] bool admit(Plan const& plan, Candidates const&, std::size_t i,
                           std::uint32_t in_flight, Context& context) const {
    return plan.subset.admit(this->inner(), i, in_flight, context);
  }

 private:
  using Backends = std::vector<Backend const*>;  // in the order of their addresses

  [[nodiscard]] std::uint64_t own_key(Clients::View const* live) const {
    return live == nullptr ? detail::client_key(options_.client)
                           : detail::stable_hash(live->ids[live->self]);
  }
  [[nodiscard]] std::vector<std::uint64_t> keys(Clients::View const* live) const {
    std::vector<std::uint64_t> keys(live == nullptr ? options_.clients : live->ids.size());
    for (std::size_t i = 0; i < keys.size(); ++i)
      keys[i] = live == nullptr ? detail::client_key(i) : detail::stable_hash(live->ids[i]);
    return keys;
  }

  [[nodiscard]] std::vector<std::uint32_t> own(Candidates const& candidates,
                                               Clients::View const* live) const {
    std::vector<std::uint64_t> hashes(candidates.members());
    for (std::size_t position = 0; position < hashes.size(); ++position)
      hashes[position] = detail::stable_hash(candidates.member(position).id());
    if (hashes.size() > options_.size)
      return detail::assign_subsets(hashes, keys(live),
                                    options_.size)[live == nullptr ? options_.client : live->self];
    std::vector<std::uint32_t> all(hashes.size());
    for (std::uint32_t position = 0; position < all.size(); ++position) all[position] = position;
    return all;
  }

  [[nodiscard]] Backends with_stand_ins(std::vector<std::uint32_t> const& own,
                                        Candidates const& candidates, std::uint64_t key) const {
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
        others.emplace_back(detail::pair_score(key, detail::stable_hash(other->id())), other);
    std::sort(others.begin(), others.end());
    others.resize(std::min(missing, others.size()));
    for (auto const& [score, other] : others) used.push_back(other);
    std::sort(used.begin(), used.end());
    return used;
  }

  static void check(SubsetOptions const& options) {
    detail::check_at_least_one("size of Subset", options.size,
                               "each client needs a backend; 20 is usual");
    if (options.client >= options.clients)
      throw ConfigError{"client of Subset is " + std::to_string(options.client) + " of " +
                        std::to_string(options.clients) +
                        ": clients are numbered from 0 to one less than their number"};
  }

  SubsetOptions options_;
};

}  // namespace poise::inline v0_1_0
