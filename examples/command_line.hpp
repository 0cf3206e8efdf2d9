// SPDX-License-Identifier: MIT
#pragma once

// The words of a command line, one option after the other, as several example programs read them.

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <poise/error.hpp>

namespace examples {

/// What is wrong with the command line, and what is allowed, in one line.
class BadOption : public std::invalid_argument {
 public:
  using std::invalid_argument::invalid_argument;
};

/// "--rate 100" and "--rate=100" are the same.
class CommandLine {
 public:
  explicit CommandLine(std::vector<std::string> words) : words_{std::move(words)} {}

  /// Goes to the next option; false if there is none.
  bool next() {
    if (at_ == words_.size()) return false;
    auto const& word = words_[at_++];
    equals_ = word.find('=');
    option_ = word.substr(0, equals_);
    return true;
  }
  [[nodiscard]] std::string const& option() const noexcept { return option_; }

  /// What follows the option. *Errors* BadOption if nothing does.
  std::string value() {
    if (equals_ != std::string::npos) return words_[at_ - 1].substr(equals_ + 1);
    if (at_ == words_.size()) throw BadOption{option_ + " needs a value; see --help"};
    return words_[at_++];
  }
  /// *Errors* BadOption unless it is a whole number in these bounds.
  std::uint64_t number(std::uint64_t min, std::uint64_t max) {
    auto const text = value();
    std::uint64_t number = 0;
    auto const* end = text.data() + text.size();
    auto const [stop, error] = std::from_chars(text.data(), end, number);
    if (error != std::errc{} || stop != end || number < min || number > max)
      throw BadOption{fmt::format("{} is \"{}\", but must be a whole number from {} to {}", option_,
                                  text, min, max)};
    return number;
  }
  /// *Errors* BadOption with the words of the ConfigError that `check(text)` throws.
  template <class Check>
  std::string checked(Check const& check) {
    auto text = value();
    try {
      (void)check(text);
    } catch (poise::ConfigError const& error) {
      throw BadOption{error.what()};
    }
    return text;
  }

 private:
  std::vector<std::string> words_;
  std::size_t at_ = 0;  // of the word after the option
  std::size_t equals_ = std::string::npos;
  std::string option_{};
};

}  // namespace examples
