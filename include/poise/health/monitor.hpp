// SPDX-License-Identifier: MIT
#pragma once

// Ejects failing backends, readmits them, and keeps enough of the pool in service. A runtime
// observer; works under every policy.
//
//   poise::Balancer<poise::P2C, void, poise::health::Monitored> servers{endpoints};
//   poise::Ticker ticker;                     // ticks it, once a second
//   auto const handle = ticker.watch(servers);
//
// or with criteria and numbers of your own:
//
//   using Monitor = poise::health::Monitor<poise::health::Consecutive, Resets>;
//   using Runtime = poise::Runtime<poise::CycleClock, Monitor>;
//   poise::Balancer<poise::P2C, void, Runtime> servers{
//       endpoints, {}, {.observers = {Monitor{{.log = print}, {.failures = 3}}}}};
//
// A monitor is a handle: copies share everything, so keep one to ask for history(). Give each
// balancer its own; a monitor that two balancers share is refused.
//
// How it works. A successful request changes one number of its backend. Criteria compare the pool
// in tick(). Between ticks only Consecutive and a request on probation act: they leave a notice and
// ask the balancer for a review, which runs under its lock on the thread of the request that
// failed. Picks never wait for it. Time is the sum of the time between ticks, so a clock that jumps
// back stops the monitor's time for a moment, and no ejection becomes endless.
//
//   health/pool.hpp        the decisions, under the balancer's lock
//   health/member.hpp      what is kept of each backend
//   health/machine.hpp     one backend's phases
//   health/slow_start.hpp  the ramp
//   health/notice.hpp      from requests and probes to the next review

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
#include <poise/health/member.hpp>
#include <poise/health/notice.hpp>
#include <poise/health/options.hpp>
#include <poise/health/phase.hpp>
#include <poise/health/pool.hpp>
#include <poise/observer.hpp>
#include <poise/outcome.hpp>
#include <poise/policy/hooks.hpp>
#include <poise/runtime.hpp>
#include <poise/sync/relaxed.hpp>
#include <poise/sync/replaceable.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::health {

namespace detail {

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

/// The criteria of a monitor, by number. `State` is what the monitor keeps of each backend.
template <class State, class... Criteria>
class Judges final : public CriteriaTable {
 public:
  explicit Judges(Criteria... those) : criteria{std::move(those)...} {
    std::apply([](auto const&... each) { (check(each), ...); }, criteria);
  }

  [[nodiscard]] std::string name_of(std::size_t criterion) const override {
    std::string result;
    visit(criterion, [&](auto const& each) { result = name(each); });
    return result;
  }
  [[nodiscard]] Enforcement enforcement_of(std::size_t criterion) const override {
    Enforcement result;
    visit(criterion, [&](auto const& each) { result = enforcement(each); });
    return result;
  }
  [[nodiscard]] std::size_t size() const override { return sizeof...(Criteria); }

  [[nodiscard]] std::vector<Conviction> compare(std::size_t criterion, std::span<BackendView> all,
                                                std::span<std::size_t const> judged,
                                                std::span<Tally const> tallies) override {
    std::vector<Conviction> found;
    [&]<std::size_t... I>(std::index_sequence<I...>) {
      ((I == criterion ? compare_by<I>(all, judged, tallies, found) : void()), ...);
    }(std::index_sequence_for<Criteria...>{});
    return found;
  }

  void reset(Member& member) const override {
    auto& states = static_cast<State&>(member).criteria;
    [&]<std::size_t... I>(std::index_sequence<I...>) {
      (reset(std::get<I>(criteria), std::get<I>(states)), ...);
    }(std::index_sequence_for<Criteria...>{});
  }

  std::tuple<Criteria...> criteria;

