// SPDX-License-Identifier: MIT
#pragma once

// Consul's health endpoint with blocking queries.
//
// Instances whose checks pass are taken with Weights.Passing, those with a warning with
// Weights.Warning; those with a critical check, or in maintenance, are not. The zone is Meta.zone;
// other Meta and the tags are labels. An index that goes back (a server that was restarted) begins
// again; an answer of a server that knows no leader is a failure, however many instances it has.

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include <poise/discovery/json/conversation.hpp>
#include <poise/discovery/json/endpoints.hpp>
#include <poise/discovery/json/reader.hpp>
#include <poise/discovery/look.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::discovery::json {

struct ConsulOptions {
  std::string tag{};         ///< Only instances with this tag.
  std::string filter{};      ///< Consul's filter language: `Service.Meta.zone == "eu-1a"`.
  std::string datacenter{};  ///< Empty: the agent's.
  bool stale = true;         ///< Any server may answer, not only the leader.
  Duration wait = std::chrono::seconds{55};  ///< Of a blocking query.
  /// Called for each request, so that tokens may change.
  std::function<std::string()> token{};
};

namespace detail {

enum class Check : std::uint8_t { passing, warning, critical };

inline Check worst_check(Json const& entry) {
  auto worst = Check::passing;
  if (auto const* const checks = find(entry, "Checks"); checks != nullptr)
    for (auto const& each : *checks) {
      auto const status = text_at(each, "Status");
      if (status == "critical" || status == "maintenance") return Check::critical;
      if (status != "passing") worst = Check::warning;
    }
  return worst;
}

inline std::optional<Endpoint> consul_endpoint(Json const& entry) {
  auto const* const service = find(entry, "Service");
  if (service == nullptr) throw JsonError{wrong("an instance", entry, "it has no \"Service\"")};
  auto const check = worst_check(entry);
  if (check == Check::critical) return std::nullopt;
  auto host = text_at(*service, "Address");
  if (host.empty()) host = text_at(entry, "Node", "Address");
  Endpoint endpoint{.address = host_port(host, number_at("Port", *service, "Port").value_or(0))};
  endpoint.id = endpoint.address;
  endpoint.weight = number_at("weight of " + endpoint.id, *service, "Weights",
                              check == Check::passing ? "Passing" : "Warning")
                        .value_or(1);
  if (auto const* const meta = find(*service, "Meta"); meta != nullptr && meta->is_object())
    for (auto const& [key, value] : meta->items()) {
      if (!value.is_string()) continue;
      if (key == "zone") endpoint.zone = value.get<std::string>();
      else endpoint.labels.push_back({key, value.get<std::string>()});
    }
  if (auto const* const tags = find(*service, "Tags"); tags != nullptr && tags->is_array())
    for (auto const& each : *tags)
      if (each.is_string()) endpoint.labels.push_back({"tag", each.get<std::string>()});
  return endpoint;
}

}  // namespace detail

/// The body of /v1/health/service/NAME. *Errors* Failed.
[[nodiscard]] inline Look parse_consul(std::string_view text) {
  return guarded([&]() -> Look {
    auto const json = parse(text);
    if (!json.is_array()) return Failed{wrong("the answer", json, "Consul sends an array"), {}};
    Found found;
    each_entry(json, found, [&](Json const& entry) {
      if (auto endpoint = detail::consul_endpoint(entry))
        found.endpoints.push_back(std::move(*endpoint));
    });
    return found;
  });
}

class Consul final : public Conversation {
 public:
  explicit Consul(std::string service, ConsulOptions options = {})
      : service_{std::move(service)}, options_{std::move(options)} {}

  [[nodiscard]] std::string name() const override { return "consul " + service_; }
  [[nodiscard]] Request begin() override {
    index_ = 0;
    return request();
  }
  [[nodiscard]] Step on_answer(Answer const& answer) override {
    if (answer.status != 200) return {failure(answer), {}};
    auto look = parse_consul(answer.body);
    auto* const found = std::get_if<Found>(&look);
    if (found == nullptr) return {std::move(look), {}};
    if (answer.header("x-consul-knownleader") == "false")
      return {Failed{"the server knows no leader, so its list may be anything", {}}, {}};
    auto const index = whole(Json(std::string{answer.header("x-consul-index")})).value_or(0);
    bool const back = index == 0 || index < index_;
    index_ = back ? 0 : index;
    found->version = std::to_string(index);
    found->watched = true;
    auto next = request();
    next.after = back ? std::chrono::seconds{1} : std::chrono::milliseconds{100};
    return {std::move(look), std::move(next)};
  }

 private:
  [[nodiscard]] Request request() const {
    Request request{.target = "/v1/health/service/" + url_encoded(service_) + "?"};
    auto const add = [&](char const* key, std::string const& value) {
      if (value.empty()) return;
      if (request.target.back() != '?') request.target += '&';
      request.target.append(key).append("=").append(url_encoded(value));
    };
    add("stale", options_.stale ? "1" : "");
    add("tag", options_.tag);
    add("filter", options_.filter);
    add("dc", options_.datacenter);
    if (index_ != 0) {
      auto const seconds = std::chrono::ceil<std::chrono::seconds>(options_.wait);
      add("index", std::to_string(index_));
      add("wait", std::to_string(seconds.count()) + "s");
      request.timeout += seconds + seconds / 16;  // Consul adds up to a sixteenth
    }
    request.add_token("X-Consul-Token: ", options_.token);
    return request;
  }

  std::string service_;
  ConsulOptions options_;
  std::uint64_t index_ = 0;
};

}  // namespace poise::inline v0_1_0::discovery::json
