// SPDX-License-Identifier: MIT
#pragma once

// What the client programs share: their command line, a line of progress a second, and the table at
// the end.

#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include <poise/base/address.hpp>
#include <poise/call.hpp>
#include <poise/stats.hpp>

namespace clients {

struct Load {
  std::vector<std::string> backends{};
  std::chrono::seconds time{10};
};

/// 0 if it is no number, or too great a one.
inline std::chrono::seconds seconds_from(std::string_view text) {
  std::int32_t count = 0;
  auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  bool const whole = error == std::errc{} && end == text.data() + text.size();
  return std::chrono::seconds{whole ? count : 0};
}

/// "ADDRESS... [--seconds N]". Explains and ends if that is not what it got.
inline Load load_from(int count, char** words, std::string_view help) {
  Load load;
  for (int i = 1; i < count; ++i) {
    std::string_view const word{words[i]};
    if (word == "--help") {
      fmt::print("{}", help);
      std::exit(0);
    }
    if (word == "--seconds" && i + 1 < count) load.time = seconds_from(words[++i]);
    else if (poise::HostPort::of(word)) load.backends.emplace_back(word);
    else load.time = {};
    if (load.time.count() > 0) continue;
    fmt::print(stderr, "\"{}\" is not what belongs there\n\n{}", words[i], help);
    std::exit(2);
  }
  if (!load.backends.empty()) return load;
  fmt::print(stderr, "no backends were named\n\n{}", help);
  std::exit(2);
}

/// Counts calls, and prints the numbers once a second.
class Progress {
 public:
  /// One call more; `error` says why it failed, if it did.
  void count(poise::CallReport const& report, std::optional<std::string> const& error) {
    ++calls_;
    if (report.attempts.size() > 1) ++again_;
    if (error) {
      ++failed_;
      fmt::print("  a call failed: {}\n", *error);
    } else if (report.attempts.size() > 1) {
      last_ = message(report);
    }
    if (std::chrono::steady_clock::now() < next_) return;
    next_ += std::chrono::seconds{1};
    fmt::print("{} calls, {} of them tried again, {} failed{}{}\n", calls_, again_, failed_,
               last_.empty() ? "" : "; the last one tried again: ", last_);
    last_.clear();
  }
  [[nodiscard]] bool all_well() const { return calls_ > 0 && failed_ == 0; }

 private:
  std::chrono::steady_clock::time_point next_ =
      std::chrono::steady_clock::now() + std::chrono::seconds{1};
  std::uint64_t calls_ = 0;
  std::uint64_t again_ = 0;
  std::uint64_t failed_ = 0;
  std::string last_{};
};

/// Calls again and again: `call` fills the report, and returns the outcome or throws.
template <class Call>
bool run(Load const& load, std::chrono::milliseconds pause, Call const& call) {
  Progress progress;
  auto const end = std::chrono::steady_clock::now() + load.time;
  for (; std::chrono::steady_clock::now() < end; std::this_thread::sleep_for(pause)) {
    poise::CallReport report;
    std::optional<std::string> error;
    try {
      if (call(report).result != poise::Result::success) error = message(report);
    } catch (std::exception const& failure) {
      error = failure.what();
    }
    progress.count(report, error);
  }
  return progress.all_well();
}

inline void show(poise::Stats const& stats) {
  fmt::print("\n{:24}{:>10}{:>10}{:>14}\n", stats.policy, "attempts", "failed", "latency, ms");
  for (auto const& backend : stats.backends)
    fmt::print(
        "{:24}{:>10}{:>10}{:>14}\n", backend.id, backend.total, backend.failed,
        backend.latency
            ? fmt::format("{:.2f}",
                          std::chrono::duration<double, std::milli>{*backend.latency}.count())
            : "-");
}

}  // namespace clients
