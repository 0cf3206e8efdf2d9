// SPDX-License-Identifier: MIT
#pragma once

// Follows one source: when to ask it, what of its answers to believe, and how old that is. A pure
// value: it reads no clock, opens no socket and starts no thread. discovery/watcher.hpp drives it.
//
//   an answer        asks again after good_for, or `refresh`; if the source watches, after about
//                    `full_read`, since a watch can die in silence or lose an event
//   a failure        asks again after a random wait below backoff, 3 backoff, 9 backoff ...
//                    max_backoff ("full jitter"); the list stays as it is
//   no answer        is a failure after `answer_within`
//   a loss is held   asks more often, to confirm it
//   hint()           somebody could not connect: asks at once, at most every `hint_gap`
//
// Two looks are at least `floor` apart. Changes follow each other `debounce` apart; the first is
// not delayed.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <poise/base/check.hpp>
#include <poise/base/saturating.hpp>
#include <poise/discovery/guard.hpp>
#include <poise/discovery/look.hpp>
#include <poise/discovery/normalize.hpp>
#include <poise/error.hpp>
#include <poise/random.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::discovery {

struct FollowerOptions {
  Duration refresh = std::chrono::seconds{30};  ///< For answers without good_for.
  Duration floor = std::chrono::seconds{1};     ///< Between two looks, whatever TTL they had.
  Duration backoff = std::chrono::seconds{1};   ///< The longest wait after a first failure.
  Duration max_backoff = std::chrono::seconds{30};
  Duration answer_within = std::chrono::seconds{10};
  Duration full_read = std::chrono::minutes{5};  ///< While the source watches; 50 to 100 % of it.
  Duration stale_after = std::chrono::minutes{10};  ///< Without an answer; the list stays in force.
  Duration debounce = std::chrono::milliseconds{100};
  Duration hint_gap = std::chrono::seconds{5};
  GuardOptions guard{};
  NormalizeOptions normalize{};
};

/// How much the list in force is worth.
enum class Freshness : std::uint8_t {
  never,     ///< No answer yet.
  snapshot,  ///< No answer yet; the list is that of an earlier run.
  fresh,
  stale,  ///< No answer for stale_after.
};

[[nodiscard]] constexpr std::string_view name(Freshness freshness) noexcept {
  constexpr std::string_view names[] = {"never", "snapshot", "fresh", "stale"};
  return names[static_cast<std::size_t>(freshness)];
}

/// What happened to the list of a source.
struct Event {
  enum class Kind : std::uint8_t {
    applied,    ///< Another list is in force.
    held,       ///< Part of an answer was not believed.
    failed,     ///< The source did not answer, or not in a usable way.
    recovered,  ///< It does again.
    stale,      ///< It has not answered for stale_after.
    problem,    ///< An entry was left out.
    refused,    ///< A balancer refused the list, which is tried again.
  };
  Kind kind = Kind::applied;
  Time at{};
  std::string text{};
};

[[nodiscard]] constexpr std::string_view name(Event::Kind kind) noexcept {
  constexpr std::string_view names[] = {"applied", "held",    "failed", "recovered",
                                        "stale",   "problem", "refused"};
  return names[static_cast<std::size_t>(kind)];
}

/// A follower's state in numbers, for metrics. Counters never decrease.
struct Status {
  Freshness freshness = Freshness::never;
  std::optional<Duration> age{};  ///< Of the last answer.
  std::size_t endpoints = 0;      ///< In force.
  std::size_t held = 0;           ///< Of these, those that the source no longer names.
  std::uint64_t fingerprint = 0;
  std::string version{};
  std::string last_error{};  ///< Empty while the source answers.
  std::string holding{};     ///< Why some are held, in words.
  Duration next_look{};
  std::uint64_t looks = 0;
  std::uint64_t failures = 0;
  std::uint64_t changes = 0;  ///< Lists that were put in force.
  std::uint64_t holds = 0;    ///< Answers of which something was held back.
};

