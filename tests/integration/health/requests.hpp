// SPDX-License-Identifier: MIT
#pragma once

// Requests to real servers, by blocking sockets.

#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include <poise/asio/probe.hpp>
#include <poise/outcome.hpp>
#include <poise/probe/http_answer.hpp>

namespace tests {

constexpr std::chrono::milliseconds request_timeout{100};

/// One request on a connection of its own.
inline poise::Result fetch(std::string const& address) {
  auto const parts = poise::HostPort::of(address);
  int const file = ::socket(AF_INET, SOCK_STREAM, 0);
  if (file < 0) return poise::Result::error;
  struct Closer {
    int file;
    ~Closer() { ::close(file); }
  } const closer{file};
  timeval const limit{0, std::chrono::microseconds{request_timeout}.count()};
  ::setsockopt(file, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  ::setsockopt(file, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  linger const hard{1, 0};  // no thousands of sockets in TIME_WAIT
  ::setsockopt(file, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(parts->port);
  ::inet_pton(AF_INET, parts->host.c_str(), &to.sin_addr);
  if (::connect(file, reinterpret_cast<sockaddr const*>(&to), sizeof to) != 0)
    return errno == ECONNREFUSED ? poise::Result::refused : poise::Result::connect_timeout;
  constexpr std::string_view request = "GET / HTTP/1.0\r\n\r\n";
  if (::send(file, request.data(), request.size(), MSG_NOSIGNAL) < 0) return poise::Result::reset;
  poise::health::HttpAnswer answer{{}};
  std::array<char, 4096> buffer{};
  for (;;) {
    auto const size = ::recv(file, buffer.data(), buffer.size(), 0);
    if (size < 0) return errno == EAGAIN ? poise::Result::timeout : poise::Result::reset;
    auto const result = size == 0 ? std::optional{answer.end()}
                                  : answer.feed({buffer.data(), static_cast<std::size_t>(size)});
    if (result) return result->passed ? poise::Result::success : poise::Result::error;
  }
}

}  // namespace tests
