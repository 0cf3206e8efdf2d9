// SPDX-License-Identifier: MIT
#pragma once

// Policies as text: "p2c", "p2c(load=peak_ewma)", "retry(failover(p2c), attempts=3)".
//
//   policy   = name [ "(" [ argument { "," argument } ] ")" ]
//   argument = [ key "=" ] policy
//   name     = letters, digits and _ . + - : / % *, or anything else in double quotes
//
// So a number, a duration or a zone is a name without arguments. named.hpp gives names a meaning.

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <poise/base/ascii.hpp>
#include <poise/base/files.hpp>
#include <poise/base/nearest.hpp>
#include <poise/compose/policy_error.hpp>
#include <poise/error.hpp>
#include <poise/hash/siphash.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::detail {

/// One policy of the text, with its arguments in order.
struct PolicyText {
  std::string name{};
  std::vector<PolicyText> arguments{};
  std::string key{};       // of an argument, the text before "="; may be empty
  std::size_t at = 0;      // where the name begins in the text, in bytes
  std::size_t key_at = 0;  // the same of the key
};

/// The path of a secret that is written as file:PATH.
[[nodiscard]] inline std::optional<std::string> secret_file(PolicyText const& secret) {
  constexpr std::string_view prefix = "file:";
  if (!std::string_view{secret.name}.starts_with(prefix)) return std::nullopt;
  return secret.name.substr(prefix.size());
}

/// Reads a policy's text. *Errors* PolicyError, with the position of the mistake.
class PolicyParser {
 public:
  [[nodiscard]] static PolicyText parse(std::string_view text) {
    if (text.size() > longest)
      throw PolicyError{"a policy's text of " + std::to_string(text.size()) +
                            " characters is too long; " + std::to_string(longest) + " is the limit",
                        0};
    PolicyParser parser{text};
    auto policy = parser.policy(0);
    if (parser.skip() != end) parser.fail("the text should end here");
    return policy;
  }
  /// Can this be a name without quotes?
  [[nodiscard]] static bool is_name(std::string_view text) noexcept {
    return !text.empty() && std::all_of(text.begin(), text.end(), is_plain);
  }

 private:
  static constexpr std::size_t longest = 4096;
  static constexpr std::size_t deepest = 32;
  static constexpr char end = '\0';

  explicit PolicyParser(std::string_view text) noexcept : text_{text} {}

  PolicyText policy(std::size_t depth) {
    if (depth == deepest)
      fail("more than " + std::to_string(deepest) + " policies inside each other");
    (void)skip();
    PolicyText result{.at = at_};
    result.name = name();
    if (skip() != '(') return result;
    ++at_;
    if (skip() != ')') arguments(result, depth + 1);
    ++at_;
    return result;
  }

  void arguments(PolicyText& result, std::size_t depth) {
    for (;; ++at_) {
      result.arguments.push_back(argument(depth));
      if (skip() != ',') break;
    }
    if (skip() != ')') fail("expected , or )");
  }

  PolicyText argument(std::size_t depth) {
    auto value = policy(depth);
    if (skip() != '=') return value;
    if (!value.arguments.empty()) fail("what stands before = must be a plain name");
    ++at_;
    auto keyed = policy(depth);
    keyed.key = std::move(value.name);
    keyed.key_at = value.at;
    return keyed;
  }

  std::string name() {
    if (skip() == '"') return quoted_name();
    auto const begin = at_;
    while (at_ < text_.size() && is_plain(text_[at_])) ++at_;
    if (at_ == begin) fail("expected a name");
    return std::string{text_.substr(begin, at_ - begin)};
  }

  std::string quoted_name() {
    auto const close = text_.find('"', at_ + 1);
    if (close == std::string_view::npos) fail("this quote is not closed");
    auto const inside = text_.substr(at_ + 1, close - at_ - 1);
    at_ = close + 1;
    return std::string{inside};
  }

  static bool is_plain(char letter) noexcept {
    return is_letter_or_digit(letter) ||
           std::string_view{"_.+-:/%*"}.find(letter) != std::string_view::npos;
  }

  /// The next character that is no space; `end` after the last.
  char skip() noexcept {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n'))
      ++at_;
    return at_ < text_.size() ? text_[at_] : end;
  }