/// The status for people.
[[nodiscard]] inline std::string message(Status const& status) {
  auto text =
      std::to_string(status.endpoints) + " endpoints, " + std::string{name(status.freshness)};
  if (status.age)
    text += ", last answer " +
            poise::detail::in_words(std::chrono::floor<std::chrono::milliseconds>(*status.age)) +
            " ago";
  if (!status.version.empty()) text += ", version " + poise::detail::escaped(status.version);
  if (!status.holding.empty()) text += "; held: " + status.holding;
  if (!status.last_error.empty())
    text += "; failing: " + status.last_error + "; next look in " +
            poise::detail::in_words(std::chrono::ceil<std::chrono::milliseconds>(status.next_look));
  return text;
}

/// *Threads* one at a time. *Errors* ConfigError.
/// *Cost* of an answer that changes nothing: O(n) comparisons, no publication.
class Follower {
 public:
  explicit Follower(FollowerOptions const& options = {}, std::uint64_t seed = fresh_seed())
      : options_{options}, guard_{options.guard}, chance_{seed} {
    check(options);
  }

  // -- what the driver does ----------------------------------------------------------------------

  enum class Do : std::uint8_t {
    nothing,
    ask,   ///< Begin a look now; drop one that is running.
    drop,  ///< The look that is running took too long: drop it.
  };

  /// What to do now. Call it until it says nothing, then wait for wake() or for the source.
  [[nodiscard]] Do next(Time now) {
    if (asking_ && now >= poise::detail::saturating_add(asked_, options_.answer_within)) {
      take(Failed{"no answer within " + poise::detail::in_words(options_.answer_within), {}}, now);
      return Do::drop;
    }
    if (judge_at_ && now >= *judge_at_) judge(now);
    note_age(now);
    if (asking_ || now < ask_at_) return Do::nothing;
    asking_ = true;
    asked_ = now;
    ++looks_;
    return Do::ask;
  }

  [[nodiscard]] Time wake() const {
    auto time = asking_ ? poise::detail::saturating_add(asked_, options_.answer_within) : ask_at_;
    if (judge_at_) time = std::min(time, *judge_at_);
    if (answered_ && !stale_)
      time = std::min(time, poise::detail::saturating_add(*answered_, options_.stale_after));
    return time;
  }

  /// An answer. A source that watches gives more of them than it was asked for.
  void take(Look look, Time now) {
    auto const* const found = std::get_if<Found>(&look);
    bool const agrees = found != nullptr && is_in_force(found->endpoints);
    if (found != nullptr && !agrees)
      look = normalize(std::get<Found>(std::move(look)), options_.normalize);
    bool const was_asked = std::exchange(asking_, false);
    if (auto* const list = std::get_if<Found>(&look)) {
      // Events of a watch put no full read off: one that a watch has lost would stay lost.
      if (was_asked || !list->watched) plan_next(*list, now);
      accept(std::move(*list), agrees, now);
    } else fail(std::get<Failed>(look), now);
  }

  /// The source is at rest. If it watched, and nothing failed, its watch is begun again soon; the
  /// end of a look that was only an answer or a failure moves no time.
  void ended(Time now) {
    if (std::exchange(watched_, false) && !asking_) ask_within(part(options_.floor), now);
  }

  /// The list may be out of date: a connection was refused, say.
  void hint(Time now) {
    if (asking_ || (hinted_ && now - *hinted_ < options_.hint_gap && now >= *hinted_)) return;
    hinted_ = now;
    ask_within(part(options_.floor / 10), now);
  }

  /// A list of an earlier run, to be used until the source answers.
  void restore(std::vector<Endpoint> endpoints, Time now) {
    if (answered_) return;
    std::ranges::stable_sort(endpoints, {}, &Endpoint::id);
    restored_ = true;
    publish(std::move(endpoints), now, "a snapshot");
  }

  // -- what it says ------------------------------------------------------------------------------

  /// The list in force, sorted by id.
  [[nodiscard]] std::vector<Endpoint> const& endpoints() const noexcept { return in_force_; }
  /// Another number whenever endpoints() is another list; 0 before the first one.
  [[nodiscard]] std::uint64_t revision() const noexcept { return changes_; }
  /// True while backends stay that the source no longer names.
  [[nodiscard]] bool holds() const noexcept { return held_ != 0; }

