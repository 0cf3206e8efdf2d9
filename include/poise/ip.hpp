// SPDX-License-Identifier: MIT
#pragma once

// IP addresses, from text to bytes and back.

#include <arpa/inet.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

namespace poise::detail {

/// An IP address as the bytes it has on the wire.
struct Ip {
  std::array<char, 16> bytes{};
  std::size_t size = 0;  // 4 or 16

  [[nodiscard]] std::string_view view() const noexcept { return {bytes.data(), size}; }

  /// Of "10.0.0.1", "::1" or "[::1]".
  [[nodiscard]] static std::optional<Ip> parse(std::string_view host) noexcept {
    if (host.size() >= 2 && host.front() == '[' && host.back() == ']')
      host = host.substr(1, host.size() - 2);
    std::array<char, INET6_ADDRSTRLEN> text{};  // inet_pton wants its end marked
    if (host.size() >= text.size()) return std::nullopt;
    std::memcpy(text.data(), host.data(), host.size());
    Ip ip;
    if (inet_pton(AF_INET, text.data(), ip.bytes.data()) == 1) ip.size = 4;
    else if (inet_pton(AF_INET6, text.data(), ip.bytes.data()) == 1) ip.size = 16;
    else return std::nullopt;
    return ip;
  }

  /// In its shortest form, without brackets.
  [[nodiscard]] std::string text() const {
    std::array<char, INET6_ADDRSTRLEN> result{};
    inet_ntop(size == 4 ? AF_INET : AF_INET6, bytes.data(), result.data(), result.size());
    return result.data();
  }
};

}  // namespace poise::detail
