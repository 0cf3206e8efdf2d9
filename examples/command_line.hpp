// SPDX-License-Identifier: MIT
#pragma once

// The words of a command line, one after the other, as the example programs read them.

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <poise/error.hpp>

namespace examples {

/// What is wrong with the command line, and what is allowed, in one line.
class BadOption : public std::invalid_argument {
 public:
  using std::invalid_argument::invalid_argument;
};

/// "--rate 100" and "--rate=100" are the same. Words that begin with no "-" are taken as they are.
class CommandLine {
 public:
  explicit CommandLine(std::vector<std::string> words) : words_{std::move(words)} {}

  /// Goes to the next word; false if there is none. *Errors* BadOption if the last option got a
  /// value, with "=", that it did not take.
  bool next() {
    if (equals_ != std::string::npos) throw BadOption{option_ + " takes no value; see --help"};
    if (at_ == words_.size()) return false;
    auto const& word = words_[at_++];
    if (word.starts_with('-')) equals_ = word.find('=');
    option_ = word.substr(0, equals_);
    return true;
  }
  /// The option without its value, or a word that is none.
  [[nodiscard]] std::string const& option() const noexcept { return option_; }
  [[nodiscard]] bool is_option() const noexcept { return option_.starts_with('-'); }
  [[nodiscard]] bool asks_for_help() const noexcept {
    return option_ == "--help" || option_ == "-h";
  }
  /// That there is no such option, and which ones there are.
  [[nodiscard]] BadOption unknown(std::string const& others = "see --help") const {
    return BadOption{"there is no option " + option_ + "; " + others};
  }

  /// The next of what follows the option. *Errors* BadOption if nothing does.
  std::string value() {
    if (auto const equals = std::exchange(equals_, std::string::npos); equals != std::string::npos)
      return words_[at_ - 1].substr(equals + 1);
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
      throw BadOption{option_ + " is \"" + text + "\", but must be a whole number from " +
                      std::to_string(min) + " to " + std::to_string(max)};
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
  std::size_t at_ = 0;                      // of the word after the option
  std::size_t equals_ = std::string::npos;  // in the word of the option, until value() took it
  std::string option_{};
};

}  // namespace examples
