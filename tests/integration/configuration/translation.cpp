// SPDX-License-Identifier: MIT
// Configurations of Envoy and gRPC become those of poise; what has no counterpart is listed.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <random>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <poise/config/diff.hpp>
#include <poise/config/envoy.hpp>
#include <poise/config/grpc.hpp>
#include <poise/config/text.hpp>
#include <poise/config/translation.hpp>
#include <poise/discovery/json/eds.hpp>

#include "support/catch.hpp"

namespace integration_configuration_translation {

namespace {

using namespace poise::config;
using namespace std::chrono_literals;

/// As Envoy's documentation has them, with two localities and two priorities.
constexpr std::string_view envoy_cluster = R"json({
  "name": "orders",
  "type": "STRICT_DNS",
  "connect_timeout": "0.25s",
  "lb_policy": "RING_HASH",
  "ring_hash_lb_config": {"minimum_ring_size": 2048, "hash_function": "MURMUR_HASH_2"},
  "common_lb_config": {
    "healthy_panic_threshold": {"value": 40},
    "zone_aware_lb_config": {"fail_traffic_on_panic": true, "min_cluster_size": 6},
    "consistent_hashing_lb_config": {"hash_balance_factor": 150}
  },
  "outlier_detection": {
    "consecutive_5xx": 7,
    "interval": "5s",
    "base_ejection_time": "20s",
    "enforcing_success_rate": 50,
    "success_rate_stdev_factor": 2100,
    "consecutive_gateway_failure": 3
  },
  "health_checks": [{
    "timeout": "1s",
    "interval": "3s",
    "unhealthy_threshold": 4,
    "healthy_threshold": {"value": 1},
    "interval_jitter_percent": 7,
    "http_health_check": {"path": "/healthz", "host": "orders"}
  }],
  "circuit_breakers": {"thresholds": [
    {"priority": "DEFAULT", "max_connections": 100, "max_pending_requests": 50},
    {"priority": "HIGH", "max_connections": 200}
  ]},
  "load_assignment": {
    "cluster_name": "orders",
    "endpoints": [
      {
        "locality": {"region": "eu", "zone": "eu-1a"},
        "load_balancing_weight": 2,
        "lb_endpoints": [
          {"endpoint": {"address": {"socket_address": {"address": "10.0.0.1", "port_value": 80}}},
           "load_balancing_weight": 3},
          {"endpoint": {"address": {"socket_address": {"address": "10.0.0.2", "port_value": 80}}},
           "health_status": "DRAINING"},
          {"endpoint": {"address": {"socket_address": {"address": "10.0.0.3", "port_value": 80}}},
           "health_status": "UNHEALTHY"}
        ]
      },
      {
        "priority": 1,
        "lbEndpoints": [
          {"endpoint": {"address": {"socketAddress": {"address": "::1", "portValue": 81}}}}
        ]
      }
    ]
  }
})json";

constexpr std::string_view grpc_config = R"json({
  "loadBalancingConfig": [
    {"grpclb": {}},
    {"outlier_detection_experimental": {
      "interval": "2s",
      "maxEjectionPercent": 30,
      "successRateEjection": {"stdevFactor": 2500, "minimumHosts": 3},
      "childPolicy": [{"weighted_round_robin": {
        "blackoutPeriod": "5s", "weightExpirationPeriod": "60s", "weightUpdatePeriod": "2s",
        "errorUtilizationPenalty": 0.5, "enableOobLoadReport": true
      }}]
    }}
  ],
  "methodConfig": [
    {"name": [{"service": "shop.Orders", "method": "Get"}], "timeout": "9s"},
    {"name": [{}], "timeout": "2s", "waitForReady": true, "retryPolicy": {
      "maxAttempts": 4,
      "initialBackoff": "0.1s",
      "maxBackoff": "1s",
      "backoffMultiplier": 1.5,
      "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "ABORTED"]
    }}
  ],
  "retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1},
  "healthCheckConfig": {"serviceName": "shop"}
})json";

