// SPDX-License-Identifier: MIT
#pragma once

// A schedule: a setup and the events that happen to it, as plain text that people can read, edit
// and give back as a test.
//
//   retry(p2c), 3 backends, monitor, probes, 40/s, seed 7
//   10 a refusing
//   16.5 a well

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <poise/endpoint.hpp>
#include <poise/time.hpp>

namespace tests {

struct Setup {
  std::string policy = "p2c";
  std::size_t backends = 3;
  bool mixed = false;  ///< Weights 1 and 2, two zones, two tiers.
  bool monitor = false;
  bool probes = false;
  bool ticks = true;
  std::uint32_t rate = 40;     ///< Calls per second.
  std::uint32_t service = 10;  ///< ms
  std::uint64_t seed = 1;
};

/// `what` and its argument:
///
///   ID well|slow|failing|...   the server's condition (world.hpp)
///   ID drain, undrain          by the operator
///   ID weight N
///   ID add, remove             from the set
///   ID replace                 update() gives the id a new address; the new server is well
///   ID move                    update() gives the id a new zone
///   clear                      clear(), and the same set again
///   stream MS                  the next request takes so long
///   clock MS                   the balancer's clock jumps back by so much
///   policy TEXT                set_policy()
struct Step {
  double at = 0;  ///< Seconds since the start.
  std::string id{};
  std::string what{};
  std::string argument{};
};

struct Schedule {
  Setup setup{};
  std::vector<Step> steps{};
};

/// "a", "b", ... and then numbers.
[[nodiscard]] inline std::string id_of(std::size_t number) {
  return number < 26 ? std::string(1, static_cast<char>('a' + number)) : std::to_string(number);
}
[[nodiscard]] inline std::size_t number_of(std::string_view id) {
  if (id[0] >= 'a') return static_cast<std::size_t>(id[0] - 'a');
  std::size_t number = 0;
  std::from_chars(id.data(), id.data() + id.size(), number);
  return number;
}
[[nodiscard]] inline poise::Endpoint endpoint_of(std::string_view id, bool mixed) {
  auto const number = static_cast<std::uint32_t>(number_of(id));
  poise::Endpoint endpoint{.id = std::string{id}, .address = std::string{id} + "0", .zone = "a"};
  if (!mixed) return endpoint;
  endpoint.weight = 1 + number % 2;
  endpoint.zone = number % 3 == 1 ? "b" : "a";
  endpoint.tier = number % 4 == 3 ? 1U : 0U;
  return endpoint;
}

/// The first so many.
[[nodiscard]] inline std::vector<poise::Endpoint> endpoints_of(std::size_t count, bool mixed) {
  std::vector<poise::Endpoint> all;
  for (std::size_t i = 0; i < count; ++i) all.push_back(endpoint_of(id_of(i), mixed));
  return all;
}

[[nodiscard]] inline std::string text_of(double seconds) {
  auto text = std::to_string(std::round(seconds * 1000) / 1000);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text;
}

[[nodiscard]] inline std::string text_of(Schedule const& schedule) {
  auto const& setup = schedule.setup;
  auto text = setup.policy + ", " + std::to_string(setup.backends) + " backends" +
              (setup.mixed ? ", mixed" : "") + (setup.monitor ? ", monitor" : "") +
              (setup.probes ? ", probes" : "") + (setup.ticks ? "" : ", no ticks") + ", " +
              std::to_string(setup.rate) + "/s" +
              (setup.service != 10 ? ", " + std::to_string(setup.service) + " ms" : "") +
              ", seed " + std::to_string(setup.seed) + "\n";
  for (auto const& step : schedule.steps)
    text += text_of(step.at) + (step.id.empty() ? "" : " " + step.id) + " " + step.what +
            (step.argument.empty() ? "" : " " + step.argument) + "\n";
  return text;
}

namespace detail {

/// The parts of the first line; commas within parentheses belong to a policy.
inline std::vector<std::string> parts_of(std::string const& line) {
  std::vector<std::string> parts{""};
  int depth = 0;
  for (char const letter : line) {
    depth += letter == '(' ? 1 : letter == ')' ? -1 : 0;
    if (letter == ',' && depth == 0) parts.emplace_back();
    else if (letter != ' ' || !parts.back().empty()) parts.back() += letter;
  }
  return parts;
}

inline Setup setup_of(std::string const& line) {
  Setup setup;
  auto const parts = parts_of(line);
  setup.policy = parts.at(0);
  for (std::size_t i = 1; i < parts.size(); ++i) {
    auto const& part = parts[i];
    if (part == "mixed") setup.mixed = true;
    else if (part == "monitor") setup.monitor = true;
    else if (part == "probes") setup.probes = true;
    else if (part == "no ticks") setup.ticks = false;
    else if (part.ends_with(" backends")) setup.backends = std::stoul(part);
    else if (part.ends_with("/s")) setup.rate = static_cast<std::uint32_t>(std::stoul(part));
    else if (part.ends_with(" ms")) setup.service = static_cast<std::uint32_t>(std::stoul(part));
    else if (part.starts_with("seed ")) setup.seed = std::stoull(part.substr(5));
    else throw std::invalid_argument{"no setup has \"" + part + "\""};
  }
  return setup;
}

}  // namespace detail

/// Reads what text_of() writes. *Errors* std::invalid_argument.
[[nodiscard]] inline Schedule schedule_of(std::string const& text) {
  std::istringstream lines{text};
  std::string line;
  std::getline(lines, line);
  Schedule schedule{.setup = detail::setup_of(line)};
  while (std::getline(lines, line)) {
    std::istringstream words{line};
    Step step;
    if (!(words >> step.at >> step.what)) continue;
    bool const global = step.what == "clear" || step.what == "stream" || step.what == "clock" ||
                        step.what == "policy";
    if (!global) {
      step.id = step.what;
      words >> step.what;
    }
    std::getline(words >> std::ws, step.argument);
    schedule.steps.push_back(std::move(step));
  }
  return schedule;
}

}  // namespace tests
