// SPDX-License-Identifier: MIT
#pragma once

// What a DNS answer holds: addresses, services, how long they are good for. Pure; no resolver.

#include <arpa/nameser.h>
#include <netinet/in.h>
#include <resolv.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <poise/base/address.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::discovery::cares {

/// An SRV record (RFC 2782).
struct Service {
  std::uint16_t priority = 0;
  std::uint16_t weight = 0;
  std::uint16_t port = 0;
  std::string target{};
};

struct Address {
  std::string name{};  ///< In lower case, without a dot at its end.
  poise::detail::Ip ip{};
  bool answers = false;  ///< Stands in the answer section; else beside it, of another host maybe.
};

struct DnsAnswer {
  std::vector<Service> services{};
  std::vector<Address> addresses{};         ///< Of the answer and of the additional section.
  bool complete = true;                     ///< False: cut off, and not asked again over TCP.
  std::optional<std::uint32_t> ttl{};       ///< The smallest of the answer, CNAMEs included.
  std::optional<std::uint32_t> negative{};  ///< How long "there is none" is good for (RFC 2308).
};

namespace detail {

inline std::string canonical(std::string name) {
  for (auto& letter : name)
    if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter - 'A' + 'a');
  while (name.ends_with('.')) name.pop_back();
  return name;
}

/// RFC 2181: a TTL above 2^31 - 1 is 0.
inline std::uint32_t sane_ttl(std::uint32_t ttl) { return ttl > 0x7fffffffU ? 0 : ttl; }

inline void take_minimum(std::optional<std::uint32_t>& least, std::uint32_t ttl) {
  least = std::min(least.value_or(std::numeric_limits<std::uint32_t>::max()), sane_ttl(ttl));
}

inline std::optional<std::string> expand(ns_msg const& message, unsigned char const* from) {
  std::array<char, NS_MAXDNAME> text{};
  if (ns_name_uncompress(ns_msg_base(message), ns_msg_end(message), from, text.data(),
                         text.size()) < 0)
    return std::nullopt;
  return canonical(text.data());
}

inline void add_service(ns_msg const& message, ns_rr const& record, DnsAnswer& answer) {
  if (ns_rr_rdlen(record) < 7) return;
  auto const* const data = ns_rr_rdata(record);
  auto const word = [&](std::size_t at) {
    return static_cast<std::uint16_t>(data[at] << 8U | data[at + 1]);
  };
  if (auto target = expand(message, data + 6))
    answer.services.push_back({word(0), word(2), word(4), std::move(*target)});
}

inline void add_address(ns_rr const& record, bool answers, DnsAnswer& answer) {
  std::size_t const size = ns_rr_type(record) == ns_t_a ? 4 : 16;
  if (ns_rr_rdlen(record) != size) return;
  Address address{.name = canonical(ns_rr_name(record)), .answers = answers};
  address.ip.size = size;
  std::memcpy(address.ip.bytes.data(), ns_rr_rdata(record), size);
  answer.addresses.push_back(std::move(address));
}

/// The minimum of an SOA record is its last word.
inline void add_negative(ns_rr const& record, DnsAnswer& answer) {
  std::size_t const size = ns_rr_rdlen(record);
  if (size < 22) return;
  std::uint32_t minimum = 0;
  for (auto i = size - 4; i < size; ++i) minimum = minimum << 8U | ns_rr_rdata(record)[i];
  take_minimum(answer.negative, std::min(sane_ttl(ns_rr_ttl(record)), sane_ttl(minimum)));
}

inline void add_record(ns_msg const& message, ns_rr const& record, ns_sect section,
                       DnsAnswer& answer) {
  auto const type = ns_rr_type(record);
  if (section == ns_s_an) take_minimum(answer.ttl, ns_rr_ttl(record));
  if (type == ns_t_srv && section == ns_s_an) add_service(message, record, answer);
  else if (type == ns_t_a || type == ns_t_aaaa) add_address(record, section == ns_s_an, answer);
  else if (type == ns_t_soa && section == ns_s_ns) add_negative(record, answer);
}

}  // namespace detail

/// *Errors* nothing, if it is no DNS message, or if one of its answers can't be read: the others
/// are no complete list. What stands beside the answers is left out if it is damaged.
[[nodiscard]] inline std::optional<DnsAnswer> parse_answer(std::span<unsigned char const> bytes) {
  ns_msg message{};
  if (bytes.size() > 65535 ||
      ns_initparse(bytes.data(), static_cast<int>(bytes.size()), &message) != 0)
    return std::nullopt;
  DnsAnswer answer;
  answer.complete = ns_msg_getflag(message, ns_f_tc) == 0;
  for (auto const section : {ns_s_an, ns_s_ns, ns_s_ar})
    for (int i = 0; i < ns_msg_count(message, section); ++i) {
      ns_rr record{};
      if (ns_parserr(&message, section, i, &record) != 0) {
        if (section == ns_s_an) return std::nullopt;
        break;
      }
      detail::add_record(message, record, section, answer);
    }
  return answer;
}

}  // namespace poise::inline v0_1_0::discovery::cares
