// SPDX-License-Identifier: MIT
#pragma once

// A gRPC service config in JSON as a configuration: loadBalancingConfig with outlier detection,
// retries, hedging, timeouts and retry throttling.
//
// A service config has no backends: `source` says where they come from. docs: configuration.md,
// "From Envoy and gRPC".
//
// Where nlohmann's JSON is not installed, this header is empty.

#if __has_include(<nlohmann/json.hpp>)

#include <algorithm>
#include <array>
#include <cctype>
#include <cstddef>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/config/json.hpp>
#include <poise/config/node.hpp>
#include <poise/config/translation.hpp>
#include <poise/error.hpp>

namespace poise::inline v0_1_0::config {

namespace detail {

/// A load balancing policy of gRPC.
struct GrpcPolicy {
  std::string_view name;
  std::string_view policy;  ///< Here.
  std::string_view remark;  ///< What is not the same; "": nothing.
};

inline constexpr std::array grpc_policies{
    GrpcPolicy{"round_robin", "round_robin", ""},
    GrpcPolicy{"weighted_round_robin", "smooth_weighted", ""},
    GrpcPolicy{"least_request_experimental", "p2c", ""},
    GrpcPolicy{"ring_hash_experimental", "ring",
               "keys move to other backends once: the hash is another one"},
    GrpcPolicy{"ring_hash", "ring", "keys move to other backends once: the hash is another one"},
};

/// What a status of gRPC is here, as retry() takes it; "": it is not retried.
struct GrpcStatus {
  std::string_view name;
  std::string_view results;
};

inline constexpr std::array grpc_statuses{
    GrpcStatus{"UNAVAILABLE", "refused+connect_timeout+reset+overloaded"},
    GrpcStatus{"DEADLINE_EXCEEDED", "timeout"},
    GrpcStatus{"RESOURCE_EXHAUSTED", "overloaded"},
    GrpcStatus{"INTERNAL", "error"},
    GrpcStatus{"UNKNOWN", "error"},
    GrpcStatus{"DATA_LOSS", "error"},
};

/// Reads one file.
class GrpcReader {
 public:
  explicit GrpcReader(Translator& to) : to_{to} {}

  void read(Node const& root) {
    Members config{to_, "", root};
    auto const* const legacy = config.find("loadBalancingPolicy");
    if (auto const* const policies = config.find("loadBalancingConfig"))
      read_policies("loadBalancingConfig", *policies);
    else if (legacy != nullptr) read_legacy(*legacy);
    else to_.ignore(root.at, "no loadBalancingConfig: gRPC takes pick_first; it is adaptive here");
    if (!has_outliers_)
      to_.ignore(root.at,
                 "no outlier detection: gRPC ejects no backend by its requests; here the "
                 "defaults of [health] do");
    read_methods(config.list("methodConfig"));
    if (auto const* const throttling = config.find("retryThrottling")) read_throttling(*throttling);
    config.ignore("healthCheckConfig", "probes are tcp or http here; see [probe]");
    config.done();
  }

 private:
  // -- policy ------------------------------------------------------------------------------------

  void read_legacy(Node const& name) {
    std::string lower{name.text};
    std::ranges::transform(lower, lower.begin(), [](unsigned char letter) {
      return static_cast<char>(std::tolower(letter));
    });
    Node const none = table_node(name.at);
    if (!read_policy("loadBalancingPolicy", lower, name.at, none))
      to_.ignore(name.at, "loadBalancingPolicy is " + in_words(name) + ": it is adaptive here");
  }

  /// Like gRPC, takes the first one that is known.
  void read_policies(std::string const& path, Node const& list) {
    if (list.kind != Node::Kind::list)
      return to_.refuse(list.at, path + " is " + in_words(list) + ": a list is expected here");
    bool chosen = false;
    for (std::size_t i = 0; i < list.items.size(); ++i) {
      auto const& entry = list.items[i];
      auto const own = path + '.' + std::to_string(i);
      if (entry.kind != Node::Kind::table || entry.keys.size() != 1)
        to_.refuse(entry.at, own + " is " + in_words(entry) +
                                 ": use a table with one policy, such as {\"round_robin\": {}}");
      else if (chosen) to_.ignore(entry.at, own + ": an earlier policy is known");
      else chosen = read_entry(own, entry.keys[0], entry.items[0]);
    }
    if (!chosen) to_.ignore(list.at, path + " has no policy that is known here: it is adaptive");
  }

