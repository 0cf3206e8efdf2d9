// SPDX-License-Identifier: MIT
#pragma once

// Keys for Request::route_key, cut out of what a request carries: a header, a cookie, an address.
//
//   auto const key = poise::key::cookie(request["Cookie"], "session");
//   auto lease = servers.pick({.client_id = peer, .route_key = key});
//
// All but the address prefix are parts of their argument: nothing is copied, and the argument must
// live until pick() returns. What is not there gives an empty key, and then the client's id counts,
// or the request's.

#include <algorithm>
#include <array>
#include <cstddef>
#include <string_view>

#include <poise/ip.hpp>

namespace poise::key {

namespace detail {

[[nodiscard]] constexpr std::string_view trimmed(std::string_view text) noexcept {
  constexpr std::string_view blanks = " \t";
  auto const first = text.find_first_not_of(blanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

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

/// Of a header that lists values, the first: what HAProxy's `balance hdr(X)` hashes.
[[nodiscard]] constexpr std::string_view first_value(std::string_view header) noexcept {
  return detail::trimmed(header.substr(0, header.find(',')));
}
/// The last one: what HAProxy's `balance hash req.hdr(X)` hashes.
[[nodiscard]] constexpr std::string_view last_value(std::string_view header) noexcept {
  auto const comma = header.rfind(',');
  return detail::trimmed(comma == std::string_view::npos ? header : header.substr(comma + 1));
}
/// Of a Cookie header, the value of one cookie.
[[nodiscard]] constexpr std::string_view cookie(std::string_view header,
                                                std::string_view name) noexcept {
  return detail::value_of(header, ';', name);
}
/// Of a request target, all before the query: what HAProxy's `balance uri` hashes.
[[nodiscard]] constexpr std::string_view path(std::string_view target) noexcept {
  return target.substr(0, target.find('?'));
}
/// Of a request target, the value of one parameter of the query.
[[nodiscard]] constexpr std::string_view query(std::string_view target,
                                               std::string_view name) noexcept {
  auto const start = target.find('?');
  if (start == std::string_view::npos) return {};
  auto const all = target.substr(start + 1);
  return detail::value_of(all.substr(0, all.find('#')), '&', name);
}

/// The first bits of an address, so that neighbours share a key: of IPv4 24, of IPv6 64 are usual.
///
/// Holds the bytes itself: it must live until pick() returns. Empty if the text is no address.
class AddressPrefix {
 public:
  explicit AddressPrefix(std::string_view address, unsigned v4_bits = 24,
                         unsigned v6_bits = 64) noexcept {
    if (auto const ip = poise::detail::Ip::parse(address)) {
      bytes_ = ip->bytes;
      cut(ip->size, ip->size == 4 ? v4_bits : v6_bits);
    }
  }
  [[nodiscard]] std::string_view view() const noexcept { return {bytes_.data(), size_}; }
  operator std::string_view() const noexcept { return view(); }  // NOLINT(*-explicit-*)

 private:
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

}  // namespace poise::key
