// SPDX-License-Identifier: MIT
#pragma once

// XXH32 and XXH64: fast, stable on every machine and in every version, and well spread. XXH64 is
// poise's default hash of keys and ids. It is no defence against crafted keys: see siphash.hpp.
//
// Source: xxHash, doc/xxhash_spec.md (Yann Collet).

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include <poise/hash/bytes.hpp>

namespace poise::inline v0_1_0::hash {

namespace detail {

/// The common scheme of both: four lanes over stripes, merged, then the rest, then an avalanche.
struct Xxh32 {
  using Word = std::uint32_t;
  static constexpr Word p1 = 0x9e3779b1;
  static constexpr Word p2 = 0x85ebca77;
  static constexpr Word p3 = 0xc2b2ae3d;
  static constexpr Word p4 = 0x27d4eb2f;
  static constexpr Word p5 = 0x165667b1;

  static constexpr Word round(Word lane, Word input) noexcept {
    return std::rotl(lane + input * p2, 13) * p1;
  }
  static constexpr Word merge(std::array<Word, 4> const& lanes) noexcept {
    return std::rotl(lanes[0], 1) + std::rotl(lanes[1], 7) + std::rotl(lanes[2], 12) +
           std::rotl(lanes[3], 18);
  }
  static constexpr Word finish(Word sum, std::string_view rest) noexcept {
    for (; rest.size() >= 4; rest.remove_prefix(4))
      sum = std::rotl(sum + load_little<Word>(rest) * p3, 17) * p4;
    for (char const letter : rest) sum = std::rotl(sum + byte(letter) * p5, 11) * p1;
    sum = (sum ^ (sum >> 15U)) * p2;
    sum = (sum ^ (sum >> 13U)) * p3;
    return sum ^ (sum >> 16U);
  }
};

struct Xxh64 {
  using Word = std::uint64_t;
  static constexpr Word p1 = 0x9e3779b185ebca87;
  static constexpr Word p2 = 0xc2b2ae3d27d4eb4f;
  static constexpr Word p3 = 0x165667b19e3779f9;
  static constexpr Word p4 = 0x85ebca77c2b2ae63;
  static constexpr Word p5 = 0x27d4eb2f165667c5;

  static constexpr Word round(Word lane, Word input) noexcept {
    return std::rotl(lane + input * p2, 31) * p1;
  }
  static constexpr Word merge(std::array<Word, 4> const& lanes) noexcept {
    auto sum = std::rotl(lanes[0], 1) + std::rotl(lanes[1], 7) + std::rotl(lanes[2], 12) +
               std::rotl(lanes[3], 18);
    for (auto const lane : lanes) sum = (sum ^ round(0, lane)) * p1 + p4;
    return sum;
  }
  static constexpr Word finish(Word sum, std::string_view rest) noexcept {
    for (; rest.size() >= 8; rest.remove_prefix(8))
      sum = std::rotl(sum ^ round(0, load_little<Word>(rest)), 27) * p1 + p4;
    if (rest.size() >= 4) {
      sum = std::rotl(sum ^ (load_little<std::uint32_t>(rest) * p1), 23) * p2 + p3;
      rest.remove_prefix(4);
    }
    for (char const letter : rest) sum = std::rotl(sum ^ (byte(letter) * p5), 11) * p1;
    sum = (sum ^ (sum >> 33U)) * p2;
    sum = (sum ^ (sum >> 29U)) * p3;
    return sum ^ (sum >> 32U);
  }
};

template <class X>
[[nodiscard]] constexpr typename X::Word xxh(std::string_view text,
                                             typename X::Word seed) noexcept {
  using Word = typename X::Word;
  constexpr auto stripe = 4 * sizeof(Word);
  auto rest = text;
  Word sum = seed + X::p5;
  if (text.size() >= stripe) {
    std::array<Word, 4> lanes{seed + X::p1 + X::p2, seed + X::p2, seed, seed - X::p1};
    for (; rest.size() >= stripe; rest.remove_prefix(stripe))
      for (std::size_t i = 0; i < 4; ++i)
        lanes[i] = X::round(lanes[i], load_little<Word>(rest.substr(i * sizeof(Word))));
    sum = X::merge(lanes);
  }
  return X::finish(sum + static_cast<Word>(text.size()), rest);
}

}  // namespace detail

[[nodiscard]] constexpr std::uint32_t xxh32(std::string_view text,
                                            std::uint32_t seed = 0) noexcept {
  return detail::xxh<detail::Xxh32>(text, seed);
}

[[nodiscard]] constexpr std::uint64_t xxh64(std::string_view text,
                                            std::uint64_t seed = 0) noexcept {
  return detail::xxh<detail::Xxh64>(text, seed);
}

}  // namespace poise::inline v0_1_0::hash
