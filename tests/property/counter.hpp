// SPDX-License-Identifier: MIT
#pragma once

// Counts what happens in a world: calls that failed, and who was asked when.

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include <poise/outcome.hpp>

#include "property/world.hpp"

namespace tests {

struct Counter final : Watcher {
  std::uint64_t calls = 0;
  std::uint64_t failed = 0;  ///< Calls without an answer; one that blames the caller is none.
  std::uint64_t attempts = 0;
  std::uint64_t refusals = 0;  ///< Picks that found no backend.
  std::map<std::string, std::uint64_t, std::less<>> asked{};
  std::map<std::string, std::uint64_t, std::less<>> asked_first{};  ///< By first attempts.

  /// From now on.
  void restart() { *this = Counter{}; }

  [[nodiscard]] double failed_fraction() const { return of(failed, calls); }
  /// The part of all attempts, or of first attempts, that this backend got.
  [[nodiscard]] double fraction(std::string_view id) const { return of(at(asked, id), attempts); }
  [[nodiscard]] double first_fraction(std::string_view id) const {
    return of(at(asked_first, id), calls);
  }

  void picked(Pick const& pick) override {
    ++attempts;
    ++asked[std::string{pick.id}];
    if (pick.attempt <= 1) ++asked_first[std::string{pick.id}];
  }
  void refused(poise::Error const&) override { ++refusals; }
  void called(poise::Result result) override {
    ++calls;
    failed += is_failure(result) || result == poise::Result::abandoned ? 1U : 0U;
  }

 private:
  static double of(std::uint64_t part, std::uint64_t whole) {
    return static_cast<double>(part) / static_cast<double>(std::max<std::uint64_t>(whole, 1));
  }
  static std::uint64_t at(std::map<std::string, std::uint64_t, std::less<>> const& counts,
                          std::string_view id) {
    auto const found = counts.find(id);
    return found == counts.end() ? 0 : found->second;
  }
};

}  // namespace tests
