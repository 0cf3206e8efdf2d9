// SPDX-License-Identifier: MIT
#pragma once

// Which metrics there are, whatever format they are written in: Prometheus' text (prometheus.hpp)
// and OTLP (otlp.hpp). docs/operations.md says what each means.

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/backend.hpp>
#include <poise/base/decimal.hpp>
#include <poise/call.hpp>
#include <poise/observe/escape.hpp>
#include <poise/observe/snapshot.hpp>
#include <poise/outcome.hpp>
#include <poise/pool/options.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::observe {

/// Fixed for the life of a process: a histogram whose buckets change can't be aggregated.
struct TextOptions {
  /// Buckets told per octave of latency, 1 to 36. More are truer, and cost a line each.
  std::size_t buckets_per_octave = 4;
  std::size_t max_label = 128;  ///< Longer ids are cut, and end with their hash; at least 32.
};

namespace detail {

/// "connect timeout" as a label's value: connect_timeout.
[[nodiscard]] inline std::string as_word(std::string_view name) {
  std::string word{name};
  std::ranges::replace(word, ' ', '_');
  return word;
}

[[nodiscard]] inline std::string as_number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  return poise::detail::decimal(value);
}
[[nodiscard]] inline std::string as_number(std::uint64_t value) { return std::to_string(value); }
[[nodiscard]] inline std::string as_number(std::optional<Duration> value) {
  return value ? as_number(static_cast<double>(value->count()) / 1e9) : "NaN";
}

/// One snapshot, with the labels of its series made once.
template <class Labels>
struct Told {
  Snapshot const* snapshot;
  Labels balancer{};
  std::vector<Labels> backends{};
  Labels other{};

  Told(Snapshot const& of, TextOptions const& options) : snapshot{&of} {
    if (!of.balancer.empty())
      balancer = balancer.with("balancer", as_label(of.balancer, options.max_label));
    other = balancer.with("backend", "other");
    for (auto const& backend : of.backends) {
      auto label = as_label(backend.id, options.max_label);
      // "other" is the rest; one ~ more for "other", "other~" and so on keeps them apart.
      if (label.starts_with("other") && label.find_first_not_of('~', 5) == std::string::npos)
        label += '~';
      backends.push_back(balancer.with("backend", label));
    }
  }
};

/// Writes all families into `Out`, which is asked for Labels, family(), sample(), histogram(),
/// quantiles() and summary().
template <class Out>
class Families {
 public:
  Families(std::span<Snapshot const> snapshots, TextOptions const& options, Out& out)
      : options_{options}, out_{out} {
    for (auto const& snapshot : snapshots) all_.emplace_back(snapshot, options);
  }

  void write() {
    write_requests();
    write_latencies();
    write_calls();
    write_set();
    write_state();
    write_backends();
    write_backend_latencies();
    write_pools();
  }

 private:
  using Labels = typename Out::Labels;
  using Told = detail::Told<Labels>;

  /// A family with one sample for each balancer.
  template <class Value>
  void each(std::string_view name, std::string_view type, std::string_view help,
            Value const& value) {
    out_.family(name, type, help);
    for (auto const& told : all_) out_.sample(told.balancer, value(*told.snapshot));
  }
  /// A family with one sample for each backend by name.
  template <class Value>
  void each_backend(std::string_view name, std::string_view help, Value const& value) {
    out_.family(name, "gauge", help);
    for (auto const& told : all_)
      for (std::size_t i = 0; i < told.backends.size(); ++i)
        out_.sample(told.backends[i], value(told.snapshot->backends[i]));
  }
  void outcomes(Labels const& labels, Requests const& requests) {
    for (std::size_t i = 0; i < result_count; ++i)
      out_.sample(labels.with("outcome", as_word(name(static_cast<Result>(i)))),
                  requests.completed[i]);
  }

