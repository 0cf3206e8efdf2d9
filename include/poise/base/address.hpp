// SPDX-License-Identifier: MIT
#pragma once

// IP addresses as text and bytes, and "host:port" split for clients that connect. (Dialects split
// addresses by other systems' rules: hashing/dialect/member.hpp.)

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace poise::inline v0_1_0::detail {

/// An IP address as bytes in network order.
struct Ip {
  std::array<char, 16> bytes{};
  std::size_t size = 0;  // 4 or 16

  [[nodiscard]] std::string_view view() const noexcept { return {bytes.data(), size}; }

  /// Reads "10.0.0.1", "::1" or "[::1]".
  [[nodiscard]] static std::optional<Ip> parse(std::string_view host) noexcept {
    if (host.size() >= 2 && host.front() == '[' && host.back() == ']')
      host = host.substr(1, host.size() - 2);
    std::array<char, INET6_ADDRSTRLEN> text{};  // inet_pton needs a terminating zero
    if (host.size() >= text.size()) return std::nullopt;
    std::memcpy(text.data(), host.data(), host.size());
    Ip ip;
    if (inet_pton(AF_INET, text.data(), ip.bytes.data()) == 1) ip.size = 4;
    else if (inet_pton(AF_INET6, text.data(), ip.bytes.data()) == 1) ip.size = 16;
    else return std::nullopt;
    return ip;
  }

  /// The address in its shortest form, without brackets.
  [[nodiscard]] std::string text() const {
    std::array<char, INET6_ADDRSTRLEN> result{};
    inet_ntop(size == 4 ? AF_INET : AF_INET6, bytes.data(), result.data(), result.size());
    return result.data();
  }
};

/// An address split at the colon before its port: "h:80", "[::1]:80".
struct AddressParts {
  std::string_view host;  // with its brackets
  std::string_view port;  // digits; empty if there is none
};

/// The port is the text after the last colon, if that consists of digits.
[[nodiscard]] constexpr AddressParts split_port(std::string_view address) noexcept {
  auto at = address.size();
  while (at > 0 && address[at - 1] >= '0' && address[at - 1] <= '9') --at;
  if (at == 0 || address[at - 1] != ':') return {address, {}};
  return {address.substr(0, at - 1), address.substr(at)};
}

/// "KIND:WHERE" as its two parts; without a colon all is the kind.
[[nodiscard]] inline std::pair<std::string, std::string> split_kind(std::string_view text) {
  auto const colon = std::min(text.find(':'), text.size());
  return {std::string{text.substr(0, colon)},
          std::string{text.substr(std::min(colon + 1, text.size()))}};
}

}  // namespace poise::inline v0_1_0::detail

namespace poise::inline v0_1_0 {

/// Host and port, to connect to.
struct HostPort {
  std::string host{};  ///< Without the brackets of IPv6.
  std::uint16_t port = 0;

  /// Empty if there is no host, no port from 1 to 65535, or an IPv6 address without its brackets.
  [[nodiscard]] static std::optional<HostPort> of(std::string_view address) {
    auto [host, digits] = detail::split_port(address);
    if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
    else if (host.find_first_of(":[]") != std::string_view::npos) return std::nullopt;
    HostPort result{.host = std::string{host}};
    auto const [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), result.port);
    bool const whole = error == std::errc{} && end == digits.data() + digits.size();
    if (!whole || result.port == 0 || host.empty()) return std::nullopt;
    return result;
  }
};

}  // namespace poise::inline v0_1_0
