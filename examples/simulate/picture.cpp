// SPDX-License-Identifier: MIT

#include "picture.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <optional>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <poise/observe/escape.hpp>
#include <poise/observe/page/colours.hpp>

#include "../terminal.hpp"
#include "report.hpp"

namespace simulate {

namespace {

constexpr double margin = 12;
constexpr double padding = 14;
constexpr double row_height = 20;
constexpr double key_width = 44;  // a policy's number and its line
constexpr double bars = 210;      // they are at most so long
constexpr double values_width = 125;
constexpr double chart_width = 420;
constexpr double chart_height = 110;
constexpr double label_width = 18;  // of a number at the end of a line
constexpr double letter_width = 7.6;
constexpr double line_height = 18;

/// Which of the page's colours a policy's line has, and its dashes.
struct Look {
  char hue;
  char const* dashes;
};
constexpr std::array<Look, 6> looks{
    {{'a', ""}, {'b', "7 3"}, {'c', "2 2"}, {'d', "9 3 2 3"}, {'e', "4 5"}, {'f', "14 3"}}};

constexpr std::string_view style = R"css(
svg { color-scheme: light dark; font: 13px system-ui, sans-serif;
  font-variant-numeric: tabular-nums; }
.back { fill: var(--back); } .card { fill: var(--card); stroke: var(--line); }
.verdict { stroke: var(--good); fill: var(--good-back); } .edge { fill: var(--good); }
.unknown .verdict { stroke: var(--warn); fill: var(--warn-back); }
.unknown .edge { fill: var(--warn); }
text { fill: var(--text); } .faint { fill: var(--faint); font-size: 12px; }
.bold { font-weight: 700; } .title { font-size: 16px; font-weight: 700; }
.headline { font-size: 21px; font-weight: 700; fill: var(--good); }
.unknown .headline { fill: var(--warn); }
.mark { fill: var(--bad); font-weight: 700; }
.right { text-anchor: end; } .middle { text-anchor: middle; }
.bar { fill: var(--hue); } .grid { stroke: var(--line); } .axis { stroke: var(--edge); }
.line { fill: none; stroke: var(--hue); stroke-width: 1.8; stroke-linejoin: round; }
.incident { stroke: var(--bad); stroke-dasharray: 3 2; }
)css";

/// Text from outside as XML's: valid UTF-8 without control characters, and not too long.
std::string escaped(std::string_view text, std::size_t max_characters = 400) {
  constexpr std::string_view noncharacter = "\xef\xbf\xbe";  // or U+FFFF: XML forbids both
  std::string result;
  auto const cell = poise::observe::as_cell(text, max_characters);
  for (std::string_view rest = cell; !rest.empty();) {
    auto const length = poise::observe::utf8_length(rest);
    auto const letter = rest.substr(0, length);
    bool const forbidden = letter.starts_with(noncharacter.substr(0, 2)) && letter >= noncharacter;
    result += letter == "<"    ? "&lt;"
              : letter == ">"  ? "&gt;"
              : letter == "&"  ? "&amp;"
              : letter == "\"" ? "&quot;"
              : forbidden      ? "\xef\xbf\xbd"
                               : letter;
    rest.remove_prefix(length);
  }
  return result;
}

/// The elements of a picture, one after the other.
class Drawing {
 public:
  void text(double x, double y, std::string_view what, std::string_view classes = "") {
    svg_ += fmt::format("<text x=\"{:.0f}\" y=\"{:.0f}\" class=\"{}\">{}</text>\n", x, y, classes,
                        escaped(what));
  }
  /// Folded to this width. Returns where the next line begins.
  double lines(double x, double y, double width, std::string_view what,
               std::string_view classes = "") {
    auto const folded = examples::wrapped(what, static_cast<std::size_t>(width / letter_width));
    for (std::string_view rest = folded; !rest.empty();) {
      auto const end = std::min(rest.find('\n'), rest.size());
      if (end > 0) text(x, y, rest.substr(0, end), classes);
      if (end > 0) y += line_height;
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    return y;
  }
  void box(double x, double y, double width, double height, std::string_view classes,
           double radius = 8, std::string_view hue = "") {
    svg_ += fmt::format(
        "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" rx=\"{}\" "
        "class=\"{}\"{}/>\n",
        x, y, width, height, radius, classes, styled(hue));
  }
  void path(std::string_view points, std::string_view classes, std::string_view hue = "",
            std::string_view dashes = "") {
    svg_ += fmt::format("<path d=\"{}\" class=\"{}\"{}{}/>\n", points, classes, styled(hue),
                        dashes.empty() ? "" : fmt::format(" stroke-dasharray=\"{}\"", dashes));
  }
  void line(double x1, double y1, double x2, double y2, std::string_view classes) {
    path(fmt::format("M{:.1f} {:.1f}L{:.1f} {:.1f}", x1, y1, x2, y2), classes);
  }
  void open(std::string_view classes) { svg_ += fmt::format("<g class=\"{}\">\n", classes); }
  void close() { svg_ += "</g>\n"; }
  void append(Drawing const& other) { svg_ += other.svg_; }
  [[nodiscard]] std::string const& svg() const noexcept { return svg_; }

 private:
  static std::string styled(std::string_view hue) {
    return hue.empty() ? "" : fmt::format(" style=\"--hue:var(--{})\"", hue);
  }

  std::string svg_{};
};

/// Where things stand, and which policies have a line: the best of the first scenario, with the
/// same look in all scenarios.
class Layout {
 public:
  explicit Layout(std::vector<Table> const& tables) {
    for (auto const& table : tables)
      for (auto const& line : table.policies)
        names_ = std::max(names_, letter_width * static_cast<double>(shown(line).size()));
    for (auto const* line : ranked(tables[0]))
      if (best_.size() < looks.size()) best_.push_back(line->policy);
  }
  /// A name that has space.
  static std::string shown(Line const& line) {
    return poise::observe::as_cell(line.policy, max_name);
  }
  [[nodiscard]] double keys() const noexcept { return margin + padding; }
  [[nodiscard]] double names() const noexcept { return keys() + key_width; }
  [[nodiscard]] double bar() const noexcept { return names() + names_ + padding; }
  [[nodiscard]] double chart() const noexcept { return bar() + bars + values_width; }
  [[nodiscard]] double width() const noexcept {
    return chart() + chart_width + label_width + padding + margin;
  }
  [[nodiscard]] double text_width() const noexcept { return width() - 2 * (margin + padding); }
  /// The number of its look; empty if it has no line.
  [[nodiscard]] std::optional<std::size_t> look_of(Line const& line) const {
    auto const found = std::find(best_.begin(), best_.end(), line.policy);
    if (found == best_.end()) return std::nullopt;
    return static_cast<std::size_t>(found - best_.begin());
  }

