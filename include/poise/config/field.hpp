// SPDX-License-Identifier: MIT
#pragma once

// A field of a configuration: its key, what it may be, what it means, and where it goes. Everything
// else is made from this: parser, messages, dump, schema, reference.

#include <algorithm>
#include <array>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <poise/base/files.hpp>
#include <poise/base/nearest.hpp>
#include <poise/config/node.hpp>
#include <poise/config/quantity.hpp>
#include <poise/error.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::config {

/// What a field takes.
enum class Kind : std::uint8_t {
  text,
  count,     ///< A whole number.
  limit,     ///< A whole number, or "none".
  number,    ///< With or without a decimal point.
  fraction,  ///< 0.5 or "50%".
  duration,  ///< "250ms"
  flag,      ///< true or false
  choice,    ///< One of some words.
  policy,    ///< A policy's text, or a table that stands for it.
  secret,    ///< {file = "PATH"}; the value is the path.
};

/// Which values are allowed.
struct Range {
  double min = 0;  ///< Durations in ns.
  double max = std::numeric_limits<double>::infinity();
  bool above = false;  ///< More than min, not min itself.
  std::vector<std::string_view> words{};
  /// Of a text: what is wrong with it; empty if nothing is.
  std::string (*check)(std::string const&) = nullptr;
};

/// The value of any field.
using Value = std::variant<bool, std::uint64_t, double, Duration, std::string>;

/// When a reload puts another value in force.
enum class Effect : std::uint8_t {
  reload,   ///< At once.
  restart,  ///< Not while the program runs: a reload that changes it is refused.
};

/// One field of an Owner: Settings, or an Endpoint for an entry of [[backends]].
template <class Owner>
struct Field {
  std::string_view key;
  Kind kind;
  std::function<Value(Owner const&)> get;
  std::function<void(Owner&, Value const&)> set;
  Range range;
  std::string_view doc;
  Effect effect = Effect::reload;
};

namespace detail {

/// What is wrong with the file of a secret; nothing if there is no file.
[[nodiscard]] inline std::string check_secret(std::string const& path) {
  try {
    if (!path.empty()) (void)poise::detail::secret_of(path);
    return {};
  } catch (ConfigError const& error) {
    return error.what();
  }
}

/// Of a member of type T; a fraction, a limit and a choice are made explicitly.
template <class T>
[[nodiscard]] constexpr Kind kind_of() noexcept {
  if constexpr (std::same_as<T, bool>) return Kind::flag;
  else if constexpr (std::same_as<T, Duration>) return Kind::duration;
  else if constexpr (std::same_as<T, double>) return Kind::number;
  else if constexpr (std::same_as<T, std::string>) return Kind::text;
  else return Kind::count;
}

/// The type of Value that stands for a T.
template <class T>
using ValueOf =
    std::conditional_t<std::same_as<T, bool>, bool,
                       std::conditional_t<std::unsigned_integral<T>, std::uint64_t,
                                          std::conditional_t<std::is_enum_v<T>, std::string, T>>>;

}  // namespace detail

/// A field for the member that `member` returns a reference to.
template <class Owner, class Member>
[[nodiscard]] Field<Owner> field(std::string_view key, Member member, std::string_view doc,
                                 Range range = {}) {
  using T = std::remove_cvref_t<std::invoke_result_t<Member, Owner&>>;
  if constexpr (std::same_as<T, std::uint32_t>)
    range.max = std::min(range.max, double{std::numeric_limits<T>::max()});
  if constexpr (std::same_as<T, Duration>)
    range.max = std::min(range.max, 365.0 * 24 * 3600 * 1e9);  // so that sums don't overflow
  if constexpr (std::unsigned_integral<T>) range.max = std::min(range.max, 1e15);
  return {key,
          detail::kind_of<T>(),
          [member](Owner const& owner) {
            return Value{detail::ValueOf<T>{member(const_cast<Owner&>(owner))}};
          },
          [member](Owner& owner, Value const& value) {
            member(owner) = static_cast<T>(std::get<detail::ValueOf<T>>(value));
          },
          std::move(range),
          doc};
}

/// A double from 0 to 1 that may be written as a percentage.
template <class Owner, class Member>
[[nodiscard]] Field<Owner> fraction(std::string_view key, Member member, std::string_view doc,
                                    Range range = {.max = 1}) {
  auto result = field<Owner>(key, member, doc, std::move(range));
  result.kind = Kind::fraction;
  return result;
}

/// A number of 32 bits whose greatest value stands for "none".
template <class Owner, class Member>
[[nodiscard]] Field<Owner> limit(std::string_view key, Member member, std::string_view doc) {
  auto result = field<Owner>(key, member, doc, {.min = 1});
  result.kind = Kind::limit;
  return result;
}

