// SPDX-License-Identifier: MIT
#pragma once

// Snapshots as JSON: {"balancers": [{...}, ...]}. Times are seconds; what is unknown is null; whole
// numbers above 2^53, which a double can't hold, are strings.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <poise/backend.hpp>
#include <poise/health/phase.hpp>
#include <poise/observe/escape.hpp>
#include <poise/observe/histogram.hpp>
#include <poise/observe/json_writer.hpp>
#include <poise/observe/prometheus.hpp>
#include <poise/observe/snapshot.hpp>
#include <poise/outcome.hpp>
#include <poise/pool/options.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::observe {

namespace detail {

class SnapshotJson {
 public:
  [[nodiscard]] std::string write(std::span<Snapshot const> snapshots) {
    json_.object("", [&] {
      json_.array("balancers", [&] {
        for (auto const& each : snapshots) json_.object("", [&] { balancer(each); });
      });
    });
    return json_.take() + '\n';
  }

 private:
  void balancer(Snapshot const& of) {
    json_.text("name", as_exact_utf8(of.balancer));
    json_.text("state", of.facts.gone ? "gone" : "live");
    json_.time("gone_since", of.facts.gone ? std::optional{of.facts.gone->since.time_since_epoch()}
                                           : std::nullopt);
    json_.text("policy", of.facts.policy);
    json_.time("at", of.at.time_since_epoch());
    requests("requests", of.requests);
    if (of.measures_latency) latency(of);
    calls(of);
    set(of);
    if (of.pools) pool("pools", *of.pools);
    json_.array("backends", [&] {
      for (auto const& each : of.backends) json_.object("", [&] { backend(each); });
    });
    json_.object("other", [&] {
      json_.count("backends", of.unlisted);
      requests("requests", of.other);
      if (of.measures_latency) sums(of.other_latency);
    });
  }

  void requests(std::string_view key, Requests const& of) {
    json_.object(key, [&] {
      for (std::size_t i = 0; i < result_count; ++i)
        json_.count(as_word(name(static_cast<Result>(i))), of.completed[i]);
      json_.count("in_flight", of.in_flight);
    });
  }
  void percentiles(std::string_view key, Percentiles const& of) {
    json_.object(key, [&] {
      json_.count("count", of.count);
      json_.time("seconds", of.window);
      json_.time("p50", of.p50);
      json_.time("p90", of.p90);
      json_.time("p99", of.p99);
      json_.time("p999", of.p999);
    });
  }
  void sums(LatencySummary const& of) {
    json_.count("attempts", of.count);
    json_.number("attempt_seconds", of.sum_s);
  }
  void latency(Snapshot const& of) {
    json_.object("latency", [&] {
      json_.number("error_bound", Scale::bound);
      json_.count("one_in", std::uint64_t{1} << of.sampling);
      sums({of.attempts.total(), of.attempts_sum_s, {}});
      percentiles("last_10s", of.last_10s);
      percentiles("last_60s", of.last_60s);
    });
  }
  void calls(Snapshot const& of) {
    json_.count("retries", of.retries);
    json_.count("hedges", of.hedges);
    json_.count("hedges_won", of.hedges_won);
    json_.object("refusals", [&] {
      for (std::size_t i = 0; i < refusal_count; ++i)
        json_.count(name(static_cast<Refusal>(i)), of.refusals[i]);
    });
    json_.array("retry_budgets", [&] {
      for (auto const& each : of.budgets)
        json_.object("", [&] {
          json_.text("name", each.name);
          json_.count("requests", each.requests);
          json_.count("retries", each.retries);
          json_.count("hedges", each.hedges);
        });
    });
  }
  void pool(std::string_view key, pool::Numbers const& of) {
    json_.object(key, [&] {
      json_.count("idle", of.idle);
      json_.count("in_use", of.in_use);
      json_.count("opening", of.opening);
      json_.count("waiting", of.waiting);
      json_.count("acquired", of.acquired);
      json_.count("waited", of.waited);
      json_.time("wait_seconds", of.wait_time);
      json_.count("refused", of.refused);
      json_.count("opened", of.opened);
      json_.count("not_opened", of.not_opened);
      json_.object("closed", [&] {
        for (std::size_t i = 0; i < pool::closing_count; ++i)
          json_.count(name(static_cast<pool::Closing>(i)), of.closed[i]);
      });
    });
  }
  void set(Snapshot const& of) {
    json_.object("set", [&] {
      json_.count("healthy", of.set.healthy);
      json_.count("degraded", of.set.degraded);
      json_.count("unhealthy", of.set.unhealthy);
      json_.count("drained", of.set.drained);
      json_.count("changes", of.set_changes);
      json_.count("fingerprint", of.fingerprint);
      json_.flag("panic", of.facts.panicking);
      json_.flag("panic_opens", of.facts.panic_opens);
      json_.flag("ticks_missing", of.facts.ticks_missing);
      json_.count("retired_snapshots", of.facts.retired_snapshots);
      json_.count("stranded_snapshots", of.facts.stranded_snapshots);
      json_.count("observer_failures", of.facts.observer_failures);
    });
    json_.array("ejections", [&] {
      for (auto const& each : of.ejections)
        json_.object("", [&] {
          json_.text("cause", each.cause);
          json_.text("enforcement", each.enforcement);
          json_.count("count", each.count);
        });
    });
  }
  void backend(BackendSnapshot const& of) {
    json_.text("id", as_exact_utf8(of.id));
    json_.text("address", as_exact_utf8(of.address));
    json_.text("zone", of.zone);
    json_.count("tier", of.tier);
    json_.text("health", name(of.health));
    json_.flag("declared", of.declared);
    json_.text("phase", name(of.phase));
    json_.flag("drained", of.drained);
    json_.time("held_since",
               of.held_since ? std::optional{of.held_since->time_since_epoch()} : std::nullopt);
    json_.count("weight", of.weight);
    json_.number("admitted", of.admitted);
    json_.count("max_in_flight", of.max_in_flight);
    json_.number("intended_share", of.intended_share);
    json_.number("observed_share", of.observed_share);
    if (of.arc_share) json_.number("arc_share", *of.arc_share);
    requests("requests", of.requests);
    if (of.pool) pool("pool", *of.pool);
    if (of.latency.count == 0) return;
    sums(of.latency);
    percentiles("recent", of.latency.recent);
  }

  JsonWriter json_{};
};

}  // namespace detail

/// *Cost* about 600 bytes and 5 us a backend by name.
[[nodiscard]] inline std::string json(std::span<Snapshot const> snapshots) {
  return detail::SnapshotJson{}.write(snapshots);
}

}  // namespace poise::inline v0_1_0::observe
