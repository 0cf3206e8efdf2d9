// SPDX-License-Identifier: MIT
#pragma once

// A line per request: when, who, what, the status, bytes either way, seconds, and every attempt.

#include <mutex>
#include <string>
#include <string_view>

namespace gateway {

/// *Threads* any. Lines are written once a second, or when there are many.
class AccessLog {
 public:
  /// "-": the standard output. *Errors* std::system_error: the file can't be opened.
  explicit AccessLog(std::string const& path);
  AccessLog(AccessLog const&) = delete;
  AccessLog& operator=(AccessLog const&) = delete;
  ~AccessLog();

  void add(std::string_view line);
  void flush();

 private:
  void write();  // under the lock

  std::mutex mutex_;
  int descriptor_;
  std::string lines_{};
};

/// Text of a client in quotes, without anything that could end a line or a quote.
[[nodiscard]] std::string in_quotes(std::string_view text);
/// "2026-01-31T12:00:00.123Z"
[[nodiscard]] std::string time_of_day();

}  // namespace gateway
