// SPDX-License-Identifier: MIT
#pragma once

// Shows a draft to the rules (observers with on_tick or arrange) and applies their changes.

#include <cstddef>
#include <span>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <poise/engine/draft.hpp>
#include <poise/observer.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::detail {

/// The rules of a runtime, called in order. Each rule sees what earlier rules decided.
/// *Requires* the balancer's lock.
template <class Record, class Observers>
class Rules {
 public:
  using Observed = ObserverTraits<Observers>;

  explicit Rules(Observers& observers) noexcept : observers_{observers} {}

  /// The backends as the rules arrange them for the next snapshot; empty if no rule arranges.
  template <class P>
  [[nodiscard]] std::vector<BackendView> arrange(Draft<Record, P>& draft) const {
    std::vector<BackendView> views;
    if constexpr (Observed::arrange)
      for_each([&](auto& rule, auto index) {
        if constexpr (arranges<std::remove_reference_t<decltype(rule)>>) {
          views = views_of(draft, index, views, false);
          rule.arrange(std::span{views});
          keep_declared(draft, views);
          keep_admissions(draft, views);
        }
      });
    return views;
  }

  /// Calls every rule's on_tick and writes its changes into the draft.
  template <class P>
  void tick(Draft<Record, P>& draft, Time now) const {
    for_each([&](auto& rule, auto index) {
      if constexpr (rules_on_tick<std::remove_reference_t<decltype(rule)>>) {
        auto views = views_of(draft, index, {}, true);
        if constexpr (std::is_void_v<decltype(rule.on_tick(now, std::span{views}))>)
          rule.on_tick(now, std::span{views});
        else draft.changed |= rule.on_tick(now, std::span{views});
        for (std::size_t i = 0; i < views.size(); ++i)
          draft.report(draft.entries[i], views[i].health);
        keep_admissions(draft, views);
      }
    });
  }

 private:
  /// No rule overrides the operator, and the next rules see that.
  template <class P>
  static void keep_declared(Draft<Record, P> const& draft, std::vector<BackendView>& views) {
    for (std::size_t i = 0; i < views.size(); ++i)
      if (auto const& condition = draft.entries[i].condition; condition.is_declared)
        views[i].health = condition.declared;
  }
  template <class P>
  static void keep_admissions(Draft<Record, P>& draft, std::vector<BackendView> const& views) {
    draft.admissions.resize(views.size());
    for (std::size_t i = 0; i < views.size(); ++i)
      draft.admissions[i] = {views[i].admission, views[i].max_on_trial};
  }

  template <class Visit>
  void for_each(Visit const& visit) const {
    [&]<std::size_t... I>(std::index_sequence<I...>) {
      (visit(std::get<I>(observers_), std::integral_constant<std::size_t, I>{}), ...);
    }(std::make_index_sequence<std::tuple_size_v<Observers>>{});
  }

  /// The entries as rule number `Index` sees them, on top of what earlier rules arranged.
  template <class P, class Index>
  [[nodiscard]] static std::vector<BackendView> views_of(Draft<Record, P> const& draft, Index,
                                                         std::vector<BackendView> const& earlier,
                                                         bool found) {
    std::vector<BackendView> views;
    views.reserve(draft.entries.size());
    for (std::size_t i = 0; i < draft.entries.size(); ++i) {
      auto const& entry = draft.entries[i];
      auto const own = found ? entry.condition.found : entry.condition.health();
      auto const limits = !draft.admissions.empty() ? draft.admissions[i]
                          : found
                              ? AdmissionLimits{declared_admission(entry), sync::InFlight::limit}
                              : limits_of(entry);
      views.push_back(
          {*entry.record, earlier.empty() ? entry.weight : earlier[i].weight,
           earlier.empty() ? own : earlier[i].health, limits.admission, entry.condition.drained,
           &std::get<Index::value>(entry.record->observer_states), limits.max_on_trial});
      views.back().endpoint_weight = entry.endpoint_weight;
    }
    return views;
  }

  /// The limits in force.
  template <class Entry>
  [[nodiscard]] static AdmissionLimits limits_of(Entry const& entry) {
    auto const& record = *entry.record;
    auto const admission = record.admission();
    auto const on_trial = record.on_trial() ? admission.max_in_flight : sync::InFlight::limit;
    if (entry.admission) return {*entry.admission, on_trial};
    return {{record.max_in_flight(), admission.share}, on_trial};
  }
  template <class Entry>
  [[nodiscard]] static Admission declared_admission(Entry const& entry) {
    return entry.admission ? *entry.admission : entry.record->declared_admission();
  }

  Observers& observers_;
};

}  // namespace poise::inline v0_1_0::detail
