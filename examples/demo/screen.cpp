// SPDX-License-Identifier: MIT
// Bars that move: drawn as a block of lines, over which the next block is drawn.

#include "screen.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <string_view>

#include <unistd.h>

#include <fmt/format.h>

#include "../terminal.hpp"

namespace demo {

namespace {

constexpr std::size_t max_bar = 32;
constexpr std::string_view plain = "\033[0m";
constexpr std::string_view bold = "\033[1m";
constexpr std::string_view dim = "\033[2m";

std::string_view colour_of(Mood mood) {
  constexpr std::array<std::string_view, 4> colours{"\033[32m", "\033[33m", "\033[35m", "\033[31m"};
  return colours[static_cast<std::size_t>(mood)];
}

bool is_set(char const* variable) {
  auto const* const value = std::getenv(variable);
  return value != nullptr && *value != '\0';
}

/// A bar in steps of an eighth of a cell, filled up with blanks.
std::string bar(double share, std::size_t bar_width) {
  constexpr std::array<std::string_view, 8> eighths{"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  auto const steps =
      static_cast<std::size_t>(std::lround(share * 8 * static_cast<double>(bar_width)));
  std::string text;
  for (std::size_t i = 0; i < steps / 8; ++i) text += "█";
  text += eighths[steps % 8];
  text.append(bar_width - (steps + 7) / 8, ' ');
  return text;
}

}  // namespace

Screen::Screen(Scenario const& scenario)
    : scenario_{scenario},
      is_terminal_{examples::is_terminal(STDOUT_FILENO)},
      has_colours_{is_terminal_ && !is_set("NO_COLOR")},
      width_{examples::columns_of(STDOUT_FILENO, 120)} {}

void Screen::begin(std::string const& policy, std::size_t number, std::size_t of) {
  title_ = fmt::format("{:>2}/{}  {:<20}", number, of, policy);
  history_.clear();
  told_ = Seconds{0};
}

void Screen::show(poise::Stats const& stats, std::vector<Mood> const& moods, Seconds elapsed) {
  if (!is_terminal_) {
    constexpr Seconds pause{1.9};  // with the time between two frames, less than two seconds
    if (elapsed - told_ < pause) return;
    told_ = elapsed;
    fmt::print("{}{:.0f} of {:.0f} s\n", title_, elapsed.count(), scenario_.length.count());
    std::fflush(stdout);
    return;
  }
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

  auto text = fmt::format("{}{}{}{}\n\n", colour(bold), title_.substr(0, width_), colour(plain),
                          time_line(elapsed / scenario_.length));
  for (std::size_t i = 0; i < totals.size(); ++i)
    text += row(stats.backends[i], static_cast<double>(totals[i] - before[i]) / recent, moods[i]);
  replace_block(text);
}

/// The whole run from left to right: what has passed is thick, and incidents have their colours.
std::string Screen::time_line(double progress) const {
  auto const left = width_ > title_.size() ? width_ - title_.size() : 0;
  auto const width = std::min<std::size_t>(60, left);
  std::string text;
  for (std::size_t i = 0; i < width; ++i) {
    auto const place = static_cast<double>(i) / static_cast<double>(width);
    auto mood = Mood::well;
    if (!scenario_.calm)
      for (auto const& turn : script(scenario_.backends))
        if (turn.at <= place) mood = turn.mood;
    bool const passed = place < progress;
    text += fmt::format("{}{}{}{}", colour(passed ? "" : dim), colour(colour_of(mood)),
                        passed ? "━" : "─", colour(plain));
  }
  return text;
}

std::string Screen::row(poise::BackendStats const& now, double share, Mood mood) const {
  auto const latency =
      now.latency ? fmt::format("{:.1f}", Seconds{*now.latency}.count() * 1000) : "-";
  auto head = fmt::format("  {} x{}  ", now.id, now.weight);
  auto tail = fmt::format(" {:>3.0f} %", 100 * share);
  constexpr std::size_t short_bar = 6;
  constexpr std::size_t label = 14;  // "  answers 500", and a column left free
  // What does not fit beside a short bar and the incident's name is left out, the last first.
  for (auto const& part :
       {fmt::format("  {:>5} ms", latency), fmt::format("  {:>5} errors", now.failed),
        fmt::format("  {:>3} in flight", now.in_flight)})
    if (head.size() + tail.size() + part.size() + short_bar + label <= width_) tail += part;
  auto const used = head.size() + tail.size() + label;
  auto const bar_width = width_ > used ? std::min(max_bar, width_ - used) : 0;
  return fmt::format("{}{}{}{}{}  {}{}{}\n", head, colour(colour_of(mood)), bar(share, bar_width),
                     colour(plain), tail, colour(colour_of(mood)), name(mood), colour(plain));
}

void Screen::end(std::size_t requests, std::size_t errors) {
  auto const text = fmt::format("{:>8} requests, {:>6} without a good answer\n", requests, errors);
  if (is_terminal_) replace_block(title_ + text);
  else fmt::print("{}{}", title_, text);
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
