// SPDX-License-Identifier: MIT
#pragma once

// An Envoy cluster in JSON as a configuration: config.cluster.v3.Cluster, alone, in {"clusters":
// [...]} or in {"static_resources": {"clusters": [...]}}; names with _ or in camelCase.
//
// It translates the policy, slow start, panic, outlier detection, health checks, waiting requests,
// and endpoints with localities, priorities and weights. What it leaves out, it lists. docs:
// configuration.md, "From Envoy and gRPC".
//
// Where nlohmann's JSON is not installed, this header is empty.

#if __has_include(<nlohmann/json.hpp>)

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/config/json.hpp>
#include <poise/config/node.hpp>
#include <poise/config/translation.hpp>

namespace poise::inline v0_1_0::config {

namespace detail {

/// A load balancing policy of Envoy, by the names that its configuration has for it.
struct EnvoyPolicy {
  std::string_view lb_policy;  ///< The value of lb_policy.
  std::string_view options;    ///< The cluster's member with its options; "": none.
  std::string_view type;       ///< The end of "@type" in load_balancing_policy.
  std::string_view policy;     ///< Here.
  std::string_view remark;     ///< What is not the same; "": nothing.
};

inline constexpr std::array envoy_policies{
    EnvoyPolicy{"ROUND_ROBIN", "round_robin_lb_config", ".RoundRobin", "smooth_weighted", ""},
    EnvoyPolicy{"LEAST_REQUEST", "least_request_lb_config", ".LeastRequest", "p2c", ""},
    EnvoyPolicy{"RANDOM", "", ".Random", "random", ""},
    EnvoyPolicy{"RING_HASH", "ring_hash_lb_config", ".RingHash", "ring",
                "keys move to other backends once: the hash is another one"},
    EnvoyPolicy{"MAGLEV", "maglev_lb_config", ".Maglev", "maglev",
                "keys move to other backends once: the hash is another one"},
    EnvoyPolicy{"", "", ".ClientSideWeightedRoundRobin", "smooth_weighted", ""},
};

/// Reads one file.
class EnvoyReader {
 public:
  explicit EnvoyReader(Translator& to) : to_{to} {}

  void read(Node const& root) {
    Members file{to_, "", root};
    if (auto const* const resources = file.find("static_resources")) {
      Members inner{to_, "static_resources", *resources};
      read_clusters(inner);
      inner.done();
      return file.done();
    }
    if (std::ranges::any_of(root.keys, [](Key const& key) { return key.name == "clusters"; })) {
      read_clusters(file);
      return file.done();
    }
    read_cluster(file);
  }

 private:
  void read_clusters(Members& parent) {
    auto const& all = parent.list("clusters");
    if (all.size() != 1)
      return to_.refuse(parent.at(), "there are " + std::to_string(all.size()) +
                                         " clusters: leave one, since a file describes one pool");
    Members cluster{to_, "clusters.0", all[0]};
    read_cluster(cluster);
  }

  void read_cluster(Members& cluster) {
    if (auto const* const name = cluster.find("name")) to_.put("name", *name);
    cluster.take({{"connect_timeout", "gateway.connect_timeout"}});
    read_type(cluster);
    if (auto const* const assignment = cluster.find("load_assignment"))
      read_assignment(cluster.path_of("load_assignment"), *assignment);
    read_policy(cluster);
    if (auto const* const common = cluster.find("common_lb_config"))
      read_common(cluster.path_of("common_lb_config"), *common);
    if (auto const* const outliers = cluster.find("outlier_detection"))
      read_outliers(cluster.path_of("outlier_detection"), *outliers);
    else
      to_.ignore(cluster.at(),
                 "no outlier_detection: Envoy ejects no host by its requests; here "
                 "the defaults of [health] do");
    if (auto const* const checks = cluster.find("health_checks"))
      read_checks(cluster.path_of("health_checks"), *checks);
    if (auto const* const breakers = cluster.find("circuit_breakers"))
      read_breakers(cluster.path_of("circuit_breakers"), *breakers);
    put_policy(cluster.at());
    cluster.done({"@type", "alt_stat_name", "metadata"});
  }

  // -- where hosts come from ---------------------------------------------------------------------

