// SPDX-License-Identifier: MIT
#pragma once

// The decisions of a health monitor about its backends as a set: which are ejected, which come
// back, and what picks see. Everything here is independent of the criteria's types.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include <poise/backend.hpp>
#include <poise/base/check.hpp>
#include <poise/base/saturating.hpp>
#include <poise/error.hpp>
#include <poise/health/census.hpp>
#include <poise/health/criteria.hpp>
#include <poise/health/journal.hpp>
#include <poise/health/machine.hpp>
#include <poise/health/member.hpp>
#include <poise/health/notice.hpp>
#include <poise/health/options.hpp>
#include <poise/health/phase.hpp>
#include <poise/health/rotation.hpp>
#include <poise/health/slow_start.hpp>
#include <poise/observer.hpp>
#include <poise/random.hpp>
#include <poise/sync/relaxed.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::health {

/// The numbers of a monitor; docs/health.md gives the reason for each default.
struct MonitorOptions {
  Duration interval = std::chrono::seconds{10};  ///< How often criteria compare the pool.
  Ejection ejection{};
  SlowStart slow_start{};
  Panic panic{};
  /// A backend that probes called down is released if they do not repeat it within this time.
  Duration probe_silence = std::chrono::minutes{3};
  std::size_t history = 16;  ///< Transitions kept per backend.
  Journal::Listener log{};   ///< Called for every transition, outside all locks; see Journal. Other
                             ///< observers of the runtime are called by on_transition.
  std::optional<std::uint64_t> seed{};  ///< For jitter and enforcement; random if none.
};

namespace detail {

/// What a pool asks of its criteria, whose types only Monitor knows.
class CriteriaTable {
 public:
  CriteriaTable() = default;
  CriteriaTable(CriteriaTable const&) = delete;
  CriteriaTable& operator=(CriteriaTable const&) = delete;
  virtual ~CriteriaTable() = default;

  struct Conviction {
    std::size_t criterion;
    std::size_t position;
    Finding finding;
  };

  [[nodiscard]] virtual std::string name_of(std::size_t criterion) const = 0;
  [[nodiscard]] virtual Enforcement enforcement_of(std::size_t criterion) const = 0;
  [[nodiscard]] virtual std::size_t size() const = 0;
  /// Lets a criterion compare these, each with its tally.
  [[nodiscard]] virtual std::vector<Conviction> compare(std::size_t criterion,
                                                        std::span<BackendView> all,
                                                        std::span<std::size_t const> judged,
                                                        std::span<Tally const> tallies) = 0;
  virtual void reset(Member& member) const = 0;
};

/// What copies of a monitor share. What is not Relaxed, Inbox or Journal is used under the
/// balancer's lock only, but for change().
class Pool {
 public:
  Pool(MonitorOptions with, CriteriaTable& criteria, MemberOf member_of)
      : options_{std::move(with)},
        criteria_{&criteria},
        member_of_{member_of},
        journal{options_.history, options_.log},
        probe_silence_{options_.probe_silence.count()},
        pacer_{options_.slow_start, member_of},
        random_{options_.seed ? *options_.seed : fresh_seed()} {
    check_all(options_);
  }

  /// *Errors* ConfigError.
  static void check_all(MonitorOptions const& options) {
    poise::detail::check_positive("interval of health::MonitorOptions", options.interval);
    poise::detail::check_positive("probe_silence of health::MonitorOptions", options.probe_silence);
    poise::detail::check_at_least_one("history of health::MonitorOptions", options.history);
    check(options.ejection);
    check(options.slow_start);
    check(options.panic);
  }

  // -- any thread --------------------------------------------------------------------------------

  /// By the clock: if a request ends later than this, ticks are missing. Read by every request.
  [[nodiscard, gnu::always_inline]] bool is_overdue(Time now) const noexcept {
    return now.time_since_epoch().count() > due_.load();
  }
  /// Is this request to give the monitor a turn because ticks are missing? One of many is.
  [[nodiscard]] bool claims_turn(Time now) noexcept {
    if (due_.load() == not_yet) {
      due_.store(in_ns(poise::detail::saturating_add(now, min_grace)));
      return false;
    }
    return claims_.add(1) == 0;
  }