  [[nodiscard]] Status status(Time now) const {
    Status status{.endpoints = in_force_.size(),
                  .held = held_,
                  .fingerprint = fingerprint_,
                  .version = version_,
                  .last_error = error_,
                  .holding = holding_,
                  .next_look = std::max(ask_at_ - now, Duration::zero()),
                  .looks = looks_,
                  .failures = failures_,
                  .changes = changes_,
                  .holds = holds_};
    if (answered_) status.age = now - *answered_;
    status.freshness = answered_ ? (is_stale(now) ? Freshness::stale : Freshness::fresh)
                                 : (restored_ ? Freshness::snapshot : Freshness::never);
    return status;
  }

  /// What happened since the last call.
  [[nodiscard]] std::vector<Event> take_events() { return std::exchange(events_, {}); }

 private:
  static void check(FollowerOptions const& options) {
    using poise::detail::check_positive;
    check_positive("refresh of discovery::FollowerOptions", options.refresh);
    check_positive("floor of discovery::FollowerOptions", options.floor,
                   "without a floor a TTL of 0 asks without end");
    check_positive("backoff of discovery::FollowerOptions", options.backoff);
    poise::detail::check_at_least("max_backoff of discovery::FollowerOptions", options.max_backoff,
                                  options.backoff, "less than backoff, with which it begins");
    check_positive("answer_within of discovery::FollowerOptions", options.answer_within);
    check_positive("full_read of discovery::FollowerOptions", options.full_read);
    check_positive("stale_after of discovery::FollowerOptions", options.stale_after);
    poise::detail::check_not_negative("debounce of discovery::FollowerOptions", options.debounce,
                                      "0 applies each change at once");
    poise::detail::check_not_negative("hint_gap of discovery::FollowerOptions", options.hint_gap,
                                      "0 asks at each hint, floor apart");
  }

  [[nodiscard]] bool is_in_force(std::vector<Endpoint> const& endpoints) const {
    return changes_ != 0 && held_ == 0 && endpoints == in_force_;
  }

  void plan_next(Found const& found, Time now) {
    auto const wait = found.watched
                          ? options_.full_read / 2 + part(options_.full_read / 2)
                          : std::max(found.good_for.value_or(options_.refresh), options_.floor);
    ask_at_ = poise::detail::saturating_add(found.watched ? now : asked_, wait);
  }

  void accept(Found found, bool agrees, Time now) {
    if (!error_.empty()) note(Event::Kind::recovered, now, "the source answers again");
    failing_ = 0;
    error_.clear();
    bool const first = !answered_;
    answered_ = now;
    stale_ = false;
    watched_ = found.watched;
    version_ = std::move(found.version);
    note_problems(found.problems, now);
    if (agrees || is_in_force(found.endpoints)) {
      guard_.agree(now);
      judge_at_.reset();
      return;
    }
    guard_.see(found.endpoints, now);
    proposal_ = std::move(found.endpoints);
    // A snapshot is only a stopgap: the first real answer replaces it, unless that is empty.
    if (first && restored_ && !proposal_.empty()) {
      in_force_.clear();
      changed_.reset();  // at once: meanwhile there would be no list
    }
    judge_at_ =
        changed_ ? std::max(now, poise::detail::saturating_add(*changed_, options_.debounce)) : now;
    if (now >= *judge_at_ || *changed_ > now) judge(now);
  }

  void fail(Failed const& failure, Time now) {
    ++failures_;
    watched_ = false;
    failing_ = std::min(failing_ + 1, 40U);
    auto wait = failure_wait();
    if (failure.retry_after && *failure.retry_after > Duration::zero())
      wait =
          poise::detail::saturating_add(wait, std::min(*failure.retry_after, options_.max_backoff));
    ask_at_ = std::max(poise::detail::saturating_add(now, wait),
                       poise::detail::saturating_add(asked_, options_.floor));
    if (failure.why != error_) {
      error_ = failure.why;
      note(
          Event::Kind::failed, now,
          error_ + "; " + std::to_string(in_force_.size()) + " endpoints stay; next look in " +
              poise::detail::in_words(std::chrono::ceil<std::chrono::milliseconds>(ask_at_ - now)));
    }
  }