  void read_type(Members& cluster) {
    auto const* const type = cluster.find("type");
    auto const* const eds = cluster.find("eds_cluster_config");
    if (type != nullptr && type->text == "LOGICAL_DNS")
      to_.ignore(type->at, "type: each connection resolves the name here, if it is one");
    if (eds == nullptr) return;
    Members config{to_, cluster.path_of("eds_cluster_config"), *eds};
    (void)config.find("service_name");
    if (auto const* const source = config.find("eds_config"))
      read_eds_source(config.path_of("eds_config"), *source);
    config.done();
  }

  void read_eds_source(std::string const& path, Node const& node) {
    Members source{to_, path, node};
    (void)source.find("resource_api_version");
    auto const* file = source.find("path");
    if (auto const* const inner = source.find("path_config_source")) {
      Members config{to_, source.path_of("path_config_source"), *inner};
      file = config.find("path");
      config.done();
    }
    if (file != nullptr) to_.put("source", text_node("eds:" + file->text, file->at));
    source.done();
  }

  void read_assignment(std::string const& path, Node const& node) {
    Members assignment{to_, path, node};
    (void)assignment.find("cluster_name");
    auto const& localities = assignment.list("endpoints");
    for (std::size_t i = 0; i < localities.size(); ++i)
      read_locality(path + ".endpoints." + std::to_string(i), localities[i]);
    assignment.done();
  }

  /// What endpoints have of their locality.
  struct Locality {
    Node tier{};
    Node weight{};
    std::string zone{};
    std::vector<std::pair<std::string, std::string>> labels{};
  };

  void read_locality(std::string const& path, Node const& node) {
    Members members{to_, path, node};
    Locality locality{.tier = whole_node(0, node.at), .weight = whole_node(1, node.at)};
    if (auto const* const priority = members.find("priority")) locality.tier = *priority;
    if (auto const* const weight = members.find("load_balancing_weight"))
      locality.weight = scaled(unwrapped(*weight), 1);
    if (auto const* const place = members.find("locality")) {
      Members names{to_, members.path_of("locality"), *place};
      locality.zone = names.text("zone");
      for (auto const* const name : {"region", "sub_zone"})
        if (auto text = names.text(name); !text.empty())
          locality.labels.emplace_back(name, std::move(text));
      names.done();
    }
    has_tiers_ = has_tiers_ || locality.tier.integer != 0;
    auto const& hosts = members.list("lb_endpoints");
    for (std::size_t i = 0; i < hosts.size(); ++i)
      read_host(members.path_of("lb_endpoints." + std::to_string(i)), hosts[i], locality);
    members.done();
  }

  void read_host(std::string const& path, Node const& node, Locality const& locality) {
    Members host{to_, path, node};
    auto const* const status = host.find("health_status");
    auto const state = status == nullptr ? std::string{} : status->text;
    auto weight = locality.weight;
    if (auto const* const own = host.find("load_balancing_weight"))
      weight = product(scaled(unwrapped(*own), 1), locality.weight);
    Node backend = table_node(node.at);
    if (auto const* const endpoint = host.find("endpoint")) {
      Members inner{to_, host.path_of("endpoint"), *endpoint};
      if (auto const* const address = inner.find("address"))
        add_address(backend, inner.path_of("address"), *address);
      inner.done({"@type", "hostname"});
    }
    host.done();
    if (state == "UNHEALTHY" || state == "TIMEOUT")
      return to_.ignore(status->at, host.path_of("health_status") + " is " + state +
                                        ": this endpoint is left out");
    if (state == "DRAINING") weight = whole_node(0, status->at);
    has_weights_ = has_weights_ || weight.integer != 1;
    add_place(backend, locality, std::move(weight));
    to_.add_backend(std::move(backend));
  }

  static void add_place(Node& backend, Locality const& locality, Node weight) {
    if (weight.kind != Node::Kind::integer || weight.integer != 1)
      add_member(backend, "weight", std::move(weight));
    if (!locality.zone.empty()) add_member(backend, "zone", text_node(locality.zone, backend.at));
    if (locality.tier.kind != Node::Kind::integer || locality.tier.integer != 0)
      add_member(backend, "tier", locality.tier);
    if (locality.labels.empty()) return;
    auto& labels = member(backend, "labels", backend.at);
    for (auto const& [name, text] : locality.labels)
      add_member(labels, name, text_node(text, backend.at));
  }

