// SPDX-License-Identifier: MIT
#pragma once

// The last picks that were sampled, each with what its policy compared: an observer for the
// runtime.
//
//   using Runtime = poise::Runtime<poise::SteadyClock, poise::analysis::Decisions<>>;
//   poise::Balancer<poise::P2C, void, Runtime> servers{endpoints};
//   for (auto const& each : servers.observer<poise::analysis::Decisions<>>().last())
//     std::cout << message(each, servers.now()) << '\n';
//
//   4: 0.2 s ago: 10.0.0.2:80 (3 in flight) for the key "user-17"; 5 candidates; 10.0.0.1:80 4,
//   10.0.0.2:80 2; draws 0.1318, 0.7703
//
// explain.hpp tells what a pick would do now; this tells what picks did. Scores and draws are those
// that were used (policy/sampled_pick.hpp), not computed again.
//
// It is a handle: copies share what was recorded. Give each balancer its own.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <poise/base/sampler.hpp>
#include <poise/error.hpp>
#include <poise/health/notice.hpp>
#include <poise/observer.hpp>
#include <poise/policy/sampled_pick.hpp>
#include <poise/sync/last_values.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::analysis {

/// Which picks are recorded, fixed at compile time.
struct DecisionOptions {
  unsigned sampling = 10;  ///< One of every 2^sampling that a thread makes, at random; at most 20.
};

/// A recorded pick, with the ids of its backends.
struct Decision {
  std::uint64_t number = 0;  ///< Counted from 0.
  SampledPick pick{};
  std::string winner{};            ///< Empty if the pick failed.
  std::vector<std::string> ids{};  ///< Of pick.entries().
};

namespace detail {

/// The ids of backends by serial: those of the set, and of the last ones that left it.
class BackendNames {
 public:
  /// *Errors* ConfigError: another balancer uses it.
  void arrange(std::span<BackendView> all, health::detail::Identity const& identity) {
    std::scoped_lock const lock{mutex_};
    if (!identity.claims(owner_))
      throw ConfigError{
          "an analysis::Decisions was given to two balancers, or twice to one: their picks would "
          "be mixed. Make one for each"};
    if (std::ranges::equal(all, set_, {}, [](auto& view) { return view.backend.serial(); })) return;
    std::vector<std::uint64_t> next;
    next.reserve(all.size());
    for (auto const& view : all) {
      next.push_back(view.backend.serial());
      names_.try_emplace(view.backend.serial(), view.backend.id());
    }
    forget_departed(next);
    set_ = std::move(next);
  }

  [[nodiscard]] std::string of(std::uint64_t serial) const {
    std::scoped_lock const lock{mutex_};
    auto const found = names_.find(serial);
    return found != names_.end() ? found->second : "removed backend " + std::to_string(serial);
  }

 private:
  /// Keeps the names of the last 1024 that left.
  void forget_departed(std::vector<std::uint64_t> const& next) {
    constexpr std::size_t kept = 1024;
    std::vector<std::uint64_t> sorted{next};
    std::ranges::sort(sorted);
    for (auto const serial : set_)
      if (!std::ranges::binary_search(sorted, serial)) departed_.push_back(serial);
    for (; departed_.size() > kept; departed_.pop_front()) names_.erase(departed_.front());
  }

  mutable std::mutex mutex_;
  std::weak_ptr<void const> owner_{};
  std::vector<std::uint64_t> set_{};
  std::deque<std::uint64_t> departed_{};
  std::unordered_map<std::uint64_t, std::string> names_{};
};

}  // namespace detail

/// *Threads* any. *Cost* of a pick that is not recorded: a count of the thread; of a recorded one:
/// bench/observe. Memory: 110 kB.
template <DecisionOptions O = DecisionOptions{}>
class Decisions {
  static_assert(O.sampling <= 20,
                "DecisionOptions::sampling is a power: 20 records one in a million");

 public:
  static constexpr DecisionOptions options = O;
  static constexpr std::size_t kept = 256;

  /// The last ones, the newest first. *Cost* O(kept), and allocations; picks do not wait for it.
  [[nodiscard]] std::vector<Decision> last(std::size_t most = kept) const {
    std::vector<Decision> result;
    auto const& picks = shared_->picks;
    auto number = picks.next();
    for (std::size_t age = 0; age < kept && number-- != 0 && result.size() < most; ++age)
      if (auto const pick = picks.at(number)) result.push_back(named(number, *pick));
    return result;
  }
  /// How many were recorded, and how many of these were lost: a thread was held up so long that
  /// 256 others came.
  [[nodiscard]] std::uint64_t recorded() const noexcept { return shared_->picks.next(); }
  [[nodiscard]] std::uint64_t lost() const noexcept { return shared_->picks.lost(); }

