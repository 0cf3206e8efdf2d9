// SPDX-License-Identifier: MIT
#pragma once

// Takes failing backends out, brings them back, and sees to it that enough are left: a rule for the
// balancer's runtime, which works under every policy.
//
//   poise::Balancer<poise::P2C, void, poise::health::Watched> servers{endpoints};
//   poise::health::Keeper keeper;             // ticks it, once a second
//   auto const kept = keeper.watch(servers);
//
// or with criteria and numbers of your own:
//
//   using Monitor = poise::health::Monitor<poise::health::Consecutive, Resets>;
//   using Runtime = poise::Runtime<poise::SteadyClock, Monitor>;
//   poise::Balancer<poise::P2C, void, Runtime> servers{
//       endpoints, {}, {.observers = {Monitor{{.log = print}, {.failures = 3}}}}};
//
// A monitor is a handle: copies share everything, so keep one to ask for history(). Give each
// balancer its own; two that share one are refused.
//
// How it works. Requests that end well touch one number of the backend. Criteria compare the pool
// in tick(); only Consecutive, and a request on probation, act between ticks: they leave a note and
// ask the balancer for a review, which runs under its lock on the thread of the request that
// failed. Picks wait for nothing of that. Time is counted in ticks, so a clock that jumps back
// stops it for a moment, and no ejection becomes endless.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <poise/backend.hpp>
#include <poise/error.hpp>
#include <poise/health/criteria.hpp>
#include <poise/health/journal.hpp>
#include <poise/health/machine.hpp>
#include <poise/health/options.hpp>
#include <poise/health/phase.hpp>
#include <poise/outcome.hpp>
#include <poise/policy.hpp>
#include <poise/random.hpp>
#include <poise/runtime.hpp>
#include <poise/sync/relaxed.hpp>
#include <poise/time.hpp>

namespace poise::health {

struct MonitorOptions {
  Duration interval = std::chrono::seconds{10};  ///< How often criteria compare the pool.
  Ejection ejection{};
  SlowStart slow_start{};
  Panic panic{};
  /// A probe that called a backend down and is not heard again for so long is not believed any
  /// more.
  Duration probe_silence = std::chrono::minutes{3};
  std::size_t history = 16;  ///< Transitions kept per backend.
  Journal::Listener log{};   ///< Hears of every transition, outside all locks; see Journal. Other
                             ///< observers of the runtime do by on_transition.
  std::optional<std::uint64_t> seed{};  ///< For jitter and shares; fresh if none.
};

namespace detail {

/// A note to the next review.
struct Notice {
  static constexpr std::size_t no_criterion = ~std::size_t{0};
  std::uint64_t serial = 0;  // of the backend; 0: by id
  std::string id{};
  Signal signal{};
  std::size_t criterion = no_criterion;
  Finding finding{};
  std::string cause{};
};

/// Where requests and probes leave notes. *Threads* any.
class Inbox {
 public:
  void put(Notice notice) {
    std::scoped_lock const lock{mutex_};
    notices_.push_back(std::move(notice));
  }
  [[nodiscard]] std::vector<Notice> take() {
    std::scoped_lock const lock{mutex_};
    return std::exchange(notices_, {});
  }

 private:
  std::mutex mutex_;
  std::vector<Notice> notices_;
};

/// Tells the copies of a handle apart: each has one of its own, which ends with it.
class Identity {
 public:
  Identity() = default;
  Identity(Identity const&) : Identity{} {}
  Identity& operator=(Identity const& other) {
    if (this != &other) token_ = std::make_shared<char>();
    return *this;
  }
  ~Identity() = default;

  /// Becomes the owner if there is none; false if another one is.
  [[nodiscard]] bool claims(std::weak_ptr<void const>& owner) const {
    auto const current = owner.lock();
    if (!current) owner = token_;
    return !current || current == token_;
  }

