// SPDX-License-Identifier: MIT
#pragma once

// Registries by text, for command lines and configurations: "KIND:WHERE".
//
//   consul:http://H:P/SERVICE  token in CONSUL_HTTP_TOKEN
//   etcd:http://H:P/PREFIX     user and password in ETCD_USER and ETCD_PASSWORD

#include <memory>
#include <string>
#include <utility>

#include <poise/base/address.hpp>
#include <poise/discovery/curl/source_named.hpp>
#include <poise/discovery/json/registration.hpp>
#include <poise/error.hpp>

namespace poise::inline v0_1_0::discovery {

/// What Registration takes: where to, and which entry.
struct NamedEntry {
  std::string url{};
  std::unique_ptr<json::EntryConversation> entry{};
};

/// `entry` has everything but the service; `credentials` come before the environment's.
/// *Errors* ConfigError: no such kind, or not what it wants.
[[nodiscard]] inline NamedEntry entry_named(std::string const& text, json::Entry entry,
                                            Credentials const& credentials = {}) {
  auto const [kind, rest] = poise::detail::split_kind(text);
  if (kind == "consul") {
    auto [url, service] = detail::split_url(rest, "a service's name");
    entry.service = service;
    return {url, std::make_unique<json::ConsulEntry>(
                     std::move(entry), detail::secret_or(credentials.token, "CONSUL_HTTP_TOKEN"))};
  }
  if (kind == "etcd") {
    auto [url, prefix] = detail::split_url(rest, "a prefix of keys");
    entry.service = prefix;
    return {url,
            std::make_unique<json::EtcdEntry>(std::move(entry), detail::etcd_user(credentials))};
  }
  throw ConfigError{"entries can be registered with consul: and etcd:, not with " +
                    poise::detail::in_quotes(text)};
}

}  // namespace poise::inline v0_1_0::discovery
