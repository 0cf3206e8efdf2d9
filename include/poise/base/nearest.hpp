// SPDX-License-Identifier: MIT
#pragma once

// "did you mean": the word that a misspelled one was probably meant to be.

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace poise::inline v0_1_0::detail {

/// How many letters must be changed, left out, added or swapped with their neighbour; capitals are
/// as small letters. *Cost* O(product of the sizes).
[[nodiscard]] inline std::size_t letters_apart(std::string_view left, std::string_view right) {
  auto const same = [](char a, char b) {
    return std::tolower(static_cast<unsigned char>(a)) ==
           std::tolower(static_cast<unsigned char>(b));
  };
  std::vector<std::size_t> two_before;
  std::vector<std::size_t> before(right.size() + 1);
  for (std::size_t j = 0; j <= right.size(); ++j) before[j] = j;
  for (std::size_t i = 1; i <= left.size(); ++i) {
    std::vector<std::size_t> now(right.size() + 1, i);
    for (std::size_t j = 1; j <= right.size(); ++j) {
      now[j] = std::min({before[j] + 1, now[j - 1] + 1,
                         before[j - 1] + (same(left[i - 1], right[j - 1]) ? 0U : 1U)});
      if (i > 1 && j > 1 && same(left[i - 1], right[j - 2]) && same(left[i - 2], right[j - 1]))
        now[j] = std::min(now[j], two_before[j - 2] + 1);
    }
    two_before = std::exchange(before, std::move(now));
  }
  return before.back();
}

/// The known word that is nearest to the given one; empty if none is near: at most one letter in
/// three may differ.
[[nodiscard]] inline std::string_view nearest(std::string_view given,
                                              std::vector<std::string_view> const& known) {
  std::string_view best;
  if (given.size() > 64) return best;  // no name is that long
  auto fewest = std::max<std::size_t>(1, given.size() / 3) + 1;
  for (auto const word : known)
    if (auto const apart = letters_apart(given, word);
        apart < fewest && apart < std::min(given.size(), word.size())) {
      fewest = apart;
      best = word;
    }
  return best;
}

/// "a, b, c"
[[nodiscard]] inline std::string joined(std::vector<std::string_view> const& words) {
  std::string all;
  for (auto const word : words) all += (all.empty() ? "" : ", ") + std::string{word};
  return all;
}

/// "; did you mean p2c? There are ..." for "there are" and a list; without a near word
/// "; there are ...".
[[nodiscard]] inline std::string suggestion(std::string_view given,
                                            std::vector<std::string_view> const& known,
                                            std::string intro) {
  auto const list = joined(known);
  auto const near = nearest(given, known);
  if (near.empty()) return "; " + intro + ' ' + list;
  intro[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(intro[0])));
  return "; did you mean " + std::string{near} + "? " + intro + ' ' + list;
}

}  // namespace poise::inline v0_1_0::detail