  void write_requests() {
    out_.family("poise_requests", "counter", "Completed requests, attempts one by one.");
    for (auto const& told : all_) outcomes(told.balancer, told.snapshot->requests);
    each("poise_requests_in_flight", "gauge", "Requests that were picked and are not completed.",
         [](Snapshot const& each) { return each.requests.in_flight; });
    out_.family("poise_refusals", "counter", "Picks that found no backend.");
    for (auto const& told : all_)
      for (std::size_t i = 0; i < refusal_count; ++i)
        out_.sample(told.balancer.with("reason", name(static_cast<Refusal>(i))),
                    told.snapshot->refusals[i]);
  }

  void write_latencies() {
    if (!measures_latency()) return;
    out_.family("poise_attempt_duration_seconds", "histogram",
                "Latency of each attempt that says something about its backend.", "seconds");
    for (auto const& told : all_)
      if (told.snapshot->measures_latency)
        out_.histogram(told.balancer, told.snapshot->attempts, told.snapshot->attempts_sum_s,
                       options_.buckets_per_octave);
    out_.family("poise_attempt_duration_recent_seconds", Out::quantiles_type,
                "Latency of the last attempts, to 1 %; NaN if there were too few.", "seconds");
    for (auto const& told : all_) {
      if (!told.snapshot->measures_latency) continue;
      out_.quantiles(told.balancer.with("window", "10s"), told.snapshot->last_10s);
      out_.quantiles(told.balancer.with("window", "60s"), told.snapshot->last_60s);
    }
  }

  void write_calls() {
    each("poise_retries", "counter", "Further attempts of calls, one after another.",
         [](Snapshot const& each) { return each.retries; });
    each("poise_hedges", "counter", "Attempts that were started beside another.",
         [](Snapshot const& each) { return each.hedges; });
    each("poise_hedges_won", "counter", "Hedges that succeeded.",
         [](Snapshot const& each) { return each.hedges_won; });
    out_.family("poise_hard_calls", "counter",
                "Calls that failed or needed more than one attempt, by why they ended.");
    for (auto const& told : all_)
      for (std::size_t i = 0; i < stop_reason_count; ++i)
        out_.sample(told.balancer.with("reason", stop_word(static_cast<StopReason>(i))),
                    told.snapshot->stopped_calls[i]);
    out_.family("poise_hard_call_duration_seconds", "histogram",
                "Time that such calls took, with all attempts and pauses.", "seconds");
    for (auto const& told : all_)
      out_.histogram(told.balancer, told.snapshot->calls, told.snapshot->calls_sum_s, 1);
    bool first = true;
    for (auto const& told : all_)
      for (auto const& budget : told.snapshot->budgets) {
        if (std::exchange(first, false))
          out_.family("poise_retry_budget_use", "gauge",
                      "What a retry budget counted in its last second.");
        auto const labels = told.balancer.with("budget", as_label(budget.name, options_.max_label));
        out_.sample(labels.with("kind", "request"), budget.requests);
        out_.sample(labels.with("kind", "retry"), budget.retries);
        out_.sample(labels.with("kind", "hedge"), budget.hedges);
      }
  }
  static std::string_view stop_word(StopReason why) noexcept {
    constexpr std::array<std::string_view, stop_reason_count> words{
        "settled", "attempts", "budget", "deadline", "sent", "pushback", "no_backend", "cancelled"};
    return words[static_cast<std::size_t>(why)];
  }

  void write_set() {
    out_.family("poise_backends", "gauge", "Backends of the set, each under one state.");
    for (auto const& told : all_) {
      auto const& set = told.snapshot->set;
      for (auto const& [state, count] :
           {std::pair{"healthy", set.healthy}, std::pair{"degraded", set.degraded},
            std::pair{"unhealthy", set.unhealthy}, std::pair{"drained", set.drained}})
        out_.sample(told.balancer.with("state", state), count);
    }
    each("poise_backends_unlisted", "gauge", "Backends that are told together as other.",
         [](Snapshot const& each) { return each.unlisted; });
    each("poise_set_changes", "counter", "Changes of which backends there are.",
         [](Snapshot const& each) { return each.set_changes; });
    each("poise_set_fingerprint", "gauge", "Of ids and addresses: equal if clients have one set.",
         [](Snapshot const& each) { return each.fingerprint; });
    out_.family("poise_ejections", "counter",
                "Decisions of a health monitor against a backend, by cause and what came of them.");
    for (auto const& told : all_)
      for (auto const& each : told.snapshot->ejections)
        out_.sample(told.balancer.with("cause", as_label(each.cause, options_.max_label))
                        .with("enforcement", each.enforcement),
                    each.count);
  }

