// SPDX-License-Identifier: MIT
#pragma once

// A log of health transitions per backend. Listeners are called with no lock held.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/base/utc.hpp>
#include <poise/health/phase.hpp>
#include <poise/outcome.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::health {

/// One step of a backend through the phases, or a finding that had no consequence.
struct Transition {
  enum class Note : std::uint8_t {
    none,
    watched,   ///< Found, but its criterion was only to detect this time.
    capped,    ///< Found, but too many are out already, or it is the last of its tier.
    together,  ///< Found, but every backend in service fails, so the fault is not this one's.
    proven,    ///< Beyond the cap: it fails every request while others of its tier succeed.
  };
  Time at{};                                     ///< By the balancer's clock.
  std::chrono::system_clock::time_point wall{};  ///< The time of day, set when it is logged.
  std::string id{};  ///< The backend's; empty for what concerns the whole pool.
  Phase from{};
  Phase to{};
  std::string cause{};  ///< A criterion's name, a signal's, or what a probe said.
  double value = 0;     ///< What was found ...
  double limit = 0;     ///< ... and what it was compared with; both 0 if there are no numbers.
  Note note = Note::none;
  std::optional<Duration> lasts{};  ///< How long the new phase takes, if it ends by itself.
  std::array<std::uint64_t, result_count> results{};  ///< Failures so far, by cause (Result).
};

/// How a backend's phase will end, as it looks now: what came later may prolong it.
struct Outlook {
  std::optional<Time> until{};  ///< By the balancer's clock; nothing if it has no time, or is held.
  bool joins = false;           ///< No tick has met this backend yet.
  bool held = false;            ///< Ejected, and probes or a report call it down ...
  bool by_probes = false;       ///< ... namely probes: their silence ends it, too.
  bool capped = false;          ///< Degraded, since the cap holds its ejection back.
  std::string cause{};          ///< Why it is held.

  friend bool operator==(Outlook const&, Outlook const&) = default;
};

/// "10.0.0.1:80: healthy -> ejected for 30.0 s: consecutive failures 5, limit 5"
[[nodiscard]] inline std::string message(Transition const& transition) {
  auto const decimal = [](double number) {
    auto text = std::to_string(number);
    return text.substr(0, text.find('.') + 3);
  };
  if (transition.id.empty() && transition.limit == 0) return transition.cause;
  if (transition.id.empty())
    return transition.cause + ": " + decimal(transition.value) + " selectable, limit " +
           decimal(transition.limit);
  auto text = transition.id + ": " + std::string{name(transition.from)};
  if (transition.to != transition.from) text += " -> " + std::string{name(transition.to)};
  if (transition.lasts)
    text += " for " + decimal(std::chrono::duration<double>{*transition.lasts}.count()) + " s";
  text += ": " + transition.cause;
  if (transition.value != 0 || transition.limit != 0)
    text += " " + decimal(transition.value) + ", limit " + decimal(transition.limit);
  if (transition.note == Transition::Note::watched) text += " (detected, not enforced)";
  if (transition.note == Transition::Note::capped) text += " (held back by the cap)";
  if (transition.note == Transition::Note::together) text += " (the whole pool fails)";
  if (transition.note == Transition::Note::proven) text += " (beyond the cap: proven)";
  return text;
}

/// The same with the time of day, in UTC: "2026-03-01T12:34:56.789Z 10.0.0.1:80: ...".
[[nodiscard]] inline std::string dated_message(Transition const& transition) {
  return poise::detail::in_utc(transition.wall) + ' ' + message(transition);
}

/// *Threads* any; listeners may use the balancer and the journal.
class Journal {
 public:
  using Listener = std::function<void(Transition const&)>;

  Journal(std::size_t kept, Listener listener) : kept_{kept}, listener_{std::move(listener)} {}

  void write(Transition transition) {
    transition.wall = std::chrono::system_clock::now();
    std::scoped_lock const lock{mutex_};
    auto& file = files_[transition.id];
    file.phase = transition.to;
    file.history.push_back(transition);
    if (file.history.size() > kept_) file.history.pop_front();
    untold_.push_back(std::move(transition));
    if (untold_.size() > max_untold_) untold_.pop_front();
  }

