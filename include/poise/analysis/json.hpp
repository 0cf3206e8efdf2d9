// SPDX-License-Identifier: MIT
#pragma once

// Reasons and explanations as JSON. Times are seconds: `since` ago, `left` from now. What is
// unknown is null.

#include <limits>
#include <optional>
#include <string>

#include <poise/analysis/explain.hpp>
#include <poise/analysis/why.hpp>
#include <poise/error.hpp>
#include <poise/observe/json_writer.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::analysis {

namespace detail {

using observe::detail::JsonWriter;

inline void write(JsonWriter& json, Why const& of, Time now) {
  json.text("id", of.id);
  json.text("reason", name(of.reason));
  json.text("cause", of.cause);
  json.number("value", of.value);
  json.number("limit", of.limit);
  json.time("since", of.since ? std::optional{now - *of.since} : std::nullopt);
  json.time("left", of.until ? std::optional{*of.until - now} : std::nullopt);
  json.text("ends_by", remedy(of.reason));
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
    json.flag("explores", of.explores);
    json.array("candidates", [&] {
      for (auto const& each : of.candidates)
        json.object("", [&] { detail::write(json, each, of.at); });
    });
  });
  return json.take() + '\n';
}

}  // namespace poise::inline v0_1_0::analysis