 private:
  template <class C>
  static void check(C const& criterion) {
    if constexpr (requires { criterion.check(); }) criterion.check();
    poise::detail::check_fraction("enforcement of a health criterion",
                                  enforcement(criterion).probability);
  }
  template <class C>
  static Enforcement enforcement(C const& criterion) {
    if constexpr (requires { criterion.enforcement; }) return criterion.enforcement;
    else return {};
  }
  template <class C>
  static std::string name(C const&) {
    if constexpr (requires { std::string{C::name}; }) return std::string{C::name};
    else return "custom criterion";
  }
  template <class C, class Own>
  static void reset([[maybe_unused]] C const& criterion, [[maybe_unused]] Own& own) {
    if constexpr (requires { criterion.reset(own); }) criterion.reset(own);
  }

  template <std::size_t I>
  void compare_by([[maybe_unused]] std::span<BackendView> all,
                  [[maybe_unused]] std::span<std::size_t const> judged,
                  [[maybe_unused]] std::span<Tally const> tallies,
                  [[maybe_unused]] std::vector<Conviction>& found) {
    auto& criterion = std::get<I>(criteria);
    using C = std::remove_reference_t<decltype(criterion)>;
    if constexpr (judges_pool<C>) {
      std::vector<Subject<hooks::StateOf<C>>> pool;
      pool.reserve(judged.size());
      for (auto const i : judged)
        pool.push_back(
            {all[i].backend, std::get<I>(all[i].template state<State>().criteria), tallies[i]});
      criterion.on_interval(std::span{pool});
      for (std::size_t i = 0; i < pool.size(); ++i)
        if (pool[i].finding) found.push_back({I, judged[i], *pool[i].finding});
    }
  }

  template <class Visit>
  void visit(std::size_t wanted, Visit const& visitor) const {
    [&]<std::size_t... I>(std::index_sequence<I...>) {
      ((I == wanted ? visitor(std::get<I>(criteria)) : void()), ...);
    }(std::index_sequence_for<Criteria...>{});
  }
};

}  // namespace detail

/// *Errors* ConfigError: durations that are not positive, fractions outside 0 to 1 or NaN, counts
/// of 0.
/// *Cost* of a successful request: what its criteria cost (3 ns for the standard ones) beside the
/// clock; of a tick: O(n), at the end of an interval O(n log n).
template <class... Criteria>
class Monitor {
  static_assert((detail::check_criterion<Criteria>() && ...));

 public:
  static constexpr bool uses_time = true;
  static constexpr bool decides_health = true;

  /// Per backend.
  struct State : detail::Member {
    std::tuple<hooks::StateOf<Criteria>...> criteria{};
  };

  Monitor() : Monitor{MonitorOptions{}} {}
  // NOLINTNEXTLINE(*-explicit-*): options stand for it in a list of observers
  Monitor(MonitorOptions options) : Monitor{Private{}, std::move(options), Criteria{}...} {}
  Monitor(MonitorOptions options, Criteria... criteria)
    requires(sizeof...(Criteria) != 0)
      : Monitor{Private{}, std::move(options), std::move(criteria)...} {}

  // -- questions: any thread ---------------------------------------------------------------------

  /// The last transitions of a backend, oldest first; under "" what concerns the pool: panic,
  /// missing ticks.
  [[nodiscard]] std::vector<Transition> history(std::string_view id) const {
    return shared_->pool.journal.history(id);
  }
  /// The phase of a backend; nothing before the first tick, or if no backend has this id.
  [[nodiscard]] std::optional<Phase> phase(std::string_view id) const {
    return shared_->pool.journal.phase(id);
  }
  /// How the phase of this backend will end, as it looks now; nothing before the first tick.
  [[nodiscard]] std::optional<Outlook> outlook(Backend const& backend) const {
    return shared_->pool.journal.outlook(backend.id(), backend.serial());
  }
  /// Are too few left, so that Panic::mode rules?
  [[nodiscard]] bool panicking() const noexcept { return shared_->pool.panicking(); }
  /// Did no tick come for four of its periods and 10 s? Then requests that end do its work.
  [[nodiscard]] bool ticks_missing() const noexcept { return shared_->pool.ticks_missing(); }

