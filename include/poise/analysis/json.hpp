// SPDX-License-Identifier: MIT
#pragma once

// Reasons, explanations, decisions and shadow reports as JSON. Times are seconds: `since` ago,
// `left` from now. What is unknown is null.

#include <algorithm>
#include <cstddef>
#include <limits>
#include <optional>
#include <span>
#include <string>

#include <poise/analysis/decisions.hpp>
#include <poise/analysis/explain.hpp>
#include <poise/analysis/shadow_report.hpp>
#include <poise/analysis/why.hpp>
#include <poise/base/saturating.hpp>
#include <poise/error.hpp>
#include <poise/observe/json_writer.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::analysis {

namespace detail {

using observe::detail::JsonWriter;

/// Foreign text, of 256 bytes at most.
[[nodiscard]] inline std::string bounded(std::string const& text) {
  constexpr std::size_t longest = 256;
  return text.size() <= longest ? text : text.substr(0, longest) + "...";
}
/// Not negative.
[[nodiscard]] inline std::optional<Duration> between(std::optional<Time> begin,
                                                     std::optional<Time> end) noexcept {
  if (!begin || !end) return std::nullopt;
  return std::max(poise::detail::saturating_sub(*end, *begin), Duration::zero());
}

inline void write(JsonWriter& json, Why const& of, Time now) {
  json.text("id", of.id);
  json.text("reason", name(of.reason));
  json.text("cause", bounded(of.cause));
  constexpr auto unknown = std::numeric_limits<double>::quiet_NaN();
  json.number("value", of.has_numbers ? of.value : unknown);
  json.number("limit", of.has_numbers ? of.limit : unknown);
  json.text("held_by", bounded(of.held_by));
  json.time("since", between(of.since, now));
  json.time("left", between(now, of.until));
  json.text("ends_by", remedy(of));
}

inline void write(JsonWriter& json, Error const& of) {
  json.text("text", message(of));
  json.count("drained", of.drained);
  json.count("unhealthy", of.unhealthy);
  json.count("weightless", of.weightless);
  json.count("refused", of.refused);
  json.count("unsuitable", of.unsuitable);
}

inline void write(JsonWriter& json, Candidate const& of, Time now) {
  write(json, of.why, now);
  json.number("score", of.score.value_or(std::numeric_limits<double>::quiet_NaN()));
  json.flag("compared", of.compared);
  json.count("weight", of.weight);
  json.count("in_flight", of.in_flight);
}

inline void write(JsonWriter& json, Decision const& of, Time now) {
  auto const& pick = of.pick;
  json.count("number", of.number);
  json.time("age", between(pick.at, now));
  json.text("winner", of.winner);
  json.count("in_flight", pick.in_flight);
  json.text("key", pick.key());
  json.count("key_size", pick.key_size);
  json.flag("rotates", pick.rotates);
  json.flag("explores", pick.explores);
  json.flag("found_by_scan", pick.scanned);
  json.array("steps", [&] {
    for (auto const& each : pick.steps())
      json.object("", [&] {
        json.text("by", name(each.by));
        json.count("kept", each.kept);
      });
  });
  json.count("told", pick.told);
  json.array("backends", [&] {
    for (std::size_t i = 0; i < of.ids.size(); ++i)
      json.object("", [&] {
        auto const& each = pick.entries()[i];
        json.text("id", of.ids[i]);
        json.number("score", each.score);
        json.flag("compared", each.compared);
        json.text("refused_by", name(each.refused_by));
      });
  });
  json.count("draw_count", pick.draws);
  json.array("draws", [&] {
    for (std::size_t k = 0; k < pick.draws && k < SampledPick::max_draws; ++k)
      json.number("", pick.draw(k));
  });
}

/// A fraction, and its standard error under the same key with "_error".
inline void write(JsonWriter& json, std::string const& key,
                  std::optional<SampledFraction> const& of) {
  constexpr auto unknown = std::numeric_limits<double>::quiet_NaN();
  json.number(key, of ? of->value : unknown);
  json.number(key + "_error", of ? of->error : unknown);
}

inline void write(JsonWriter& json, ShadowCounts const& of) {
  json.count("live_picks", of.live);
  json.count("shadow_picks", of.shadow);
  json.count("both_picks", of.both);
}

inline void write(JsonWriter& json, ShadowShare const& of) {
  json.text("id", of.id);
  write(json, of.counts);
  write(json, "live", of.live);
  write(json, "shadow", of.shadow);
}

}  // namespace detail

/// {"id": "10.0.0.1:80", "reason": "ejected", "cause": "consecutive failures", "value": 5, ...}
[[nodiscard]] inline std::string json(Why const& of, Time now) {
  detail::JsonWriter json;
  json.object("", [&] { detail::write(json, of, now); });
  return json.take() + '\n';
}

/// {"policy": "p2c", "winner": "10.0.0.2:80", "candidates": [{...}, ...], ...}
[[nodiscard]] inline std::string json(Explanation const& of) {
  detail::JsonWriter json;
  json.object("", [&] {
    json.text("policy", of.policy);
    json.text("key", of.key);
    json.text("winner", of.winner);
    if (of.winner.empty()) json.object("error", [&] { detail::write(json, of.error); });
    json.flag("found_by_scan", of.found_by_scan);
    json.flag("preferred", of.preferred);
    json.flag("panicking", of.panicking);
    json.flag("last_resort", of.last_resort);
    json.flag("explores", of.explores);
    json.array("candidates", [&] {
      for (auto const& each : of.candidates)
        json.object("", [&] { detail::write(json, each, of.at); });
    });
  });
  return json.take() + '\n';
}

/// {"decisions": [{"number": 4, "winner": "10.0.0.2:80", "backends": [...], "draws": [...], ...}]}
[[nodiscard]] inline std::string json(std::span<Decision const> of, Time now) {
  detail::JsonWriter json;
  json.object("", [&] {
    json.array("decisions", [&] {
      for (auto const& each : of) json.object("", [&] { detail::write(json, each, now); });
    });
  });
  return json.take() + '\n';
}

/// {"live": "p2c", "shadow": "ring", "agreement": 0.1, "moved": 0.3, "backends": [{...}, ...], ...}
[[nodiscard]] inline std::string json(ShadowReport const& of) {
  detail::JsonWriter json;
  json.object("", [&] {
    json.text("live", of.live);
    json.text("shadow", of.shadow);
    json.count("one_in", std::uint64_t{1} << of.sampling);
    json.count("samples", of.samples);
    detail::write(json, "agreement", of.agreement);
    json.number("moved", of.moved.value_or(std::numeric_limits<double>::quiet_NaN()));
    json.number("moved_by_chance", of.moved_by_chance);
    json.object("nowhere", [&] { detail::write(json, of.nowhere); });
    json.flag("keyed", of.keyed);
    json.count("keyless", of.keyless);
    json.count("exceptions", of.exceptions);
    json.text("last_exception", of.last_exception);
    json.time("mean_cost", of.mean_cost);
    json.time("max_cost", of.max_cost);
    json.array("backends", [&] {
      for (auto const& each : of.backends) json.object("", [&] { detail::write(json, each); });
    });
  });
  return json.take() + '\n';
}

}  // namespace poise::inline v0_1_0::analysis
