// SPDX-License-Identifier: MIT
#pragma once

// The numbers of connection pools for a meter's readings, also of pools that are gone.
//
//   P1  What a pool counted is in the sum of all once, and in that of its backend's id once.
//   P2  The pool of a removed backend is followed until none of its connections is left; what it
//       counted stays. Of more than `remembered` ids without a backend the oldest are forgotten;
//       the sum of all keeps their counts.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <poise/observe/snapshot.hpp>
#include <poise/pool/ledger.hpp>
#include <poise/pool/options.hpp>

namespace poise::inline v0_1_0::observe::detail {

/// The pool of each backend that has one, by the backend's id.
using Pools = std::vector<std::pair<std::string, std::shared_ptr<poise::detail::PoolBook const>>>;

template <class Backend>
concept IsPool = requires(Backend& backend) { backend.payload().book(); };
template <class Backend>
concept PointsToPool = requires(Backend& backend) { backend.payload()->book(); };
/// Is the payload a pool, or does it point to one?
template <class Backend>
inline constexpr bool may_have_pools = IsPool<Backend> || PointsToPool<Backend>;

template <class Backend>
void add_pool(Pools& to, Backend& backend) {
  if constexpr (IsPool<Backend>) to.emplace_back(backend.id(), backend.payload().book());
  else if (backend.payload()) to.emplace_back(backend.id(), backend.payload()->book());
}

/// *Threads* one at a time.
class PoolAccounts {
 public:
  /// Fills in the sum of all, and the numbers of the backends that have a name.
  void read(Snapshot& into, Pools const& present, std::size_t remembered) {
    follow(present);
    if (accounts_.empty()) return;
    into.pools = forgotten_;
    for (auto const& [id, account] : accounts_) *into.pools += account.sum;
    for (auto& backend : into.backends)
      if (auto const found = accounts_.find(backend.id); found != accounts_.end())
        backend.pool = found->second.sum;
    forget(remembered);
  }

 private:
  using Book = std::shared_ptr<poise::detail::PoolBook const>;

  struct Account {
    Book current{};           // null while there is no backend
    std::vector<Book> old{};  // of replaced and removed backends, with connections left
    pool::Numbers gone{};     // of pools that have none left
    pool::Numbers sum{};      // of this reading
    std::uint64_t seen = 0;   // the last reading that found a backend

    /// Each pool is read once, so that all sums are of the same numbers.
    void update() {
      sum = gone;
      if (current) sum += current->numbers();
      std::erase_if(old, [&](Book const& book) {
        auto const numbers = book->numbers();
        sum += numbers;
        bool const ended = numbers.size() == 0 && numbers.waiting == 0;
        if (ended) gone += numbers;
        return ended;
      });
    }
    void replace(Book book) {
      if (current == book) return;
      if (current) old.push_back(std::move(current));
      current = std::move(book);
    }
  };

  void follow(Pools const& present) {
    ++readings_;
    for (auto const& [id, book] : present) {
      auto& account = accounts_[id];
      account.seen = readings_;
      account.replace(book);
    }
    for (auto& [id, account] : accounts_) {
      if (account.seen != readings_) account.replace(nullptr);
      account.update();
    }
  }
  void forget(std::size_t remembered) {
    auto const is_over = [](auto const& each) {
      return !each.second.current && each.second.old.empty();
    };
    auto count = static_cast<std::size_t>(std::ranges::count_if(accounts_, is_over));
    for (; count > remembered; --count) {
      auto oldest = accounts_.end();
      for (auto each = accounts_.begin(); each != accounts_.end(); ++each)
        if (is_over(*each) &&
            (oldest == accounts_.end() || each->second.seen < oldest->second.seen))
          oldest = each;
      forgotten_ += oldest->second.gone;
      accounts_.erase(oldest);
    }
  }

  std::map<std::string, Account, std::less<>> accounts_{};
  pool::Numbers forgotten_{};
  std::uint64_t readings_ = 0;
};

}  // namespace poise::inline v0_1_0::observe::detail
