// SPDX-License-Identifier: MIT
// Addresses, and keys cut out of headers: what is found is a part of the text, and addresses
// survive the way to bytes and back.

#include <cstdint>
#include <string>
#include <string_view>

#include <poise/base/address.hpp>
#include <poise/hashing/dialect/haproxy.hpp>
#include <poise/hashing/dialect/member.hpp>
#include <poise/hashing/key.hpp>

#include "fuzz.hpp"

namespace {

using tests::require;

void part_of(std::string_view whole, std::string_view part) {
  require(part.empty() || (part.data() >= whole.data() &&
                           part.data() + part.size() <= whole.data() + whole.size()),
          "a key is a part of the text");
}

// The IPv4 address that an IPv6 address stands for (::ffff:1.2.3.4, 64:ff9b::1.2.3.4), or itself.
poise::detail::Ip client_of(poise::detail::Ip const& ip) {
  auto const inside = [&](std::string_view prefix) {
    auto const start = poise::detail::Ip::parse(prefix);
    return ip.size == 16 && start && ip.view().substr(0, 12) == start->view().substr(0, 12);
  };
  if (!inside("::ffff:0.0.0.0") && !inside("64:ff9b::")) return ip;
  poise::detail::Ip v4{.bytes = {}, .size = 4};
  ip.view().copy(v4.bytes.data(), v4.size, 12);
  return v4;
}

void prefixes(std::string_view text, poise::detail::Ip const& ip) {
  auto const client = client_of(ip);
  for (unsigned bits = 0; bits <= 128; bits += 4) {
    poise::key::AddressPrefix const prefix{text, bits, bits};
    require(prefix.view().size() == client.size, "a prefix has all bytes of the client's address");
    for (auto const& spelling : {ip.text(), client.text()})
      require(poise::key::AddressPrefix{spelling, bits, bits}.view() == prefix.view(),
              "every spelling of a client has the same prefix");
  }
}

void address(std::string_view text) {
  if (auto const found = poise::HostPort::of(text)) {
    require(found->port != 0 && !found->host.empty(), "a host and a port");
    require(text.ends_with(std::to_string(found->port)), "the port is what stands there");
  }
  auto const parts = poise::dialect::split(text);
  part_of(text, parts.host);
  part_of(text, parts.port);
  auto const ip = poise::detail::Ip::parse(text);
  if (!ip) return;
  auto const again = poise::detail::Ip::parse(ip->text());
  require(again && again->view() == ip->view(), "an address survives being written");
  prefixes(text, *ip);
}

void keys(std::string_view text) {
  namespace key = poise::key;
  for (auto const found : {key::first_value(text), key::last_value(text), key::cookie(text, "a"),
                           key::cookie(text, ""), key::path(text), key::query(text, "a")})
    part_of(text, found);
}

void numbers(std::string_view text) {
  namespace haproxy = poise::dialect::detail;
  auto const whole = haproxy::whole_number<std::int64_t>(text);
  require(!whole || *whole == haproxy::leading_number(text), "a number is its own beginning");
  if (auto const small = haproxy::whole_number<std::uint16_t>(text))
    require(whole && *whole == *small, "a small number is a number");
}

}  // namespace

void tests::fuzz(std::string_view input) {
  address(input);
  keys(input);
  numbers(input);
}
