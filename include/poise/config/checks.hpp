// SPDX-License-Identifier: MIT
#pragma once

// What is wrong with a text in a configuration; empty if nothing is.

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <poise/base/address.hpp>
#include <poise/base/nearest.hpp>
#include <poise/config/policy_table.hpp>
#include <poise/discovery/normalize.hpp>
#include <poise/outcome.hpp>

namespace poise::inline v0_1_0::config::detail {

/// The kinds of sources that `source = "KIND:..."` may name.
inline constexpr std::array<std::string_view, 11> source_kinds{
    "list", "env", "file", "dns", "consul", "etcd", "k8s", "eds", "nginx", "haproxy", "http"};

[[nodiscard]] inline std::string check_name(std::string const& text) {
  return text.empty() ? "use a name of one character or more" : "";
}

[[nodiscard]] inline std::string check_address(std::string const& text) {
  std::string const error{discovery::detail::address_error(text)};
  return error.empty() ? "" : "it " + error;
}

/// "host:port" to listen on, or nothing.
[[nodiscard]] inline std::string check_listen(std::string const& text) {
  bool const usable = text.empty() || HostPort::of(text);
  return usable ? "" : "use HOST:PORT with a port from 1 to 65535, or \"\" for no server";
}

/// The same of an IP address, not of a name.
[[nodiscard]] inline std::string check_gateway_listen(std::string const& text) {
  auto const at = HostPort::of(text);
  bool const numeric =
      at && at->host.find_first_not_of("0123456789abcdefABCDEF:.") == std::string::npos;
  return numeric ? "" : "use IP:PORT with a port from 1 to 65535, such as \"0.0.0.0:80\"";
}

/// Where the gateway has its entry.
[[nodiscard]] inline std::string check_registry(std::string const& text) {
  auto const [kind, url] = poise::detail::split_kind(text);
  bool const known = kind == "consul" || kind == "etcd";
  auto const host = url.find("://");
  auto const slash = host == std::string::npos ? host : url.find('/', host + 3);
  return text.empty() || (known && slash != std::string::npos && slash + 1 != url.size())
             ? ""
             : "use consul:http://HOST:PORT/SERVICE, etcd:http://HOST:PORT/PREFIX, or \"\"";
}

[[nodiscard]] inline std::string check_advertised(std::string const& text) {
  return text.empty() || HostPort::of(text) ? "" : "use HOST:PORT, as clients see this gateway";
}

/// What keyed policies hash.
[[nodiscard]] inline std::string check_route_key(std::string const& text) {
  std::vector<std::string_view> const words{"", "client", "path", "target"};
  if (std::ranges::find(words, text) != words.end()) return {};
  auto const [kind, name] = poise::detail::split_kind(text);
  if ((kind == "field" || kind == "cookie") && !name.empty()) return {};
  return "use client, path, target, field:NAME, cookie:NAME, or \"\"";
}

[[nodiscard]] inline std::string check_path(std::string const& text) {
  bool const usable = text.starts_with('/') && text.find_first_of(" \t\r\n") == std::string::npos;
  return usable ? "" : "use a path that begins with / and has no spaces";
}

/// "failures", or "timeout+refused": what retry() takes as on.
[[nodiscard]] inline std::string check_results(std::string const& text) {
  std::vector<std::string> words{"failures"};
  for (std::size_t i = 0; i < result_count; ++i) {
    words.emplace_back(poise::name(static_cast<Result>(i)));
    std::ranges::replace(words.back(), ' ', '_');
  }
  for (std::size_t at = 0; text != "failures" && at <= text.size();) {
    auto const end = std::min(text.find('+', at), text.size());
    auto const word = std::string_view{text}.substr(at, end - at);
    if (word == "failures" || std::ranges::find(words, word) == words.end())
      return "use failures, or results joined by +" +
             poise::detail::suggestion(word, {words.begin(), words.end()}, "there are");
    at = end + 1;
  }
  return {};
}

[[nodiscard]] inline std::string check_policy(std::string const& text) {
  auto const mistake = policy_mistake(text);
  return mistake ? mistake->what() : "";
}

[[nodiscard]] inline std::string check_source(std::string const& text) {
  if (text.empty()) return {};
  auto const [kind, where] = poise::detail::split_kind(text);
  std::vector<std::string_view> const kinds{source_kinds.begin(), source_kinds.end()};
  for (auto const each : kinds)
    if (each == kind && !where.empty()) return {};
  if (kind == "https") return {};
  return "use KIND:WHERE" + poise::detail::suggestion(kind, kinds, "the kinds are");
}

}  // namespace poise::inline v0_1_0::config::detail