/// The problems, a line each.
std::string problems(Translation const& translation) {
  std::string all;
  for (auto const& each : translation.document.problems) all += message("f", each) + '\n';
  return all;
}

bool ignores(Translation const& translation, std::string_view what) {
  return std::ranges::any_of(translation.ignored, [&](Problem const& each) {
    return each.text.find(what) != std::string::npos;
  });
}

/// What is printed is a file that means the same.
void require_same_when_printed(Translation const& translation) {
  auto const text = given(translation);
  INFO(text);
  auto const again = read_text(text);
  for (auto const& each : again.problems) UNSCOPED_INFO(message("again", each));
  REQUIRE(again.valid());
  REQUIRE(differences(translation.document.settings, again.settings).empty());
  REQUIRE(translation.document.settings.backends == again.settings.backends);
}

}  // namespace

TEST_CASE("an Envoy cluster becomes settings that mean the same") {
  auto const result = read_envoy(envoy_cluster);
  INFO(problems(result));
  REQUIRE(result.document.valid());
  auto const& settings = result.document.settings;
  CHECK(settings.name == "orders");
  CHECK(settings.policy == "failover(policy=bounded(policy=ring, percent=150))");
  CHECK(settings.gateway.connect_timeout == 250ms);
  CHECK(settings.health.monitor.panic.threshold == 0.4);
  CHECK(settings.health.monitor.panic.mode == poise::health::Panic::Mode::closed);
  CHECK(settings.health.consecutive.failures == 7);
  CHECK(settings.health.monitor.interval == 5s);
  CHECK(settings.health.monitor.ejection.base == 20s);
  CHECK(settings.health.monitor.ejection.max_ejected == 0.1);  // Envoy's default
  CHECK(settings.health.success_rate.enforcement.probability == 0.5);
  CHECK(settings.health.success_rate.deviations == 2.1);
  CHECK(settings.health.failure_rate.enforcement.probability == 0);
  CHECK(settings.probe.kind == ProbeKind::http);
  CHECK(settings.probe.path == "/healthz");
  CHECK(settings.probe.options.rise == 1);
  CHECK(settings.probe.options.fall == 4);
  CHECK(settings.probe.options.jitter == 0.07);
  CHECK(settings.limits.max_waiting == 50);
  REQUIRE(settings.backends.size() == 3);
  CHECK(settings.backends[0].weight == 6);
  CHECK(settings.backends[0].zone == "eu-1a");
  CHECK(settings.backends[0].labels[0] == poise::Label{"region", "eu"});
  CHECK(settings.backends[1].weight == 0);
  CHECK(settings.backends[2].address == "[::1]:81");
  CHECK(settings.backends[2].tier == 1);
  for (auto const* const what :
       {"minimum_ring_size", "hash_function: no counterpart", "consecutive_gateway_failure",
        "max_connections", "thresholds.1", "is UNHEALTHY", "host: no counterpart", "keys move"})
    CHECK(ignores(result, what));
  require_same_when_printed(result);
}

TEST_CASE("endpoints of an Envoy cluster are those that its discovery has") {
  auto const all = nlohmann::json::parse(envoy_cluster);
  auto const look = poise::discovery::json::parse_eds(all.at("load_assignment").dump());
  auto const& found = std::get<poise::discovery::Found>(look);
  auto const translated = read_envoy(envoy_cluster).document.settings.backends;
  REQUIRE(found.endpoints.size() == translated.size());
  for (std::size_t i = 0; i < translated.size(); ++i) {
    CHECK(found.endpoints[i].id == translated[i].id);
    CHECK(found.endpoints[i].address == translated[i].address);
    CHECK(found.endpoints[i].weight == translated[i].weight);
    CHECK(found.endpoints[i].zone == translated[i].zone);
    CHECK(found.endpoints[i].tier == translated[i].tier);
  }
}

