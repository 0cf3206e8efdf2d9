// SPDX-License-Identifier: MIT
#pragma once

// Reads and replaces small files: whole, or not at all.

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <string>
#include <string_view>

#include <poise/base/files.hpp>

namespace poise::inline v0_1_0::discovery::detail {

using poise::detail::Descriptor;
using poise::detail::FileText;
using poise::detail::last_error;
using poise::detail::read_file;

/// Replaces a file by rename, so that readers see the old text or the new one.
/// Returns why that failed; nothing if it didn't.
[[nodiscard]] inline std::string replace_file(std::string const& path, std::string_view text) {
  auto const fresh = path + ".new";
  auto const fail = [&] {
    auto error = fresh + ": " + last_error();
    ::unlink(fresh.c_str());
    return error;
  };
  {
    Descriptor const file{::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)};
    if (!file) return fail();
    while (!text.empty()) {
      auto const put = ::write(file.get(), text.data(), text.size());
      if (put < 0 && errno == EINTR) continue;
      if (put < 0) return fail();
      text.remove_prefix(static_cast<std::size_t>(put));
    }
    if (::fsync(file.get()) != 0) return fail();
  }
  return std::rename(fresh.c_str(), path.c_str()) == 0 ? std::string{} : fail();
}

}  // namespace poise::inline v0_1_0::discovery::detail