 private:
  std::shared_ptr<void const> token_ = std::make_shared<char>();
};

template <class C>
inline constexpr bool judges_requests =
    requires(C const& criterion, Finished const& event, hooks::StateOf<C>& state) {
      { criterion.on_finish(event, state) } -> std::convertible_to<std::optional<Finding>>;
    };
template <class C>
inline constexpr bool judges_pool = requires(
    C& criterion, std::span<Subject<hooks::StateOf<C>>> pool) { criterion.on_interval(pool); };

template <class C>
consteval bool check_criterion() {
  static_assert(judges_requests<C> || judges_pool<C>,
                "a poise health criterion needs on_finish(Finished const&, State&) const or "
                "on_interval(std::span<Subject<State>>)");
  if constexpr (requires { &C::on_finish; })
    static_assert(judges_requests<C>,
                  "a poise health criterion's on_finish: std::optional<Finding> "
                  "on_finish(Finished const&, State&) const");
  if constexpr (requires { &C::on_interval; })
    static_assert(judges_pool<C>,
                  "a poise health criterion's on_interval: void on_interval(span<Subject<State>>)");
  return true;
}

}  // namespace detail

/// *Errors* ConfigError: durations that are not positive, shares outside 0 to 1 or NaN, counts of
/// 0.
/// *Cost* of a request that ends well: what its criteria say (3 ns for the standard ones) beside
/// the clock; of a tick: O(n), at intervals O(n log n).
template <class... Criteria>
class Monitor {
  static_assert((detail::check_criterion<Criteria>() && ...));

 public:
  static constexpr bool uses_time = true;

  /// Per backend. Only `phase` and `noted` are read off the balancer's lock.
  struct State {
    sync::Relaxed<Phase> phase{};
    sync::Relaxed<std::uint32_t> noted{};  // a note waits for the next review
    std::tuple<hooks::StateOf<Criteria>...> criteria{};
    sync::Relaxed<std::int64_t> probation_began{};  // by the clock

    bool known = false;
    Machine machine{};
    HealthState told = HealthState::healthy;  // what this monitor last made of it
    Tally at_interval{};
    std::optional<Time> heard_probe{};
    double pace = 0;  // slow start: the share of picks it accepts
    std::uint64_t total_at_pace = 0;
  };

  Monitor() : Monitor{MonitorOptions{}} {}
  // NOLINTNEXTLINE(*-explicit-*): options stand for it in a list of observers
  Monitor(MonitorOptions options) : Monitor{Private{}, std::move(options), Criteria{}...} {}
  Monitor(MonitorOptions options, Criteria... criteria)
    requires(sizeof...(Criteria) != 0)
      : Monitor{Private{}, std::move(options), std::move(criteria)...} {}

  // -- questions: any thread ---------------------------------------------------------------------

  /// The last transitions of a backend, oldest first; those of panic under "".
  [[nodiscard]] std::vector<Transition> history(std::string_view id) const {
    return shared_->journal.history(id);
  }
  /// Where a backend stands; nothing before the first tick, or if there is none of this id.
  [[nodiscard]] std::optional<Phase> phase(std::string_view id) const {
    return shared_->journal.phase(id);
  }
  /// Are too few left, so that Panic::mode rules?
  [[nodiscard]] bool panicking() const noexcept { return shared_->panicking.load(); }

  // -- probes: any thread ------------------------------------------------------------------------

  /// Who is down must be reported again within so long.
  [[nodiscard]] Duration probe_silence() const noexcept { return shared_->options.probe_silence; }

  /// What a probe found (Signal::up, down, doubt or degrade) and why. Counts from the next tick on.
  /// *Errors* ConfigError for other signals: those are the monitor's own.
  void report(std::string_view id, Signal signal, std::string_view cause) const {
    using enum Signal;
    if (signal != up && signal != down && signal != doubt && signal != degrade)
      throw ConfigError{"report(): " + std::string{name(signal)} +
                        " is not for probes to say; they say up, down, doubt or degrade"};
    shared_->inbox.put({.id = std::string{id}, .signal = signal, .cause = std::string{cause}});
  }

  // -- hooks -------------------------------------------------------------------------------------

