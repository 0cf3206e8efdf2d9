// SPDX-License-Identifier: MIT
#pragma once

// Kubernetes' EndpointSlices: one list, then a watch from its resource version.
//
// A service is the union of its slices, which are kept by name. Endpoints that are ready are taken;
// those that only serve while they terminate have weight 0 (nothing new), unless no other is left.
// A watch that reports 410 (its version is too old) lists again, as does one that ended.
// Works with discovery.k8s.io/v1 and v1beta1, which differ in where the zone stands.

#include <algorithm>
#include <chrono>
#include <compare>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <poise/discovery/json/conversation.hpp>
#include <poise/discovery/json/endpoints.hpp>
#include <poise/discovery/json/reader.hpp>
#include <poise/discovery/look.hpp>
#include <poise/endpoint.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::discovery::json {

struct KubernetesOptions {
  std::string port{};          ///< The port's name; empty: the first port.
  std::string zone{};          ///< Of this client: hints keep other zones' endpoints in tier 1.
  std::string version = "v1";  ///< Of discovery.k8s.io.
  Duration watch = std::chrono::minutes{5};  ///< How long a watch lasts before it lists again.
  /// Called for each request, since the tokens of service accounts are rotated.
  std::function<std::string()> token{};
};

namespace detail {

/// What a slice says of one address.
struct SliceEndpoint {
  Endpoint endpoint{};
  bool ready = false;  // else it serves while it terminates
};

inline bool condition(Json const& endpoint, char const* name, bool absent) {
  auto const* const value = find(endpoint, "conditions", name);
  return value != nullptr && value->is_boolean() ? value->get<bool>() : absent;
}

/// The port with this name, or the first one if the name is empty.
inline std::optional<std::uint32_t> slice_port(Json const& slice, std::string const& name) {
  auto const* const ports = find(slice, "ports");
  if (ports == nullptr || !ports->is_array()) return std::nullopt;
  for (auto const& each : *ports)
    if (name.empty() || text_at(each, "name") == name) return number_at("port", each, "port");
  return std::nullopt;
}

/// True if the endpoint is meant for clients in this zone, or for all.
inline bool hinted_for(Json const& endpoint, std::string const& zone) {
  auto const* const zones = find(endpoint, "hints", "forZones");
  if (zones == nullptr || !zones->is_array()) return true;
  for (auto const& each : *zones)
    if (text_at(each, "name") == zone) return true;
  return false;
}

inline void add_slice_endpoint(Json const& each, std::uint32_t port,
                               KubernetesOptions const& options,
                               std::vector<SliceEndpoint>& result) {
  auto const* const addresses = find(each, "addresses");
  if (addresses == nullptr || !addresses->is_array() || addresses->empty()) return;
  bool const ready = condition(each, "ready", true);
  bool const drains = condition(each, "serving", ready) && condition(each, "terminating", false);
  if (!ready && !drains) return;
  auto const& host = (*addresses)[0];  // the others are the same backend
  if (!host.is_string()) throw JsonError{wrong("an address", host, "use a text")};
  SliceEndpoint found{.ready = ready};
  auto& endpoint = found.endpoint;
  endpoint.address = host_port(host.get<std::string>(), port);
  endpoint.id = endpoint.address;
  endpoint.zone = text_at(each, "zone");
  if (endpoint.zone.empty())
    endpoint.zone = text_at(each, "topology", "topology.kubernetes.io/zone");
  if (!options.zone.empty() && !hinted_for(each, options.zone)) endpoint.tier = 1;
  if (auto node = text_at(each, "nodeName"); !node.empty())
    endpoint.labels.push_back({"node", std::move(node)});
  result.push_back(std::move(found));
}

/// The endpoints of one slice. *Errors* JsonError.
inline std::vector<SliceEndpoint> slice_endpoints(Json const& slice,
                                                  KubernetesOptions const& options) {
  std::vector<SliceEndpoint> result;
  auto const* const list = find(slice, "endpoints");
  if (list == nullptr || !list->is_array()) return result;
  auto const port = slice_port(slice, options.port);
  if (!port) {
    if (list->empty()) return result;
    throw JsonError{
        "slice " + text_at(slice, "metadata", "name") + " has no port " +
        (options.port.empty() ? "with a number" : poise::detail::in_quotes(options.port))};
  }
  for (auto const& each : *list) add_slice_endpoint(each, *port, options, result);
  return result;
}

}  // namespace detail

class Kubernetes final : public Conversation {
 public:
  Kubernetes(std::string name_space, std::string service, KubernetesOptions options = {})
      : namespace_{std::move(name_space)},
        service_{std::move(service)},
        options_{std::move(options)} {}