  void add_address(Node& backend, std::string const& path, Node const& node) {
    Members address{to_, path, node};
    if (auto const* const pipe = address.find("pipe")) {
      Members inner{to_, address.path_of("pipe"), *pipe};
      add_member(backend, "address", text_node("unix:" + inner.text("path"), pipe->at));
      inner.done();
    } else if (auto const* const socket = address.find("socket_address")) {
      Members inner{to_, address.path_of("socket_address"), *socket};
      auto host = inner.text("address");
      if (host.find(':') != std::string::npos) host = '[' + host + ']';
      auto const* const port = inner.find("port_value");
      auto const number = port == nullptr ? std::int64_t{0} : scaled(*port, 1).integer;
      add_member(backend, "address", text_node(host + ':' + std::to_string(number), socket->at));
      (void)inner.find("protocol");
      inner.done();
    }
    address.done();
  }

  /// Of two weights. What is no weight is left for the field to refuse.
  static Node product(Node own, Node const& of_locality) {
    constexpr auto most = std::int64_t{std::numeric_limits<std::uint32_t>::max()};
    bool const usable = own.kind == Node::Kind::integer && own.integer >= 0 &&
                        own.integer <= most && of_locality.kind == Node::Kind::integer &&
                        of_locality.integer >= 0 && of_locality.integer <= most / 4;
    if (usable) own.integer *= of_locality.integer;
    return own;
  }

  // -- policy ------------------------------------------------------------------------------------

  void read_policy(Members& cluster) {
    auto const* const lb_policy = cluster.find("lb_policy");
    auto const name = lb_policy == nullptr ? std::string{"ROUND_ROBIN"} : lb_policy->text;
    if (auto const* const modern = cluster.find("load_balancing_policy"))
      return read_modern(cluster.path_of("load_balancing_policy"), *modern);
    for (auto const& each : envoy_policies) {
      if (each.lb_policy.empty() || each.lb_policy != name) continue;
      choose(each, lb_policy == nullptr ? cluster.at() : lb_policy->at);
      if (auto const* const options = each.options.empty() ? nullptr : cluster.find(each.options))
        read_options(cluster.path_of(each.options), *options);
      return;
    }
    to_.ignore(lb_policy->at, "lb_policy is " + in_words(*lb_policy) + ": it is adaptive here");
  }

  void read_modern(std::string const& path, Node const& node) {
    Members outer{to_, path, node};
    auto const& policies = outer.list("policies");
    for (std::size_t i = 0; i < policies.size() && policy_.empty(); ++i) {
      Members entry{to_, path + ".policies." + std::to_string(i), policies[i]};
      if (auto const* const extension = entry.find("typed_extension_config"))
        read_extension(entry.path_of("typed_extension_config"), *extension);
      entry.done();
    }
    if (policy_.empty())
      to_.ignore(node.at, path + " has no policy that is known here: it is adaptive");
  }

  /// Envoy takes the first one that it knows, and so does this.
  void read_extension(std::string const& path, Node const& node) {
    Members extension{to_, path, node};
    (void)extension.find("name");
    auto const* const config = extension.find("typed_config");
    if (config == nullptr) return;
    Members options{to_, extension.path_of("typed_config"), *config};
    auto const* const type = options.find("@type");
    if (type == nullptr) return;
    for (auto const& each : envoy_policies)
      if (type->text.ends_with(each.type)) {
        choose(each, type->at);
        has_reports_ = each.type == ".ClientSideWeightedRoundRobin";
        return read_options(extension.path_of("typed_config"), *config);
      }
    to_.ignore(type->at, path + " is " + in_words(*type) + ": it is not known here");
  }

  void choose(EnvoyPolicy const& policy, Position at) {
    policy_ = policy.policy;
    policy_at_ = at;
    if (!policy.remark.empty()) to_.ignore(at, std::string{policy.remark});
  }

