// SPDX-License-Identifier: MIT

#include "access_log.hpp"

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <ctime>
#include <mutex>
#include <string>
#include <string_view>
#include <system_error>

#include <fcntl.h>
#include <unistd.h>

#include <fmt/format.h>

namespace gateway {

AccessLog::AccessLog(std::string const& path)
    : descriptor_{path == "-"
                      ? STDOUT_FILENO
                      : ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640)} {
  if (descriptor_ < 0)
    throw std::system_error{errno, std::generic_category(), "gateway.access_log " + path};
}

AccessLog::~AccessLog() {
  flush();
  if (descriptor_ != STDOUT_FILENO) ::close(descriptor_);
}

void AccessLog::add(std::string_view line) {
  constexpr std::size_t many = 65'536;
  std::scoped_lock const lock{mutex_};
  lines_.append(line).append("\n");
  if (lines_.size() >= many) write();
}

void AccessLog::flush() {
  std::scoped_lock const lock{mutex_};
  write();
}

void AccessLog::write() {
  std::string_view left = lines_;
  while (!left.empty()) {
    auto const size = ::write(descriptor_, left.data(), left.size());
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) break;  // a full disk must not stop the gateway
    left.remove_prefix(static_cast<std::size_t>(size));
  }
  lines_.clear();
}

std::string in_quotes(std::string_view text) {
  std::string result = "\"";
  for (auto const c : text) {
    auto const byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte >= 0x7f || c == '"' || c == '\\')
      result += fmt::format("\\x{:02x}", byte);
    else result += c;
  }
  return result += '"';
}

std::string time_of_day() {
  using namespace std::chrono;
  auto const now = system_clock::now().time_since_epoch();
  auto const seconds = static_cast<std::time_t>(duration_cast<std::chrono::seconds>(now).count());
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", parts.tm_year + 1900,
                     parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
                     duration_cast<milliseconds>(now).count() % 1000);
}

}  // namespace gateway