  bool read_entry(std::string const& path, Key const& key, Node const& options) {
    auto const own = path + '.' + poise::detail::escaped(key.name);
    if (key.name == "outlier_detection_experimental" || key.name == "outlier_detection") {
      if (!std::exchange(has_outliers_, true)) read_outliers(own, options);
      return true;
    }
    if (read_policy(own, key.name, key.at, options)) return true;
    to_.ignore(key.at, own + ": it is not known here");
    return false;
  }

  bool read_policy(std::string const& path, std::string const& name, Position at,
                   Node const& options) {
    auto const found = std::ranges::find(grpc_policies, name, &GrpcPolicy::name);
    if (found == grpc_policies.end() || to_.has("policy")) return false;
    to_.put("policy", text_node(std::string{found->policy}, at));
    if (!found->remark.empty()) to_.ignore(at, std::string{found->remark});
    Members members{to_, path, options};
    if (auto const* const count = members.find("choiceCount"))
      if (scaled(unwrapped(*count), 1).integer != 2)
        to_.ignore(count->at, members.path_of("choiceCount") + ": p2c always draws two");
    if (name == "weighted_round_robin") take_load_reports(to_, members);
    members.done();
    return true;
  }

  void read_outliers(std::string const& path, Node const& node) {
    Members outliers{to_, path, node};
    outliers.take({{"interval", "health.interval"},
                   {"baseEjectionTime", "health.ejection.base"},
                   {"maxEjectionTime", "health.ejection.max"},
                   {"maxEjectionPercent", "health.ejection.max_ejected", 100, 10}});
    to_.put("health.consecutive.enforce", number_node(0, node.at));  // gRPC has no such thing
    read_rates(outliers, "successRateEjection", "health.success_rate.enforce",
               {{"stdevFactor", "health.success_rate.deviations", 1000},
                {"enforcementPercentage", "health.success_rate.enforce", 100},
                {"minimumHosts", "health.success_rate.backends"},
                {"requestVolume", "health.success_rate.volume"}});
    read_rates(outliers, "failurePercentageEjection", "health.failure_rate.enforce",
               {{"threshold", "health.failure_rate.limit", 100},
                {"enforcementPercentage", "health.failure_rate.enforce", 100},
                {"minimumHosts", "health.failure_rate.backends", 1, 5},
                {"requestVolume", "health.failure_rate.volume", 1, 50}});
    if (auto const* const child = outliers.find("childPolicy"))
      read_policies(outliers.path_of("childPolicy"), *child);
    outliers.done();
  }

  /// A criterion that is missing is off.
  void read_rates(Members& outliers, char const* name, char const* enforce,
                  std::initializer_list<Counterpart> fields) {
    auto const* const node = outliers.find(name);
    if (node == nullptr) return to_.put(enforce, number_node(0, outliers.at()));
    Members criterion{to_, outliers.path_of(name), *node};
    criterion.take(fields);
    criterion.done();
  }

  // -- calls -------------------------------------------------------------------------------------

  /// One entry for all methods: the one that names none, or else the first.
  void read_methods(std::vector<Node> const& all) {
    if (all.empty()) return;
    auto const chosen = std::ranges::find_if(all, is_for_all);
    auto const& entry = chosen == all.end() ? all[0] : *chosen;
    for (std::size_t i = 0; i < all.size(); ++i) {
      auto const path = "methodConfig." + std::to_string(i);
      if (&all[i] == &entry) read_method(path, entry);
      else to_.ignore(all[i].at, path + ": [retry] holds for all methods here");
    }
  }

  /// Is there a name without service and method?
  static bool is_for_all(Node const& entry) {
    auto const names = std::ranges::find(entry.keys, "name", &Key::name);
    if (names == entry.keys.end()) return false;
    auto const& list = entry.items[static_cast<std::size_t>(names - entry.keys.begin())];
    return std::ranges::any_of(list.items, [](Node const& name) {
      return std::ranges::all_of(name.items, [](Node const& each) { return each.text.empty(); });
    });
  }

