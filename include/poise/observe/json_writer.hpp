// SPDX-License-Identifier: MIT
#pragma once

// Writes JSON. Times are seconds; what is unknown is null; whole numbers above 2^53, which a double
// can't hold, are strings.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <poise/observe/escape.hpp>
#include <poise/observe/prometheus.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::observe::detail {

/// Writes values into one text; commas come by themselves.
class JsonWriter {
 public:
  /// Runs `fill` between braces.
  template <class Fill>
  void object(std::string_view key, Fill const& fill) {
    nested(key, '{', '}', fill);
  }
  template <class Fill>
  void array(std::string_view key, Fill const& fill) {
    nested(key, '[', ']', fill);
  }

  void text(std::string_view key, std::string_view value) { put(key, json_string(value)); }
  void flag(std::string_view key, bool value) { put(key, value ? "true" : "false"); }
  void number(std::string_view key, double value) {
    put(key, std::isfinite(value) ? as_number(value) : "null");
  }
  void count(std::string_view key, std::uint64_t value) {
    bool const exact = value <= std::uint64_t{1} << 53U;
    put(key, exact ? std::to_string(value) : '"' + std::to_string(value) + '"');
  }
  void time(std::string_view key, std::optional<Duration> value) {
    put(key, value ? as_number(static_cast<double>(value->count()) / 1e9) : "null");
  }
  /// A value that is JSON already.
  void raw(std::string_view key, std::string_view json) { put(key, json); }
  [[nodiscard]] std::size_t size() const noexcept { return text_.size(); }
  [[nodiscard]] std::string take() { return std::move(text_); }

 private:
  void begin(std::string_view key) {
    if (needs_comma_) text_ += ',';
    needs_comma_ = true;
    if (!key.empty()) text_ += json_string(key) + ':';
  }
  void put(std::string_view key, std::string_view value) {
    begin(key);
    text_ += value;
  }
  template <class Fill>
  void nested(std::string_view key, char open, char close, Fill const& fill) {
    begin(key);
    text_ += open;
    needs_comma_ = false;
    fill();
    text_ += close;
    needs_comma_ = true;
  }

  std::string text_{};
  bool needs_comma_ = false;
};

}  // namespace poise::inline v0_1_0::observe::detail
