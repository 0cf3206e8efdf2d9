// SPDX-License-Identifier: MIT
#pragma once

// Envoy's endpoint discovery (EDS) as JSON: a ClusterLoadAssignment, or a DiscoveryResponse with
// some, from a file (FileOptions::parse) or polled over REST.
//
// The zone is the locality's, the tier its priority; weights of localities and endpoints are
// multiplied. DRAINING becomes weight 0; UNHEALTHY and TIMEOUT are left out.

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include <poise/discovery/json/conversation.hpp>
#include <poise/discovery/json/endpoints.hpp>
#include <poise/discovery/json/reader.hpp>
#include <poise/discovery/look.hpp>
#include <poise/endpoint.hpp>

namespace poise::inline v0_1_0::discovery::json {

namespace detail {

/// A member in either of the spellings that protobuf's JSON allows.
inline Json const* either(Json const& object, char const* snake, char const* camel) {
  auto const* const found = find(object, snake);
  return found != nullptr ? found : find(object, camel);
}

inline bool is_unhealthy(std::string const& health) {
  return health == "UNHEALTHY" || health == "TIMEOUT";
}

inline std::uint32_t weight_of(Json const& object, std::string_view what) {
  auto const* const weight = either(object, "load_balancing_weight", "loadBalancingWeight");
  if (weight == nullptr) return 1;
  auto const number = whole(*weight, std::numeric_limits<std::uint32_t>::max());
  if (!number || *number == 0) throw JsonError{wrong(what, *weight, "use 1 to 4294967295")};
  return static_cast<std::uint32_t>(*number);
}

inline void add_lb_endpoint(Json const& entry, Json const& locality, Found& found) {
  auto const* const health = either(entry, "health_status", "healthStatus");
  auto const state = health != nullptr && health->is_string() ? health->get<std::string>() : "";
  if (is_unhealthy(state)) return;
  auto const* const inner = find(entry, "endpoint", "address");
  auto const* const socket =
      inner == nullptr ? nullptr : either(*inner, "socket_address", "socketAddress");
  if (socket == nullptr)
    throw JsonError{wrong("an endpoint", entry, "it needs endpoint.address.socket_address")};
  auto const* const port = either(*socket, "port_value", "portValue");
  auto const number = port == nullptr ? std::nullopt : whole(*port, 65535);
  Endpoint endpoint{.address = host_port(text_at(*socket, "address"), number.value_or(0))};
  endpoint.id = endpoint.address;
  endpoint.zone = text_at(locality, "locality", "zone");
  endpoint.tier = number_at("priority", locality, "priority").value_or(0);
  auto const product = std::uint64_t{weight_of(entry, "weight of " + endpoint.id)} *
                       weight_of(locality, "weight of a locality");
  endpoint.weight = static_cast<std::uint32_t>(
      std::min<std::uint64_t>(product, std::numeric_limits<std::uint32_t>::max()));
  if (state == "DRAINING") endpoint.weight = 0;
  found.endpoints.push_back(std::move(endpoint));
}

inline void add_assignment(Json const& assignment, std::string const& cluster, Found& found,
                           bool& seen) {
  auto const* const name = either(assignment, "cluster_name", "clusterName");
  if (!cluster.empty() && (name == nullptr || *name != cluster)) return;
  seen = true;
  auto const* const localities = find(assignment, "endpoints");
  if (localities == nullptr || !localities->is_array()) return;
  for (auto const& locality : *localities)
    if (auto const* const list = either(locality, "lb_endpoints", "lbEndpoints");
        list != nullptr && list->is_array())
      each_entry(*list, found, [&](Json const& entry) { add_lb_endpoint(entry, locality, found); });
}

}  // namespace detail

/// The endpoints of one cluster; of all, if `cluster` is empty. *Errors* Failed: no JSON, or not a
/// word about this cluster, which says nothing about its endpoints.
[[nodiscard]] inline Look parse_eds(std::string_view text, std::string const& cluster = {}) {
  return guarded([&]() -> Look {
    auto const json = parse(text);
    Found found;
    bool seen = false;
    if (auto const* const resources = find(json, "resources");
        resources != nullptr && resources->is_array()) {
      for (auto const& each : *resources) {
        auto const* const wrapped = find(each, "resource");  // of the incremental protocol
        detail::add_assignment(wrapped != nullptr ? *wrapped : each, cluster, found, seen);
      }
    } else {
      detail::add_assignment(json, cluster, found, seen);
    }
    found.version = text_at(json, "version_info");
    if (found.version.empty()) found.version = text_at(json, "versionInfo");
    if (!seen)
      return Failed{
          "there is no ClusterLoadAssignment for cluster " + poise::detail::in_quotes(cluster), {}};
    return found;
  });
}

/// EDS over REST: a POST that is repeated as FollowerOptions::refresh says.
class Eds final : public Conversation {
 public:
  Eds(std::string cluster, std::string node)
      : cluster_{std::move(cluster)}, node_{std::move(node)} {}

  [[nodiscard]] std::string name() const override { return "eds " + cluster_; }
  [[nodiscard]] Request begin() override {
    Json const body{
        {"node", {{"id", node_}, {"cluster", node_}}},
        {"resource_names", {cluster_}},
        {"type_url", "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"},
        {"version_info", last_ ? last_->version : std::string{}}};
    return {.method = "POST",
            .target = "/v3/discovery:endpoints",
            .headers = {"Content-Type: application/json"},
            .body = body.dump()};
  }
  [[nodiscard]] Step on_answer(Answer const& answer) override {
    if (answer.status == 304 && last_) return {*last_, {}};
    if (answer.status != 200) return {failure(answer), {}};
    auto look = parse_eds(answer.body, cluster_);
    if (auto const* const found = std::get_if<Found>(&look)) last_ = *found;
    return {std::move(look), {}};
  }

 private:
  std::string cluster_;
  std::string node_;
  std::optional<Found> last_{};
};

}  // namespace poise::inline v0_1_0::discovery::json