  // -- change: any thread ------------------------------------------------------------------------

  /// Other numbers while requests run. Criteria that look at each request use them at once; all
  /// else changes at the next tick. What is known of backends stays, and an ejection keeps its end.
  /// `history`, `log` and `seed` of the options are ignored: they stay as they were made.
  /// *Errors* ConfigError as in the constructor; nothing was changed.
  /// *Cost* the memory of the criteria, until the monitor ends: do not call it all the time.
  void set(MonitorOptions options, Criteria... criteria) const {
    detail::Pool::check_all(options);
    auto judges = std::make_unique<Judges>(std::move(criteria)...);
    std::scoped_lock const lock{shared_->set_mutex};
    shared_->pool.change(std::move(options), shared_->judges.replace(std::move(judges)));
  }

  // -- probes: any thread ------------------------------------------------------------------------

  /// A prober must repeat that a backend is down within this time.
  [[nodiscard]] Duration probe_silence() const noexcept { return shared_->pool.probe_silence(); }

  /// What a probe found (Signal::up, down, doubt or degrade) and why. Counts from the next tick on.
  /// *Errors* ConfigError for other signals: those are the monitor's own.
  void report(std::string_view id, Signal signal, std::string_view cause) const {
    using enum Signal;
    if (signal != up && signal != down && signal != doubt && signal != degrade)
      throw ConfigError{"report(): " + std::string{name(signal)} +
                        " is not for probes to say; they say up, down, doubt or degrade"};
    shared_->pool.inbox.put({.id = std::string{id}, .signal = signal, .cause = std::string{cause}});
  }

  // -- hooks -------------------------------------------------------------------------------------

  [[gnu::always_inline]] void on_finish(Finished const& event, State& state) const {
    auto const phase = state.phase.load();
    auto const result = event.outcome.result;
    if (!is_verdict(result)) [[unlikely]] {
      if (phase == Phase::probation) end_on_probation(Moment{event}, state);
      return;
    }
    if (result != Result::success || state.run.load() != 0) [[unlikely]]
      count_run(event.now, event.latency.value_or(Duration::zero()), result, state);
    judge(event, state, phase, std::index_sequence_for<Criteria...>{});
    if (phase == Phase::probation) [[unlikely]]
      end_on_probation(Moment{event}, state);
    if (shared_->pool.is_overdue(event.now)) [[unlikely]]
      stand_in_for_tick(Moment{event});
  }

  [[nodiscard]] bool on_tick(Time clock, std::span<BackendView> all) const {
    return shared_->pool.tick(clock, all);
  }
  void arrange(std::span<BackendView> all) const {
    shared_->pool.serve_only(identity_);
    shared_->pool.arrange(all);
  }
  /// Calls every observer of the runtime for each transition, and then the log.
  template <class Tell>
  void after_tick(Tell const& tell) const {
    shared_->pool.journal.tell(tell);
  }

