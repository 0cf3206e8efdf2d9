// SPDX-License-Identifier: MIT
#pragma once

// Keys for Request::route_key, cut out of parts of a request: a header, a cookie, an address.
//
//   auto const key = poise::key::cookie(request["Cookie"], "session");
//   auto lease = servers.pick({.client_id = peer, .route_key = key});
//
// All but the address prefix return a part of their argument: nothing is copied, and the argument
// must live until pick() returns. A missing part gives an empty key. Then the client's id is the
// key, or else the request's id.

#include <algorithm>
#include <array>
#include <cstddef>
#include <string_view>

#include <poise/base/address.hpp>
#include <poise/base/ascii.hpp>

namespace poise::inline v0_1_0::key {

namespace detail {

using poise::detail::trimmed;

/// The value of name=value among parts between separators; the first one counts.
[[nodiscard]] constexpr std::string_view value_of(std::string_view text, char separator,
                                                  std::string_view name) noexcept {
  while (!text.empty()) {
    auto const end = std::min(text.find(separator), text.size());
    auto const part = trimmed(text.substr(0, end));
    if (part.size() > name.size() && part.starts_with(name) && part[name.size()] == '=')
      return part.substr(name.size() + 1);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return {};
}

}  // namespace detail

/// The first value of a header that lists values. HAProxy's `balance hdr(X)` hashes it.
[[nodiscard]] constexpr std::string_view first_value(std::string_view header) noexcept {
  return detail::trimmed(header.substr(0, header.find(',')));
}
/// The last value. HAProxy's `balance hash req.hdr(X)` hashes it.
[[nodiscard]] constexpr std::string_view last_value(std::string_view header) noexcept {
  auto const comma = header.rfind(',');
  return detail::trimmed(comma == std::string_view::npos ? header : header.substr(comma + 1));
}
/// The value of one cookie in a Cookie header.
[[nodiscard]] constexpr std::string_view cookie(std::string_view header,
                                                std::string_view name) noexcept {
  return detail::value_of(header, ';', name);
}
/// A request target without its query. HAProxy's `balance uri` hashes it.
[[nodiscard]] constexpr std::string_view path(std::string_view target) noexcept {
  return target.substr(0, target.find('?'));
}
/// The value of one query parameter of a request target.
[[nodiscard]] constexpr std::string_view query(std::string_view target,
                                               std::string_view name) noexcept {
  auto const start = target.find('?');
  if (start == std::string_view::npos) return {};
  auto const all = target.substr(start + 1);
  return detail::value_of(all.substr(0, all.find('#')), '&', name);
}

/// The first bits of an address, so that neighbours share a key. Usual are 24 bits of IPv4 and 64
/// of IPv6.
///
/// All spellings of a client's address give the same key. An IPv4 address inside IPv6
/// (::ffff:10.0.0.1, which dual-stack sockets report, and NAT64's 64:ff9b::10.0.0.1) counts as the
/// IPv4 address. Brackets and a zone (fe80::1%eth0) do not count.
///
/// It holds the bytes itself, so it must live until pick() returns. Empty if the text is no
/// address.
/// *Source* RFC 4291, section 2.5.5.2; RFC 6052, section 2.1; RFC 4007, section 11.
class AddressPrefix {
 public:
  explicit AddressPrefix(std::string_view address, unsigned v4_bits = 24,
                         unsigned v6_bits = 64) noexcept {
    auto ip = poise::detail::Ip::parse(without_zone(address));
    if (!ip) return;
    if (ip->size == 16 && holds_v4(ip->view())) {
      std::copy(ip->bytes.begin() + 12, ip->bytes.end(), ip->bytes.begin());
      ip->size = 4;
    }
    bytes_ = ip->bytes;
    cut(ip->size, ip->size == 4 ? v4_bits : v6_bits);
  }
  [[nodiscard]] std::string_view view() const noexcept { return {bytes_.data(), size_}; }
  operator std::string_view() const noexcept { return view(); }  // NOLINT(*-explicit-*)

 private:
  static std::string_view without_zone(std::string_view address) noexcept {
    if (address.size() >= 2 && address.front() == '[' && address.back() == ']')
      address = address.substr(1, address.size() - 2);
    auto const zone = address.find('%');
    bool const is_v6 = address.find(':') < zone;
    return is_v6 && zone + 1 < address.size() ? address.substr(0, zone) : address;
  }
  static bool holds_v4(std::string_view bytes) noexcept {
    using namespace std::string_view_literals;
    return bytes.starts_with("\0\0\0\0\0\0\0\0\0\0\xff\xff"sv) ||
           bytes.starts_with("\0\x64\xff\x9b\0\0\0\0\0\0\0\0"sv);
  }
  void cut(std::size_t size, unsigned bits) noexcept {
    size_ = size;
    for (std::size_t i = 0; i < size; ++i) {
      auto const left = bits > 8 * i ? std::min<std::size_t>(8, bits - 8 * i) : 0;
      bytes_[i] = static_cast<char>(static_cast<unsigned char>(bytes_[i]) & (0xff00U >> left));
    }
  }

  std::array<char, 16> bytes_{};
  std::size_t size_ = 0;
};

}  // namespace poise::inline v0_1_0::key