  /// Is this request to ask for a review, or does the next one or the next tick do? A review costs
  /// O(n): so many failures at once must not ask for as many reviews.
  [[nodiscard]] bool claims_review(Time now) noexcept {
    constexpr std::int64_t pause = 100'000'000;  // ns
    auto const last = reviewed_at_.load();
    auto const time = now.time_since_epoch().count();
    bool const rested = time < last || time - last >= pause;
    bool const may = rested || reviews_.add(1) < max_reviews_.load();
    deferred_.store(!may);
    return may;
  }
  /// Does a notice wait that asked for no review?
  [[nodiscard]] bool deferred() const noexcept { return deferred_.load(); }
  void begin_review() noexcept { reviewing_.store(true); }
  void end_review() noexcept {
    reviewing_.store(false);
    claims_.store(0);
  }
  [[nodiscard]] bool ticks_missing() const noexcept { return ticks_missing_.load(); }
  [[nodiscard]] bool panicking() const noexcept { return panicking_.load(); }
  [[nodiscard]] Duration probe_silence() const noexcept { return Duration{probe_silence_.load()}; }

  /// Other numbers from the next tick on; what is known of backends stays. *Requires* checked
  /// options, and criteria of the same types that live as long as the pool.
  void change(MonitorOptions options, CriteriaTable& criteria) {
    probe_silence_.store(options.probe_silence.count());
    options.log = {};  // the journal has it
    std::scoped_lock const lock{change_mutex_};
    change_ = Change{std::move(options), &criteria};
  }

  /// *Errors* ConfigError: another balancer holds a copy, and lives.
  void serve_only(Identity const& identity) {
    std::scoped_lock const lock{owner_mutex_};
    if (identity.claims(owner_)) return;
    throw ConfigError{
        "a health::Monitor was given to two balancers, or twice to one: their backends would "
        "share one history. Make one for each; one may be used again when its balancer and all "
        "of that balancer's leases are gone"};
  }

  // -- the turn of events ------------------------------------------------------------------------

  /// A tick or a review. True if picks are to see something else although no health has changed.
  [[nodiscard]] bool tick(Time clock, std::span<BackendView> all) {
    take_change();
    begin_turn(clock, all);
    for (auto& each : all) meet(each);
    running_ = running_ || !all.empty();
    bool const looks = now_ - looked_ >= std::chrono::milliseconds{500};
    if (looks) look(all);
    take_census(all);
    read_notices(all);
    expire(all);
    if (looks) reconsider_verdicts(all);
    if (now_ - interval_began_ >= options_.interval) end_interval(all);
    for (auto& each : all) {
      auto& member = member_of_(each);
      each.health = member.published = public_state(member.machine.phase());
    }
    bool const changed = mark(all);
    admit(all, is_panic_among(all));
    return changed;
  }

  /// Called for each publication, also without a tick.
  void arrange(std::span<BackendView> all) {
    Rotation rotation;
    for (auto& each : all) {
      if (!in_rotation(each)) continue;
      auto const& member = member_of_(each);
      bool const joins = member.known ? member.joined_outside : running_;
      if (joins && options_.slow_start.window > Duration::zero())
        limit_share(each, options_.slow_start.min_fraction);  // until the next tick meets it
      each.wants_pick = member.wants_pick;
      each.last_resort = member.machine.phase() == Phase::ejected && tries_rather_than_fails();
      if (member.trickles && each.health == HealthState::degraded)
        each.health = HealthState::healthy;  // with few requests: see admit()
      rotation.add(each, each.health != HealthState::unhealthy, member.discounted);
    }
    bool const panic = rotation.panics(options_.panic.threshold);
    if (panic != panicking_.load()) note_panic(panic, rotation.all());
    if (panic) rule_in_panic(all, rotation);
  }

 private:
  struct Change {
    MonitorOptions options;
    CriteriaTable* criteria;
  };

  void take_change() {
    std::scoped_lock const lock{change_mutex_};
    if (!change_) return;
    options_ = std::move(change_->options);
    criteria_ = change_->criteria;
    pacer_.set(options_.slow_start);
    change_.reset();
  }