  /// Dates what concerns the whole pool and no listener was told yet. Between ticks nothing says
  /// what time it is, so a panic that began there gets the time of the tick that tells of it.
  void date_untold(Time now) {
    std::scoped_lock const lock{mutex_};
    auto const file = files_.find(std::string_view{});
    if (file == files_.end()) return;
    auto& history = file->second.history;
    auto known = history.rbegin();
    std::for_each(untold_.rbegin(), untold_.rend(), [&](Transition& each) {
      if (!each.id.empty()) return;
      each.at = now;
      if (known != history.rend()) (known++)->at = now;
    });
  }

  /// At least this many transitions wait for listeners without loss.
  void allow(std::size_t count) {
    std::scoped_lock const lock{mutex_};
    max_untold_ = std::max(min_untold, count);
  }

  /// A backend appears in this phase; what was written of its predecessor stays. True if there was
  /// one.
  bool open(std::string const& id, Phase phase) {
    std::scoped_lock const lock{mutex_};
    auto const [file, fresh] = files_.try_emplace(id);
    file->second.phase = phase;
    return !fresh;
  }

  /// What is to be expected of the backend with this id and serial. *Requires* that it was opened.
  void expect(std::string const& id, std::uint64_t serial, Outlook outlook) {
    std::scoped_lock const lock{mutex_};
    auto& file = files_[id];
    file.serial = serial;
    file.outlook = std::move(outlook);
  }

  /// Calls `others`, and the listener, for each transition since the last call: in order, and on
  /// one thread at a time. A thread that finds another one at it leaves its transitions to that
  /// one. What they throw passes; the rest follows at the next call.
  template <class Others>
  void tell(Others const& others) {
    try {
      for (auto next = take(true); next; next = take(false)) {
        others(*next);
        if (listener_) listener_(*next);
      }
    } catch (...) {
      std::scoped_lock const lock{mutex_};
      telling_ = false;
      throw;
    }
  }

  [[nodiscard]] std::vector<Transition> history(std::string_view id) const {
    std::scoped_lock const lock{mutex_};
    auto const found = files_.find(id);
    if (found == files_.end()) return {};
    return {found->second.history.begin(), found->second.history.end()};
  }

  [[nodiscard]] std::optional<Phase> phase(std::string_view id) const {
    std::scoped_lock const lock{mutex_};
    auto const found = files_.find(id);
    return found == files_.end() ? std::nullopt : std::optional{found->second.phase};
  }

  /// Nothing before the first tick.
  [[nodiscard]] std::optional<Outlook> outlook(std::string_view id, std::uint64_t serial) const {
    std::scoped_lock const lock{mutex_};
    if (files_.empty()) return std::nullopt;
    auto const found = files_.find(id);
    if (found == files_.end() || found->second.serial != serial) return Outlook{.joins = true};
    return found->second.outlook;
  }

  /// Forgets backends that are gone: all but those in the set that `staying()` returns, which has
  /// `count` ids. *Requires* that these were opened, so that no more files need no search.
  template <class Staying>
  void prune(std::size_t count, Staying const& staying) {
    std::scoped_lock const lock{mutex_};
    if (files_.size() - files_.count(std::string_view{}) <= count) return;
    auto const ids = staying();
    std::erase_if(
        files_, [&](auto const& each) { return !each.first.empty() && !ids.contains(each.first); });
  }

 private:
  std::optional<Transition> take(bool begins) {
    std::scoped_lock const lock{mutex_};
    if (begins && telling_) return std::nullopt;
    telling_ = !untold_.empty();
    if (!telling_) return std::nullopt;
    auto first = std::move(untold_.front());
    untold_.pop_front();
    return first;
  }

  static constexpr std::size_t min_untold = 4096;  // without ticks, or if a listener always throws

  std::size_t const kept_;
  Listener const listener_;
  mutable std::mutex mutex_;
  struct File {
    Phase phase{};
    std::deque<Transition> history{};
    std::uint64_t serial = 0;  // of the backend that `outlook` is about
    Outlook outlook{};
  };
  std::map<std::string, File, std::less<>> files_;
  std::deque<Transition> untold_;
  std::size_t max_untold_ = min_untold;
  bool telling_ = false;
};

}  // namespace poise::inline v0_1_0::health
