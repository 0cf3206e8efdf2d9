// SPDX-License-Identifier: MIT
#pragma once

// What happens to a balancer's backends as JSON, one object a line: LogOptions::json. Times of day
// are UTC, durations seconds; a member that does not apply is left out.
//
//   {"time":"2026-03-01T12:34:56.789Z","level":"warning","event":"transition","backend":"a:80",
//    "from":"healthy","to":"ejected","cause":"success rate","value":0.4,"limit":0.9,"lasts":30}

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <poise/base/utc.hpp>
#include <poise/call.hpp>
#include <poise/health/journal.hpp>
#include <poise/health/phase.hpp>
#include <poise/observe/escape.hpp>
#include <poise/observe/event_log.hpp>
#include <poise/observe/json_writer.hpp>
#include <poise/observer.hpp>
#include <poise/outcome.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::observe {

[[nodiscard]] constexpr std::string_view name(Level level) noexcept {
  constexpr std::array<std::string_view, 3> names{"info", "warning", "error"};
  auto const index = static_cast<std::size_t>(level);
  return index < names.size() ? names[index] : "unknown level";
}

namespace detail {

using WallTime = std::chrono::system_clock::time_point;
inline constexpr std::size_t longest_text = 500;  // characters; ids may be anything

/// One line without its end, which begins alike whatever it is about.
template <class Fill>
[[nodiscard]] std::string log_object(WallTime time, Level level, std::string_view event,
                                     Fill const& fill) {
  JsonWriter json;
  json.object("", [&] {
    json.text("time", poise::detail::in_utc(time));
    json.text("level", name(level));
    json.text("event", event);
    fill(json);
  });
  return json.take();
}

inline void write_text(JsonWriter& json, std::string_view key, std::string_view text) {
  if (!text.empty()) json.text(key, as_cell(text, longest_text));
}

[[nodiscard]] constexpr std::string_view name(health::Transition::Note note) noexcept {
  constexpr std::array<std::string_view, 5> names{"", "watched", "capped", "together", "proven"};
  auto const index = static_cast<std::size_t>(note);
  return index < names.size() ? names[index] : "unknown note";
}

inline void write(JsonWriter& json, AttemptReport const& attempt) {
  json.object("", [&] {
    write_text(json, "backend", attempt.id);
    json.text("result", poise::name(attempt.outcome.result));
    json.time("latency", attempt.latency);
    json.time("waited", attempt.waited);
    json.flag("hedge", attempt.hedge);
  });
}

}  // namespace detail

/// A transition's time is that of its journal.
[[nodiscard]] inline std::string log_json(health::Transition const& of) {
  return detail::log_object(of.wall, level_of(of), "transition", [&](detail::JsonWriter& json) {
    detail::write_text(json, "backend", of.id);
    if (!of.id.empty()) {
      json.text("from", health::name(of.from));
      json.text("to", health::name(of.to));
    }
    detail::write_text(json, "cause", of.cause);
    if (of.value != 0 || of.limit != 0) {
      json.number("value", of.value);
      json.number("limit", of.limit);
    }
    detail::write_text(json, "note", detail::name(of.note));
    if (of.lasts) json.time("lasts", of.lasts);
  });
}

[[nodiscard]] inline std::string log_json(Event const& of, detail::WallTime time) {
  return detail::log_object(time, level_of(of), poise::name(of.kind),
                            [&](detail::JsonWriter& json) {
                              detail::write_text(json, "backend", of.id);
                              if (of.kind == Event::Kind::weight) json.count("weight", of.weight);
                              if (of.kind != Event::Kind::health) return;
                              json.text("health", poise::name(of.health));
                              json.flag("declared", of.declared);
                            });
}

[[nodiscard]] inline std::string log_json(CallReport const& of, Level level,
                                          detail::WallTime time) {
  return detail::log_object(time, level, "call", [&](detail::JsonWriter& json) {
    json.text("why", poise::name(of.why));
    json.array("attempts", [&] {
      for (auto const& attempt : of.attempts) detail::write(json, attempt);
    });
  });
}

/// How many lines a rate limit left out.
[[nodiscard]] inline std::string log_json_left_out(std::uint64_t count, detail::WallTime time) {
  return detail::log_object(time, Level::warning, "left out",
                            [&](detail::JsonWriter& json) { json.count("lines", count); });
}

}  // namespace poise::inline v0_1_0::observe