  void write_state() {
    out_.family("poise_balancer_info", "gauge", "The policy in use; empty once there is none.");
    for (auto const& told : all_)
      out_.sample(
          told.balancer.with("policy", as_label(told.snapshot->facts.policy, options_.max_label)),
          std::uint64_t{1});
    each("poise_panic", "gauge", "1 while so few backends are left that panic rules.",
         [](Snapshot const& each) { return std::uint64_t{each.facts.panicking ? 1U : 0U}; });
    each("poise_ticks_missing", "gauge", "1 while the balancer gets no ticks.",
         [](Snapshot const& each) { return std::uint64_t{each.facts.ticks_missing ? 1U : 0U}; });
    each("poise_snapshots_retired", "gauge", "Replaced snapshots that may still be read.",
         [](Snapshot const& each) { return each.facts.retired_snapshots; });
    each("poise_snapshots_stranded", "gauge", "Snapshots that can never be freed.",
         [](Snapshot const& each) { return each.facts.stranded_snapshots; });
    each("poise_observer_failures", "counter", "Hooks of observers or of the policy that threw.",
         [](Snapshot const& each) { return each.facts.observer_failures; });
  }

  void write_backends() {
    out_.family("poise_backend_requests", "counter", "Completed requests of a backend.");
    for (auto const& told : all_) {
      for (std::size_t i = 0; i < told.backends.size(); ++i)
        outcomes(told.backends[i], told.snapshot->backends[i].requests);
      outcomes(told.other, told.snapshot->other);
    }
    out_.family("poise_backend_requests_in_flight", "gauge", "Requests in flight on a backend.");
    for (auto const& told : all_) {
      for (std::size_t i = 0; i < told.backends.size(); ++i)
        out_.sample(told.backends[i], told.snapshot->backends[i].requests.in_flight);
      out_.sample(told.other, told.snapshot->other.in_flight);
    }
    using Backend = BackendSnapshot;
    each_backend("poise_backend_weight", "Weight as picks see it; 0 while drained.",
                 [](Backend const& each) { return std::uint64_t{each.weight}; });
    each_backend("poise_backend_admitted_ratio", "Fraction of its picks that it accepts.",
                 [](Backend const& each) { return each.admitted; });
    each_backend("poise_backend_intended_share_ratio",
                 "Fraction of all requests that weights, health and slow start intend.",
                 [](Backend const& each) { return each.intended_share; });
    each_backend("poise_backend_observed_share_ratio",
                 "Fraction of all requests that it completed lately.",
                 [](Backend const& each) { return each.observed_share; });
    write_arc_shares();
    each_backend("poise_backend_eligible", "1 if picks may go there.", [](Backend const& each) {
      return std::uint64_t{each.weight != 0 && each.health != HealthState::unhealthy ? 1U : 0U};
    });
    each_backend("poise_backend_phase",
                 "0 healthy, 1 suspect, 2 degraded, 3 ejected, 4 probation, 5 slow start.",
                 [](Backend const& each) { return static_cast<std::uint64_t>(each.phase); });
  }

  void write_arc_shares() {
    bool first = true;
    for (auto const& told : all_)
      for (std::size_t i = 0; i < told.backends.size(); ++i) {
        auto const share = told.snapshot->backends[i].arc_share;
        if (!share) continue;
        if (std::exchange(first, false))
          out_.family("poise_backend_arc_share_ratio", "gauge",
                      "Fraction of all keys whose first choice it is now.");
        out_.sample(told.backends[i], *share);
      }
  }

