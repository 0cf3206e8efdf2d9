// SPDX-License-Identifier: MIT
#pragma once

// The common parts of keyed policies: the hash of a request's key, the key of a table, and a
// rotation for requests without a key.

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
#include <poise/policy/rehearsal.hpp>
#include <poise/sync/relaxed.hpp>

namespace poise::inline v0_1_0 {

/// Called with a warning about a setting that works but is probably a mistake: a table too small
/// for its backends, say. Called under the balancer's lock, so it must not call the balancer. Its
/// exceptions are swallowed.
using Warn = std::function<void(std::string const&)>;

/// A key's 64-bit hash: XXH64; SipHash if there is a secret, for keys that an attacker may craft.
[[nodiscard]] inline std::uint64_t key_hash(std::string_view key,
                                            std::optional<hash::Secret> const& secret) noexcept {
  return secret ? hash::siphash(key, *secret) : hash::xxh64(key);
}

namespace detail {

inline void warn(Warn const& on_warning, std::string const& text) noexcept {
  if (!on_warning) return;
  try {
    on_warning(text);
  } catch (...) {  // NOLINT(bugprone-empty-catch): a change must not fail for a failing log
  }
}

/// With fewer points or slots per backend, shares are visibly uneven. With 100 points each, the
/// heaviest of a hundred backends on a ring carries a quarter more than its due.
inline constexpr std::size_t few_slots = 100;

inline void warn_if_few(Warn const& on_warning, std::string const& what, std::size_t slots,
                        std::size_t backends, std::string const& remedy) {
  if (on_warning && slots < backends * few_slots)
    warn(on_warning, what + " has " + std::to_string(slots) +
                         (slots == 1 ? " slot for " : " slots for ") + std::to_string(backends) +
                         (backends == 1 ? " backend" : " backends") + ", fewer than " +
                         std::to_string(few_slots) + " each: " + remedy);
}

/// Identifies the members, or the eligible members, for which a table was made.
class TableKey {
 public:
  TableKey(Candidates const& candidates, bool eligible_only)
      : generation_{candidates.generation()}, members_{candidates.members()} {
    if (!eligible_only) return;
    out_.resize(members_);
    for (std::size_t position = 0; position < members_; ++position)
      out_[position] = candidates.index_of(position) == Candidates::none;
  }
  friend bool operator==(TableKey const&, TableKey const&) = default;

 private:
  std::uint64_t generation_;
  std::size_t members_;
  std::vector<bool> out_;
};

/// The table of `before` if the members that it was made for are the same; else make(key).
template <class Table, class Make>
[[nodiscard]] std::shared_ptr<Table const> reuse_table(Candidates const& candidates,
                                                       bool eligible_only,
                                                       std::shared_ptr<Table const> const* before,
                                                       Make const& make) {
  TableKey made_for{candidates, eligible_only};
  if (before != nullptr && *before && (*before)->made_for == made_for) return *before;
  return make(std::move(made_for));
}

/// Adds to a number that picks share, in a rehearsal to its copy. Returns the value before.
template <class T>
T add(sync::Relaxed<T>& number, T amount, Rehearsal* rehearsal) {
  return rehearsal == nullptr ? number.add(amount) : rehearsal->add(number, amount);
}

/// nginx's smooth weighted round robin, computed pick by pick, for the few requests that a dialect
/// does not map by key.
/// *Cost* O(n) writes a pick.
class SmoothRotation {
 public:
  explicit SmoothRotation(std::size_t members)
      : lead_{std::make_unique<sync::Relaxed<std::int64_t>[]>(members)} {}

  template <class Accept>
  [[nodiscard]] std::size_t next(Candidates const& candidates, Accept const& accept,
                                 Rehearsal* rehearsal) const {
    if (rehearsal != nullptr) rehearsal->rotate();
    std::int64_t total = 0;
    std::int64_t most = 0;
    std::size_t best = Candidates::none;
    std::size_t best_position = 0;
    for (std::size_t position = 0; position < candidates.members(); ++position) {
      auto const i = candidates.index_of(position);
      if (i == Candidates::none || !accept(i)) continue;
      std::int64_t const weight = candidates.weight(i);
      total += weight;
      auto const lead = add(lead_[position], weight, rehearsal) + weight;
      if (best != Candidates::none && lead <= most) continue;
      most = lead;
      best = i;
      best_position = position;
    }
    if (best != Candidates::none) add(lead_[best_position], -total, rehearsal);
    return best;
  }

 private:
  std::unique_ptr<sync::Relaxed<std::int64_t>[]> lead_;
};

/// True if this is no key: by the dialect's own rule, else if it is empty.
template <class Dialect>
[[nodiscard]] bool keyless(std::string_view key) noexcept {
  if constexpr (requires { Dialect::keyless(key); }) return Dialect::keyless(key);
  else return key.empty();
}

/// Each number divided by the sum of all; all 0 if the sum is 0.
[[nodiscard]] inline std::vector<double> as_shares(std::vector<double> numbers) {
  double sum = 0;
  for (auto const number : numbers) sum += number;
  for (auto& number : numbers) number = sum > 0 ? number / sum : 0;
  return numbers;
}

/// The fraction of a table's slots that each member owns, by position. The slots of ineligible
/// members are divided among the others in proportion.
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

}  // namespace poise::inline v0_1_0
