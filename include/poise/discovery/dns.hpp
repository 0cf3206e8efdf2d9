// SPDX-License-Identifier: MIT
#pragma once

// The addresses of a name, by the system's resolver (getaddrinfo). It knows no TTL and no SRV
// records, and blocks, so it runs on a thread of its own; discovery/cares/ knows all of that.
//
// "The name does not exist" is an empty list, which the guard judges. "Not known just now" (no
// server, SERVFAIL, a timeout) is a failure.

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <poise/base/address.hpp>
#include <poise/base/check.hpp>
#include <poise/discovery/look.hpp>
#include <poise/discovery/source.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::discovery {

/// Which addresses of a host are backends. A host with both kinds is one backend, not two.
enum class Family : std::uint8_t {
  either,  ///< IPv4 if there are any, else IPv6.
  ipv4,
  ipv6,
  both,  ///< Each address is a backend.
};

struct DnsOptions {
  Family family = Family::either;
  Duration refresh = std::chrono::seconds{5};  ///< Envoy's default for names without a TTL.
};

namespace detail {

inline poise::detail::Ip ip_of(sockaddr const& address) {
  poise::detail::Ip ip;
  ip.size = address.sa_family == AF_INET ? 4 : 16;
  auto const* const bytes =
      address.sa_family == AF_INET
          ? static_cast<void const*>(&reinterpret_cast<sockaddr_in const&>(address).sin_addr)
          : static_cast<void const*>(&reinterpret_cast<sockaddr_in6 const&>(address).sin6_addr);
  std::memcpy(ip.bytes.data(), bytes, ip.size);
  return ip;
}

/// "10.0.0.1:80", "[::1]:80".
inline std::string host_port(poise::detail::Ip const& ip, std::uint16_t port) {
  auto const text = ip.text();
  return (ip.size == 4 ? text : "[" + text + "]") + ":" + std::to_string(port);
}

/// Keeps of the IPv4 and IPv6 addresses of one host those that are wanted. IPv6 ones have brackets.
template <class Item, class AddressOf = std::identity>
void choose_family(std::vector<Item>& of_one_host, Family family, AddressOf address_of = {}) {
  auto const is_ipv6 = [&](Item const& each) {
    return std::invoke(address_of, each).front() == '[';
  };
  bool const drop_ipv6 = family == Family::ipv4 ||
                         (family == Family::either && !std::ranges::all_of(of_one_host, is_ipv6));
  if (drop_ipv6) std::erase_if(of_one_host, is_ipv6);
  if (family == Family::ipv6)
    std::erase_if(of_one_host, [&](Item const& each) { return !is_ipv6(each); });
}

}  // namespace detail

/// Asks once. *Cost* blocks for as long as the resolver does: 10 s and more without an answer.
[[nodiscard]] inline Look look_up(std::string const& host, std::uint16_t port,
                                  DnsOptions const& options = {}) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_family = options.family == Family::ipv4   ? AF_INET
                    : options.family == Family::ipv6 ? AF_INET6
                                                     : AF_UNSPEC;
  addrinfo* answers = nullptr;
  auto const error = ::getaddrinfo(host.c_str(), nullptr, &hints, &answers);
  std::unique_ptr<addrinfo, void (*)(addrinfo*)> const owner{answers, ::freeaddrinfo};
  Found found{.good_for = options.refresh, .version = host};
  if (error == EAI_NONAME) return found;
  if (error != 0) return Failed{host + ": " + ::gai_strerror(error), {}};
  for (auto const* each = answers; each != nullptr; each = each->ai_next) {
    auto address = detail::host_port(detail::ip_of(*each->ai_addr), port);
    found.endpoints.push_back({.id = address, .address = address});
  }
  detail::choose_family(found.endpoints, options.family, &Endpoint::address);
  return found;
}

/// *Errors* ConfigError: an empty host, or port 0. End the host with a dot if it is complete: the
/// resolver then tries no search domains (in Kubernetes four more queries).
[[nodiscard]] inline std::unique_ptr<Source> from_dns(std::string host, std::uint16_t port,
                                                      DnsOptions const& options = {}) {
  if (host.empty()) poise::detail::reject_option("host of from_dns", "empty", "use a name");
  if (port == 0) poise::detail::reject_option("port of from_dns", "0", "use 1 to 65535");
  auto name = "dns " + host;
  return from_function(std::move(name), [host = std::move(host), port, options] {
    return look_up(host, port, options);
  });
}

}  // namespace poise::inline v0_1_0::discovery