TEST_CASE("policies of Envoy have counterparts, in the old form and the new one") {
  auto const policy_of = [](std::string const& members) {
    auto const result = read_envoy("{" + members + "}", "env:X");
    INFO(members << '\n' << problems(result));
    REQUIRE(result.document.valid());
    return result.document.settings.policy;
  };
  CHECK(policy_of("") == "round_robin");
  CHECK(policy_of(R"("lb_policy": "LEAST_REQUEST")") == "p2c");
  CHECK(policy_of(R"("lbPolicy": "RANDOM")") == "random");
  CHECK(policy_of(R"("lb_policy": "MAGLEV", "maglev_lb_config": {"table_size": 65537})") ==
        "maglev");
  CHECK(policy_of(R"("lb_policy": "CLUSTER_PROVIDED")") == "adaptive");
  CHECK(policy_of(R"("lb_policy": 7)") == "adaptive");
  CHECK(policy_of(R"("load_balancing_policy": {"policies": [
    {"typed_extension_config": {"name": "own", "typed_config": {"@type": "x/y.Own"}}},
    {"typed_extension_config": {"typed_config": {
      "@type": "type.googleapis.com/envoy.extensions.load_balancing_policies.least_request.v3.)"
                  R"(LeastRequest", "slow_start_config": {"slow_start_window": "60s"}}}}]})") ==
        "p2c");
}

TEST_CASE("Envoy's weights by load reports have a counterpart") {
  auto const result =
      read_envoy(R"({"load_balancing_policy": {"policies": [
    {"typed_extension_config": {"typed_config": {
      "@type": "type.googleapis.com/envoy.extensions.load_balancing_policies.)"
                 R"(client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin",
      "blackout_period": "20s", "error_utilization_penalty": 2,
      "metric_names_for_computing_utilization": ["named_metrics.foo"]}}}]}})",
                 "env:X");
  INFO(problems(result));
  REQUIRE(result.document.valid());
  auto const& settings = result.document.settings;
  CHECK(settings.policy == "smooth_weighted");
  CHECK(settings.load_reports.enabled);
  CHECK(settings.load_reports.weights.blackout == 20s);
  CHECK(settings.load_reports.weights.expiration == 3min);
  CHECK(settings.load_reports.weights.error_penalty == 2);
  CHECK(ignores(result, "the utilization is the application's, else the processor's"));
  require_same_when_printed(result);
}

TEST_CASE("a mistake in an Envoy cluster is found where it stands") {
  auto const complaint = [](std::string const& text) {
    return problems(read_envoy(text, "env:X"));
  };
  CHECK(complaint("{\n\"name\": }").starts_with("f:2:9: this is no JSON"));
  CHECK(complaint("[]").starts_with("f:1:1: the file is a list: a table is expected here"));
  CHECK(complaint("{\"outlier_detection\": {\n\"interval\": 5}}")
            .starts_with("f:2:13: health.interval is 5: use a duration with its unit"));
  CHECK(
      complaint("{\"clusters\": [{}, {}]}").starts_with("f:1:1: there are 2 clusters: leave one"));
  CHECK(complaint("{\"health_checks\": 7}").starts_with("f:1:19: health_checks is 7: a list"));
  CHECK(problems(read_envoy("{}")).starts_with("f:1:1: this cluster has no endpoints"));
}

