// SPDX-License-Identifier: MIT
#pragma once

// What the output of an example program can show.

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <limits>
#include <string>
#include <string_view>

#include <sys/ioctl.h>
#include <unistd.h>

namespace examples {

/// True for a terminal that moves its cursor: no file, no pipe, not TERM=dumb.
[[nodiscard]] inline bool is_terminal(int descriptor) {
  auto const* const kind = std::getenv("TERM");
  return isatty(descriptor) == 1 && kind != nullptr && std::string_view{kind} != "dumb";
}

/// Columns of a terminal; of files and pipes $COLUMNS, or `otherwise`. At least 20.
[[nodiscard]] inline std::size_t columns_of(int descriptor, std::size_t otherwise) {
  constexpr std::size_t least = 20;
  winsize size{};
  if (ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col != 0)
    return std::max<std::size_t>(least, size.ws_col);
  auto const* const given = std::getenv("COLUMNS");
  auto const columns = given == nullptr ? 0UL : std::strtoul(given, nullptr, 10);
  return columns == 0 ? otherwise : std::clamp<std::size_t>(columns, least, 1000);
}

/// The width to fold text to that goes to standard output: none for files and pipes, where a row
/// stays a line, unless $COLUMNS is set.
[[nodiscard]] inline std::size_t columns_of_text() {
  return columns_of(STDOUT_FILENO, std::numeric_limits<std::size_t>::max());
}

/// Breaks text at blanks, so that no line is wider; all lines but the first begin with blanks.
[[nodiscard]] inline std::string wrapped(std::string_view text, std::size_t columns,
                                         std::size_t indent = 0) {
  std::string result;
  std::size_t used = 0;
  std::string_view gap;  // before the next word
  std::string const blanks(indent, ' ');
  auto const next_line = [&] {
    result += '\n';
    used = indent;
    gap = blanks;
  };
  for (std::size_t at = 0; at < text.size();) {
    auto const end = std::min(text.find_first_of(" \n", at), text.size());
    auto const word = text.substr(at, end - at);
    if (gap == " " && used + 1 + word.size() > columns) next_line();
    (result += gap) += word;
    used += word.size() + (gap == " " ? 1 : 0);
    gap = " ";
    if (end < text.size() && text[end] == '\n') next_line();
    at = end + 1;
  }
  return result;
}

/// A line of a list: a name and what it is, folded beside the name.
[[nodiscard]] inline std::string list_item(std::string_view name, std::string_view about,
                                           std::size_t columns) {
  constexpr std::size_t name_width = 18;
  auto text = "  " + std::string{name};
  text.append(name.size() < name_width ? name_width - name.size() : 1, ' ');
  auto const indent = std::min(text.size(), columns / 2);
  return wrapped(text.append(about), columns, indent) + '\n';
}

}  // namespace examples