  void read_options(std::string const& path, Node const& node) {
    Members options{to_, path, node};
    if (auto const* const count = options.find("choice_count"))
      if (scaled(unwrapped(*count), 1).integer != 2)
        to_.ignore(count->at, options.path_of("choice_count") + ": p2c always draws two");
    if (options.text("selection_method") == "FULL_SCAN") policy_ = "least";
    if (has_reports_) take_load_reports(to_, options);
    if (auto const* const slow = options.find("slow_start_config")) {
      Members config{to_, options.path_of("slow_start_config"), *slow};
      config.take({{"slow_start_window", "health.slow_start.window"},
                   {"aggression", "health.slow_start.aggression"},
                   {"min_weight_percent", "health.slow_start.min_fraction", 100}});
      config.done();
    }
    for (auto const* const size : {"minimum_ring_size", "maximum_ring_size"})
      options.ignore(size, "the ring has 1024 points per backend here; see ring(points=...)");
    options.ignore("table_size", "the size follows from max_backends here");
    if (auto const* const hashing = options.find("consistent_hashing_lb_config"))
      read_hashing(options.path_of("consistent_hashing_lb_config"), *hashing);
    options.done();
  }

  void read_hashing(std::string const& path, Node const& node) {
    Members hashing{to_, path, node};
    if (auto const* const factor = hashing.find("hash_balance_factor"))
      if (auto const value = scaled(unwrapped(*factor), 1); value.integer != 0) {
        percent_ = value.integer;
        percent_at_ = factor->at;
      }
    hashing.done();
  }

  /// Priorities and bounded loads wrap the policy. *Requires* that endpoints and common_lb_config
  /// are read.
  void put_policy(Position at) {
    if (policy_.empty()) policy_ = "adaptive";
    if (policy_ == "smooth_weighted" && !has_weights_ && !has_reports_) policy_ = "round_robin";
    auto policy = table_node(policy_at_.line == 0 ? at : policy_at_);
    add_member(policy, "name", text_node(policy_, policy.at));
    if (percent_ != 0 && (policy_ == "ring" || policy_ == "maglev")) {
      policy = around("bounded", std::move(policy));
      add_member(policy, "percent", whole_node(percent_, percent_at_));
    }
    if (has_tiers_) policy = around("failover", std::move(policy));
    to_.put("policy", std::move(policy));
  }
  static Node around(char const* name, Node inner) {
    auto outer = table_node(inner.at);
    add_member(outer, "name", text_node(name, inner.at));
    add_member(outer, "policy", std::move(inner));
    return outer;
  }

  void read_common(std::string const& path, Node const& node) {
    Members common{to_, path, node};
    common.take({{"healthy_panic_threshold", "health.panic.threshold", 100}});
    if (auto const* const zones = common.find("zone_aware_lb_config")) {
      Members config{to_, common.path_of("zone_aware_lb_config"), *zones};
      if (auto const* const fails = config.find("fail_traffic_on_panic"); fails && fails->flag)
        to_.put("health.panic.mode", text_node("closed", fails->at));
      to_.ignore(zones->at, common.path_of("zone_aware_lb_config") +
                                ": use policy = \"zone_aware(..., local=ZONE)\"; Envoy's zone "
                                "stands in its bootstrap");
      config.done();
    }
    if (auto const* const hashing = common.find("consistent_hashing_lb_config"))
      read_hashing(common.path_of("consistent_hashing_lb_config"), *hashing);
    common.ignore("locality_weighted_lb_config",
                  "weights of localities multiply those of their endpoints here");
    common.done();
  }

  // -- health ------------------------------------------------------------------------------------

  void read_outliers(std::string const& path, Node const& node) {
    Members outliers{to_, path, node};
    outliers.take({{"consecutive_5xx", "health.consecutive.failures"},
                   {"enforcing_consecutive_5xx", "health.consecutive.enforce", 100},
                   {"interval", "health.interval"},
                   {"base_ejection_time", "health.ejection.base"},
                   {"max_ejection_time", "health.ejection.max"},
                   {"max_ejection_percent", "health.ejection.max_ejected", 100, 10},
                   {"success_rate_minimum_hosts", "health.success_rate.backends"},
                   {"success_rate_request_volume", "health.success_rate.volume"},
                   {"success_rate_stdev_factor", "health.success_rate.deviations", 1000},
                   {"enforcing_success_rate", "health.success_rate.enforce", 100},
                   {"failure_percentage_threshold", "health.failure_rate.limit", 100},
                   {"failure_percentage_minimum_hosts", "health.failure_rate.backends", 1, 5},
                   {"failure_percentage_request_volume", "health.failure_rate.volume", 1, 50},
                   {"enforcing_failure_percentage", "health.failure_rate.enforce", 100, 0}});
    outliers.ignore("max_ejection_time_jitter", "health.ejection.jitter is a fraction, 10%");
    outliers.ignore("always_eject_one_host", "one backend may always be ejected here");
    for (auto const* const name :
         {"consecutive_gateway_failure", "enforcing_consecutive_gateway_failure",
          "consecutive_local_origin_failure", "enforcing_consecutive_local_origin_failure",
          "split_external_local_origin_errors"})
      outliers.ignore(name,
                      "[health.consecutive] counts failures of every kind, and failures to "
                      "connect (unreachable)");
    outliers.done();
  }

