// SPDX-License-Identifier: MIT
#pragma once

// Reads and replaces small files: whole, or not at all.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <poise/error.hpp>

namespace poise::inline v0_1_0::discovery::detail {

/// A file descriptor that is closed with the object.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int number) noexcept : number_{number} {}
  Descriptor(Descriptor&& other) noexcept : number_{std::exchange(other.number_, -1)} {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  Descriptor(Descriptor const&) = delete;
  Descriptor& operator=(Descriptor const&) = delete;
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  [[nodiscard]] int get() const noexcept { return number_; }
  [[nodiscard]] explicit operator bool() const noexcept { return number_ >= 0; }
  /// It is the caller's to close.
  [[nodiscard]] int release() noexcept { return std::exchange(number_, -1); }

 private:
  int number_ = -1;
};

inline std::string last_error() { return std::generic_category().message(errno); }

/// The text of a file, or why there is none.
struct FileText {
  std::string text{};
  std::string error{};
};

/// Never blocks on a FIFO or a device: only regular files are read.
[[nodiscard]] inline FileText read_file(std::string const& path, std::size_t max_size) {
  Descriptor const file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)};
  if (!file) return {{}, path + ": " + last_error()};
  struct stat facts{};
  if (::fstat(file.get(), &facts) != 0) return {{}, path + ": " + last_error()};
  if (!S_ISREG(facts.st_mode)) return {{}, path + ": is no regular file"};
  auto const too_large = path + ": has more than " + std::to_string(max_size) + " bytes";
  if (static_cast<std::size_t>(facts.st_size) > max_size) return {{}, too_large};
  FileText result;
  char part[16384];
  for (;;) {
    auto const got = ::read(file.get(), part, sizeof part);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return {{}, path + ": " + last_error()};
    if (got == 0) return result;
    result.text.append(part, static_cast<std::size_t>(got));
    if (result.text.size() > max_size) return {{}, too_large};  // it grows while it is read
  }
}

/// A secret from a file that may be replaced at any time. *Errors* ConfigError: it can't be read.
[[nodiscard]] inline std::string token_of(std::string const& path) {
  auto file = read_file(path, std::size_t{1} << 20U);
  if (!file.error.empty()) throw ConfigError{"no token: " + file.error};
  return std::move(file.text);
}

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