  [[gnu::always_inline]] void on_finish(Finished const& event, State& state) const {
    if (!is_verdict(event.outcome.ending)) return;
    auto const phase = state.phase.load();
    judge(event, state, phase, std::index_sequence_for<Criteria...>{});
    if (phase == Phase::probation) [[unlikely]]
      end_trial(Moment{event}, event.outcome.ending, event.latency.value_or(Duration::zero()),
                state);
  }

  void on_tick(Time clock, std::span<Standing> all) const { shared_->tick(clock, all); }
  void arrange(std::span<Standing> all) const {
    shared_->serve_only(identity_);
    shared_->arrange(all);
  }
  /// Every observer of the runtime hears of each transition, and then the log does.
  template <class Tell>
  void after_tick(Tell const& tell) const {
    shared_->journal.tell(tell);
  }

 private:
  using Notice = detail::Notice;
  struct Private {
    explicit Private() = default;
  };

  Monitor(Private, MonitorOptions options, Criteria... criteria)
      : shared_{std::make_shared<Shared>(std::move(options), std::move(criteria)...)} {}

  template <std::size_t... I>
  [[gnu::always_inline]] void judge([[maybe_unused]] Finished const& event,
                                    [[maybe_unused]] State& state, [[maybe_unused]] Phase phase,
                                    std::index_sequence<I...>) const {
    (judge_by<I>(event, state, phase), ...);
  }

  template <std::size_t I>
  [[gnu::always_inline]] void judge_by([[maybe_unused]] Finished const& event,
                                       [[maybe_unused]] State& state,
                                       [[maybe_unused]] Phase phase) const {
    auto const& criterion = std::get<I>(shared_->criteria);
    if constexpr (detail::judges_requests<std::remove_cvref_t<decltype(criterion)>>)
      if (auto const finding = criterion.on_finish(event, std::get<I>(state.criteria))) [[unlikely]]
        note(Moment{event}, state, phase, I, *finding);
  }

  /// What is needed of an event in order to act on it. A copy, since an event whose address a call
  /// takes would be written to memory each time, also while all is well.
  struct Moment {
    explicit Moment(Finished const& event) noexcept
        : backend{event.backend}, reporter{event.reporter}, now{event.now} {}
    void review() const noexcept { reporter.review(reporter.balancer, now); }

    Backend const& backend;
    poise::detail::Reporter reporter;
    Time now;
  };

  /// One note per backend and review, and none of who is out already: a storm of failures takes the
  /// lock once.
  [[gnu::noinline, gnu::cold]] void note(Moment event, State& state, Phase phase,
                                         std::size_t criterion, Finding finding) const {
    if (is_out(phase) || state.noted.add(1) != 0) return;
    shared_->inbox.put({.serial = event.backend.serial(),
                        .signal = Signal::eject,
                        .criterion = criterion,
                        .finding = finding});
    if (phase != Phase::degraded) event.review();  // that one can wait: it is known
  }

  /// A request that was in flight before the probation began says nothing about the backend now.
  [[gnu::noinline, gnu::cold]] void end_trial(Moment event, Ending ending, Duration latency,
                                              State& state) const {
    auto const began = (event.now - latency).time_since_epoch();
    if (began.count() < state.probation_began.load() || state.noted.add(1) != 0) return;
    shared_->inbox.put({.serial = event.backend.serial(),
                        .signal = is_failure(ending) ? Signal::failed : Signal::passed,
                        .cause = std::string{name(ending)}});
    event.review();
  }

  /// Everything that copies of a monitor share. What is not Relaxed, Inbox or Journal is used under
  /// the balancer's lock only.
  struct Shared {
    Shared(MonitorOptions with, Criteria... those)
        : options{std::move(with)},
          criteria{std::move(those)...},
          journal{options.history, options.log},
          chance{options.seed ? *options.seed : fresh_seed()} {
      detail::check_positive("interval of health::MonitorOptions", options.interval);
      detail::check_positive("probe_silence of health::MonitorOptions", options.probe_silence);
      detail::check_at_least_one("history of health::MonitorOptions", options.history);
      detail::check(options.ejection);
      detail::check(options.slow_start);
      detail::check(options.panic);
      std::apply([](auto const&... each) { (check(each), ...); }, criteria);
    }