  void read_method(std::string const& path, Node const& node) {
    Members method{to_, path, node};
    (void)method.find("name");
    if (auto const* const retry = method.find("retryPolicy"))
      read_retry(method.path_of("retryPolicy"), *retry);
    if (auto const* const hedging = has_retries_ ? nullptr : method.find("hedgingPolicy"))
      read_hedging(method.path_of("hedgingPolicy"), *hedging);
    if (has_retries_) method.take({{"timeout", "retry.timeout"}});
    else method.ignore("timeout", "without retries it is the deadline of each request");
    method.done();
  }

  void read_retry(std::string const& path, Node const& node) {
    has_retries_ = true;
    Members retry{to_, path, node};
    retry.take({{"maxAttempts", "retry.attempts"},
                {"initialBackoff", "retry.base_pause"},
                {"maxBackoff", "retry.max_pause"}});
    if (auto const* const factor = retry.find("backoffMultiplier"))
      if (scaled(*factor, 1).integer != 2 && factor->number != 2)
        to_.ignore(factor->at, retry.path_of("backoffMultiplier") + ": pauses double here");
    if (auto const* const codes = retry.find("retryableStatusCodes"))
      read_codes(retry.path_of("retryableStatusCodes"), *codes);
    retry.done();
  }

  void read_codes(std::string const& path, Node const& list) {
    std::vector<std::string_view> results;
    for (auto const& code : list.items) {
      auto const known = std::ranges::find(grpc_statuses, code.text, &GrpcStatus::name);
      if (known == grpc_statuses.end())
        to_.ignore(code.at, path + " has " + in_words(code) + ": it is not retried here");
      else add_results(results, known->results);
    }
    std::string text;
    for (auto const each : results) text += (text.empty() ? "" : "+") + std::string{each};
    if (!text.empty()) to_.put("retry.on", text_node(text, list.at));
  }

  /// Adds those of "refused+reset" that are not there.
  static void add_results(std::vector<std::string_view>& all, std::string_view joined) {
    while (!joined.empty()) {
      auto const word = joined.substr(0, joined.find('+'));
      joined.remove_prefix(std::min(joined.size(), word.size() + 1));
      if (std::ranges::find(all, word) == all.end()) all.push_back(word);
    }
  }

  void read_hedging(std::string const& path, Node const& node) {
    has_retries_ = true;
    Members hedging{to_, path, node};
    hedging.take({{"maxAttempts", "retry.attempts"}});
    auto const* const delay = hedging.find("hedgingDelay");
    if (delay != nullptr && delay->text != "0s") to_.put("retry.hedge_after", *delay);
    else
      to_.ignore(node.at, path +
                              ": gRPC sends all attempts at once; here hedges need a delay, "
                              "retry.hedge_after");
    hedging.ignore("nonFatalStatusCodes", "an attempt that fails is retried if retry.on has it");
    hedging.done();
  }

  void read_throttling(Node const& node) {
    if (!has_retries_) return to_.ignore(node.at, "retryThrottling: nothing is retried");
    Members throttling{to_, "retryThrottling", node};
    throttling.take({{"tokenRatio", "retry.budget_fraction"}});
    throttling.ignore("maxTokens", "the budget is a fraction of the last second's requests here");
    throttling.done();
  }

  Translator& to_;
  bool has_outliers_ = false;
  bool has_retries_ = false;
};

}  // namespace detail

/// Translates the file. `source` says where backends come from, such as "dns:web:50051".
/// *Errors* none: they are in the document. *Threads* any.
[[nodiscard]] inline Translation read_grpc(std::string_view text, std::string const& source = {}) {
  std::vector<Problem> problems;
  auto const root = parse_json(text, problems);
  return detail::translated<detail::GrpcReader>(
      root, std::move(problems), source,
      "a service config has no backends: say where they come from (--source)");
}

}  // namespace poise::inline v0_1_0::config

#endif
