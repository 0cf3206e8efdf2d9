// SPDX-License-Identifier: MIT
#pragma once

// What a service takes from outside: sources, probes and pages need libraries that not every
// program has.

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include <poise/base/address.hpp>
#include <poise/config/settings.hpp>
#include <poise/discovery/credentials.hpp>
#include <poise/discovery/dns.hpp>
#include <poise/discovery/file.hpp>
#include <poise/discovery/list.hpp>
#include <poise/discovery/source.hpp>
#include <poise/error.hpp>
#include <poise/health/monitor.hpp>
#include <poise/observe/handler.hpp>
#include <poise/stats.hpp>

namespace poise::inline v0_1_0::config {

/// A balancer of any type, as probers use it.
struct ProbeTarget {
  std::function<Stats()> stats;
  std::function<void()> tick;
  std::function<void(std::string about, std::string text)> set_warning;
};

/// The source of this text, if it needs no library: list, env, file (lines) and dns.
/// *Errors* ConfigError.
[[nodiscard]] inline std::unique_ptr<discovery::Source> local_source(
    std::string const& text, discovery::Credentials const& = {}) {
  auto const [kind, rest] = poise::detail::split_kind(text);
  if (kind == "list") return discovery::from_list(rest);
  if (kind == "env") return discovery::from_environment(rest);
  if (kind == "file") return discovery::from_file(rest);
  if (kind == "dns") {
    auto const address = HostPort::of(rest);
    if (!address) throw ConfigError{"dns:" + rest + ": use dns:NAME:PORT"};
    return discovery::from_dns(address->host, address->port);
  }
  throw ConfigError{"this program has no source of the kind " + poise::detail::in_quotes(kind) +
                    "; it has list, env, file and dns"};
}

/// Functions that a service calls, and what it tells. What is empty is not there: a configuration
/// that wants it is refused.
struct Parts {
  /// *Errors* ConfigError.
  std::function<std::unique_ptr<discovery::Source>(std::string const& text,
                                                   discovery::Credentials const&)>
      source = local_source;
  /// Probes until what it returns is destroyed. *Errors* ConfigError.
  std::function<std::shared_ptr<void>(ProbeTarget const&, health::Standard const&,
                                      ProbeSettings const&)>
      probes{};
  /// Serves pages until what it returns is destroyed. *Errors* anything: it can't listen there.
  std::function<std::shared_ptr<void>(observe::Handler, MetricsSettings const&)> pages{};
  /// Health transitions, discovery, alerts. *Threads* any, several at once.
  std::function<void(std::string const& line)> log{};
};

}  // namespace poise::inline v0_1_0::config