    template <class C>
    static void check(C const& criterion) {
      if constexpr (requires { criterion.check(); }) criterion.check();
      detail::check_share("enforcement of a health criterion", enforcement(criterion).share);
    }
    template <class C>
    static Enforcement enforcement(C const& criterion) {
      if constexpr (requires { criterion.enforcement; }) return criterion.enforcement;
      else return {};
    }
    template <class C>
    static std::string cause(C const&) {
      if constexpr (requires { std::string{C::name}; }) return std::string{C::name};
      else return "custom criterion";
    }

    /// *Errors* ConfigError: another balancer holds a copy, and lives.
    void serve_only(detail::Identity const& identity) {
      std::scoped_lock const lock{owner_mutex};
      if (identity.claims(owner)) return;
      throw ConfigError{
          "a health::Monitor was given to two balancers, or twice to one: their backends would "
          "share one history. Make one for each; one may be used again when its balancer and all "
          "of that balancer's leases are gone"};
    }

    // -- the turn of events ----------------------------------------------------------------------

    void tick(Time clock, std::span<Standing> all) {
      advance(clock, all);
      for (auto& each : all) meet(each);
      running = running || !all.empty();
      for (auto const& notice : inbox.take()) hear(notice, all);
      for (auto& each : all) serve(each);
      if (now - interval_began >= options.interval) end_interval(all);
      for (auto& each : all) {
        auto& state = state_of(each);
        each.health = state.told = public_state(state.machine.phase());
      }
      admit(all, is_panic_among(all));
    }

    /// Time as this monitor counts it: it never runs backwards.
    void advance(Time clock, std::span<Standing> all) {
      if (clock < last_clock)
        for (auto& each : all) {
          auto& began = state_of(each).probation_began;
          began.store(std::min<std::int64_t>(began.load(), clock.time_since_epoch().count()));
        }
      if (ticked) now += std::max(clock - last_clock, Duration::zero());
      ticked = true;
      last_clock = clock;
    }

    /// A backend not seen before, or of which somebody else reported something.
    void meet(Standing& each) {
      auto& state = state_of(each);
      if (!state.known) {
        state.known = true;
        journal.open(each.backend.id(), state.machine.phase());
        state.at_interval = Tally::of(each.backend);
        state.total_at_pace = each.backend.total();
        if (running && each.health == HealthState::healthy)
          follow(each, Signal::appeared, {.cause = "joined"});
      }
      if (each.health == state.told) return;
      auto const signal = each.health == HealthState::unhealthy      ? Signal::down
                          : each.health == HealthState::degraded     ? Signal::degrade
                          : state.machine.phase() == Phase::degraded ? Signal::served
                                                                     : Signal::up;
      state.heard_probe.reset();  // whoever reported is not expected to repeat it
      follow(each, signal, {.cause = "reported " + std::string{poise::name(each.health)}});
    }

    void hear(Notice const& notice, std::span<Standing> all) {
      auto const found = std::ranges::find_if(all, [&](Standing const& each) {
        return notice.serial != 0 ? each.backend.serial() == notice.serial
                                  : each.backend.id() == notice.id;
      });
      if (found == all.end()) return;  // removed meanwhile
      auto& state = state_of(*found);
      if (notice.serial != 0) state.noted.store(0);
      if (notice.criterion != Notice::no_criterion) {
        visit(notice.criterion, [&](auto& criterion, auto) {
          convict(*found, all, cause(criterion), enforcement(criterion), notice.finding);
        });
        return;
      }
      if (notice.signal == Signal::down) state.heard_probe = now;
      follow(*found, notice.signal, {.cause = notice.cause});
    }

