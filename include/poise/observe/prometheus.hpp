// SPDX-License-Identifier: MIT
#pragma once

// Snapshots as text that Prometheus scrapes: its own format 0.0.4, and OpenMetrics 1.0.
//
// What each metric means, and what to do with it: docs/operations.md.
//
// Sources: prometheus.io, exposition formats and practices; OpenMetrics 1.0.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <poise/observe/escape.hpp>
#include <poise/observe/families.hpp>
#include <poise/observe/histogram.hpp>
#include <poise/observe/snapshot.hpp>

namespace poise::inline v0_1_0::observe {

/// 0.0.4, Prometheus' own, which all scrapers read; or OpenMetrics 1.0.
enum class TextFormat : std::uint8_t { prometheus, openmetrics };

/// The Content-Type that scrapers know the format by.
[[nodiscard]] constexpr std::string_view content_type(TextFormat format) noexcept {
  return format == TextFormat::prometheus
             ? "text/plain; version=0.0.4; charset=utf-8"
             : "application/openmetrics-text; version=1.0.0; charset=utf-8";
}

namespace detail {

/// The labels of a series, as text.
class TextLabels {
 public:
  TextLabels() = default;
  /// A copy with one more.
  [[nodiscard]] TextLabels with(std::string_view name, std::string_view value) const {
    auto more = *this;
    more.text_ += more.text_.empty() ? "" : ",";
    more.text_ += name;
    more.text_ += "=\"" + escape_label(value) + '"';
    return more;
  }
  [[nodiscard]] std::string const& text() const noexcept { return text_; }

 private:
  std::string text_{};
};

/// Writes families one after the other.
class Exposition {
 public:
  using Labels = TextLabels;
  static constexpr std::string_view quantiles_type = "summary";

  explicit Exposition(TextFormat format) : format_{format} {}

  /// Begins a family; `name` is without _total. The unit is a suffix of the name, if it has one.
  void family(std::string_view name, std::string_view type, std::string_view help,
              std::string_view unit = {}) {
    family_ = name;
    counts_ = type == "counter";
    auto const told =
        std::string{name} + (counts_ && format_ == TextFormat::prometheus ? "_total" : "");
    text_ += "# TYPE " + told + ' ' + std::string{type} + '\n';
    if (!unit.empty() && format_ == TextFormat::openmetrics)
      text_ += "# UNIT " + told + ' ' + std::string{unit} + '\n';
    text_ += "# HELP " + told + ' ' + std::string{help} + '\n';
  }
  template <class Value>
  void sample(Labels const& labels, Value value) {
    line(counts_ ? "_total" : "", labels, as_number(value));
  }
  void line(std::string_view suffix, Labels const& labels, std::string const& value) {
    text_ += family_;
    text_ += suffix;
    if (!labels.text().empty()) {
      text_ += '{';
      text_ += labels.text();
      text_ += '}';
    }
    text_ += ' ';
    text_ += value;
    text_ += '\n';
  }
  void histogram(Labels const& labels, BucketCounts const& counts, double sum_s,
                 std::size_t per_octave) {
    std::uint64_t below = 0;
    std::size_t bucket = 0;
    auto const parts = std::clamp<std::size_t>(per_octave, 1, Scale::per_octave);
    for (std::size_t octave = 0; octave < Scale::octaves; ++octave) {
      for (std::size_t part = 1; part <= parts; ++part) {
        auto const end = octave * Scale::per_octave + part * Scale::per_octave / parts;
        for (; bucket < end; ++bucket) below += counts[bucket];
        if (end == Scale::buckets) break;  // what is longer counts there too: only +Inf is true
        auto const bound = static_cast<double>(Scale::lower(end)) / 1e9;
        line("_bucket", labels.with("le", as_number(bound)), as_number(below));
      }
    }
    line("_bucket", labels.with("le", "+Inf"), as_number(below));
    line("_sum", labels, as_number(sum_s));
    line("_count", labels, as_number(below));
  }
  void quantiles(Labels const& labels, Percentiles const& of) {
    line("", labels.with("quantile", "0.5"), as_number(of.p50));
    line("", labels.with("quantile", "0.9"), as_number(of.p90));
    line("", labels.with("quantile", "0.99"), as_number(of.p99));
    line("", labels.with("quantile", "0.999"), as_number(of.p999));
  }
  void summary(Labels const& labels, LatencySummary const& of, bool with_quantiles) {
    if (with_quantiles) {
      line("", labels.with("quantile", "0.5"), as_number(of.recent.p50));
      line("", labels.with("quantile", "0.99"), as_number(of.recent.p99));
    }
    line("_sum", labels, as_number(of.sum_s));
    line("_count", labels, as_number(of.count));
  }
  [[nodiscard]] std::string take() {
    if (format_ == TextFormat::openmetrics) text_ += "# EOF\n";
    return std::move(text_);
  }

 private:
  TextFormat format_;
  std::string text_{};
  std::string family_{};
  bool counts_ = false;
};

}  // namespace detail

/// The metrics of some balancers, which must have different names.
/// *Cost* about 22 lines a backend by name, 150 a balancer, 17 a pool; 0.2 us a line.
[[nodiscard]] inline std::string metrics_text(std::span<Snapshot const> snapshots,
                                              TextFormat format = TextFormat::prometheus,
                                              TextOptions const& options = {}) {
  detail::Exposition out{format};
  detail::Families{snapshots, options, out}.write();
  return out.take();
}

}  // namespace poise::inline v0_1_0::observe
