// SPDX-License-Identifier: MIT
#pragma once

// What every policy goes through: the servers, the load, and what goes wrong when.

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace demo {

using Clock = std::chrono::steady_clock;
using Instant = Clock::time_point;
using Seconds = std::chrono::duration<double>;

struct Scenario {
  std::string policy{};  // empty: the usual ones
  std::size_t backends = 5;
  double rate = 2000;  // requests per second
  Seconds length{7};   // per policy
  std::uint64_t seed = 1;
  bool calm = false;                    // nothing goes wrong
  std::optional<std::uint16_t> page{};  // the port of a live page
};

constexpr std::chrono::milliseconds request_timeout{500};

// -- servers --------------------------------------------------------------------------------------

/// They are of different sizes: one of weight 3 is three times as fast as one of weight 1.
[[nodiscard]] constexpr std::uint32_t weight_of(std::size_t backend) {
  constexpr std::array<std::uint32_t, 5> weights{3, 2, 2, 2, 1};
  return weights[backend % weights.size()];
}
/// Each works on so many requests at a time; the others wait in its queue.
constexpr std::size_t workers = 4;
/// The mean time a worker needs for a request: 2 ms for weight 3, 6 ms for weight 1.
[[nodiscard]] constexpr Seconds service_time(std::size_t backend) {
  return Seconds{0.006 / weight_of(backend)};
}
/// Requests per second that all servers together can answer.
[[nodiscard]] constexpr double capacity(std::size_t backends) {
  double sum = 0;
  for (std::size_t i = 0; i < backends; ++i) sum += workers / service_time(i).count();
  return sum;
}

[[nodiscard]] inline std::string name_of(std::size_t backend) {
  return std::string(1, static_cast<char>('a' + backend));
}
[[nodiscard]] inline std::size_t number_of(std::string_view name) {
  return static_cast<std::size_t>(name[0] - 'a');
}

// -- incidents ------------------------------------------------------------------------------------

enum class Mood : std::uint8_t { well, slow, failing, dead };

[[nodiscard]] constexpr std::string_view name(Mood mood) {
  constexpr std::array<std::string_view, 4> names{"", "10x slower", "answers 500", "killed"};
  return names[static_cast<std::size_t>(mood)];
}

/// A change of a server's behaviour, at a moment given as a fraction of the whole run.
struct Turn {
  double at;
  std::size_t backend;
  Mood mood;
};

/// The slow, the failing and the killed server are three different ones (if there are three).
[[nodiscard]] inline std::vector<Turn> script(std::size_t backends) {
  auto const slow = 1 % backends;
  auto const failing = 2 % backends;
  auto const killed = 3 % backends;
  return {{0.10, slow, Mood::slow},    {0.28, slow, Mood::well},   {0.34, failing, Mood::failing},
          {0.48, failing, Mood::well}, {0.54, killed, Mood::dead}, {0.74, killed, Mood::well}};
}

}  // namespace demo
