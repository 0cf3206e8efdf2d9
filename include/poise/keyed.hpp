// SPDX-License-Identifier: MIT
#pragma once

// What keyed policies share: the hash of a request's key, the members a table is made for, and what
// happens to requests without a key.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/candidates.hpp>
#include <poise/hash/siphash.hpp>
#include <poise/hash/xxhash.hpp>
#include <poise/policy.hpp>
#include <poise/sync/relaxed.hpp>

namespace poise {

/// Hears of what works but was hardly meant: a table too small for its backends. Called under the
/// balancer's lock, so it must not call the balancer; what it throws is swallowed.
using Warn = std::function<void(std::string const&)>;

/// A key's 64-bit hash: XXH64, or SipHash with a secret, for keys that strangers may craft.
[[nodiscard]] inline std::uint64_t key_hash(std::string_view key,
                                            std::optional<hash::Secret> const& secret) noexcept {
  return secret ? hash::siphash(key, *secret) : hash::xxh64(key);
}

namespace detail {

inline void warn(Warn const& hear, std::string const& text) noexcept {
  if (!hear) return;
  try {
    hear(text);
  } catch (...) {  // NOLINT(bugprone-empty-catch): a change must not fail for a failing log
  }
}

/// Fewer than this many points or slots a backend make shares visibly uneven: at 100, a ring's
/// heaviest of a hundred backends carries a quarter more than its due.
inline constexpr std::size_t few_slots = 100;

inline void warn_if_few(Warn const& hear, std::string const& what, std::size_t slots,
                        std::size_t backends, std::string const& remedy) {
  if (hear && slots < backends * few_slots)
    warn(hear, what + " has " + std::to_string(slots) +
                   (slots == 1 ? " slot for " : " slots for ") + std::to_string(backends) +
                   (backends == 1 ? " backend" : " backends") + ", fewer than " +
                   std::to_string(few_slots) + " each: " + remedy);
}

/// For which members, or which eligible ones, a table was made.
class MadeFor {
 public:
  MadeFor(Candidates const& candidates, bool eligible_only)
      : generation_{candidates.generation()}, members_{candidates.members()} {
    if (!eligible_only) return;
    out_.resize(members_);
    for (std::size_t position = 0; position < members_; ++position)
      out_[position] = candidates.index_of(position) == Candidates::none;
  }
  friend bool operator==(MadeFor const&, MadeFor const&) = default;

 private:
  std::uint64_t generation_;
  std::size_t members_;
  std::vector<bool> out_;
};

/// nginx's smooth weighted round robin, pick by pick: for the few requests that a map leaves over.
/// *Cost* O(n) writes a pick.
class SmoothTurns {
 public:
  explicit SmoothTurns(std::size_t members)
      : lead_{std::make_unique<sync::Relaxed<std::int64_t>[]>(members)} {}

  template <class Accept>
  [[nodiscard]] std::size_t next(Candidates const& candidates, Accept const& accept) const {
    std::int64_t total = 0;
    std::int64_t most = 0;
    std::size_t best = Candidates::none;
    std::size_t best_position = 0;
    for (std::size_t position = 0; position < candidates.members(); ++position) {
      auto const i = candidates.index_of(position);
      if (i == Candidates::none || !accept(i)) continue;
      std::int64_t const weight = candidates.weight(i);
      total += weight;
      auto const lead = lead_[position].add(weight) + weight;
      if (best != Candidates::none && lead <= most) continue;
      most = lead;
      best = i;
      best_position = position;
    }
    if (best != Candidates::none) lead_[best_position].add(-total);
    return best;
  }

 private:
  std::unique_ptr<sync::Relaxed<std::int64_t>[]> lead_;
};

/// Is this no key at all? As the dialect says; else an empty one is none.
template <class Dialect>
[[nodiscard]] bool keyless(std::string_view key) noexcept {
  if constexpr (requires { Dialect::keyless(key); }) return Dialect::keyless(key);
  else return key.empty();
}

/// Numbers as parts of their sum; if that is 0, so are all.
[[nodiscard]] inline std::vector<double> as_shares(std::vector<double> numbers) {
  double sum = 0;
  for (auto const number : numbers) sum += number;
  for (auto& number : numbers) number = sum > 0 ? number / sum : 0;
  return numbers;
}

/// The share of a table's places that each member owns, by position. What members that are out own
/// goes to the others in proportion.
[[nodiscard]] inline std::vector<double> shares_of(std::vector<std::uint32_t> const& owners,
                                                   Candidates const& candidates) {
  std::vector<double> places(candidates.members());
  for (auto const owner : owners)
    if (candidates.index_of(owner) != Candidates::none) ++places[owner];
  return as_shares(std::move(places));
}

/// Accepts every candidate that the request does not exclude and that has not refused it.
struct AcceptUsable {
  Candidates const& candidates;
  Context const& context;
  [[nodiscard]] bool operator()(std::size_t i) const noexcept {
    return context.usable(candidates, i);
  }
};

}  // namespace detail

}  // namespace poise
