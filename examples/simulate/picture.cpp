// SPDX-License-Identifier: MIT

#include "picture.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <string_view>

#include <fmt/format.h>

#include "report.hpp"

namespace simulate {

namespace {

constexpr double row_height = 18;
constexpr double bars = 300;  // they are at most so long
constexpr double chart_width = 340;
constexpr std::size_t most_lines = 6;
constexpr std::array<char const*, most_lines> colours{"#1668b0", "#d1580b", "#2b8c3e",
                                                      "#b32d2d", "#7a52a8", "#6b4a3e"};

std::string escaped(std::string_view text) {
  std::string result;
  for (char const letter : text)
    if (letter == '<') result += "&lt;";
    else if (letter == '&') result += "&amp;";
    else result += letter;
  return result;
}

std::string text_at(double x, double y, std::string_view text, std::string_view more = "") {
  return fmt::format("<text x=\"{:.0f}\" y=\"{:.0f}\"{}>{}</text>\n", x, y, more, escaped(text));
}

/// The layout, and the colours: the best policies of the first table have the same ones in all.
class Layout {
 public:
  explicit Layout(std::vector<Table> const& tables) {
    for (auto const& table : tables)
      for (auto const& line : table.policies)
        names_ = std::max(names_, per_letter * static_cast<double>(line.policy.size()) + 20);
    for (auto const* line : ranked(tables[0]))
      if (best_.size() < most_lines) best_.push_back(line->policy);
  }
  [[nodiscard]] double names() const noexcept { return names_; }  // the bars begin here
  [[nodiscard]] double chart() const noexcept { return names_ + bars + 70; }
  [[nodiscard]] double width() const noexcept { return chart() + chart_width + 20; }
  /// Null for all others.
  [[nodiscard]] char const* colour(Line const& line) const {
    auto const found = std::find(best_.begin(), best_.end(), line.policy);
    return found == best_.end() ? nullptr
                                : colours[static_cast<std::size_t>(found - best_.begin())];
  }

 private:
  static constexpr double per_letter = 7;  // at most, in most fonts
  double names_ = 190;
  std::vector<std::string> best_{};
};

std::string bar_rows(Layout const& layout, std::vector<Line const*> const& lines, double top) {
  auto const names = layout.names();
  double longest = 1.1;
  for (auto const* line : lines) longest = std::max(longest, median_over_bound(*line));
  std::string svg;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    auto const y = top + row_height * static_cast<double>(i);
    auto const value = median_over_bound(*lines[i]);
    auto const length = bars * std::max(std::log(value), 0.0) / std::log(longest) + 2;
    auto const* colour = layout.colour(*lines[i]);
    svg += text_at(names - 8, y + 13, lines[i]->policy, " text-anchor=\"end\"");
    svg += fmt::format(
        "<rect x=\"{:.0f}\" y=\"{:.0f}\" width=\"{:.0f}\" height=\"{:.0f}\" "
        "fill=\"{}\"/>\n",
        names, y + 2, length, row_height - 4, colour == nullptr ? "#999999" : colour);
    svg += text_at(names + length + 5, y + 13, fmt::format("{:.2f}", value));
  }
  return svg;
}

/// The first watched server's share over time, for the best policies.
std::string share_lines(Layout const& layout, std::vector<Line const*> const& lines, double top,
                        double height) {
  auto const& first = lines[0]->seeds[0];
  if (first.shares.empty()) return {};
  auto const chart = layout.chart();
  double highest = 1e-9;
  for (auto const* line : lines)
    if (layout.colour(*line) != nullptr)
      for (auto const each : line->seeds[0].shares[0]) highest = std::max(highest, each);
  auto svg = text_at(chart, top - 6,
                     fmt::format("server {}: share of traffic over the window, up to {:.1f} %",
                                 first.watched[0].host, 100 * highest));
  svg += fmt::format(
      "<path d=\"M{0:.0f} {1:.0f}V{2:.0f}H{3:.0f}\" fill=\"none\" "
      "stroke=\"#888\"/>\n",
      chart, top, top + height, chart + chart_width);
  for (auto i = lines.size(); i-- > 0;) {
    auto const* colour = layout.colour(*lines[i]);
    if (colour == nullptr) continue;
    auto const& shares = lines[i]->seeds[0].shares[0];
    std::string points;
    for (std::size_t k = 0; k < shares.size(); ++k)
      points += fmt::format(
          "{:.0f},{:.1f} ",
          chart + chart_width * (static_cast<double>(k) + 0.5) / static_cast<double>(shares.size()),
          top + height * (1 - shares[k] / highest));
    svg += fmt::format(
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" "
        "stroke-width=\"1.5\"/>\n",
        points, colour);
  }
  return svg;
}

}  // namespace

std::string svg(std::vector<Table> const& tables) {
  Layout const layout{tables};
  std::string body;
  double top = 0;
  for (auto const& table : tables) {
    auto const lines = ranked(table);
    if (lines.empty()) continue;
    body += text_at(10, top + 20, table.its_case->name + ": p99 / bound", " font-weight=\"bold\"");
    top += 36;
    auto const height = row_height * static_cast<double>(lines.size());
    body +=
        bar_rows(layout, lines, top) + share_lines(layout, lines, top, std::max(height - 4, 60.0));
    top += std::max(height, 60.0) + 14;
  }
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0:.0f} {1:.0f}\" "
      "font-family=\"sans-serif\" font-size=\"12\">\n"
      "<rect width=\"{0:.0f}\" height=\"{1:.0f}\" fill=\"white\"/>\n{2}</svg>\n",
      layout.width(), top, body);
}

std::string html(std::vector<Table> const& tables) {
  return "<!doctype html>\n<meta charset=\"utf-8\">\n<title>poise simulate</title>\n" + svg(tables);
}

}  // namespace simulate