  [[nodiscard]] std::string name() const override {
    return "kubernetes " + namespace_ + "/" + service_;
  }
  [[nodiscard]] Request begin() override {
    watching_ = false;
    return request();
  }
  [[nodiscard]] Step on_answer(Answer const& answer) override {
    if (watching_ && answer.status == 200) return {};  // the watch ended
    if (watching_ && answer.status == 410) return {{}, list_again()};
    if (answer.status != 200) return {failure(answer), {}};
    return guarded([&]() -> Step {
      take_list(parse(answer.body));
      return {list(), watch()};
    });
  }
  [[nodiscard]] Step on_line(std::string_view line) override {
    return guarded([&]() -> Step {
      auto const event = parse(line);
      auto const type = text_at(event, "type");
      auto const* const object = find(event, "object");
      if (object == nullptr) throw JsonError{wrong("an event", event, "it has no \"object\"")};
      if (type == "ERROR") return end_watch(*object);
      version_ = text_at(*object, "metadata", "resourceVersion");
      fruitful_ = true;
      if (type == "BOOKMARK") return {};
      auto const name = text_at(*object, "metadata", "name");
      if (type == "DELETED") slices_.erase(name);
      else put(name, *object);
      return {.changed = true};
    });
  }
  /// An address may be in two slices while they change: ready wins.
  [[nodiscard]] Found list() const override {
    Found found{.version = version_, .watched = true};
    std::vector<detail::SliceEndpoint const*> all;
    bool any_ready = false;
    for (auto const& [name, slice] : slices_) {
      if (!slice.problem.empty()) discovery::detail::add_problem(found.problems, slice.problem);
      for (auto const& each : slice.endpoints) {
        any_ready = any_ready || each.ready;
        all.push_back(&each);
      }
    }
    std::ranges::stable_sort(all, [](auto const* a, auto const* b) {
      auto const order = a->endpoint.id <=> b->endpoint.id;
      return order != 0 ? order < 0 : a->ready && !b->ready;
    });
    for (auto const* const each : all) {
      auto& list = found.endpoints;
      if (!list.empty() && list.back().id == each->endpoint.id) continue;
      list.push_back(each->endpoint);
      if (!each->ready && any_ready) list.back().weight = 0;
    }
    return found;
  }

 private:
  [[nodiscard]] Request request() const {
    Request request{.target = "/apis/discovery.k8s.io/" + url_encoded(options_.version) +
                              "/namespaces/" + url_encoded(namespace_) +
                              "/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3D" +
                              url_encoded(service_)};
    request.add_token("Authorization: Bearer ", options_.token);
    return request;
  }
  [[nodiscard]] Request watch() {
    watching_ = true;
    auto result = request();
    auto const seconds = std::chrono::ceil<std::chrono::seconds>(options_.watch).count();
    result.target += "&watch=1&allowWatchBookmarks=true&resourceVersion=" + url_encoded(version_) +
                     "&timeoutSeconds=" + std::to_string(seconds);
    result.streams = true;
    return result;
  }

  /// The version is too old.
  [[nodiscard]] Request list_again() {
    auto request = begin();
    request.after = watch_again_after(std::exchange(fruitful_, false));
    return request;
  }
  [[nodiscard]] Step end_watch(Json const& status) {
    auto const code = find(status, "code") == nullptr ? std::nullopt : whole(*find(status, "code"));
    if (code == 410U) return {{}, list_again()};
    return {Failed{"the watch failed: " + poise::detail::escaped(text_at(status, "message")), {}},
            {}};
  }

  void take_list(Json const& list) {
    auto const* const items = find(list, "items");
    if (text_at(list, "metadata", "resourceVersion").empty())
      throw JsonError{wrong("the answer", list, "it is no list of EndpointSlices")};
    version_ = text_at(list, "metadata", "resourceVersion");
    slices_.clear();
    if (items != nullptr && items->is_array())
      for (auto const& each : *items) put(text_at(each, "metadata", "name"), each);
  }
  /// A slice of another service came along if the server ignores label selectors.
  void put(std::string const& name, Json const& slice) {
    auto const owner = text_at(slice, "metadata", "labels", "kubernetes.io/service-name");
    if (!owner.empty() && owner != service_) return;
    auto& entry = slices_[name];
    entry = {};
    try {
      entry.endpoints = detail::slice_endpoints(slice, options_);
    } catch (JsonError const& error) {
      entry.problem = error.what();
    }
  }

  struct Slice {
    std::vector<detail::SliceEndpoint> endpoints{};
    std::string problem{};
  };

  std::string namespace_;
  std::string service_;
  KubernetesOptions options_;
  bool watching_ = false;
  bool fruitful_ = false;  // this watch has shown anything
  std::string version_{};
  std::map<std::string, Slice> slices_{};
};

}  // namespace poise::inline v0_1_0::discovery::json
