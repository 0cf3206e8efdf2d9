// SPDX-License-Identifier: MIT
#pragma once

// The cookie of a sticky session: which backend a client had, signed, so that a client can't choose
// another one.
//
//   poise::StickyCookie const sticky{secret};                     // 16 random bytes of yours
//   auto const preferred = sticky.read(cookie);                   // nullopt: none, or not ours
//   auto lease = servers.pick({.preferred = preferred.value_or("")});
//   if (lease->id() != preferred) set_cookie(sticky.write(lease->id()));
//
// The id stands in the cookie in plain text. If the ids are addresses that clients must not learn,
// give the endpoints other ids.
//
// The signature is SipHash-2-4 with a 128-bit secret and 64-bit tag: a guess is right with
// probability 2^-64, and each guess is a request. A wrong guess that succeeded would choose a
// backend, nothing else; so no expiry and no key rotation by itself.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/hash/siphash.hpp>

namespace poise::inline v0_1_0 {

/// *Threads* any.
class StickyCookie {
 public:
  /// Every process that reads the cookies needs the same secret. `earlier` ones are accepted, too,
  /// while clients still have cookies signed by them.
  explicit StickyCookie(hash::Secret secret, std::vector<hash::Secret> earlier = {})
      : secrets_{std::move(earlier)} {
    secrets_.insert(secrets_.begin(), secret);
  }

  /// The cookie's value: the id, "~", 16 hexadecimal digits. What RFC 6265 forbids in a cookie is
  /// written as "%xx".
  [[nodiscard]] std::string write(std::string_view id) const {
    return escape(id) + separator + hexadecimal(hash::siphash(id, secrets_.front()));
  }

  /// The id in a cookie's value; empty if the value was not written with one of the secrets.
  [[nodiscard]] std::optional<std::string> read(std::string_view value) const {
    auto const end = value.rfind(separator);
    if (end == std::string_view::npos) return std::nullopt;
    auto const tag = number(value.substr(end + 1));
    auto id = unescape(value.substr(0, end));
    if (!tag || !id || id->empty()) return std::nullopt;
    bool valid = false;
    // All secrets are tried, whatever the result: the time says nothing about the tag.
    for (auto const& secret : secrets_) valid = valid | ((hash::siphash(*id, secret) ^ *tag) == 0);
    if (!valid) return std::nullopt;
    return id;
  }

 private:
  static constexpr char separator = '~';
  static constexpr std::string_view digits = "0123456789abcdef";

  /// What stays as it is: cookie-octet of RFC 6265 without "%" and the separator.
  static bool is_plain(char letter) noexcept {
    return letter > ' ' && letter < separator && letter != '"' && letter != ',' && letter != ';' &&
           letter != '\\' && letter != '%';
  }
  static std::string escape(std::string_view id) {
    std::string text;
    for (char const letter : id) {
      if (is_plain(letter)) {
        text += letter;
        continue;
      }
      auto const byte = static_cast<unsigned char>(letter);
      text += {'%', digits[byte >> 4U], digits[byte & 15U]};
    }
    return text;
  }
  static std::optional<std::string> unescape(std::string_view text) {
    std::string id;
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (text[i] != '%') {
        id += text[i];
        continue;
      }
      auto const high = text.size() - i > 2 ? digits.find(text[i + 1]) : std::string_view::npos;
      auto const low = text.size() - i > 2 ? digits.find(text[i + 2]) : std::string_view::npos;
      if (high == std::string_view::npos || low == std::string_view::npos) return std::nullopt;
      id += static_cast<char>(high << 4U | low);
      i += 2;
    }
    return id;
  }

  static std::string hexadecimal(std::uint64_t number) {
    std::string text(16, '0');
    for (auto letter = text.rbegin(); letter != text.rend(); ++letter, number >>= 4U)
      *letter = digits[number & 15U];
    return text;
  }
  static std::optional<std::uint64_t> number(std::string_view text) noexcept {
    if (text.size() != 16) return std::nullopt;
    std::uint64_t result = 0;
    for (char const letter : text) {
      auto const digit = digits.find(letter);
      if (digit == std::string_view::npos) return std::nullopt;
      result = result << 4U | digit;
    }
    return result;
  }

  std::vector<hash::Secret> secrets_;  // the first one signs
};

}  // namespace poise::inline v0_1_0
