// SPDX-License-Identifier: MIT
#pragma once

// What a configuration says, as values. Their defaults are those of the options that they fill, and
// what each means stands in fields.hpp, from which the reference is made.

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <poise/analysis/default_rules.hpp>
#include <poise/discovery/feed.hpp>
#include <poise/endpoint.hpp>
#include <poise/health/criteria.hpp>
#include <poise/health/limit.hpp>
#include <poise/health/pool.hpp>
#include <poise/probe/schedule.hpp>
#include <poise/time.hpp>
#include <poise/weighted_by_reports.hpp>

namespace poise::inline v0_1_0::config {

/// [health]: the standard monitor.
struct HealthSettings {
  health::MonitorOptions monitor{};
  health::Consecutive consecutive{};
  health::FailureRate failure_rate{};
  health::SuccessRate success_rate{};
  health::Latency latency{};
  health::Rejections rejections{};
};

/// How backends are probed.
enum class ProbeKind : std::uint8_t { none, tcp, http };

/// [probe]
struct ProbeSettings {
  ProbeKind kind = ProbeKind::none;
  std::string path = "/";
  health::ProbeOptions options{};
};

/// [retry]: arguments of the policy retry(), as compose/retry.hpp has them.
struct RetrySettings {
  std::uint32_t attempts = 1;
  Duration base_pause = std::chrono::milliseconds{25};
  Duration max_pause = std::chrono::milliseconds{250};
  std::string on = "failures";
  Duration timeout{};
  Duration attempt_timeout{};
  Duration max_pushback = std::chrono::seconds{10};
  double budget_fraction = 0.2;
  std::uint32_t min_retries_per_second = 10;
  double hedge_percentile = 0;
  Duration hedge_after{};
};

/// A limit that is none.
inline constexpr std::uint32_t unlimited = ~std::uint32_t{0};

/// [limits]
struct LimitSettings {
  std::uint32_t max_in_flight = unlimited;
  std::uint32_t max_waiting = 1024;
  bool adapts = false;
  health::AdaptiveLimitOptions adaptive{};
};

/// [load_reports]
struct LoadReportSettings {
  bool enabled = false;
  WeightedByReportsOptions weights{};
};

/// [metrics]
struct MetricsSettings {
  std::string listen{};
  std::uint32_t series = 100;
  bool histograms = false;
};

/// [alerts]
struct AlertSettings {
  bool enabled = false;
  double success = 0.999;
  Duration latency{};
  Duration list_age = std::chrono::minutes{5};
};

/// Which fields tell a backend of the client.
enum class ForwardedFields : std::uint8_t { none, x_forwarded, forwarded, both };

/// [gateway]: the reverse proxy examples/gateway.
struct GatewaySettings {
  std::string listen = "127.0.0.1:8080";
  std::uint32_t threads = 0;
  std::uint32_t max_connections = 10'000;
  std::uint32_t max_header = 16'384;
  std::uint64_t max_body = std::uint64_t{1} << 30U;
  Duration header_timeout = std::chrono::seconds{10};
  Duration body_timeout = std::chrono::seconds{30};
  Duration idle_timeout = std::chrono::seconds{60};
  Duration connect_timeout = std::chrono::seconds{1};
  Duration response_timeout = std::chrono::seconds{30};
  Duration tunnel_timeout = std::chrono::hours{1};
  Duration drain_timeout = std::chrono::seconds{30};
  Duration backend_idle = std::chrono::seconds{4};
  std::uint32_t max_idle = 64;
  Duration queue_timeout{};
  ForwardedFields forwarded = ForwardedFields::x_forwarded;
  bool trust_forwarded = false;
  std::string route_key{};
  std::string access_log{};
  std::string registry{};
  std::string advertise{};
  Duration registry_ttl = std::chrono::seconds{10};
  Duration leave_delay = std::chrono::seconds{1};
};

/// [discovery], what registries ask for. Secrets are files, by their paths; "": none.
struct CredentialSettings {
  std::string token_file{};
  std::string user{};
  std::string password_file{};
};

/// A whole configuration.
struct Settings {
  std::string name = "poise";
  std::string policy = "adaptive";
  /// Of the policy's secrets, by the paths of their files: another number for another secret.
  std::map<std::string, std::uint64_t> policy_secrets{};
  std::vector<Endpoint> backends{};
  std::string source{};
  HealthSettings health{};
  ProbeSettings probe{};
  RetrySettings retry{};
  LimitSettings limits{};
  LoadReportSettings load_reports{};
  discovery::FeedOptions discovery{};
  CredentialSettings credentials{};
  MetricsSettings metrics{};
  AlertSettings alerts{};
  GatewaySettings gateway{};
};

}  // namespace poise::inline v0_1_0::config