  static std::int64_t in_ns(Time time) noexcept { return time.time_since_epoch().count(); }

  void begin_turn(Time clock, std::span<BackendView> all) {
    ++turn_;
    bool const review = reviewing_.load();
    reviewing_.store(false);
    deferred_.store(false);
    claims_.store(0);
    reviewed_at_.store(in_ns(clock));
    journal.date_untold(clock);
    if (!review) {
      constexpr std::uint32_t work =
          524'288;  // backends that the reviews between two ticks look at
      auto const count = static_cast<std::uint32_t>(std::min<std::size_t>(all.size(), work));
      max_reviews_.store(std::max(4U, work / std::max(count, 1U)));
      reviews_.store(0);
      journal.allow(2 * all.size());
    }
    await_tick(clock, review);
    advance(clock, all);
  }

  /// Sets the time after which ticks are missing: four times the last period, at least 10 s. While
  /// they are, requests that end stand in for them once a second.
  void await_tick(Time clock, bool review) {
    auto const late = [&](Duration time) {
      due_.store(in_ns(poise::detail::saturating_add(clock, time)));
    };
    if (!review) {
      constexpr Duration max_period = std::chrono::minutes{2};
      auto const period = std::clamp(
          last_tick_ ? poise::detail::saturating_sub(clock, *last_tick_) : Duration::zero(),
          Duration::zero(), max_period);
      last_tick_ = clock;
      ticks_missing_.store(false);
      return late(std::max(min_grace, 4 * period));
    }
    if (due_.load() == not_yet) return late(min_grace);
    if (!is_overdue(clock)) return;
    late(std::chrono::seconds{1});
    ticks_missing_.store(true);
    if (std::exchange(told_of_ticks_, true)) return;
    journal.write({.at = clock,
                   .cause = "ticks are missing: let a poise::Ticker watch this balancer, or call "
                            "its tick() once a second. Until then requests that end do its work"});
  }

  /// Time as this monitor counts it: it never runs backwards.
  void advance(Time clock, std::span<BackendView> all) {
    if (clock < last_clock_) {
      auto const pull = [&](sync::Relaxed<std::int64_t>& time) {
        time.store(std::min<std::int64_t>(time.load(), in_ns(clock)));
      };
      for (auto& each : all) {
        auto& member = member_of_(each);
        pull(member.probation_began);
        pull(member.run_began);
        pull(member.failed_at);
        pull(member.recovered_at);
        member.served_since = std::min(member.served_since, clock);
      }
      looked_clock_ = std::min(looked_clock_, clock);
    }
    if (ticked_)
      now_ = poise::detail::saturating_add(
          now_, std::max(poise::detail::saturating_sub(clock, last_clock_), Duration::zero()));
    else looked_clock_ = clock;
    ticked_ = true;
    last_clock_ = clock;
  }

  /// A backend not seen before, or one that was reported otherwise than by this monitor.
  void meet(BackendView& each) {
    auto& member = member_of_(each);
    if (!member.known) {
      member.known = true;
      if (journal.open(each.backend.id(), member.machine.phase())) member.replaced = turn_;
      member.at_interval = Tally::of(each.backend);
      member.successes = member.at_interval.ended(Result::success);
      member.total = member.total_at_pace = each.backend.total();
      member.joined_outside = !in_rotation(each);
      foresee(each, member);
      if (running_ && !member.joined_outside && each.health == HealthState::healthy)
        follow(each, Signal::appeared, {.cause = "joined"});
    } else if (member.joined_outside && in_rotation(each)) {
      member.joined_outside = false;
      follow(each, Signal::appeared, {.cause = "joined"});
    }
    if (each.health == member.published) return;
    auto const signal = each.health == HealthState::unhealthy       ? Signal::down
                        : each.health == HealthState::degraded      ? Signal::degrade
                        : member.machine.phase() == Phase::degraded ? Signal::served
                                                                    : Signal::up;
    member.heard_probe.reset();  // a report is not expected to be repeated
    follow(each, signal, {.cause = "reported " + std::string{poise::name(each.health)}});
  }