 private:
  static constexpr std::size_t max_name = 36;
  double names_ = 0;  // the widest one's width
  std::vector<std::string> best_{};
};

std::string hue_of(std::optional<std::size_t> look) {
  return look ? std::string{looks[*look].hue} : "rest";
}

// -- bars -----------------------------------------------------------------------------------------

void draw_row(Drawing& drawing, Layout const& layout, Line const& line, bool take, double y,
              double longest) {
  auto const base = y + 14;
  auto const look = layout.look_of(line);
  if (look) {
    drawing.text(layout.keys(), base, std::to_string(*look + 1), "bold");
    drawing.path(fmt::format("M{:.1f} {:.1f}h24", layout.keys() + 13, y + 9.5), "line",
                 hue_of(look), looks[*look].dashes);
  }
  drawing.text(layout.names(), base, Layout::shown(line), take ? "bold" : "");
  auto const value = median_over_bound(line);
  auto const length = bars * std::max(std::log(value), 0.0) / std::log(longest) + 2;
  drawing.box(layout.bar(), y + 3, length, row_height - 6, "bar", 3, hue_of(look));
  drawing.text(layout.bar() + length + 6, base,
               fmt::format("{:.2f}, {} ms", value,
                           in_ms(median(line, [](Summary const& it) { return it.p99; }))),
               take ? "bold" : "");
}

double draw_rows(Drawing& drawing, Layout const& layout, Table const& table, std::string_view take,
                 double y) {
  auto const lines = ranked(table);
  double longest = 1.1;
  for (auto const* line : lines)
    if (auto const value = median_over_bound(*line); std::isfinite(value))
      longest = std::max(longest, value);
  drawing.text(layout.names(), y, "policy", "faint");
  drawing.text(layout.bar(), y, "p99 / bound (logarithmic), p99", "faint");
  y += 6;
  for (auto const* line : lines) {
    draw_row(drawing, layout, *line, line->policy == take, y, longest);
    y += row_height;
  }
  return y;
}

// -- charts ---------------------------------------------------------------------------------------

/// What happens in the window, with the letter that stands at its line.
struct Moment {
  char letter;
  double at;  // as a fraction of the window
  std::string words;
};

std::string words_of(Incident const& incident) {
  auto const number = [](double value) { return fmt::format("{:.3g}", value); };
  auto const percent = [](double part) { return fmt::format("{:.3g} %", 100 * part); };
  using Kind = Incident::Kind;
  switch (incident.kind) {
    case Kind::speed: return "speed " + number(incident.value);
    case Kind::errors:
      return incident.value == 0 ? "no more errors" : percent(incident.value) + " errors";
    case Kind::down: return "down";
    case Kind::up: return "up";
    case Kind::leave: return "leaves";
    case Kind::join: return "joins";
    case Kind::ramp:
      return "speed goes to " + number(incident.value) + " within " + in_ms(incident.time) + " ms";
    case Kind::wander:
      return incident.value == 0 ? "speed stays" : "speed wanders, sigma " + number(incident.value);
  }
  return {};
}

/// As a time of the scenario's own scale.
std::string time_text(double nanoseconds) {
  auto const [scale, unit] = nanoseconds >= 1e9   ? std::pair{1e9, "s"}
                             : nanoseconds >= 1e6 ? std::pair{1e6, "ms"}
                                                  : std::pair{1e3, "us"};
  return nanoseconds == 0 ? "0 s" : fmt::format("{:.3g} {}", nanoseconds / scale, unit);
}

std::vector<Moment> moments_of(Scenario const& scenario) {
  constexpr std::size_t max_moments = 8;
  std::vector<Moment> moments;
  for (auto const& each : scenario.incidents) {
    auto const at = each.at - scenario.warmup;
    if (at >= scenario.window || moments.size() == max_moments) break;
    auto const servers = each.first == each.last
                             ? fmt::format("server {}", each.first)
                             : fmt::format("servers {}-{}", each.first, each.last);
    auto const when = at < 0 ? std::string{"before"} : time_text(at);
    moments.push_back({static_cast<char>('A' + moments.size()), std::max(0.0, at / scenario.window),
                       when + ": " + servers + ": " + words_of(each)});
  }
  return moments;
}

/// A policy's values over the window, in [0, 1] from the bottom; NaN where there is none.
struct Curve {
  std::size_t look;
  std::vector<double> heights;
};

/// The median over seeds of each slice of the window.
template <class Of>
std::vector<double> medians(Line const& line, Of const& of) {
  std::vector<double> values(of(line.seeds[0]).size());
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = median(line, [&](Summary const& it) { return of(it)[i]; });
  return values;
}

struct Chart {
  std::string title;
  std::string scale;
  std::vector<Curve> curves{};
};

/// The curves of all policies that have a line.
template <class Of>
Chart chart_of(Layout const& layout, Table const& table, std::string title, Of const& of) {
  Chart chart{std::move(title), {}};
  for (auto const* line : ranked(table))
    if (auto const look = layout.look_of(*line))
      chart.curves.push_back({*look, medians(*line, of)});
  return chart;
}

Chart latency_chart(Layout const& layout, Table const& table) {
  auto chart = chart_of(layout, table, "p99 over time",
                        [](Summary const& it) -> auto const& { return it.p99s; });
  double low = std::numeric_limits<double>::max();
  double high = 0;
  for (auto const& curve : chart.curves)
    for (auto const value : curve.heights)
      if (value > 0) {
        low = std::min(low, value);
        high = std::max(high, value);
      }
  auto const range = std::log(std::max(high / low, 1.1));
  for (auto& curve : chart.curves)
    for (auto& value : curve.heights)
      value = value > 0 ? std::log(value / low) / range : std::numeric_limits<double>::quiet_NaN();
  if (high > 0) chart.scale = fmt::format("from {} to {} ms, logarithmic", in_ms(low), in_ms(high));
  return chart;
}

Chart share_chart(Layout const& layout, Table const& table) {
  auto const host = table.policies[0].seeds[0].watched[0].host;
  auto chart = chart_of(layout, table, fmt::format("share of server {}", host),
                        [](Summary const& it) -> auto const& { return it.shares[0]; });
  double high = 1e-9;
  for (auto const& curve : chart.curves)
    for (auto const value : curve.heights) high = std::max(high, value);
  for (auto& curve : chart.curves)
    for (auto& value : curve.heights) value /= high;
  chart.scale = fmt::format("from 0 to {:.1f} %", 100 * high);
  return chart;
}

void draw_curve(Drawing& drawing, Curve const& curve, double left, double top) {
  auto const step = chart_width / static_cast<double>(curve.heights.size());
  std::string points;
  bool draws = false;
  for (std::size_t i = 0; i < curve.heights.size(); ++i) {
    auto const height = curve.heights[i];
    if (!std::isnan(height))
      points += fmt::format("{}{:.0f} {:.1f}", draws ? 'L' : 'M',
                            left + step * (static_cast<double>(i) + 0.5),
                            top + chart_height * (1 - height));
    draws = !std::isnan(height);
  }
  drawing.path(points, "line", hue_of(curve.look), looks[curve.look].dashes);
}

/// The policies' numbers at the ends of their lines, none on top of another.
void draw_ends(Drawing& drawing, std::vector<Curve> const& curves, double left, double top) {
  constexpr double least_gap = 13;
  std::vector<std::pair<double, std::size_t>> ends;
  for (auto const& curve : curves)
    if (!curve.heights.empty() && !std::isnan(curve.heights.back()))
      ends.emplace_back(top + chart_height * (1 - curve.heights.back()) + 4, curve.look);
  std::sort(ends.begin(), ends.end());
  for (std::size_t i = 1; i < ends.size(); ++i)
    ends[i].first = std::max(ends[i].first, ends[i - 1].first + least_gap);
  auto const beyond = ends.empty() ? 0 : std::max(0.0, ends.back().first - top - chart_height - 4);
  for (auto const& [y, look] : ends)
    drawing.text(left + chart_width + 5, y - beyond, std::to_string(look + 1), "bold");
}

double draw_chart(Drawing& drawing, Layout const& layout, Chart const& chart,
                  std::vector<Moment> const& moments, Scenario const& scenario, double y) {
  auto const left = layout.chart();
  drawing.text(left, y, chart.title, "bold");
  auto const top = y + 22;
  auto const bottom = top + chart_height;
  for (auto const height : {0.0, 0.5})
    drawing.line(left, top + chart_height * height, left + chart_width, top + chart_height * height,
                 "grid");
  drawing.line(left, bottom, left + chart_width, bottom, "axis");
  for (auto const& moment : moments) {
    auto const x = left + chart_width * moment.at;
    drawing.line(x, top, x, bottom, "incident");
    drawing.text(x + 2, top - 3, std::string{moment.letter}, "mark");
  }
  for (auto i = chart.curves.size(); i-- > 0;)  // the best on top
    draw_curve(drawing, chart.curves[i], left, top);
  draw_ends(drawing, chart.curves, left, top);
  drawing.text(left, bottom + 15, "0 s", "faint");
  drawing.text(left + chart_width / 2, bottom + 15, chart.scale, "faint middle");
  drawing.text(left + chart_width, bottom + 15, time_text(scenario.window), "faint right");
  return bottom + 40;
}

double draw_charts(Drawing& drawing, Layout const& layout, Table const& table, double y) {
  auto const& scenario = table.its_case->scenario;
  auto const moments = moments_of(scenario);
  y = draw_chart(drawing, layout, latency_chart(layout, table), moments, scenario, y);
  if (!table.policies[0].seeds[0].shares.empty())
    y = draw_chart(drawing, layout, share_chart(layout, table), moments, scenario, y);
  for (auto const& moment : moments) {
    drawing.text(layout.chart(), y, std::string{moment.letter}, "mark");
    y = drawing.lines(layout.chart() + 18, y, chart_width - 18, moment.words);
  }
  return y;
}

// -- cards ----------------------------------------------------------------------------------------

/// A card around what `draw(drawing, y)` draws from y on; returns where the next one begins.
template <class Draw>
double draw_card(Drawing& drawing, Layout const& layout, double top, std::string_view classes,
                 Draw const& draw) {
  Drawing inside;
  auto const bottom = draw(inside, top + padding);
  drawing.box(margin, top, layout.width() - 2 * margin, bottom - top, classes);
  drawing.append(inside);
  return bottom + 10;
}

double draw_advice(Drawing& drawing, Layout const& layout, Advice const& advice, double y) {
  bool const known = !advice.policy.empty();
  drawing.open(known ? "known" : "unknown");
  auto const next = draw_card(drawing, layout, y, "card verdict", [&](Drawing& inside, double top) {
    inside.text(layout.keys(), top + 14,
                known ? "\u25cf Take " + advice.policy + ":" : "\u25b2 Nothing to compare",
                "headline");
    return inside.lines(layout.keys(), top + 38, layout.text_width(), advice.why);
  });
  drawing.box(margin, y, 8, next - 10 - y, "edge", 4);
  drawing.close();
  return next;
}

double draw_table(Drawing& drawing, Layout const& layout, Table const& table, std::string_view take,
                  double y) {
  return draw_card(drawing, layout, y, "card", [&](Drawing& inside, double top) {
    inside.text(layout.keys(), top + 8, table.its_case->name, "title");
    auto next = inside.lines(layout.keys(), top + 27, layout.text_width(),
                             conditions(table) + '\n' + remarks(table), "faint");
    next += 8;
    return std::max(draw_rows(inside, layout, table, take, next),
                    draw_charts(inside, layout, table, next)) +
           padding / 2;
  });
}

}  // namespace

std::string svg(std::vector<Table> const& tables) {
  Layout const layout{tables};
  auto const advice = recommend(tables);
  Drawing drawing;
  auto bottom = draw_advice(drawing, layout, advice, margin);
  for (auto const& table : tables)
    if (!table.policies.empty()) bottom = draw_table(drawing, layout, table, advice.policy, bottom);
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0:.0f} {1:.0f}\" role=\"img\" "
      "aria-labelledby=\"title desc\">\n<title id=\"title\">poise: policies compared</title>\n"
      "<desc id=\"desc\">{2}</desc>\n<style>{3}{4}</style>\n"
      "<rect width=\"{0:.0f}\" height=\"{1:.0f}\" class=\"back\"/>\n{5}</svg>\n",
      layout.width(), bottom, escaped(text_of(advice), 1000), poise::observe::page_colours, style,
      drawing.svg());
}

std::string html(std::vector<Table> const& tables) {
  return R"(<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>poise simulate</title>
<style>body { margin: 0; background: var(--back); }
svg { display: block; max-width: 1400px; }</style>
)" + svg(tables) +
         "</html>\n";
}

}  // namespace simulate
