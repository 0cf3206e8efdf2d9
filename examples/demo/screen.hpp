// SPDX-License-Identifier: MIT
#pragma once

// Shows progress: live bars on a terminal, else a line every two seconds.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include <poise/stats.hpp>

#include "scenario.hpp"

namespace demo {

class Screen {
 public:
  explicit Screen(Scenario const& scenario);

  /// Not for files, pipes and dumb terminals, nor where NO_COLOR is set.
  [[nodiscard]] bool has_colours() const { return has_colours_; }
  /// Columns of the terminal; of files and pipes $COLUMNS, or 120.
  [[nodiscard]] std::size_t width() const { return width_; }

  void begin(std::string const& policy, std::size_t number, std::size_t of);
  void show(poise::Stats const& stats, std::vector<Mood> const& moods, Seconds elapsed);
  void end(std::size_t requests, std::size_t errors);

 private:
  [[nodiscard]] std::string time_line(double progress) const;
  [[nodiscard]] std::string row(poise::BackendStats const& now, double share, Mood mood) const;
  [[nodiscard]] std::string_view colour(std::string_view code) const {
    return has_colours_ ? code : "";
  }
  void replace_block(std::string const& text);

  using Totals = std::vector<std::uint64_t>;

  Scenario scenario_;
  bool is_terminal_;  // bars that move, or a line every two seconds
  bool has_colours_;
  std::size_t width_;
  Seconds told_{0};  // without a terminal: when the last line was printed
  std::string title_{};
  std::deque<Totals> history_{};  // requests per backend, one entry a frame
  std::size_t lines_drawn_ = 0;
};

}  // namespace demo