  /// Reads what backends counted since the last look.
  void look(std::span<BackendView> all) {
    std::uint64_t picks = 0;
    for (auto& each : all) {
      auto& member = member_of_(each);
      auto const total = each.backend.total();
      if (total != member.total) member.asked_at = now_;
      picks += total - std::min(total, std::exchange(member.total, total));
      auto const successes = successes_of(each);
      if (successes > member.successes) {
        member.served_at = now_;
        member.served_since = looked_clock_;
      }
      member.successes = successes;
    }
    looked_ = now_;
    looked_clock_ = last_clock_;
    // At most a twentieth of the picks are trials, so that retries can make up for them.
    max_releases_ = std::max<std::uint64_t>(2, picks / 20);
  }

  static std::uint64_t successes_of(BackendView const& each) {
    return Tally::of(each.backend).ended(Result::success);
  }

  void take_census(std::span<BackendView> all) {
    census_ = {};
    for (auto& each : all) {
      auto& member = member_of_(each);
      member.activity = activity_of(each, member);
      census_.count(each, member, 1);
      census_.note_failure(each, member, in_ns(last_clock_));
    }
  }

  [[nodiscard]] Activity activity_of(BackendView const& each, Member const& member) const {
    if (member.run.load() != 0) {
      Time const failed_at{Duration{member.failed_at.load()}};
      return is_recent(failed_at, last_clock_) ? Activity::failing : Activity::idle;
    }
    if (is_recent(member.served_at, now_)) return Activity::serving;
    return successes_of(each) > member.successes ? Activity::serving : Activity::idle;
  }

  // -- notices -----------------------------------------------------------------------------------

  /// Finds backends by serial or id, for many notices in O(1) each.
  class Finder {
   public:
    explicit Finder(std::span<BackendView> all) : all_{all} {}
    BackendView* find(Notice const& notice) {
      if (by_serial_.empty()) index();
      if (notice.serial != 0) return at(by_serial_, notice.serial);
      return at(by_id_, std::string_view{notice.id});
    }

   private:
    void index() {
      for (std::size_t i = 0; i < all_.size(); ++i) {
        by_serial_.emplace(all_[i].backend.serial(), i);
        by_id_.emplace(all_[i].backend.id(), i);
      }
    }
    template <class Map, class Key>
    BackendView* at(Map const& map, Key const& key) {
      auto const found = map.find(key);
      return found == map.end() ? nullptr : &all_[found->second];
    }

    std::span<BackendView> all_;
    std::unordered_map<std::uint64_t, std::size_t> by_serial_{};
    std::unordered_map<std::string_view, std::size_t> by_id_{};
  };

  void read_notices(std::span<BackendView> all) {
    auto const notices = inbox.take();
    if (notices.empty()) return;
    reconsidered_ = false;
    constexpr std::size_t few = 4;  // a search costs less than an index
    if (notices.size() <= few) {
      for (auto const& notice : notices) {
        auto const found = std::ranges::find_if(all, [&](BackendView const& each) {
          return notice.serial != 0 ? each.backend.serial() == notice.serial
                                    : each.backend.id() == notice.id;
        });
        if (found != all.end()) hear(notice, *found, all);
      }
      return;
    }
    Finder finder{all};
    for (auto const& notice : notices)
      if (auto* each = finder.find(notice); each != nullptr) hear(notice, *each, all);
  }

  void hear(Notice const& notice, BackendView& each, std::span<BackendView> all) {
    auto& member = member_of_(each);
    if (notice.serial != 0) member.noted.store(0);
    else if (member.replaced == turn_) return;  // said of the backend that it replaced
    if (notice.criterion != Notice::no_criterion)
      return convict(each, all, notice.criterion, notice.finding, true);
    if (notice.signal == Signal::down) member.heard_probe = now_;
    follow(each, notice.signal, {.cause = notice.cause}, notice.finding.unreachable);
  }

  // -- what ends by itself -----------------------------------------------------------------------

