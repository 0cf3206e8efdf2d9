// SPDX-License-Identifier: MIT
#pragma once

// What is seen while the runs go on: live bars on a terminal, else a line per policy.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include <poise/stats.hpp>

#include "scenario.hpp"

namespace demo {

class Screen {
 public:
  explicit Screen(Scenario const& scenario);

  /// Colours and bars, or plain text for files and pipes.
  [[nodiscard]] bool is_terminal() const { return is_terminal_; }

  void begin(std::string const& policy, std::size_t number, std::size_t of);
  void show(poise::Stats const& stats, std::vector<Mood> const& moods, Seconds elapsed);
  void end(std::size_t requests, std::size_t errors);

 private:
  [[nodiscard]] std::string time_line(double progress) const;
  [[nodiscard]] std::string row(poise::BackendStats const& now, double share, Mood mood) const;
  void replace_block(std::string const& text);

  using Totals = std::vector<std::uint64_t>;

  Scenario scenario_;
  bool is_terminal_;
  std::string title_{};
  std::deque<Totals> history_{};  // requests per backend, one entry a frame
  std::size_t lines_drawn_ = 0;
};

}  // namespace demo