TEST_CASE("a gRPC service config becomes settings that mean the same") {
  auto const result = read_grpc(grpc_config, "dns:shop:50051");
  INFO(problems(result));
  REQUIRE(result.document.valid());
  auto const& settings = result.document.settings;
  CHECK(settings.source == "dns:shop:50051");
  CHECK(settings.policy == "smooth_weighted");
  CHECK(settings.load_reports.enabled);
  CHECK(settings.load_reports.weights.blackout == 5s);
  CHECK(settings.load_reports.weights.expiration == 60s);
  CHECK(settings.load_reports.weights.update_period == 2s);
  CHECK(settings.load_reports.weights.error_penalty == 0.5);
  CHECK(ignores(result, "reports are read from answers"));
  CHECK(settings.health.monitor.interval == 2s);
  CHECK(settings.health.monitor.ejection.max_ejected == 0.3);
  CHECK(settings.health.consecutive.enforcement.probability == 0);
  CHECK(settings.health.success_rate.deviations == 2.5);
  CHECK(settings.health.success_rate.backends == 3);
  CHECK(settings.health.failure_rate.enforcement.probability == 0);
  CHECK(settings.retry.attempts == 4);
  CHECK(settings.retry.base_pause == 100ms);
  CHECK(settings.retry.timeout == 2s);
  CHECK(settings.retry.on == "refused+connect_timeout+reset+overloaded");
  CHECK(settings.retry.budget_fraction == 0.1);
  for (auto const* const what : {"grpclb", "methodConfig.0", "waitForReady", "backoffMultiplier",
                                 "ABORTED", "maxTokens", "healthCheckConfig"})
    CHECK(ignores(result, what));
  require_same_when_printed(result);
}

TEST_CASE("policies and hedges of gRPC have counterparts") {
  auto const read = [](std::string const& text) {
    auto result = read_grpc(text, "env:X");
    INFO(text << '\n' << problems(result));
    REQUIRE(result.document.valid());
    return result;
  };
  CHECK(read(R"({"loadBalancingPolicy": "ROUND_ROBIN"})").document.settings.policy ==
        "round_robin");
  CHECK(ignores(read(R"({"loadBalancingPolicy": "pick_first"})"), "pick_first"));
  CHECK(ignores(read("{}"), "no loadBalancingConfig"));
  auto const hedged = read(R"({"loadBalancingConfig": [{"ring_hash_experimental": {}}],
    "methodConfig": [{"name": [{"service": "a"}],
                      "hedgingPolicy": {"maxAttempts": 3, "hedgingDelay": "0.05s"}}]})");
  CHECK(hedged.document.settings.policy == "ring");
  CHECK(hedged.document.settings.retry.attempts == 3);
  CHECK(hedged.document.settings.retry.hedge_after == 50ms);
  CHECK(problems(read_grpc("{}")).starts_with("f:1:1: a service config has no backends"));
  CHECK(problems(read_grpc(R"({"loadBalancingConfig": [7]})", "env:X"))
            .starts_with("f:1:26: loadBalancingConfig.0 is 7: use a table with one policy"));
}

TEST_CASE("a thousand mutants are translated to a file that means the same, or refused") {
  constexpr std::array<std::string_view, 10> pieces{"\"", "{", "}",   "[",     "]",
                                                    ",",  "0", "-1,", "1e400", "null"};
  std::mt19937 random{20};
  auto const below = [&](std::size_t end) { return random() % end; };
  std::size_t accepted = 0;
  for (int i = 0; i < 1000; ++i) {
    bool const is_envoy = i % 2 == 0;
    std::string text{is_envoy ? envoy_cluster : grpc_config};
    auto const at = below(text.size());
    auto const line = text.rfind('\n', at);
    switch (below(4)) {
      case 0: text.erase(at, 1 + below(4)); break;
      case 1: text.insert(at, pieces[below(pieces.size())]); break;
      case 2: text[at] = static_cast<char>(32 + below(95)); break;
      default: text.erase(line + 1, text.find('\n', at) - line);
    }
    INFO(i << '\n' << text);
    auto const result = is_envoy ? read_envoy(text) : read_grpc(text, "env:X");
    if (result.document.valid()) {
      ++accepted;
      require_same_when_printed(result);
      continue;
    }
    auto const lines = static_cast<std::size_t>(std::ranges::count(text, '\n')) + 1;
    for (auto const& each : result.document.problems) {
      INFO(each.text);
      REQUIRE(each.at.line >= 1);
      REQUIRE(each.at.line <= lines);
      REQUIRE(each.text.find(": ") != std::string::npos);
    }
  }
  REQUIRE(accepted >= 100);
}

}  // namespace integration_configuration_translation
