// SPDX-License-Identifier: MIT
#pragma once

// Assigns k of n backends to each of m clients, so that backends have about equally many clients
// and adding or removing a backend moves few of them.
//
// Every pair of client and backend has a score, a hash of both, so clients need not communicate.
// The target is m * k / n clients per backend, rounded. First every backend takes clients up to the
// target minus a slack. Then every client that has fewer than k takes backends, each of which
// accepts up to the target plus the slack. Both steps take pairs in the order of their scores while
// both sides have room. That is a stable matching, and it is unique. A change displaces one pair,
// which may displace another, and so on; the chain ends where there is room, which the slack
// provides. Without slack (rings, permutations, trees cut into equal parts) a change moved 25 to 50
// times as much.
//
// Source: Gale, Shapley 1962, deferred acceptance. What others do: Google 2022, "Reinventing
// backend subsetting"; Twitter, deterministic aperture.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/random.hpp>

namespace poise::inline v0_1_0::detail {

/// The same in every process and build, because clients must agree on it: FNV-1a, mixed.
constexpr std::uint64_t stable_hash(std::string_view text) noexcept {
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (char const letter : text)
    hash = (hash ^ static_cast<unsigned char>(letter)) * 0x100000001b3U;
  return mix(hash);
}

/// What stands for a client in scores: its number, or its id's stable_hash.
constexpr std::uint64_t client_key(std::uint64_t number) noexcept {
  return (number + 1) * 0x9e3779b97f4a7c15U;
}

/// A client's preference for a backend; less is better.
constexpr std::uint64_t pair_score(std::uint64_t client_key, std::uint64_t backend_hash) noexcept {
  return mix(backend_hash + client_key);
}

/// Pairs two sides in the order of score(proposer, receiver), each while it has room. *Cost* one
/// score per pair, and a little more.
template <class Score>
class Matching {
 public:
  /// `score` is `never` for pairs that must not be.
  static constexpr auto never = std::numeric_limits<std::uint64_t>::max();

  Matching(std::vector<std::uint32_t> const& proposers, std::vector<std::uint32_t> const& receivers,
           Score const& score)
      : score_{score}, proposers_(proposers.size()), receivers_(receivers.size()) {
    for (std::size_t i = 0; i < receivers.size(); ++i) receivers_[i].room = receivers[i];
    std::vector<std::uint32_t> waiting;
    for (std::uint32_t i = 0; i < proposers.size(); ++i) {
      proposers_[i].room = proposers[i];
      waiting.push_back(i);
    }
    while (!waiting.empty()) {
      auto const proposer = waiting.back();
      waiting.pop_back();
      if (auto const displaced = settle(proposer); displaced != proposer) {
        waiting.push_back(proposer);
        waiting.push_back(displaced);
      }
    }
  }

  template <class Visit>
  void each_pair(Visit const& visit) const {
    for (std::uint32_t receiver = 0; receiver < receivers_.size(); ++receiver)
      for (auto const& [score, proposer] : receivers_[receiver].held) visit(proposer, receiver);
  }

 private:
  using Held = std::pair<std::uint64_t, std::uint32_t>;  // score, proposer
  struct Receiver {
    std::vector<Held> held{};  // a heap, the worst on top
    std::uint32_t room = 0;
  };
  struct Proposer {
    std::vector<Held> next{};    // the best receivers not asked yet, the best last
    std::uint64_t asked_to = 0;  // all scores below were in `next`
    std::uint32_t room = 0;
    std::uint32_t held = 0;
  };

  /// Proposes until the proposer has no room or displaced another one, which is returned.
  std::uint32_t settle(std::uint32_t proposer) {
    auto& self = proposers_[proposer];
    while (self.held < self.room && refill(proposer)) {
      auto const [score, asked] = self.next.back();
      self.next.pop_back();
      auto& receiver = receivers_[asked];
      if (receiver.room == 0) continue;
      if (receiver.held.size() < receiver.room) {
        hold(receiver, score, proposer);
      } else if (score < receiver.held.front().first) {
        std::pop_heap(receiver.held.begin(), receiver.held.end());
        auto const displaced = receiver.held.back().second;
        receiver.held.pop_back();
        --proposers_[displaced].held;
        hold(receiver, score, proposer);
        return displaced;
      }
    }
    return proposer;
  }