  // -- hooks -------------------------------------------------------------------------------------

  [[nodiscard, gnu::always_inline]] bool wants_pick() const noexcept {
    return poise::detail::Sampler<O.sampling, Decisions>::of_this_thread().next();
  }
  void on_sampled_pick(SampledPick const& pick) const noexcept {
    shared_->picks.add(pick, pick.used_bytes());
  }
  void arrange(std::span<BackendView> all) const { shared_->names.arrange(all, identity_); }

 private:
  struct Shared {
    sync::LastValues<SampledPick, kept> picks{};
    detail::BackendNames names{};
  };

  [[nodiscard]] Decision named(std::uint64_t number, SampledPick const& pick) const {
    Decision result{.number = number, .pick = pick};
    if (pick.winner != 0) result.winner = shared_->names.of(pick.winner);
    for (auto const& entry : pick.entries()) result.ids.push_back(shared_->names.of(entry.serial));
    return result;
  }

  std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
  health::detail::Identity identity_{};
};

[[nodiscard]] constexpr std::string_view name(LeftOutBy by) noexcept {
  constexpr std::array<std::string_view, 6> names{"", "group", "filter", "subset", "tier", "zone"};
  return names[static_cast<std::size_t>(by)];
}
[[nodiscard]] constexpr std::string_view name(RefusedBy by) noexcept {
  constexpr std::array<std::string_view, 4> names{"", "limit", "share", "policy"};
  return names[static_cast<std::size_t>(by)];
}

namespace detail {

[[nodiscard]] inline std::string steps_in_words(SampledPick const& pick) {
  std::string text;
  for (auto const& step : pick.steps()) {
    text += "; " + std::to_string(step.kept);
    text += step.by == LeftOutBy::group ? step.kept == 1 ? " candidate" : " candidates"
                                        : " after the " + std::string{name(step.by)};
  }
  return text;
}

[[nodiscard]] inline std::string entries_in_words(Decision const& of) {
  std::string text;
  auto const entries = of.pick.entries();
  for (std::size_t i = 0; i < entries.size(); ++i) {
    auto const& each = entries[i];
    text += (i == 0 ? "; " : ", ") + poise::detail::escaped(of.ids[i]);
    if (each.score == each.score) text += ' ' + poise::detail::in_words(each.score);
    if (each.refused_by != RefusedBy::nothing)
      text += " refused by its " + std::string{name(each.refused_by)};
  }
  if (of.pick.told > entries.size())
    text += ", and " + std::to_string(of.pick.told - entries.size()) + " more";
  return text;
}

[[nodiscard]] inline std::string draws_in_words(SampledPick const& pick) {
  std::string text;
  auto const shown = std::min<std::size_t>(pick.draws, SampledPick::max_draws);
  for (std::size_t k = 0; k < shown; ++k) {
    auto const digits = std::to_string(pick.draw(k)).substr(0, 6);
    text += (k == 0 ? "; draws " : ", ") + digits;
  }
  if (pick.draws > shown) text += ", and " + std::to_string(pick.draws - shown) + " more";
  return text;
}

}  // namespace detail

/// "4: 0.2 s ago: 10.0.0.2:80 (3 in flight); 5 candidates; 10.0.0.1:80 4, 10.0.0.2:80 2"
[[nodiscard]] inline std::string message(Decision const& of, Time now) {
  auto const& pick = of.pick;
  auto const tenths = std::max(now - pick.at, Duration::zero()).count() / 100'000'000;
  auto text = std::to_string(of.number) + ": " + std::to_string(tenths / 10) + '.' +
              std::to_string(tenths % 10) + " s ago: ";
  if (of.winner.empty()) text += "no backend";
  else
    text +=
        poise::detail::escaped(of.winner) + " (" + std::to_string(pick.in_flight) + " in flight)";
  if (pick.key_size != 0)
    text += " for the key " + poise::detail::in_quotes(std::string{pick.key()});
  if (pick.key_size > pick.key().size())
    text += "... (" + std::to_string(pick.key_size) + " bytes)";
  if (pick.rotates) text += ", by rotation";
  if (pick.explores) text += ", to learn about it";
  if (pick.scanned) text += ", found by the balancer";
  return text + detail::steps_in_words(pick) + detail::entries_in_words(of) +
         detail::draws_in_words(pick);
}

}  // namespace poise::inline v0_1_0::analysis
