// SPDX-License-Identifier: MIT
#pragma once

// A list that is given, as text or in an environment variable: "a:1,b:2 weight=3". Each part is a
// line of discovery/lines.hpp.

#include <chrono>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <poise/discovery/lines.hpp>
#include <poise/discovery/look.hpp>
#include <poise/discovery/source.hpp>
#include <poise/error.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::discovery {

/// "a:1,b:2 weight=3". What is wrong is named in `problems`.
[[nodiscard]] inline Found parse_list(std::string_view text) {
  std::string lines{text};
  for (auto& letter : lines)
    if (letter == ',') letter = '\n';
  return parse_lines(lines);
}

/// A function that answers at once, without blocking: for lists in memory, and for tests.
class ReadySource final : public Source {
 public:
  ReadySource(std::string name, std::function<Look()> read)
      : name_{std::move(name)}, read_{std::move(read)} {}
  [[nodiscard]] std::string name() const override { return name_; }
  void ask(Time) override { asked_ = true; }
  void drop() override { asked_ = false; }
  [[nodiscard]] std::optional<Look> next(Time) override {
    if (!std::exchange(asked_, false)) return std::nullopt;
    return read_();
  }
  void add_waits(Waits&) const override {}
  [[nodiscard]] bool busy() const override { return asked_; }

 private:
  std::string name_;
  std::function<Look()> read_;
  bool asked_ = false;
};

/// *Errors* ConfigError: an entry that is wrong, since the list is the program's own.
[[nodiscard]] inline std::unique_ptr<Source> from_list(std::string_view text) {
  auto found = parse_list(text);
  if (!found.problems.empty())
    throw ConfigError{"list " + poise::detail::in_quotes(text) + ": " + found.problems.front()};
  found.good_for = Duration::max();
  return std::make_unique<ReadySource>("list", [found] { return Look{found}; });
}

/// Reads the variable at each look: every half minute, if the options say nothing else.
[[nodiscard]] inline std::unique_ptr<Source> from_environment(std::string variable) {
  auto name = "environment variable " + variable;
  return std::make_unique<ReadySource>(name, [variable = std::move(variable)]() -> Look {
    auto const* const text = std::getenv(variable.c_str());
    if (text == nullptr) return Failed{variable + " is not set", {}};
    return parse_list(text);
  });
}

}  // namespace poise::inline v0_1_0::discovery