  void read_checks(std::string const& path, Node const& node) {
    if (node.kind != Node::Kind::list)
      return to_.refuse(node.at, path + " is " + in_words(node) + ": a list is expected here");
    bool chosen = false;
    for (std::size_t i = 0; i < node.items.size(); ++i) {
      auto const own = path + '.' + std::to_string(i);
      if (chosen) to_.ignore(node.items[i].at, own + ": there is one kind of probe here");
      else chosen = read_check(own, node.items[i]);
    }
  }

  /// False if probes of this kind are not known.
  bool read_check(std::string const& path, Node const& node) {
    Members check{to_, path, node};
    auto const* const http = check.find("http_health_check");
    auto const* const tcp = check.find("tcp_health_check");
    auto const* const kind = http != nullptr ? http : tcp;
    if (kind == nullptr) {
      to_.ignore(node.at, path + ": probes are tcp or http here; others are made by programs");
      return false;
    }
    to_.put("probe.kind", text_node(http != nullptr ? "http" : "tcp", kind->at));
    Members inner{to_, check.path_of(http != nullptr ? "http_health_check" : "tcp_health_check"),
                  *kind};
    if (http != nullptr) inner.take({{"path", "probe.path"}});
    inner.done();
    check.take({{"interval", "probe.interval"},
                {"timeout", "probe.timeout"},
                {"healthy_threshold", "probe.rise"},
                {"unhealthy_threshold", "probe.fall"},
                {"unhealthy_interval", "probe.max_down_interval"},
                {"interval_jitter_percent", "probe.jitter", 100}});
    check.done();
    return true;
  }

  // -- limits ------------------------------------------------------------------------------------

  void read_breakers(std::string const& path, Node const& node) {
    Members breakers{to_, path, node};
    auto const& all = breakers.list("thresholds");
    for (std::size_t i = 0; i < all.size(); ++i)
      read_thresholds(path + ".thresholds." + std::to_string(i), all[i]);
    breakers.done();
  }

  void read_thresholds(std::string const& path, Node const& node) {
    Members thresholds{to_, path, node};
    auto const priority = thresholds.text("priority");
    if (!priority.empty() && priority != "DEFAULT")
      return to_.ignore(node.at, path + ": limits hold for all priorities of requests here");
    if (!has_waiting_) thresholds.take({{"max_pending_requests", "limits.max_waiting"}});
    has_waiting_ = true;
    for (auto const* const name : {"max_connections", "max_requests"})
      thresholds.ignore(name, "it limits the cluster; limits.max_in_flight limits each backend");
    for (auto const* const name : {"max_retries", "retry_budget"})
      thresholds.ignore(name, "Envoy's retries belong to routes; here [retry] has a budget");
    thresholds.done();
  }

  Translator& to_;
  std::string policy_{};
  Position policy_at_{};
  std::int64_t percent_ = 0;  // of bounded()
  Position percent_at_{};
  bool has_tiers_ = false;
  bool has_reports_ = false;
  bool has_weights_ = false;
  bool has_waiting_ = false;
};

}  // namespace detail

/// Translates the file. `source` says where backends come from if it has none: "dns:web:80".
/// *Errors* none: they are in the document. *Threads* any.
[[nodiscard]] inline Translation read_envoy(std::string_view text, std::string const& source = {}) {
  std::vector<Problem> problems;
  auto const root = parse_json(text, problems);
  return detail::translated<detail::EnvoyReader>(
      root, std::move(problems), source,
      "this cluster has no endpoints: say where they come from (--source)");
}

}  // namespace poise::inline v0_1_0::config

#endif