  void expire(std::span<BackendView> all) {
    std::vector<BackendView*> served;
    for (auto& each : all) {
      auto& member = member_of_(each);
      if (member.machine.held() && member.heard_probe &&
          now_ - *member.heard_probe > options_.probe_silence) {
        member.heard_probe.reset();
        follow(each, Signal::up, {.cause = "probes are silent"});
      }
      if (!member.machine.is_served(now_)) continue;
      if (member.machine.phase() == Phase::ejected) served.push_back(&each);
      else follow(each, Signal::served, {.cause = "time served"});
    }
    release(served);
  }

  /// The first to have served their time go on trial; not all at once, since each may cost a
  /// request.
  void release(std::vector<BackendView*>& served) {
    std::ranges::sort(served, {},
                      [&](BackendView const* each) { return *member_of_(*each).machine.until(); });
    for (auto* each : served) {
      if (max_releases_ == 0) return;
      --max_releases_;
      follow(*each, Signal::served, {.cause = "time served"});
    }
  }

  void end_interval(std::span<BackendView> all) {
    interval_began_ = now_;
    std::vector<Tally> tallies;
    tallies.reserve(all.size());
    for (auto& each : all) {
      auto const tally = Tally::of(each.backend);
      tallies.push_back(tally.since(std::exchange(member_of_(each).at_interval, tally)));
    }
    for (std::size_t criterion = 0; criterion < criteria_->size(); ++criterion) {
      std::vector<std::size_t> judged;
      for (std::size_t i = 0; i < all.size(); ++i)
        if (in_rotation(all[i]) && !is_out(member_of_(all[i]).machine.phase())) judged.push_back(i);
      for (auto const& each : criteria_->compare(criterion, all, judged, tallies))
        convict(all[each.position], all, criterion, each.finding, false);
    }
    for (auto& each : all) member_of_(each).machine.forgive(now_, options_.interval);
    journal.prune(all.size(), [&] {
      std::unordered_set<std::string_view> ids;
      for (auto const& each : all) ids.insert(each.backend.id());
      return ids;
    });
  }

  // -- decisions ---------------------------------------------------------------------------------

  void convict(BackendView& each, std::span<BackendView> all, std::size_t criterion,
               Finding const& finding, bool by_run) {
    if (is_out(member_of_(each).machine.phase())) return;
    Transition because{
        .cause = criteria_->name_of(criterion), .value = finding.value, .limit = finding.limit};
    auto const consequence = criteria_->enforcement_of(criterion);
    if (draw() >= consequence.probability) {
      because.note = Transition::Note::watched;
      return follow(each, Signal::doubt, std::move(because));
    }
    if (by_run && fails_with_pool(member_of_(each))) {
      because.note = Transition::Note::together;
      return follow(each, Signal::doubt, std::move(because));
    }
    if (consequence.degrade) return follow(each, Signal::degrade, std::move(because));
    if (!may_eject(each)) return hold_back(each, all, std::move(because), finding);
    eject(each, std::move(because), finding);
  }

  void eject(BackendView& each, Transition because, Finding const& finding) {
    member_of_(each).rejecting.store(finding.rejecting);
    follow(each, Signal::eject, std::move(because), finding.unreachable);
  }

  /// Did every other backend that is not convicted fail, too, while this one's run of failures and
  /// as long before? Then the cause is what they share: the network, a database behind them, this
  /// process.
  [[nodiscard]] bool fails_with_pool(Member const& member) const {
    auto const others = census_.last_failure_of_others(member);
    if (!others || *others == Member::never) return false;
    auto const began = member.run_began.load();
    auto const ran = in_ns(last_clock_) - began;
    return *others >= began - std::max<std::int64_t>(ran, 0);
  }

  /// The cap and panic do not know which backends a policy leaves out. Where it leaves none but
  /// ejected ones, the options of panic decide in the same sense.
  [[nodiscard]] bool tries_rather_than_fails() const noexcept {
    return options_.panic.mode == Panic::Mode::open && options_.panic.threshold > 0;
  }

