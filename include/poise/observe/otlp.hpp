// SPDX-License-Identifier: MIT
#pragma once

// The metrics as OTLP in JSON, for OpenTelemetry's collector and all that speak its protocol.
//
//   poise::observe::OtlpOptions const options{.service = "orders"};      // once, at the start
//   auto const body = poise::observe::otlp_json(metrics.read(), options);
//   // POST http://collector:4318/v1/metrics, Content-Type: application/json
//
// poise sends nothing by itself: any HTTP client can; add_otlp() serves it as a page. Names are
// those of /metrics without _total, which a collector that exports to Prometheus adds again.
// Counters are cumulative.
//
// Source: opentelemetry-proto 1.x, metrics.proto and the OTLP/HTTP specification; JSON is that of
// Protocol Buffers, with 64-bit numbers as strings.

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/observe/escape.hpp>
#include <poise/observe/families.hpp>
#include <poise/observe/handler.hpp>
#include <poise/observe/histogram.hpp>
#include <poise/observe/snapshot.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::observe {

/// Make it once: counters are told as counted since `start`.
struct OtlpOptions {
  std::string service = "unknown_service";                      ///< service.name
  std::vector<std::pair<std::string, std::string>> resource{};  ///< More of what sends this.
  std::chrono::system_clock::time_point start = std::chrono::system_clock::now();
  TextOptions text{};
};

namespace detail {

/// {"key":"balancer","value":{"stringValue":"orders"}},...
class OtlpAttributes {
 public:
  OtlpAttributes() = default;
  /// A copy with one more.
  [[nodiscard]] OtlpAttributes with(std::string_view name, std::string_view value) const {
    auto more = *this;
    more.text_ += more.text_.empty() ? "" : ",";
    more.text_ += R"({"key":)" + json_string(name) + R"(,"value":{"stringValue":)" +
                  json_string(value) + "}}";
    return more;
  }
  [[nodiscard]] std::string const& text() const noexcept { return text_; }

 private:
  std::string text_{};
};

/// Writes families as metrics of one scope.
class OtlpWriter {
 public:
  using Labels = OtlpAttributes;
  static constexpr std::string_view quantiles_type = "gauge";  // a summary would need a sum

  OtlpWriter(OtlpOptions const& options, std::chrono::system_clock::time_point now)
      : times_{R"("startTimeUnixNano":")" + nanoseconds(options.start) + R"(","timeUnixNano":")" +
               nanoseconds(now) + '"'} {
    auto attributes = OtlpAttributes{}.with("service.name", options.service);
    for (auto const& [name, value] : options.resource) attributes = attributes.with(name, value);
    text_ = R"({"resourceMetrics":[{"resource":{"attributes":[)" + attributes.text() +
            R"(]},"scopeMetrics":[{"scope":{"name":"poise"},"metrics":[)";
  }

