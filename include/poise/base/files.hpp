// SPDX-License-Identifier: MIT
#pragma once

// Reads small files whole, and secrets from files.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <string>
#include <system_error>
#include <utility>

#include <poise/error.hpp>

namespace poise::inline v0_1_0::detail {

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
  bool others_may_write = false;  ///< Anybody on this machine.
};

/// Never blocks on a FIFO or a device: only regular files are read.
[[nodiscard]] inline FileText read_file(std::string const& path, std::size_t max_size) {
  Descriptor const file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)};
  if (!file) return {.error = path + ": " + last_error()};
  struct stat facts{};
  if (::fstat(file.get(), &facts) != 0) return {.error = path + ": " + last_error()};
  if (!S_ISREG(facts.st_mode)) return {.error = path + ": is no regular file"};
  auto const too_large = path + ": has more than " + std::to_string(max_size) + " bytes";
  if (static_cast<std::size_t>(facts.st_size) > max_size) return {.error = too_large};
  FileText result{.others_may_write = (facts.st_mode & S_IWOTH) != 0};
  char part[16384];
  for (;;) {
    auto const got = ::read(file.get(), part, sizeof part);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return {.error = path + ": " + last_error()};
    if (got == 0) return result;
    result.text.append(part, static_cast<std::size_t>(got));
    if (result.text.size() > max_size) return {.error = too_large};  // it grows while it is read
  }
}

/// A secret from a file, without the end of its line. Such files are replaced now and then, so
/// callers ask each time. *Errors* ConfigError, which has the path and never the text: the file
/// can't be read, is empty, has several lines or more than 64 KiB, or anybody may write it.
[[nodiscard]] inline std::string secret_of(std::string const& path) {
  auto file = read_file(path, std::size_t{64} << 10U);
  if (!file.error.empty()) throw ConfigError{file.error};
  if (file.others_may_write)
    throw ConfigError{path + ": anybody may write this secret: remove that right (chmod o-w)"};
  if (file.text.ends_with('\n')) file.text.pop_back();
  if (file.text.ends_with('\r')) file.text.pop_back();
  if (file.text.empty()) throw ConfigError{path + ": is empty: write the secret into it"};
  if (file.text.find_first_of("\r\n") != std::string::npos)  // it may become part of a header
    throw ConfigError{path + ": has several lines: write the secret alone, in one line"};
  return std::move(file.text);
}

}  // namespace poise::inline v0_1_0::detail