  [[noreturn]] void fail(std::string const& what) const {
    throw PolicyError{"policy " + detail::in_quotes(text_) + ", character " +
                          std::to_string(at_ + 1) + ": " + what,
                      at_};
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

/// A policy's arguments. The code that makes the policy asks for each of them; done() refuses the
/// rest.
class PolicyArguments {
 public:
  explicit PolicyArguments(PolicyText const& text) : text_{text}, taken_(text.arguments.size()) {}

  /// The argument with this key; else the first without a key, if `also_unnamed`; else null.
  [[nodiscard]] PolicyText const* find(std::string_view key, bool also_unnamed = false) {
    known_.push_back(key);
    PolicyText const* found = nullptr;
    for (std::size_t i = 0; i < taken_.size(); ++i) {
      auto const& argument = text_.arguments[i];
      bool const matches = argument.key == key || (also_unnamed && argument.key.empty());
      if (taken_[i] || !matches) continue;
      if (found != nullptr) {
        if (argument.key.empty()) continue;
        throw PolicyError{text_.name + "(): " + std::string{key} + " is given twice",
                          argument.key_at};
      }
      taken_[i] = true;
      found = &argument;
    }
    return found;
  }

  [[nodiscard]] std::string text(std::string_view key, std::string_view fallback) {
    auto const* found = find(key);
    return found == nullptr ? std::string{fallback} : plain(key, *found);
  }

  [[nodiscard]] double number(std::string_view key, double fallback) {
    auto const* found = find(key);
    if (found == nullptr) return fallback;
    auto const [value, unit] = measure(key, *found, "a number");
    if (!unit.empty()) refuse(key, *found, "a number");
    return value;
  }

  [[nodiscard]] std::uint32_t count(std::string_view key, std::uint32_t fallback,
                                    std::uint32_t min = 0, std::uint32_t max = ~std::uint32_t{0}) {
    auto const* found = find(key);
    if (found == nullptr) return fallback;
    auto const& digits = plain(key, *found);
    std::uint32_t value = 0;
    auto const [rest, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc{} || rest != digits.data() + digits.size() || value < min || value > max)
      refuse(key, *found,
             "a whole number " + (min == 0 ? "up to " : "from " + std::to_string(min) + " to ") +
                 std::to_string(max));
    return value;
  }

  /// "25ms", "1.5s", "100us", "7ns", "2m".
  [[nodiscard]] Duration duration(std::string_view key, Duration fallback) {
    auto const* found = find(key);
    if (found == nullptr) return fallback;
    auto const [value, unit] = measure(key, *found, a_duration);
    double const scale = unit == "ns"   ? 1
                         : unit == "us" ? 1e3
                         : unit == "ms" ? 1e6
                         : unit == "s"  ? 1e9
                         : unit == "m"  ? 60e9
                                        : 0;
    constexpr double longest = 1e18;  // 31 years, in ns
    if (scale == 0 || value * scale > longest) refuse(key, *found, a_duration);
    return Duration{std::llround(value * scale)};
  }

  [[nodiscard]] bool flag(std::string_view key, bool fallback) {
    auto const* found = find(key);
    if (found == nullptr) return fallback;
    auto const& word = plain(key, *found);
    if (word != "yes" && word != "no") refuse(key, *found, "yes or no");
    return word == "yes";
  }

  /// The secret of a hash: 32 hexadecimal digits, file:PATH with a file of them, or "no". Messages
  /// do not repeat it.
  [[nodiscard]] std::optional<hash::Secret> secret(std::string_view key) {
    auto const* found = find(key);
    if (found == nullptr || plain(key, *found) == "no") return std::nullopt;
    auto const digits = digits_of(*found);
    hash::Secret secret;
    auto const half = [&](std::size_t begin, std::uint64_t& value) {
      auto const* const end = digits.data() + begin + 16;
      auto const [rest, error] = std::from_chars(digits.data() + begin, end, value, 16);
      return error == std::errc{} && rest == end;
    };
    if (digits.size() != 32 || !half(0, secret.high) || !half(16, secret.low))
      throw PolicyError{text_.name + "(): " + std::string{key} +
                            " must be no, 32 hexadecimal digits (128 random bits), or "
                            "file:PATH with a file of them",
                        found->at};
    return secret;
  }

  /// The index of the given word in this list.
  [[nodiscard]] std::size_t word(std::string_view key, std::vector<std::string_view> const& words,
                                 std::size_t fallback) {
    auto const* found = find(key);
    if (found == nullptr) return fallback;
    auto const& given = plain(key, *found);
    for (std::size_t i = 0; i < words.size(); ++i)
      if (given == words[i]) return i;
    refuse(key, *found, "one of " + joined(words));
  }

  /// *Errors* PolicyError if there is an argument that no function asked for.
  void done() const {
    for (std::size_t i = 0; i < taken_.size(); ++i) {
      if (taken_[i]) continue;
      auto const& argument = text_.arguments[i];
      bool const is_keyed = !argument.key.empty();
      auto const& what = is_keyed ? argument.key : argument.name;
      throw PolicyError{
          text_.name + "() does not know " + detail::in_quotes(what) +
              (known_.empty() ? "; it takes nothing" : suggestion(what, known_, "it takes")),
          is_keyed ? argument.key_at : argument.at};
    }
  }

 private:
  static constexpr char const* a_duration = "a duration such as 25ms, 1.5s or 100us";

  static std::string digits_of(PolicyText const& secret) {
    auto const file = secret_file(secret);
    if (!file) return secret.name;
    try {
      return secret_of(*file);
    } catch (ConfigError const& error) {
      throw PolicyError{error.what(), secret.at};
    }
  }

  struct Measure {
    double value;
    std::string_view unit;
  };

  [[nodiscard]] std::string const& plain(std::string_view key, PolicyText const& value) const {
    if (!value.arguments.empty()) refuse(key, value, "a plain value");
    return value.name;
  }

  /// Splits a value into a decimal number and its unit.
  [[nodiscard]] Measure measure(std::string_view key, PolicyText const& value,
                                char const* wanted) const {
    std::string_view rest = plain(key, value);
    Measure result{0, {}};
    double scale = 1;
    bool fraction = false;
    std::size_t digits = 0;
    for (; !rest.empty(); rest.remove_prefix(1)) {
      if (rest[0] == '.' && !fraction) {
        fraction = true;
      } else if (rest[0] >= '0' && rest[0] <= '9') {
        if (fraction) scale /= 10;
        result.value = result.value * (fraction ? 1 : 10) + (rest[0] - '0') * scale;
        ++digits;
      } else {
        break;
      }
    }
    constexpr std::size_t most = 18;
    if (digits == 0 || digits > most) refuse(key, value, wanted);
    result.unit = rest;
    return result;
  }

  [[noreturn]] void refuse(std::string_view key, PolicyText const& value,
                           std::string const& wanted) const {
    throw PolicyError{text_.name + "(): " + std::string{key} + " is " +
                          detail::in_quotes(value.name) + (value.arguments.empty() ? "" : "(...)") +
                          ", but must be " + wanted,
                      value.at};
  }

  PolicyText const& text_;
  std::vector<bool> taken_;
  std::vector<std::string_view> known_{};
};

}  // namespace poise::inline v0_1_0::detail
