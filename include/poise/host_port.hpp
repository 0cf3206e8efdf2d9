// SPDX-License-Identifier: MIT
#pragma once

// "host:port", as clients that connect need it: whole, or not at all. (Dialects split addresses by
// other servers' rules: dialect/member.hpp.)

#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

namespace poise {

struct HostPort {
  std::string host{};  ///< Without the brackets of IPv6.
  std::uint16_t port = 0;

  /// *Errors* nothing, if there is no host, or no port from 1 to 65535, or IPv6 without brackets.
  [[nodiscard]] static std::optional<HostPort> of(std::string_view address) {
    auto const colon = address.rfind(':');
    if (colon == std::string_view::npos) return std::nullopt;
    auto host = address.substr(0, colon);
    if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
    else if (host.find(':') != std::string_view::npos) return std::nullopt;
    auto const digits = address.substr(colon + 1);
    HostPort result{.host = std::string{host}};
    auto const [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), result.port);
    bool const whole = error == std::errc{} && end == digits.data() + digits.size();
    if (!whole || result.port == 0 || host.empty()) return std::nullopt;
    return result;
  }
};

}  // namespace poise
