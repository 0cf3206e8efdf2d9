// SPDX-License-Identifier: MIT
#pragma once

// A balancer's observers, and the calls of their hooks. Exceptions are swallowed and counted.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <poise/engine/warnings.hpp>
#include <poise/error.hpp>
#include <poise/observer.hpp>
#include <poise/outcome.hpp>
#include <poise/request.hpp>
#include <poise/sync/relaxed.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::detail {

template <class Observers>
class ObserverList {
 public:
  using Observed = ObserverTraits<Observers>;

  explicit ObserverList(Observers observers) : all_{std::move(observers)} {}

  [[nodiscard]] Observers& all() noexcept { return all_; }
  /// How often a hook threw.
  [[nodiscard]] std::uint64_t failures() const noexcept { return failures_.load(); }

  /// True if an observer that needs ticks gets none.
  [[nodiscard]] bool ticks_missing() const noexcept {
    return std::apply([](auto const&... each) { return (misses_ticks(each) || ...); }, all_);
  }

  template <class Lease>
  void notify_of_pick(Request const& request, Lease const& lease) noexcept {
    if (!lease) {
      notify([&](auto& observer) {
        if constexpr (observes_refused<std::remove_reference_t<decltype(observer)>>)
          observer.on_refused(Refused{request, lease.error()});
      });
      return;
    }
    auto& record = static_cast<typename Lease::Record&>(*lease);
    Picked const event{request, record, lease.started()};
    notify_with_state(record, [&](auto& observer, auto& state) {
      using O = std::remove_reference_t<decltype(observer)>;
      if constexpr (observes_pick_with_state<O>) observer.on_pick(event, state);
      else if constexpr (observes_pick<O>) observer.on_pick(event);
    });
  }

  /// Does an observer want a record of the next pick?
  [[nodiscard, gnu::always_inline]] bool wants_pick() noexcept {
    return std::apply([](auto&... each) { return (wants_pick_of(each) || ...); }, all_);
  }
  void notify_of_sample(SampledPick const& pick) noexcept {
    notify([&](auto& observer) {
      if constexpr (samples_picks<std::remove_reference_t<decltype(observer)>>)
        observer.on_sampled_pick(pick);
    });
  }

  /// What the observers have to say against the use of this backend.
  template <class Record>
  void add_warnings(Record& record, Time now, std::vector<Warning>& warnings) noexcept {
    notify_with_state(record, [&](auto& observer, auto& state) {
      if constexpr (warns<std::remove_reference_t<decltype(observer)>>)
        if (std::string text = observer.warning(record, state, now); !text.empty())
          warnings.push_back({"backend: " + record.id(), std::move(text)});
    });
  }

  template <class Record>
  [[gnu::always_inline]] void notify_of_finish(Record& record, Outcome outcome, Duration latency,
                                               Time now, std::optional<Time> started,
                                               Reporter reporter) noexcept {
    // Everything is inlined: an event whose address is not taken is never written to memory.
    notify_each({record, outcome, known(latency), now, started, reporter}, record.observer_states,
                std::make_index_sequence<std::tuple_size_v<Observers>>{});
  }

  template <class Record>
  void notify_of_load_report(Record& record, LoadReport const& report) noexcept {
    Reported const event{record, report};
    notify_with_state(record, [&](auto& observer, auto& state) {
      if constexpr (takes_load_reports<std::remove_reference_t<decltype(observer)>>)
        observer.on_load_report(event, state);
    });
  }

  void notify_of_call(Called const& called) noexcept {
    if constexpr (Observed::call)
      notify([&](auto& observer) {
        if constexpr (observes_call<std::remove_reference_t<decltype(observer)>>)
          observer.on_call(called);
      });
  }

  void notify_of_events(std::vector<Event> const& events) noexcept {
    for (auto const& event : events) notify_of_event(event);
  }
  void notify_of_event(Event const& event) noexcept {
    notify([&](auto& observer) {
      if constexpr (observes_event<std::remove_reference_t<decltype(observer)>>)
        observer.on_event(event);
    });
  }

  void notify_of_tick() noexcept {
    if constexpr (Observed::after_tick)
      notify([&](auto& observer) {
        using O = std::remove_reference_t<decltype(observer)>;
        if constexpr (notifies_others<O>)
          observer.after_tick([&](auto const& news) { forward_transition(news); });
        else if constexpr (observes_tick<O>) observer.after_tick();
      });
  }

  template <class Call>
  void guarded(Call const& call) noexcept {
    try {
      call();
    } catch (...) {
      failures_.add(1);
    }
  }

 private:
  template <class O>
  [[gnu::always_inline]] static bool wants_pick_of([[maybe_unused]] O& observer) noexcept {
    if constexpr (samples_picks<O>) return observer.wants_pick();
    else return false;
  }
  template <class O>
  static bool misses_ticks([[maybe_unused]] O const& observer) noexcept {
    if constexpr (requires { observer.ticks_missing(); }) return observer.ticks_missing();
    else return false;
  }

  static std::optional<Duration> known(Duration latency) noexcept {
    return latency < Duration::zero() ? std::nullopt : std::optional{latency};
  }

  template <std::size_t... I>
  [[gnu::always_inline]] void notify_each(Finished const& event, typename Observed::States& states,
                                          std::index_sequence<I...>) noexcept {
    (call(std::get<I>(all_), std::get<I>(states), event), ...);
  }

  template <class O, class State>
  [[gnu::always_inline]] void call([[maybe_unused]] O& observer, [[maybe_unused]] State& state,
                                   [[maybe_unused]] Finished const& event) noexcept {
    try {
      if constexpr (observes_finish_with_state<O>) observer.on_finish(event, state);
      else if constexpr (observes_finish<O>) observer.on_finish(event);
    } catch (...) {
      failures_.add(1);
    }
  }

  /// Calls every observer's on_transition with a transition that one observer reports.
  template <class News>
  void forward_transition(News const& news) noexcept {
    notify([&](auto& observer) {
      using O = std::remove_reference_t<decltype(observer)>;
      if constexpr (requires { observer.on_transition(news); }) observer.on_transition(news);
      else if constexpr (requires { &O::on_transition; })
        static_assert(
            requires { observer.on_transition(news); },
            "a poise observer's on_transition: "
            "void on_transition(health::Transition const&)");
    });
  }

  /// Calls tell_one(observer, its state of this backend).
  template <class Record, class Tell>
  void notify_with_state(Record& record, Tell const& tell_one) noexcept {
    [&]<std::size_t... I>(std::index_sequence<I...>) {
      (guarded([&] { tell_one(std::get<I>(all_), std::get<I>(record.observer_states)); }), ...);
    }(std::make_index_sequence<std::tuple_size_v<Observers>>{});
  }

  template <class Tell>
  void notify(Tell const& tell_one) noexcept {
    std::apply([&](auto&... observers) { (guarded([&] { tell_one(observers); }), ...); }, all_);
  }

  Observers all_;
  sync::Relaxed<std::uint64_t> failures_{0};
};

}  // namespace poise::inline v0_1_0::detail