  /// The cap: a fraction of the set but at least one, and never the last one of a tier.
  [[nodiscard]] bool may_eject(BackendView const& each) {
    constexpr double rounding = 1e-9;  // 0.29 * 100 is 28.999999999999996
    auto const cap = options_.ejection.max_ejected * static_cast<double>(census_.set()) + rounding;
    return others_left(each) &&
           census_.out() + 1 <= std::max(std::ptrdiff_t{1}, static_cast<std::ptrdiff_t>(cap));
  }
  [[nodiscard]] bool others_left(BackendView const& each) {
    bool const counted = in_rotation(each) && !is_barred(each, member_of_(each));
    return census_.tier(each.backend.tier()).left > (counted ? 1 : 0);
  }

  /// Degrades a backend that the cap protects. If it fails every request, it gets a few only, and
  /// soon is proven to fail; if it recovers, it is degraded no longer. The earliest ejection
  /// without such a proof ends early, to make room.
  void hold_back(BackendView& each, std::span<BackendView> all, Transition because,
                 Finding const& finding) {
    auto& member = member_of_(each);
    reconsider_ejections(all);
    if (member.held_back) member.held_back->finding = finding;
    else member.held_back = HeldBack{because.cause, finding, successes_of(each)};
    because.note = Transition::Note::capped;
    follow(each, Signal::degrade, std::move(because));
  }

  void reconsider_ejections(std::span<BackendView> all) {
    if (std::exchange(reconsidered_, true)) return;
    BackendView* first = nullptr;
    for (auto& each : all) {
      auto const& member = member_of_(each);
      auto const& machine = member.machine;
      if (!in_rotation(each) || machine.phase() != Phase::ejected || machine.held()) continue;
      if (member.proven || now_ - machine.since() < std::chrono::seconds{1}) continue;
      if (first == nullptr || machine.since() < member_of_(*first).machine.since()) first = &each;
    }
    if (first == nullptr) return;
    follow(*first, Signal::served, {.cause = "asked again early, since the cap is reached"});
  }

  /// Cap and panic guard against wrong verdicts. A backend that fails every request for a second
  /// while another of its tier serves is no wrong verdict.
  void reconsider_verdicts(std::span<BackendView> all) {
    for (auto& each : all) {
      auto& member = member_of_(each);
      if (member.run.load() == 0) member.proven = false;
      else if (!member.proven && in_rotation(each)) member.proven = is_proven(each, member);
      if (member.machine.phase() != Phase::degraded) member.held_back.reset();
      if (member.held_back) settle(each, member);
    }
  }

  [[nodiscard]] bool is_proven(BackendView const& each, Member const& member) {
    constexpr std::int64_t time = 1'000'000'000;  // ns
    auto const run = member.run.load();
    auto const began = member.run_began.load();
    auto const& tier = census_.tier(each.backend.tier());
    return (run >= 3 || member.machine.held()) && in_ns(last_clock_) - began >= time &&
           tier.serving > 0 && in_ns(tier.served_since) >= began;
  }

  /// What becomes of a backend that the cap protected.
  void settle(BackendView& each, Member& member) {
    constexpr std::uint64_t enough = 5;  // successes without a failure
    auto const held_back = *member.held_back;
    if (member.run.load() == 0) {
      if (member.successes - std::min(member.successes, held_back.successes) >= enough)
        follow(each, Signal::passed, {.cause = "recovered"});
      return;
    }
    member.held_back->successes = member.successes;
    if (!may_eject(each) && !(member.proven && others_left(each))) return;
    Transition because{.cause = held_back.cause,
                       .value = held_back.finding.value,
                       .limit = held_back.finding.limit};
    if (member.proven) because.note = Transition::Note::proven;
    eject(each, std::move(because), held_back.finding);
  }

  void follow(BackendView& each, Signal signal, Transition because, bool unreachable = false) {
    auto& member = member_of_(each);
    auto& machine = member.machine;
    because.from = machine.phase();
    census_.count(each, member, -1);
    bool const moved =
        machine.follow(signal, now_, options_.ejection, options_.slow_start, draw(), unreachable);
    census_.count(each, member, 1);
    if (signal == Signal::down) member.called_down = because.cause;
    foresee(each, member);
    if (!moved && because.note != Transition::Note::watched) return;
    because.at = last_clock_;
    because.id = each.backend.id();
    because.to = machine.phase();
    if (moved && machine.until())
      because.lasts = poise::detail::saturating_sub(*machine.until(), now_);
    for (std::size_t i = 0; i < result_count; ++i)
      because.results[i] = each.backend.ended(static_cast<Result>(i));
    if (moved) enter(each, member, because.from);
    journal.write(std::move(because));
  }

