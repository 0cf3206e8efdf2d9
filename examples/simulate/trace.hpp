// SPDX-License-Identifier: MIT
#pragma once

// Measured latencies and recorded arrivals: one number per line, in milliseconds. Blank lines and
// comments after # are skipped.
//
// Of a trace longer than a million values an even sample is kept, so that any file can be read.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <poise/error.hpp>

#include "arrivals.hpp"
#include "number.hpp"
#include "work.hpp"

namespace simulate::detail {

/// Calls use(value) for every number of a file. `fail(message)` does not return.
template <class Use>
void each_number(std::string const& path, Use const& use) {
  std::ifstream file{path};
  std::error_code unknown;
  if (!file || std::filesystem::is_directory(path, unknown))
    throw poise::ConfigError{"can't read trace " + poise::detail::in_quotes(path)};
  std::string line;
  for (std::size_t number = 1; std::getline(file, line); ++number) {
    if (number == 1) drop_byte_order_mark(line);
    std::string_view text{line};
    text = text.substr(0, text.find('#'));
    auto const begin = text.find_first_not_of(" \t\r");
    if (begin == std::string_view::npos) continue;
    text = text.substr(begin, text.find_last_not_of(" \t\r") + 1 - begin);
    auto const [value, rest] = leading_number(text);
    if (!rest.empty() || !(value >= 0 && value <= 1e9))
      throw poise::ConfigError{"trace " + poise::detail::in_quotes(path) + ", line " +
                               std::to_string(number) + ": " + poise::detail::in_quotes(text) +
                               " is no time in milliseconds (a number from 0 to 1e9)"};
    use(value);
  }
}

inline std::string in_folder(std::string const& folder, std::string const& name) {
  return name.starts_with('/') || folder.empty() ? name : folder + "/" + name;
}

/// A work trace. *Errors* ConfigError.
inline Work read_work(std::string const& path) {
  constexpr std::size_t most = 1U << 20U;
  std::vector<float> values;
  Dice random{1, 99};
  std::uint64_t seen = 0;
  double sum = 0;
  each_number(path, [&](double value) {
    ++seen;
    sum += value;
    if (values.size() < most) values.push_back(static_cast<float>(value));
    else if (auto const place = random.below(seen); place < most)
      values[place] = static_cast<float>(value);
  });
  if (sum <= 0)
    throw poise::ConfigError{"trace " + poise::detail::in_quotes(path) +
                             " has no value above 0; it must have one latency in ms a line"};
  return Work::trace(std::move(values), sum / static_cast<double>(seen) * 1e6);
}

template <class Line>
Work read_work(std::string const& folder, std::string const& name, Line const& line) {
  try {
    return read_work(in_folder(folder, name));
  } catch (poise::ConfigError const& error) {
    line.fail(error.what());
  }
}

/// Recorded arrivals: moments in order. Returns their rate, per nanosecond.
template <class Line>
double read_arrivals(std::string const& folder, std::string const& name, Line const& line,
                     Arrivals& arrivals) {
  constexpr std::size_t most = 10'000'000;
  std::vector<double> gaps;
  double last = -1;
  double sum = 0;
  try {
    each_number(in_folder(folder, name), [&](double value) {
      if (last >= 0 && value < last)
        throw poise::ConfigError{"recorded arrivals go back in time, from " + std::to_string(last) +
                                 " ms to " + std::to_string(value) + " ms"};
      if (last >= 0 && gaps.size() < most) {
        gaps.push_back(value - last);
        sum += gaps.back();
      }
      last = value;
    });
  } catch (poise::ConfigError const& error) {
    line.fail(error.what());
  }
  if (sum <= 0) line.fail("recorded arrivals need at least two different moments");
  auto const mean = sum / static_cast<double>(gaps.size());
  for (auto& each : gaps) each /= mean;
  arrivals.gaps = std::make_shared<std::vector<double> const>(std::move(gaps));
  return 1 / (mean * 1e6);
}

}  // namespace simulate::detail
