// SPDX-License-Identifier: MIT
// Bars that move: drawn as a block of lines, over which the next block is drawn.

#include "screen.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <string_view>

#include <unistd.h>

#include <fmt/format.h>

namespace demo {

namespace {

constexpr std::size_t bar_width = 32;
constexpr std::string_view plain = "\033[0m";
constexpr std::string_view bold = "\033[1m";
constexpr std::string_view dim = "\033[2m";

std::string_view colour_of(Mood mood) {
  constexpr std::array<std::string_view, 4> colours{"\033[32m", "\033[33m", "\033[35m", "\033[31m"};
  return colours[static_cast<std::size_t>(mood)];
}

/// A bar in steps of an eighth of a cell, filled up with blanks.
std::string bar(double share) {
  constexpr std::array<std::string_view, 8> eighths{"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  auto const steps = static_cast<std::size_t>(std::lround(share * 8 * bar_width));
  std::string text;
  for (std::size_t i = 0; i < steps / 8; ++i) text += "█";
  text += eighths[steps % 8];
  text.append(bar_width - (steps + 7) / 8, ' ');
  return text;
}

}  // namespace

Screen::Screen(Scenario const& scenario)
    : scenario_{scenario}, is_terminal_{isatty(STDOUT_FILENO) == 1} {}

void Screen::begin(std::string const& policy, std::size_t number, std::size_t of) {
  title_ = fmt::format("{:>2}/{}  {:<20}", number, of, policy);
  history_.clear();
  if (is_terminal_) return;
  fmt::print("{}", title_);
  std::fflush(stdout);
}

void Screen::show(poise::Stats const& stats, std::vector<Mood> const& moods, Seconds elapsed) {
  if (!is_terminal_) return;
  constexpr std::size_t frames = 5;  // shares are those of the last half second
  Totals totals;
  for (auto const& backend : stats.backends) totals.push_back(backend.total);
  history_.push_back(totals);
  if (history_.size() > frames + 1) history_.pop_front();
  auto const& before = history_.front();
  auto const sum = [](Totals const& all) {
    return std::accumulate(all.begin(), all.end(), std::uint64_t{0});
  };
  auto const recent = std::max(1.0, static_cast<double>(sum(totals) - sum(before)));

  auto text =
      fmt::format("{}{}{}{}\n\n", bold, title_, plain, time_line(elapsed / scenario_.length));
  for (std::size_t i = 0; i < totals.size(); ++i)
    text += row(stats.backends[i], static_cast<double>(totals[i] - before[i]) / recent, moods[i]);
  replace_block(text);
}

/// The whole run from left to right: what has passed is thick, and incidents have their colours.
std::string Screen::time_line(double progress) const {
  constexpr std::size_t width = 60;
  std::string text;
  for (std::size_t i = 0; i < width; ++i) {
    auto const place = static_cast<double>(i) / width;
    auto mood = Mood::well;
    if (!scenario_.calm)
      for (auto const& turn : script(scenario_.backends))
        if (turn.at <= place) mood = turn.mood;
    bool const passed = place < progress;
    text += fmt::format("{}{}{}{}", passed ? "" : dim, colour_of(mood), passed ? "━" : "─", plain);
  }
  return text;
}

std::string Screen::row(poise::BackendStats const& now, double share, Mood mood) const {
  auto const latency =
      now.latency ? fmt::format("{:.1f}", Seconds{*now.latency}.count() * 1000) : "-";
  return fmt::format(
      "  {} x{}  {}{}{} {:>3.0f} %  {:>3} in flight  {:>5} ms  {:>5} errors  {}{}{}\n", now.id,
      now.weight, colour_of(mood), bar(share), plain, 100 * share, now.in_flight, latency,
      now.failed, colour_of(mood), name(mood), plain);
}

void Screen::end(std::size_t requests, std::size_t errors) {
  auto const text = fmt::format("{:>8} requests, {:>6} without a good answer\n", requests, errors);
  if (is_terminal_) replace_block(title_ + text);
  else fmt::print("{}", text);
  lines_drawn_ = 0;
  std::fflush(stdout);
}

void Screen::replace_block(std::string const& text) {
  // Up to the block's first line, then erase everything below.
  if (lines_drawn_ != 0) fmt::print("\033[{}A\033[J", lines_drawn_);
  // On a narrow terminal lines are cut, for a wrapped one would count as two.
  fmt::print("\033[?7l{}\033[?7h", text);
  lines_drawn_ = static_cast<std::size_t>(std::ranges::count(text, '\n'));
  std::fflush(stdout);
}

}  // namespace demo
