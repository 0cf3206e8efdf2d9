// SPDX-License-Identifier: MIT
#pragma once

// A probe that asks an HAProxy what it thinks of a server: over its runtime API (`stats socket` in
// its configuration), so that one health check serves both.
//
//   poise::health::HaproxyProbe const ask_haproxy{"/run/haproxy/admin.sock", "web"};
//   poise::health::ProbeThreads probes{servers, monitor, ask_haproxy};
//
// A backend's server in HAProxy is the one that has the backend's id as its name, with "_" for
// letters that HAProxy does not take, as discovery::to_haproxy() writes it.

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <poise/base/files.hpp>
#include <poise/discovery/haproxy.hpp>
#include <poise/error.hpp>
#include <poise/probe/schedule.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::health {

namespace detail {

/// The cells of a line of HAProxy's CSV: a quoted one has "" for ".
[[nodiscard]] inline std::vector<std::string> csv_cells(std::string_view line) {
  std::vector<std::string> cells(1);
  bool quoted = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    char const letter = line[i];
    if (letter == '"' && quoted && line.substr(i + 1).starts_with('"')) cells.back() += line[++i];
    else if (letter == '"') quoted = !quoted;
    else if (letter == ',' && !quoted) cells.emplace_back();
    else cells.back() += letter;
  }
  return cells;
}

/// The column of the server's line in the answer to `show stat`; empty if there is none.
[[nodiscard]] inline std::string stat_of_server(std::string_view csv, std::string_view backend,
                                                std::string_view server, std::string_view column) {
  std::vector<std::string> names;
  while (!csv.empty()) {
    auto const line = csv.substr(0, csv.find('\n'));
    csv.remove_prefix(std::min(line.size() + 1, csv.size()));
    auto cells = csv_cells(line);
    if (names.empty()) names = std::move(cells);
    else if (cells.size() > 1 && cells[0] == backend && cells[1] == server)
      for (std::size_t i = 0; i < std::min(names.size(), cells.size()); ++i)
        if (names[i] == column) return cells[i];
  }
  return {};
}

/// What HAProxy's word for a state says of a server. Traffic that it keeps away in maintenance or
/// while draining is to be kept away here, too. Without a check it knows nothing against it.
[[nodiscard]] inline Probed verdict_of_haproxy(std::string const& status) {
  bool const serves = status.starts_with("UP") || status == "no check";
  return {.passed = serves, .cause = "HAProxy says " + poise::detail::escaped(status)};
}

}  // namespace detail

/// For ProbeThreads. An HAProxy that can't be asked, or that has no such server, is no verdict: the
/// backend may be well. Stats::warnings says so if it lasts. *Threads* any.
class HaproxyProbe {
 public:
  /// The path of its socket, and the name of its backend. *Errors* ConfigError: a name that HAProxy
  /// could not have, a path longer than 107 bytes.
  HaproxyProbe(std::string socket, std::string backend)
      : path_{std::move(socket)}, backend_{std::move(backend)} {
    discovery::detail::check_word(backend_, "a backend's name", discovery::detail::haproxy_letters);
    if (path_.empty() || path_.size() >= sizeof(sockaddr_un::sun_path))
      throw ConfigError{"the path of HAProxy's socket has " + std::to_string(path_.size()) +
                        " bytes: 1 to " + std::to_string(sizeof(sockaddr_un::sun_path) - 1) +
                        " are possible"};
  }

  [[nodiscard]] Probed operator()(Target const& target, Time deadline) const {
    auto const server = discovery::detail::haproxy_name(target.id);
    std::string answer;
    if (auto error = ask("show stat " + backend_ + " 4 -1\n", deadline, answer); !error.empty())
      return {.cause = "HAProxy at " + path_ + ": " + std::move(error), .inconclusive = true};
    auto const status = detail::stat_of_server(answer, backend_, server, "status");
    if (status.empty())
      return {.cause = "HAProxy has no server " + backend_ + "/" + server, .inconclusive = true};
    return detail::verdict_of_haproxy(status);
  }

 private:
  static constexpr std::size_t max_answer = std::size_t{16} << 20U;

  /// What went wrong, or nothing.
  [[nodiscard]] std::string ask(std::string_view command, Time deadline,
                                std::string& answer) const {
    poise::detail::Descriptor const socket{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    if (!socket) return poise::detail::last_error();
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path_.copy(address.sun_path, sizeof address.sun_path - 1);
    if (!limit(socket.get(), deadline) ||
        ::connect(socket.get(), reinterpret_cast<sockaddr const*>(&address), sizeof address) != 0 ||
        ::send(socket.get(), command.data(), command.size(), MSG_NOSIGNAL) < 0)
      return poise::detail::last_error();
    char part[16384];
    while (limit(socket.get(), deadline)) {
      auto const got = ::recv(socket.get(), part, sizeof part, 0);
      if (got == 0) return {};
      if (got < 0) return poise::detail::last_error();
      answer.append(part, static_cast<std::size_t>(got));
      if (answer.size() > max_answer) return "its answer is longer than 16 MiB";
    }
    return "no answer in time";
  }
  /// What follows ends at the deadline. False if that has passed.
  static bool limit(int socket, Time deadline) {
    auto const left =
        std::chrono::duration_cast<std::chrono::microseconds>(deadline - SteadyClock{}.now());
    if (left.count() <= 0) {
      errno = ETIMEDOUT;
      return false;
    }
    timeval const time{.tv_sec = static_cast<time_t>(left.count() / 1'000'000),
                       .tv_usec = static_cast<suseconds_t>(left.count() % 1'000'000)};
    ::setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
    ::setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time);
    return true;
  }

  std::string path_;
  std::string backend_;
};

}  // namespace poise::inline v0_1_0::health