    /// What ends by itself.
    void serve(Standing& each) {
      auto& state = state_of(each);
      if (state.machine.held() && state.heard_probe &&
          now - *state.heard_probe > options.probe_silence) {
        state.heard_probe.reset();
        follow(each, Signal::up, {.cause = "probes are silent"});
      }
      if (state.machine.is_served(now)) follow(each, Signal::served, {.cause = "time served"});
    }

    void end_interval(std::span<Standing> all) {
      interval_began = now;
      std::vector<Tally> tallies;
      for (auto& each : all) {
        auto const tally = Tally::of(each.backend);
        tallies.push_back(tally.since(std::exchange(state_of(each).at_interval, tally)));
      }
      [&]<std::size_t... I>(std::index_sequence<I...>) {
        (compare<I>(all, tallies), ...);
      }(std::index_sequence_for<Criteria...>{});
      for (auto& each : all) state_of(each).machine.forgive(now, options.interval);
      journal.prune(all.size(), [&](std::string const& id) {
        return std::ranges::any_of(all, [&](auto const& each) { return each.backend.id() == id; });
      });
    }

    template <std::size_t I>
    void compare(std::span<Standing> all, std::vector<Tally> const& tallies) {
      auto& criterion = std::get<I>(criteria);
      using C = std::remove_reference_t<decltype(criterion)>;
      if constexpr (detail::judges_pool<C>) {
        std::vector<Subject<hooks::StateOf<C>>> pool;
        std::vector<std::size_t> origin;
        for (std::size_t i = 0; i < all.size(); ++i) {
          auto& state = state_of(all[i]);
          if (!in_rotation(all[i]) || is_out(state.machine.phase())) continue;
          pool.push_back({all[i].backend, std::get<I>(state.criteria), tallies[i]});
          origin.push_back(i);
        }
        criterion.on_interval(std::span{pool});
        for (std::size_t i = 0; i < pool.size(); ++i)
          if (pool[i].finding)
            convict(all[origin[i]], all, cause(criterion), enforcement(criterion),
                    *pool[i].finding);
      }
    }

    // -- decisions -------------------------------------------------------------------------------

    void convict(Standing& each, std::span<Standing> all, std::string why,
                 Enforcement const& consequence, Finding const& finding) {
      if (is_out(state_of(each).machine.phase())) return;
      Transition because{.cause = std::move(why), .value = finding.value, .limit = finding.limit};
      if (draw() >= consequence.share) {
        because.note = Transition::Note::watched;
        return follow(each, Signal::doubt, std::move(because));
      }
      if (consequence.degrade) return follow(each, Signal::degrade, std::move(because));
      if (!may_eject(each, all)) {
        because.note = Transition::Note::capped;
        return follow(each, Signal::degrade, std::move(because));
      }
      auto const base = finding.unreachable ? options.ejection.unreachable : options.ejection.base;
      follow(each, Signal::eject, std::move(because), base);
    }

    /// The cap: a share of the set but at least one, and never the last one of a tier.
    bool may_eject(Standing const& each, std::span<Standing> all) const {
      std::size_t set = 0;
      std::size_t out = 0;
      bool other_left = false;
      for (auto const& other : all) {
        if (!in_rotation(other)) continue;
        ++set;
        bool const is_gone = is_out(state_of(other).machine.phase());
        out += is_gone ? 1U : 0U;
        if (!is_gone && &other != &each && other.backend.tier() == each.backend.tier() &&
            !is_barred(other))
          other_left = true;
      }
      constexpr double rounding = 1e-9;  // 0.29 * 100 is 28.999999999999996
      auto const cap = options.ejection.cap * static_cast<double>(set) + rounding;
      return other_left && out + 1 <= std::max(std::size_t{1}, static_cast<std::size_t>(cap));
    }

    static bool in_rotation(Standing const& each) noexcept {
      return !each.drained && each.weight != 0;
    }
    /// Has the operator declared it unhealthy? Then the balancer's word differs from this one's.
    static bool is_barred(Standing const& each) noexcept {
      return each.backend.health() == HealthState::unhealthy &&
             state_of(each).told != HealthState::unhealthy;
    }