/// An enumeration whose values 0, 1, 2 ... have these words.
template <class Owner, class Member>
[[nodiscard]] Field<Owner> choice(std::string_view key, Member member, std::string_view doc,
                                  std::vector<std::string_view> const& words) {
  using T = std::remove_cvref_t<std::invoke_result_t<Member, Owner&>>;
  return {key,
          Kind::choice,
          [member, words](Owner const& owner) {
            return Value{
                std::string{words[static_cast<std::size_t>(member(const_cast<Owner&>(owner)))]}};
          },
          [member, words](Owner& owner, Value const& value) {
            auto const at = std::ranges::find(words, std::get<std::string>(value));
            member(owner) = static_cast<T>(at - words.begin());
          },
          {.words = words},
          doc};
}

/// A secret, whose file the member names.
template <class Owner, class Member>
[[nodiscard]] Field<Owner> secret_field(std::string_view key, Member member, std::string_view doc) {
  auto result = field<Owner>(key, member, doc, {.check = detail::check_secret});
  result.kind = Kind::secret;
  return result;
}

/// A text that policy_named() reads.
template <class Owner, class Member>
[[nodiscard]] Field<Owner> policy_field(std::string_view key, Member member, std::string_view doc,
                                        Range range) {
  auto result = field<Owner>(key, member, doc, std::move(range));
  result.kind = Kind::policy;
  return result;
}

/// A field that a reload can't change while the program runs.
template <class Owner>
[[nodiscard]] Field<Owner> at_restart(Field<Owner> field) {
  field.effect = Effect::restart;
  return field;
}

namespace detail {

/// The end of a range, in the unit of its field.
[[nodiscard]] inline std::string bound_text(Kind kind, double bound) {
  if (kind == Kind::duration) return text_of(Duration{std::llround(bound)});
  if (kind == Kind::fraction) return poise::detail::in_words(bound * 100) + "%";
  if (kind == Kind::number) return poise::detail::in_words(bound);
  return std::to_string(static_cast<std::uint64_t>(bound));
}

/// How a kind is called, with examples where its form may surprise.
[[nodiscard]] constexpr std::string_view kind_text(Kind kind, bool examples) noexcept {
  switch (kind) {
    case Kind::text: return "a text in quotes";
    case Kind::count: return "a whole number";
    case Kind::limit: return "\"none\" or a whole number";
    case Kind::number: return "a number";
    case Kind::fraction: return examples ? "a fraction such as \"50%\" or 0.5," : "a fraction";
    case Kind::duration:
      return examples ? "a duration with its unit, such as \"250ms\" or \"1m30s\"," : "a duration";
    case Kind::flag: return "true or false";
    case Kind::policy:
      return examples ? "a policy: a text such as \"p2c(load=ewma)\", or a table with a name"
                      : "a text or a table";
    case Kind::secret: return "{file = \"PATH\"}, a file that holds it,";
    case Kind::choice: break;
  }
  return "one of";
}

}  // namespace detail

/// What may be written: "a whole number from 1 to 4294967295".
[[nodiscard]] inline std::string allowed(Kind kind, Range const& range, bool examples = true) {
  std::string text{detail::kind_text(kind, examples)};
  if (kind == Kind::choice) {
    for (auto const word : range.words)
      text += (word == range.words.front() ? " \"" : ", \"") + std::string{word} + '"';
    return text;
  }
  if (kind == Kind::secret) return text + " or \"\" for none";
  if (kind == Kind::text || kind == Kind::flag || kind == Kind::policy) return text;
  text += (range.above ? " above " : " from ") + detail::bound_text(kind, range.min);
  if (std::isfinite(range.max))
    text += (range.above ? ", at most " : " to ") + detail::bound_text(kind, range.max);
  else if (!range.above) text += " up";
  return text;
}

/// A value as TOML, which JSON reads alike: `"250ms"`, `0.5`, `true`.
[[nodiscard]] inline std::string written(Kind kind, Value const& value) {
  if (auto const* const flag = std::get_if<bool>(&value)) return *flag ? "true" : "false";
  if (auto const* const number = std::get_if<double>(&value)) return text_of(*number);
  if (auto const* const time = std::get_if<Duration>(&value)) return '"' + text_of(*time) + '"';
  if (auto const* const count = std::get_if<std::uint64_t>(&value))
    return kind == Kind::limit && *count == std::numeric_limits<std::uint32_t>::max()
               ? "\"none\""
               : std::to_string(*count);
  auto const& text = std::get<std::string>(value);
  if (kind == Kind::secret && !text.empty()) return "{file = " + toml_text(text) + "}";
  return toml_text(text);
}

