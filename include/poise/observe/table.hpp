// SPDX-License-Identifier: MIT
#pragma once

// A snapshot as a table for people, in plain text: worst backends first.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/backend.hpp>
#include <poise/base/utc.hpp>
#include <poise/health/phase.hpp>
#include <poise/observe/escape.hpp>
#include <poise/observe/histogram.hpp>
#include <poise/observe/snapshot.hpp>
#include <poise/outcome.hpp>
#include <poise/pool/options.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::observe {

namespace detail {

inline std::string fixed(double value, int decimals) {
  std::array<char, 48> text{};
  auto const size = std::snprintf(text.data(), text.size(), "%.*f", decimals, value);
  return {text.data(), std::min(static_cast<std::size_t>(std::max(size, 0)), text.size() - 1)};
}
inline std::string in_ms(Duration time) {
  auto const ms = static_cast<double>(time.count()) / 1e6;
  return fixed(ms, ms < 10 ? 2 : ms < 100 ? 1 : 0);
}
inline std::string in_ms(std::optional<Duration> time) { return time ? in_ms(*time) : "-"; }
inline std::string percent(double fraction) { return fixed(100 * fraction, 1); }

/// Columns as wide as their widest cell; the first one to the left, numbers to the right.
class Columns {
 public:
  using Row = std::vector<std::string>;
  void add(Row row) { rows_.push_back(std::move(row)); }
  [[nodiscard]] std::string write() const {
    std::vector<std::size_t> widths;
    for (auto const& row : rows_) {
      widths.resize(std::max(widths.size(), row.size()));
      for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width(row[i]));
    }
    std::string text;
    for (auto const& row : rows_) {
      for (std::size_t i = 0; i < row.size(); ++i) {
        std::string const gap(widths[i] - width(row[i]), ' ');
        text += i < left_columns ? row[i] + gap : gap + row[i];
        text += i + 1 < row.size() ? "  " : "\n";
      }
    }
    return text;
  }

 private:
  static constexpr std::size_t left_columns = 2;
  static std::size_t width(std::string_view text) noexcept {
    return static_cast<std::size_t>(std::ranges::count_if(
        text, [](char letter) { return (static_cast<unsigned char>(letter) & 0xc0U) != 0x80; }));
  }
  std::vector<Row> rows_{};
};

/// The word for its state: what an operator should look at comes first.
inline std::string_view state_of(BackendSnapshot const& backend) noexcept {
  if (backend.drained) return "drained";
  if (backend.declared)
    return backend.health == HealthState::unhealthy  ? "declared unhealthy"
           : backend.health == HealthState::degraded ? "declared degraded"
                                                     : "declared healthy";
  if (backend.phase != health::Phase::healthy) return name(backend.phase);
  return name(backend.health);
}
inline int badness_of(BackendSnapshot const& backend) noexcept {
  if (backend.health == HealthState::unhealthy) return 0;
  if (backend.health == HealthState::degraded) return 1;
  if (backend.phase != health::Phase::healthy) return 2;
  return backend.drained ? 3 : 4;
}

inline Columns::Row row_of(std::string name, std::string_view state, std::string weight,
                           std::string intended, std::string observed, Requests const& requests,
                           Percentiles const& recent) {
  return {std::move(name),
          std::string{state},
          std::move(weight),
          std::move(intended),
          std::move(observed),
          std::to_string(requests.in_flight),
          std::to_string(requests.all_completed()),
          std::to_string(requests.all_failures()),
          in_ms(recent.p50),
          in_ms(recent.p99)};
}

inline Columns::Row row_of(std::string name, pool::Numbers const& of) {
  auto const waited = static_cast<Duration::rep>(of.waited);
  return {std::move(name),
          "",
          std::to_string(of.idle),
          std::to_string(of.in_use),
          std::to_string(of.opening),
          std::to_string(of.waiting),
          std::to_string(of.waited),
          waited == 0 ? "-" : in_ms(of.wait_time / waited),
          std::to_string(of.refused),
          std::to_string(of.opened),
          std::to_string(of.not_opened),
          std::to_string(of.all_closed())};
}

/// Empty without pools.
inline std::string table_of_pools(Snapshot const& of) {
  if (!of.pools) return {};
  Columns columns;
  columns.add({"connections", "", "idle", "in use", "opening", "waiting", "waited", "mean ms",
               "refused", "opened", "failed", "closed"});
  for (auto const& each : of.backends)
    if (each.pool) columns.add(row_of(as_cell(shown_id(each.id), 40), *each.pool));
  columns.add(row_of("all", *of.pools));
  return '\n' + columns.write();
}

/// Which of those that have no row are ill; empty if none is.
inline std::string ill_without_row(Snapshot const& of) {
  auto const rest = all_but(all_but(of.set, of.backends), of.unlisted_ill);
  if (of.unlisted == 0 || rest.unhealthy + rest.degraded == 0) return {};
  return "WITHOUT A ROW: " + std::to_string(rest.unhealthy) + " unhealthy, " +
         std::to_string(rest.degraded) +
         " degraded: raise ReaderOptions::cap, in TOML metrics.series\n";
}

/// What stands above the table.
inline std::string head_of(Snapshot const& of) {
  auto const name = as_cell(of.balancer.empty() ? "balancer" : shown_id(of.balancer), 40);
  if (of.facts.gone)
    return name + ": GONE since " + poise::detail::in_utc(of.facts.gone->wall) +
           ": it was destroyed, and these are its last numbers\n";
  auto const& set = of.set;
  auto text = name + ", policy " + (of.facts.policy.empty() ? "-" : as_cell(of.facts.policy, 40)) +
              ": " + std::to_string(set.all()) + " backends, " + std::to_string(set.healthy) +
              " healthy, " + std::to_string(set.degraded) + " degraded, " +
              std::to_string(set.unhealthy) + " unhealthy, " + std::to_string(set.drained) +
              " drained\n";
  if (of.facts.panic_opens) text += "PANIC: too few backends are left; health is ignored\n";
  if (of.facts.ticks_missing) text += "NO TICKS: let a poise::Ticker watch this balancer\n";
  return text + ill_without_row(of);
}

}  // namespace detail

/// *Cost* sorts the backends.
[[nodiscard]] inline std::string table(Snapshot const& of) {
  using namespace detail;  // NOLINT(google-build-using-namespace)
  auto text = head_of(of);
  text += std::to_string(of.retries) + " retries, " + std::to_string(of.hedges) + " hedges (" +
          std::to_string(of.hedges_won) + " won), " + std::to_string(of.all_refusals()) +
          " refusals\n\n";

  std::vector<BackendSnapshot const*> sorted;
  for (auto const* some : {&of.backends, &of.unlisted_ill})
    for (auto const& each : *some) sorted.push_back(&each);
  std::ranges::stable_sort(sorted, {}, [](auto const* each) { return badness_of(*each); });
  Columns columns;
  columns.add({"backend", "state", "weight", "share %", "got %", "in flight", "completed", "failed",
               "p50 ms", "p99 ms"});
  for (auto const* each : sorted)
    columns.add(row_of(as_cell(shown_id(each->id), 40), of.facts.gone ? "gone" : state_of(*each),
                       std::to_string(each->weight), percent(each->intended_share),
                       percent(each->observed_share), each->requests, each->latency.recent));
  columns.add(row_of("other (" + std::to_string(of.unlisted) + ")", "", "", "", "", of.other, {}));
  columns.add(row_of("all", "", "", "", "", of.requests, of.last_60s));
  return text + columns.write() + table_of_pools(of);
}

}  // namespace poise::inline v0_1_0::observe
