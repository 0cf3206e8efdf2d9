// SPDX-License-Identifier: MIT
#pragma once

// What the output of an example program can show.

#include <algorithm>
#include <cstddef>
#include <cstdlib>
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

}  // namespace examples
