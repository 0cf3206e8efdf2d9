// SPDX-License-Identifier: MIT
// Addresses, and keys cut out of headers: what is found is a part of the text, and addresses
// survive the way to bytes and back.

#include <cstdint>
#include <string>
#include <string_view>

#include <poise/dialect/haproxy.hpp>
#include <poise/dialect/member.hpp>
#include <poise/host_port.hpp>
#include <poise/ip.hpp>
#include <poise/key.hpp>

#include "fuzz.hpp"

namespace {

using tests::require;

void part_of(std::string_view whole, std::string_view part) {
  require(part.empty() || (part.data() >= whole.data() &&
                           part.data() + part.size() <= whole.data() + whole.size()),
          "a key is a part of the text");
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
  for (unsigned bits = 0; bits <= 128; bits += 8)
    require(poise::key::AddressPrefix{text, bits, bits}.view().size() == ip->size,
            "a prefix has all bytes");
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