  void hold(Receiver& receiver, std::uint64_t score, std::uint32_t proposer) {
    receiver.held.emplace_back(score, proposer);
    std::push_heap(receiver.held.begin(), receiver.held.end());
    ++proposers_[proposer].held;
  }

  /// Fills `next`; false if all receivers were asked. Scores are uniform, so the best few are those
  /// below a bound. If all of them refuse, the next few follow.
  bool refill(std::uint32_t proposer) {
    auto& self = proposers_[proposer];
    auto const few = std::uint64_t{self.room} + 16;
    auto const count = receivers_.size();
    while (self.next.empty() && self.asked_to != never) {
      auto const left = never - self.asked_to;
      auto const step = few >= count ? left : std::min(left, never / count * few);
      auto const end = self.asked_to + step;
      for (std::uint32_t receiver = 0; receiver < count; ++receiver)
        if (auto const score = score_(proposer, receiver); score >= self.asked_to && score < end)
          self.next.emplace_back(score, receiver);
      self.asked_to = end;
      std::sort(self.next.rbegin(), self.next.rend());
    }
    return !self.next.empty();
  }

  Score const& score_;
  std::vector<Proposer> proposers_;
  std::vector<Receiver> receivers_;
};

/// 1 for targets below 8, about an eighth of larger ones: chains are as long as target / slack.
constexpr std::uint64_t assignment_slack(std::uint64_t target) noexcept { return 1 + target / 8; }

/// The backends of each client, as ascending positions in `backends`, which holds their hashes;
/// `keys` holds the clients'. The assignment does not depend on the order of either.
///
/// Each backend has its target number of clients, give or take `assignment_slack`; each client has
/// exactly `size` backends. *Requires* size <= backends.size().
[[nodiscard]] inline std::vector<std::vector<std::uint32_t>> assign_subsets(
    std::vector<std::uint64_t> const& backends, std::vector<std::uint64_t> const& keys,
    std::uint32_t size) {
  auto const count = backends.size();
  auto const clients = static_cast<std::uint32_t>(keys.size());
  auto const target = (2 * std::uint64_t{clients} * size + count) / (2 * count);
  auto const slack = assignment_slack(target);
  std::vector<std::vector<std::uint32_t>> used(clients);
  std::vector<bool> taken(count * clients);
  auto const take = [&](std::uint32_t client, std::uint32_t backend) {
    taken[client * count + backend] = true;
    used[client].push_back(backend);
  };

  // At least target - slack clients for every backend.
  auto const min = static_cast<std::uint32_t>(target - std::min(target, slack));
  auto const by_backend = [&](std::uint32_t backend, std::uint32_t client) {
    return pair_score(keys[client], backends[backend]);
  };
  std::vector<std::uint32_t> rooms(clients, size);
  Matching{std::vector<std::uint32_t>(count, min), rooms, by_backend}.each_pair(
      [&](std::uint32_t backend, std::uint32_t client) { take(client, backend); });

  // At most target + slack clients: the remaining backends that clients need.
  for (std::uint32_t client = 0; client < clients; ++client)
    rooms[client] = size - static_cast<std::uint32_t>(used[client].size());
  auto const by_client = [&](std::uint32_t client, std::uint32_t backend) {
    return taken[client * count + backend] ? std::numeric_limits<std::uint64_t>::max()
                                           : pair_score(keys[client], backends[backend]);
  };
  auto const more = static_cast<std::uint32_t>(target + slack - min);
  std::vector<std::pair<std::uint32_t, std::uint32_t>> pairs;
  Matching{rooms, std::vector<std::uint32_t>(count, more), by_client}.each_pair(
      [&](std::uint32_t client, std::uint32_t backend) { pairs.emplace_back(client, backend); });
  for (auto const& [client, backend] : pairs) take(client, backend);

  // If n is little more than `size` a client may already have all backends with room: exceed the
  // slack then.
  for (std::uint32_t client = 0; client < clients; ++client) {
    for (std::uint32_t backend = 0; used[client].size() < size; ++backend)
      if (!taken[client * count + backend]) take(client, backend);
    std::sort(used[client].begin(), used[client].end());
  }
  return used;
}

}  // namespace poise::inline v0_1_0::detail