  /// Full jitter while the bound grows threefold. At max_backoff between half and all of it: then
  /// the fewest of many clients that wait for a registry return in the same second.
  Duration failure_wait() {
    auto longest = options_.backoff;
    for (unsigned i = 1; i < failing_ && longest < options_.max_backoff; ++i)
      longest = poise::detail::saturating_mul(longest, 3);
    if (longest < options_.max_backoff) return part(longest);
    return options_.max_backoff / 2 + part(options_.max_backoff / 2);
  }

  void judge(Time now) {
    auto verdict = guard_.judge(in_force_, proposal_, now);
    judge_at_ = verdict.until;
    held_ = verdict.held;
    auto holding = message(verdict, guard_.options());
    if (holding != holding_ && !holding.empty()) {
      ++holds_;
      note(Event::Kind::held, now,
           holding + "; the source names " + std::to_string(proposal_.size()) + ", " +
               std::to_string(in_force_.size()) + " are in force");
    }
    holding_ = std::move(holding);
    if (verdict.why == Hold::shrink) {  // ask again while it counts, also if the source watches
      auto const often =
          options_.guard.confirm_for / (std::int64_t{options_.guard.confirmations} + 1);
      ask_within(std::max(options_.guard.apart, often / 2 + part(often / 2)), now);
    }
    if (verdict.endpoints != in_force_ || changes_ == 0)
      publish(std::move(verdict.endpoints), now, "version " + poise::detail::in_quotes(version_));
  }

  void publish(std::vector<Endpoint> endpoints, Time now, std::string const& from) {
    auto const before = in_force_.size();
    in_force_ = std::move(endpoints);
    fingerprint_ = discovery::fingerprint(in_force_);
    changed_ = now;
    ++changes_;
    note(Event::Kind::applied, now,
         std::to_string(in_force_.size()) + " endpoints from " + from + ", before " +
             std::to_string(before));
  }

  void note_problems(std::vector<std::string> const& problems, Time now) {
    if (problems == problems_) return;
    for (auto const& each : problems) note(Event::Kind::problem, now, each);
    problems_ = problems;
  }
  void note_age(Time now) {
    if (!answered_ || stale_ || !is_stale(now)) return;
    stale_ = true;
    note(Event::Kind::stale, now,
         "no answer for " + poise::detail::in_words(options_.stale_after) + "; " +
             std::to_string(in_force_.size()) + " endpoints stay");
  }
  [[nodiscard]] bool is_stale(Time now) const {
    return answered_ && now - *answered_ >= options_.stale_after;
  }
  /// The latest are kept if the driver does not fetch them.
  void note(Event::Kind kind, Time now, std::string text) {
    constexpr std::size_t max_events = 256;
    if (events_.size() == max_events) events_.erase(events_.begin());
    events_.push_back({kind, now, std::move(text)});
  }

  void ask_within(Duration wait, Time now) {
    ask_at_ = std::min(ask_at_, std::max(poise::detail::saturating_add(now, wait),
                                         poise::detail::saturating_add(asked_, options_.floor)));
  }
  /// Uniform in [0, whole).
  Duration part(Duration whole) { return poise::detail::next_part(chance_, whole); }

  FollowerOptions options_;
  Guard guard_;
  std::uint64_t chance_;
  // Looks.
  bool asking_ = false;
  Time asked_{Duration::min() / 2};
  Time ask_at_{Duration::min() / 2};
  std::optional<Time> answered_{};
  std::optional<Time> hinted_{};
  unsigned failing_ = 0;  // failures in a row
  bool stale_ = false;
  bool watched_ = false;  // the last word was an answer under a watch
  // Lists.
  std::vector<Endpoint> in_force_{};
  std::vector<Endpoint> proposal_{};
  std::optional<Time> judge_at_{};
  std::optional<Time> changed_{};
  bool restored_ = false;
  // For status().
  std::size_t held_ = 0;
  std::uint64_t fingerprint_ = 0;
  std::string version_{};
  std::string error_{};
  std::string holding_{};
  std::vector<std::string> problems_{};
  std::uint64_t looks_ = 0;
  std::uint64_t failures_ = 0;
  std::uint64_t changes_ = 0;
  std::uint64_t holds_ = 0;
  std::vector<Event> events_{};
};

}  // namespace poise::inline v0_1_0::discovery