  void family(std::string_view name, std::string_view type, std::string_view help,
              std::string_view unit = {}) {
    end_family();
    begin_ = R"({"name":)" + json_string(name) + R"(,"description":)" + json_string(help);
    if (unit == "seconds") begin_ += R"(,"unit":"s")";
    if (type == "counter") begin_ += R"(,"sum":{"aggregationTemporality":2,"isMonotonic":true,)";
    else if (type == "histogram") begin_ += R"(,"histogram":{"aggregationTemporality":2,)";
    else begin_ += type == "summary" ? R"(,"summary":{)" : R"(,"gauge":{)";
    begin_ += R"("dataPoints":[)";
  }
  template <class Value>
  void sample(Labels const& labels, Value value) {
    if constexpr (std::integral<Value>) point(labels, R"("asInt":")" + std::to_string(value) + '"');
    else if (std::isfinite(value)) point(labels, R"("asDouble":)" + as_number(value));
  }
  void histogram(Labels const& labels, BucketCounts const& counts, double sum_s,
                 std::size_t per_octave) {
    std::string bounds;
    std::string told;
    std::uint64_t all = 0;
    auto const parts = std::clamp<std::size_t>(per_octave, 1, Scale::per_octave);
    std::size_t bucket = 0;
    auto const add_until = [&](std::size_t end) {
      std::uint64_t sum = 0;
      for (; bucket < end; ++bucket) sum += counts[bucket];
      all += sum;
      told += (told.empty() ? "\"" : ",\"") + std::to_string(sum) + '"';
    };
    // As in Prometheus' text: what is longer than the scale is in the last bucket.
    for (std::size_t part = 1; part < Scale::octaves * parts; ++part) {
      auto const end = part / parts * Scale::per_octave + part % parts * Scale::per_octave / parts;
      add_until(end);
      bounds +=
          (bounds.empty() ? "" : ",") + as_number(static_cast<double>(Scale::lower(end)) / 1e9);
    }
    add_until(Scale::buckets);
    point(labels, R"("count":")" + std::to_string(all) + R"(","sum":)" + as_number(sum_s) +
                      R"(,"bucketCounts":[)" + told + R"(],"explicitBounds":[)" + bounds + ']');
  }
  void quantiles(Labels const& labels, Percentiles const& of) {
    std::array const all{std::pair{"0.5", of.p50}, std::pair{"0.9", of.p90},
                         std::pair{"0.99", of.p99}, std::pair{"0.999", of.p999}};
    for (auto const& [quantile, value] : all)
      if (value) sample(labels.with("quantile", quantile), in_seconds(*value));
  }
  void summary(Labels const& labels, LatencySummary const& of, bool with_quantiles) {
    std::string quantiles;
    auto const add = [&](char const* quantile, std::optional<Duration> value) {
      if (!value || !with_quantiles) return;
      quantiles += std::string{quantiles.empty() ? "" : ","} + R"({"quantile":)" + quantile +
                   R"(,"value":)" + as_number(in_seconds(*value)) + '}';
    };
    add("0.5", of.recent.p50);
    add("0.99", of.recent.p99);
    point(labels, R"("count":")" + std::to_string(of.count) + R"(","sum":)" + as_number(of.sum_s) +
                      R"(,"quantileValues":[)" + quantiles + ']');
  }
  [[nodiscard]] std::string take() {
    end_family();
    return std::move(text_) + "]}]}]}";
  }

 private:
  static std::string nanoseconds(std::chrono::system_clock::time_point time) {
    return std::to_string(
        std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count());
  }
  static double in_seconds(Duration time) noexcept {
    return static_cast<double>(time.count()) / 1e9;
  }
  void point(Labels const& labels, std::string const& value) {
    if (!has_points_) {
      text_ += has_families_ ? "," : "";
      text_ += begin_;
    }
    text_ += has_points_ ? ",{" : "{";
    text_ += R"("attributes":[)" + labels.text() + "]," + times_ + ',' + value + '}';
    has_points_ = has_families_ = true;
  }
  /// A family without points is left out.
  void end_family() {
    if (std::exchange(has_points_, false)) text_ += "]}}";
  }

  std::string times_;
  std::string text_{};
  std::string begin_{};  // of the family
  bool has_points_ = false;
  bool has_families_ = false;
};

}  // namespace detail

/// The body of a request to a collector: an ExportMetricsServiceRequest.
/// *Cost* about 200 bytes a number, 5 kB a backend by name.
[[nodiscard]] inline std::string otlp_json(
    std::span<Snapshot const> snapshots, OtlpOptions const& options,
    std::chrono::system_clock::time_point now = std::chrono::system_clock::now()) {
  detail::OtlpWriter out{options, now};
  detail::Families{snapshots, options.text, out}.write();
  return out.take();
}

/// Adds /otlp, for a program beside this one that sends it on:
///   curl -s localhost:9100/otlp | curl -H Content-Type:application/json --data-binary @- URL
/// *Errors* ConfigError: as Metrics::check().
inline void add_otlp(Handler& handler, Metrics const& metrics, OtlpOptions options = {}) {
  metrics.check();
  handler.add("/otlp", [metrics, options = std::move(options)](HttpRequest const&) {
    return HttpResponse{.type = "application/json", .body = otlp_json(metrics.read(), options)};
  });
}

}  // namespace poise::inline v0_1_0::observe