  /// Tells the journal how the phase will end, if that has changed.
  void foresee(BackendView const& each, Member& member) {
    using poise::detail::saturating_sub;
    auto const& machine = member.machine;
    Outlook outlook;
    outlook.held = machine.phase() == Phase::ejected && machine.held();
    outlook.by_probes = outlook.held && member.heard_probe;
    outlook.capped = machine.phase() == Phase::degraded && member.held_back;
    if (outlook.held) outlook.cause = member.called_down;
    else if (machine.until())
      outlook.until =
          poise::detail::saturating_add(last_clock_, saturating_sub(*machine.until(), now_));
    if (member.outlook == outlook) return;
    member.outlook = outlook;
    journal.expect(each.backend.id(), each.backend.serial(), std::move(outlook));
  }

  void enter(BackendView const& each, Member& member, Phase from) {
    auto const phase = member.machine.phase();
    if (phase == Phase::probation) {
      member.before_trial.store(each.backend.in_flight());
      member.probation_began.store(in_ns(last_clock_));
      member.trials = 1;
      member.trials_full.reset();
    }
    member.phase.store(phase);
    if (phase == Phase::slow_start) {
      member.pace = 0;
      member.total_at_pace = each.backend.total();
    }
    if (is_out(from) && !is_out(phase)) {
      member.at_interval = Tally::of(each.backend);  // failures before the ejection are not counted
      member.rejecting.store(false);
      criteria_->reset(member);
    }
  }

  // -- what picks see ----------------------------------------------------------------------------

  void note_panic(bool panic, Rotation::Part const& all) {
    panicking_.store(panic);
    journal.write({.at = last_clock_,
                   .cause = panic ? "panic begins" : "panic ends",
                   .value = static_cast<double>(all.usable),
                   .limit = options_.panic.threshold * static_cast<double>(all.deciding())});
  }

  void rule_in_panic(std::span<BackendView> all, Rotation const& rotation) {
    for (auto& each : all) {
      if (options_.panic.mode == Panic::Mode::closed) {
        if (member_of_(each).machine.phase() != Phase::probation)
          each.health = HealthState::unhealthy;
      } else if (rotation.may_open(each)) {
        each.health = HealthState::healthy;
      }
    }
  }

  /// Marks backends for arrange(); true if a mark changed.
  [[nodiscard]] bool mark(std::span<BackendView> all) {
    bool changed = false;
    auto const set = [&](bool& mark, bool value) {
      changed = changed || mark != value;
      mark = value;
    };
    bool const others_well = census_.all().left > census_.all().failing;
    for (auto& each : all) {
      auto& member = member_of_(each);
      auto const& tier = census_.tier(each.backend.tier());
      set(member.wants_pick, wants_pick(each, member));
      set(member.trickles, member.machine.phase() == Phase::degraded && member.held_back &&
                               member.run.load() != 0 && others_well);
      set(member.discounted,
          member.proven && is_out(member.machine.phase()) && tier.left > tier.failing);
    }
    return changed;
  }

  /// Has no policy begun its trial for a while? It may look busy, or have looked slow. Not for
  /// long: it may not be in the part of the set that the policy uses.
  [[nodiscard]] bool wants_pick(BackendView const& each, Member const& member) const {
    if (member.machine.phase() != Phase::probation) return false;
    auto const waited = now_ - member.machine.since();
    auto const before = std::min(member.before_trial.load(), each.backend.in_flight());
    return (waited >= std::chrono::seconds{2} && waited < std::chrono::seconds{10} &&
            each.backend.in_flight() - before < member.trials) ||
           (member.trials > 1 && each.backend.in_flight() - before < member.trials);
  }