  void write_backend_latencies() {
    if (!measures_latency()) return;
    out_.family("poise_backend_attempt_duration_seconds", "summary",
                "Latency of a backend's last attempts, to 1 %; sum and count of all.", "seconds");
    for (auto const& told : all_) {
      if (!told.snapshot->measures_latency) continue;
      for (std::size_t i = 0; i < told.backends.size(); ++i)
        out_.summary(told.backends[i], told.snapshot->backends[i].latency, true);
      out_.summary(told.other, told.snapshot->other_latency, false);
    }
    bool first = true;
    for (auto const& told : all_)
      for (std::size_t i = 0; i < told.backends.size(); ++i) {
        auto const& backend = told.snapshot->backends[i];
        if (!backend.attempts) continue;
        if (std::exchange(first, false))
          out_.family("poise_backend_attempt_latency_seconds", "histogram",
                      "Latency of each attempt of a backend.", "seconds");
        out_.histogram(told.backends[i], *backend.attempts, backend.attempts->sum_s(), 1);
      }
  }
  /// Whose numbers, and what they are.
  using PoolList = std::vector<std::pair<Labels const*, pool::Numbers const*>>;
  void write_pools() {
    PoolList pools;
    PoolList by_backend;
    for (auto const& told : all_) {
      if (told.snapshot->pools) pools.emplace_back(&told.balancer, &*told.snapshot->pools);
      for (std::size_t i = 0; i < told.backends.size(); ++i)
        if (auto const& numbers = told.snapshot->backends[i].pool; numbers)
          by_backend.emplace_back(&told.backends[i], &*numbers);
    }
    write_pools("poise_pool_", pools);
    write_pools("poise_backend_pool_", by_backend);
  }
  void write_pools(std::string const& prefix, PoolList const& list) {
    if (list.empty()) return;
    auto const family = [&](char const* what, std::string_view type, std::string_view help,
                            std::string_view unit = {}) {
      out_.family(prefix + what, type, help, unit);
    };
    auto const count = [&](char const* what, std::string_view type, std::string_view help,
                           auto const& value) {
      family(what, type, help);
      for (auto const& [labels, numbers] : list)
        out_.sample(*labels, static_cast<std::uint64_t>(std::invoke(value, *numbers)));
    };
    using pool::Numbers;
    family("connections", "gauge", "Connections of pools: idle, in use, or being opened.");
    for (auto const& [labels, numbers] : list) {
      out_.sample(labels->with("state", "idle"), std::uint64_t{numbers->idle});
      out_.sample(labels->with("state", "in_use"), std::uint64_t{numbers->in_use});
      out_.sample(labels->with("state", "opening"), std::uint64_t{numbers->opening});
    }
    count("waiting", "gauge", "Callers that wait for a connection.", &Numbers::waiting);
    count("acquired", "counter", "Connections that callers got.", &Numbers::acquired);
    count("waits", "counter", "Callers that had to wait for one.", &Numbers::waited);
    family("wait_seconds", "counter", "What callers waited for connections.", "seconds");
    for (auto const& [labels, numbers] : list)
      out_.sample(*labels, std::chrono::duration<double>{numbers->wait_time}.count());
    count("refused", "counter", "Callers that got no connection.", &Numbers::refused);
    count("opened", "counter", "Connections that were opened.", &Numbers::opened);
    count("open_failures", "counter", "Attempts to connect that failed.", &Numbers::not_opened);
    family("closed", "counter", "Connections that were closed, by why.");
    for (auto const& [labels, numbers] : list)
      for (std::size_t i = 0; i < pool::closing_count; ++i)
        out_.sample(labels->with("reason", name(static_cast<pool::Closing>(i))),
                    numbers->closed[i]);
  }

  [[nodiscard]] bool measures_latency() const {
    return std::ranges::any_of(all_,
                               [](Told const& told) { return told.snapshot->measures_latency; });
  }

  TextOptions options_;
  Out& out_;
  std::vector<Told> all_{};
};

}  // namespace detail

}  // namespace poise::inline v0_1_0::observe