    void follow(Standing& each, Signal signal, Transition because,
                std::optional<Duration> base = {}) {
      auto& state = state_of(each);
      auto& machine = state.machine;
      because.from = machine.phase();
      bool const moved =
          machine.follow(signal, now, options.ejection, options.slow_start, draw(), base);
      if (!moved && because.note == Transition::Note::none) return;
      because.at = last_clock;
      because.id = each.backend.id();
      because.to = machine.phase();
      if (moved && machine.until()) because.lasts = *machine.until() - now;
      for (std::size_t i = 0; i < ending_count; ++i)
        because.endings[i] = each.backend.ended(static_cast<Ending>(i));
      if (moved) enter(each, state, because.from);
      journal.write(std::move(because));
    }

    void enter(Standing const& each, State& state, Phase from) {
      auto const phase = state.machine.phase();
      state.phase.store(phase);
      if (phase == Phase::probation)
        state.probation_began.store(last_clock.time_since_epoch().count());
      if (phase == Phase::slow_start) {
        state.pace = 0;
        state.total_at_pace = each.backend.total();
      }
      if (is_out(from) && !is_out(phase)) {
        state.at_interval = Tally::of(each.backend);  // what failed while it was out is history
        reset(state, std::index_sequence_for<Criteria...>{});
      }
    }

    template <std::size_t... I>
    void reset(State& state, std::index_sequence<I...>) {
      [[maybe_unused]] auto const one = [](auto const& criterion, auto& own) {
        if constexpr (requires { criterion.reset(own); }) criterion.reset(own);
      };
      (one(std::get<I>(criteria), std::get<I>(state.criteria)), ...);
    }

    // -- what picks see --------------------------------------------------------------------------

    /// Called for each publication, also those that no tick made.
    void arrange(std::span<Standing> all) {
      std::size_t selectable = 0;
      std::size_t set = 0;
      for (auto& each : all) {
        if (!in_rotation(each)) continue;
        ++set;
        selectable += each.health != HealthState::unhealthy ? 1U : 0U;
        if (running && !state_of(each).known && options.slow_start.window > Duration::zero())
          limit_share(each, options.slow_start.floor);  // until the next tick meets it
      }
      bool const panic = is_panic(selectable, set, options.panic.threshold);
      if (panic != panicking.load()) note_panic(panic, selectable, set);
      if (!panic) return;
      for (auto& each : all)
        if (options.panic.mode == Panic::Mode::open) each.health = HealthState::healthy;
        else if (state_of(each).machine.phase() != Phase::probation)
          each.health = HealthState::unhealthy;
    }

    void note_panic(bool panic, std::size_t selectable, std::size_t set) {
      panicking.store(panic);
      journal.write({.at = last_clock,
                     .cause = panic ? "panic begins" : "panic ends",
                     .value = static_cast<double>(selectable),
                     .limit = options.panic.threshold * static_cast<double>(set)});
    }

    /// As arrange() will see it.
    bool is_panic_among(std::span<Standing> all) const {
      std::size_t selectable = 0;
      std::size_t set = 0;
      for (auto const& each : all) {
        if (!in_rotation(each)) continue;
        ++set;
        selectable += each.health != HealthState::unhealthy && !is_barred(each) ? 1U : 0U;
      }
      return is_panic(selectable, set, options.panic.threshold);
    }

    /// One at a time on probation, a growing share in slow start. In an open panic everybody is
    /// asked anyway, and what comes back is judged.
    void admit(std::span<Standing> all, bool panic) {
      bool const open = panic && options.panic.mode == Panic::Mode::open;
      std::size_t full = 0;
      std::size_t slow = 0;
      for (auto const& each : all) {
        auto const phase = state_of(each).machine.phase();
        if (!in_rotation(each) || is_out(phase) || is_barred(each)) continue;
        ++(phase == Phase::slow_start ? slow : full);
      }
      auto const least = least_ramp(full, slow, options.slow_start.overload);
      set_paces(all, least, full + slow);
      for (auto& each : all) {
        auto const& state = state_of(each);
        if (open) continue;
        if (state.machine.phase() == Phase::probation)
          each.admission.max_in_flight = std::min(each.admission.max_in_flight, 1U);
        if (state.machine.phase() == Phase::slow_start) limit_share(each, state.pace);
      }
    }