  /// As arrange() will see it.
  [[nodiscard]] bool is_panic_among(std::span<BackendView> all) const {
    Rotation rotation;
    for (auto const& each : all) {
      if (!in_rotation(each)) continue;
      auto const& member = member_of_(each);
      rotation.add(each, each.health != HealthState::unhealthy && !is_barred(each, member),
                   member.discounted);
    }
    return rotation.panics(options_.panic.threshold);
  }

  /// One trial request at a time on probation, a growing fraction in slow start, a hundredth of
  /// what policies propose for a backend that the cap protects though it fails everything. In an
  /// open panic every backend is picked anyway, and the results are judged.
  void admit(std::span<BackendView> all, bool panic) {
    constexpr double trickle = 0.01;
    pacer_.set_paces(now_, all);
    if (panic && options_.panic.mode == Panic::Mode::open) return;
    for (auto& each : all) {
      auto& member = member_of_(each);
      auto const phase = member.machine.phase();
      if (phase == Phase::probation) {
        // What no other backend takes may exceed it, unless a closed panic forbids just that.
        auto& limit = panic ? each.admission.max_in_flight : each.max_on_trial;
        limit = std::min(limit, max_in_flight_on_probation(each, member));
      }
      if (phase == Phase::slow_start) limit_share(each, member.pace);
      if (!member.trickles) continue;
      limit_share(each, trickle);
      each.max_on_trial = std::min(each.max_on_trial, each.backend.in_flight() + 1);
    }
  }

  /// What was in flight before, and the trial beside it. A trial that hangs lets in another one.
  [[nodiscard]] std::uint32_t max_in_flight_on_probation(BackendView const& each,
                                                         Member& member) const {
    constexpr std::uint32_t max_trials = 16;
    auto const in_flight = each.backend.in_flight();
    auto const before = std::min(member.before_trial.load(), in_flight);
    if (before != member.before_trial.load()) member.before_trial.store(before);
    if (in_flight - before < member.trials) {
      member.trials_full.reset();
    } else if (!member.trials_full) {
      member.trials_full = now_;
    } else if (member.trials < max_trials &&
               now_ - *member.trials_full >=
                   poise::detail::saturating_mul(options_.ejection.max_trial,
                                                 Duration::rep{1} << (member.trials - 1))) {
      ++member.trials;
      member.trials_full.reset();
    }
    return before + member.trials;
  }

  double draw() noexcept { return poise::detail::next_unit(random_); }

  static constexpr Duration min_grace = std::chrono::seconds{10};
  static constexpr auto not_yet = std::numeric_limits<std::int64_t>::min();

  // Read by every request that ends; written once a tick.
  sync::Relaxed<std::int64_t> due_{not_yet};
  MonitorOptions options_;
  CriteriaTable* criteria_;
  MemberOf const member_of_;

 public:
  alignas(64) Journal journal;
  Inbox inbox{};

 private:
  sync::Relaxed<Duration::rep> probe_silence_;
  sync::Relaxed<bool> panicking_{false};
  sync::Relaxed<bool> ticks_missing_{false};
  sync::Relaxed<std::uint32_t> claims_{};   // of turns, while ticks are missing
  sync::Relaxed<std::uint32_t> reviews_{};  // since the last tick
  sync::Relaxed<std::uint32_t> max_reviews_{4};
  sync::Relaxed<std::int64_t> reviewed_at_{};
  sync::Relaxed<bool> deferred_{false};
  sync::Relaxed<bool> reviewing_{false};  // the next turn is a review that a request asked for

  std::mutex change_mutex_{};
  std::optional<Change> change_{};

  std::mutex owner_mutex_{};
  std::weak_ptr<void const> owner_{};

  Pacer pacer_;
  Census census_{};
  std::uint64_t random_;
  std::uint64_t turn_ = 0;
  bool ticked_ = false;
  bool running_ = false;  // has seen backends: later ones join
  bool told_of_ticks_ = false;
  bool reconsidered_ = false;
  std::uint64_t max_releases_ = 2;  // until the next look
  std::optional<Time> last_tick_{};
  Time now_{std::chrono::seconds{1}};
  Time last_clock_{};
  Time looked_{};
  Time looked_clock_{};
  Time interval_began_{std::chrono::seconds{1}};
};

}  // namespace detail

}  // namespace poise::inline v0_1_0::health