 private:
  using Notice = detail::Notice;
  using Judges = detail::Judges<State, Criteria...>;
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
    auto const& criterion = std::get<I>(shared_->judges.load().criteria);
    if constexpr (detail::judges_requests<std::remove_cvref_t<decltype(criterion)>>)
      if (auto const finding = criterion.on_finish(event, std::get<I>(state.criteria))) [[unlikely]]
        note(Moment{event}, state, phase, I, *finding);
  }

  /// What is needed of an event in order to act on it. A copy, since an event whose address a call
  /// takes would be written to memory each time, also while all is well.
  struct Moment {
    explicit Moment(Finished const& event) noexcept
        : backend{event.backend},
          reporter{event.reporter},
          now{event.now},
          began{event.now - event.latency.value_or(Duration::zero())},
          result{event.outcome.result} {}

    Backend const& backend;
    poise::detail::Reporter reporter;
    Time now;
    Time began;
    Result result;
  };

  void review(Moment const& event) const {
    shared_->pool.begin_review();
    event.reporter.review(event.reporter.balancer, event.now);
    shared_->pool.end_review();
  }

  /// Ticks are missing.
  [[gnu::noinline, gnu::cold]] void stand_in_for_tick(Moment event) const {
    if (shared_->pool.claims_turn(event.now)) review(event);
  }

  /// A failure that began before the backend recovered says nothing about it now.
  [[gnu::noinline, gnu::cold]] static void count_run(Time now, Duration latency, Result result,
                                                     State& state) {
    auto const time = now.time_since_epoch().count();
    if (result == Result::success) {
      state.recovered_at.store(time);
      return state.run.store(0);
    }
    auto const recovered = state.recovered_at.load();
    if (time >= recovered && time - latency.count() < recovered) return;
    if (state.run.add(1) == 0) state.run_began.store(time);
    state.failed_at.store(time);
  }

  /// One notice per backend and review, and none of a backend that is out already: a storm of
  /// failures takes the lock once.
  [[gnu::noinline, gnu::cold]] void note(Moment event, State& state, Phase phase,
                                         std::size_t criterion, Finding finding) const {
    if (is_out(phase)) return;
    if (!leave(state, {.serial = event.backend.serial(),
                       .signal = Signal::eject,
                       .criterion = criterion,
                       .finding = finding}))
      return;
    if (phase == Phase::degraded) return;  // it can wait for the next tick: it is known
    if (shared_->pool.claims_review(event.now)) review(event);
  }

  /// A request ended on probation. One that was in flight before says nothing about the backend
  /// now, and one without a verdict doesn't either: the next one may try.
  [[gnu::noinline, gnu::cold]] void end_on_probation(Moment event, State& state) const {
    if (event.began.time_since_epoch().count() < state.probation_began.load()) {
      if (auto const before = state.before_trial.load(); before != 0)
        state.before_trial.store(before - 1);
      return;
    }
    bool const rejected = event.result == Result::rejected && state.rejecting.load();
    if (!is_verdict(event.result) && !rejected) return;
    bool const failed = rejected || is_failure(event.result);
    bool const unreachable =
        event.result == Result::refused || event.result == Result::connect_timeout;
    if (leave(state, {.serial = event.backend.serial(),
                      .signal = failed ? Signal::failed : Signal::passed,
                      .finding = {.unreachable = unreachable},
                      .cause = std::string{name(event.result)}}) &&
        shared_->pool.claims_review(event.now))
      review(event);
  }

  /// One notice waits per backend. False if nothing is to be done about it now.
  bool leave(State& state, Notice notice) const {
    auto& pool = shared_->pool;
    if (state.noted.add(1) != 0) return pool.deferred();
    try {
      pool.inbox.put(std::move(notice));
    } catch (...) {
      state.noted.store(0);  // or no later one would be put
      throw;
    }
    return true;
  }

  static detail::Member& member_of(BackendView const& each) { return each.state<State>(); }

  /// What copies of a monitor share.
  struct Shared {
    Shared(MonitorOptions with, Criteria... those)
        : judges{std::make_unique<Judges>(std::move(those)...)},
          pool{std::move(with), judges.load(), &Monitor::member_of} {}

    sync::Replaceable<Judges> judges;
    detail::Pool pool;
    std::mutex set_mutex{};  // of set()
  };

  std::shared_ptr<Shared> shared_;
  detail::Identity identity_{};
};

/// The criteria for most services.
using Standard = Monitor<Consecutive, FailureRate, SuccessRate, Latency, Rejections>;

/// Real time and the standard monitor: `Balancer<P2C, void, health::Monitored>`.
using Monitored = Runtime<CycleClock, Standard>;

}  // namespace poise::inline v0_1_0::health