namespace detail {

/// A number without quotes where text with a unit is wanted, or the other way round.
[[nodiscard]] inline std::string hint(Kind kind, Node const& node) {
  bool const whole = node.kind == Node::Kind::integer;
  if (kind == Kind::duration && (whole || node.kind == Node::Kind::number)) {
    auto const digits = in_words(node);
    return " (did you mean \"" + digits + "s\" or \"" + digits + "ms\"?)";
  }
  auto const value = whole ? static_cast<double>(node.integer) : node.number;
  if (kind == Kind::fraction && value > 1 && value <= 100)
    return " (did you mean \"" + in_words(node) + "%\"?)";
  bool const numeric = kind == Kind::count || kind == Kind::limit || kind == Kind::number;
  if (numeric && node.kind == Node::Kind::text) return " (without quotes)";
  if (kind == Kind::flag && node.kind == Node::Kind::text) return " (without quotes)";
  return {};
}

[[nodiscard]] inline std::string near_word(Range const& range, Node const& node) {
  auto const near = poise::detail::nearest(node.text, range.words);
  return near.empty() ? "" : " (did you mean \"" + std::string{near} + "\"?)";
}

[[nodiscard]] inline bool within(Range const& range, double value) noexcept {
  return (range.above ? value > range.min : value >= range.min) && value <= range.max;
}

/// The path of {file = "PATH"}; empty for "".
[[nodiscard]] inline std::optional<Value> secret_path(Node const& node) {
  if (node.kind == Node::Kind::text && node.text.empty()) return Value{std::string{}};
  auto file = file_of_secret(node);
  return file ? std::optional{Value{*std::move(file)}} : std::nullopt;
}

/// The value if the node is of the right kind; bounds are the caller's.
[[nodiscard]] inline std::optional<Value> converted(Kind kind, Range const& range,
                                                    Node const& node) {
  bool const is_text = node.kind == Node::Kind::text;
  bool const is_whole = node.kind == Node::Kind::integer;
  std::optional<double> number;
  if (is_whole) number = static_cast<double>(node.integer);
  if (node.kind == Node::Kind::number && std::isfinite(node.number)) number = node.number;
  switch (kind) {
    case Kind::secret: return secret_path(node);
    case Kind::policy:
    case Kind::text: return is_text ? std::optional{Value{node.text}} : std::nullopt;
    case Kind::flag:
      return node.kind == Node::Kind::flag ? std::optional{Value{node.flag}} : std::nullopt;
    case Kind::limit:
      if (is_text && node.text == "none")
        return Value{std::uint64_t{std::numeric_limits<std::uint32_t>::max()}};
      [[fallthrough]];
    case Kind::count:
      return is_whole && node.integer >= 0
                 ? std::optional{Value{static_cast<std::uint64_t>(node.integer)}}
                 : std::nullopt;
    case Kind::fraction:
      if (is_text) number = percentage_of(node.text);
      [[fallthrough]];
    case Kind::number: return number ? std::optional{Value{*number}} : std::nullopt;
    case Kind::duration:
      if (auto const time = is_text ? duration_of(node.text) : std::nullopt) return Value{*time};
      return std::nullopt;
    case Kind::choice: break;
  }
  bool const known = is_text && std::ranges::find(range.words, node.text) != range.words.end();
  return known ? std::optional{Value{node.text}} : std::nullopt;
}

/// Its size, for bounds; 0 for what has none.
[[nodiscard]] inline double size_of(Value const& value) noexcept {
  if (auto const* const number = std::get_if<double>(&value)) return *number;
  if (auto const* const time = std::get_if<Duration>(&value))
    return static_cast<double>(time->count());
  auto const* const count = std::get_if<std::uint64_t>(&value);
  return count == nullptr ? 0 : static_cast<double>(*count);
}

}  // namespace detail

/// Reads a value of this kind. Otherwise `why`, empty before, says what is allowed and what was
/// probably meant.
[[nodiscard]] inline std::optional<Value> read_value(Kind kind, Range const& range,
                                                     Node const& node, std::string& why) {
  auto value = detail::converted(kind, range, node);
  if (value && (kind == Kind::text || kind == Kind::policy || kind == Kind::secret)) {
    if (range.check != nullptr) why = range.check(std::get<std::string>(*value));
    return why.empty() ? value : std::nullopt;
  }
  bool const bounded = kind != Kind::flag && kind != Kind::choice;
  if (value && (!bounded || detail::within(range, detail::size_of(*value)))) return value;
  why = "use " + allowed(kind, range) +
        (kind == Kind::choice ? detail::near_word(range, node) : detail::hint(kind, node));
  return std::nullopt;
}

}  // namespace poise::inline v0_1_0::config