    /// Policies propose a warming backend more or less often (least connections at every pick,
    /// since it is idle), so the share it accepts is steered towards what it is due: the ramp's
    /// part of what the others of its weight got.
    void set_paces(std::span<Standing> all, double least, std::size_t up) {
      constexpr auto step = std::chrono::milliseconds{500};
      bool const measured = now - pace_began >= step;
      auto const per_weight = measured ? picks_per_weight(all) : 0;
      for (auto& each : all) {
        auto& state = state_of(each);
        auto const total = each.backend.total();
        if (state.machine.phase() == Phase::slow_start) {
          auto const part = std::max(least, ramp(now - state.machine.since(), options.slow_start));
          if (state.pace == 0) state.pace = least > 0 ? part : part / static_cast<double>(up);
          else if (measured)
            state.pace = steer(state.pace, static_cast<double>(total - state.total_at_pace),
                               part * per_weight * each.weight);
          state.pace = part >= 1 ? 1 : std::min(state.pace, 1.0);
        }
        if (measured) state.total_at_pace = total;
      }
      if (measured) pace_began = now;
    }

    /// What backends at full share got since the last step.
    double picks_per_weight(std::span<Standing> all) const {
      double picks = 0;
      double weights = 0;
      for (auto const& each : all) {
        auto const& state = state_of(each);
        auto const phase = state.machine.phase();
        if (!in_rotation(each) || is_out(phase) || phase == Phase::slow_start || is_barred(each))
          continue;
        picks += static_cast<double>(each.backend.total() - state.total_at_pace);
        weights += each.weight;
      }
      return weights > 0 ? picks / weights : 0;
    }

    /// At most doubled or cut to a quarter in one step; left alone where numbers are too small.
    static double steer(double pace, double got, double due) {
      constexpr double telling = 5;
      if (due < telling && got < telling) return pace;
      return pace * std::clamp(due / std::max(got, 1.0), 0.25, 2.0);
    }

    static void limit_share(Standing& each, double share) {
      if (share >= 1) return;
      auto const limit = static_cast<std::uint32_t>(share * 0x1p32);
      each.admission.share = std::min(each.admission.share, limit);
    }

    // -- small change ----------------------------------------------------------------------------

    static State& state_of(Standing const& each) noexcept { return each.template state<State>(); }

    double draw() noexcept {
      chance += poise::detail::wyrand_step;
      return static_cast<double>(poise::detail::wyrand(chance) >> 11U) * 0x1p-53;
    }

    template <class Visit>
    void visit(std::size_t wanted, Visit const& visitor) {
      [&]<std::size_t... I>(std::index_sequence<I...>) {
        ((I == wanted ? visitor(std::get<I>(criteria), std::integral_constant<std::size_t, I>{})
                      : void()),
         ...);
      }(std::index_sequence_for<Criteria...>{});
    }

    MonitorOptions const options;
    std::tuple<Criteria...> criteria;
    Journal journal;
    detail::Inbox inbox{};
    sync::Relaxed<bool> panicking{false};

    std::mutex owner_mutex{};
    std::weak_ptr<void const> owner{};

    std::uint64_t chance;
    bool ticked = false;
    bool running = false;  // has seen backends: later ones join
    Time now{std::chrono::seconds{1}};
    Time last_clock{};
    Time interval_began{std::chrono::seconds{1}};
    Time pace_began{std::chrono::seconds{1}};
  };

  std::shared_ptr<Shared> shared_;
  detail::Identity identity_{};
};

/// The criteria that most will want.
using Standard = Monitor<Consecutive, FailureShare, SuccessRate, Latency>;

/// Real time and the standard monitor: `Balancer<P2C, void, health::Watched>`.
using Watched = Runtime<SteadyClock, Standard>;

}  // namespace poise::health
