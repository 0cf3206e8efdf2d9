// SPDX-License-Identifier: MIT
#pragma once

// From nodes to settings: every problem at once, each with its place, and where each value came
// from.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/base/address.hpp>
#include <poise/base/nearest.hpp>
#include <poise/compose/policy_parser.hpp>
#include <poise/config/field.hpp>
#include <poise/config/fields.hpp>
#include <poise/config/node.hpp>
#include <poise/config/policy_table.hpp>
#include <poise/config/policy_text.hpp>
#include <poise/config/settings.hpp>
#include <poise/endpoint.hpp>
#include <poise/error.hpp>

namespace poise::inline v0_1_0::config {

/// What a file says. Only without problems may the settings be used.
struct Document {
  Settings settings{};
  /// Where a value stands, by its path: "health.ejection.base", "backends.0.weight", and "retry"
  /// for a table. What is not here has its default.
  std::map<std::string, Position, std::less<>> origins{};
  std::vector<Problem> problems{};  ///< In the order of the file.

  [[nodiscard]] bool valid() const noexcept { return problems.empty(); }
  /// Where a value stands; else its table; else the begin of the file.
  [[nodiscard]] Position place_of(std::string_view path) const {
    for (;;) {
      if (auto const found = origins.find(path); found != origins.end()) return found->second;
      auto const dot = path.rfind('.');
      if (dot == std::string_view::npos) return {1, 1};
      path = path.substr(0, dot);
    }
  }
};

namespace detail {

/// Reads a whole tree once.
class DocumentReader {
 public:
  explicit DocumentReader(Document& document) : document_{document} {}

  void read(Node const& root) {
    if (root.kind != Node::Kind::table)
      return add(root.at, "the file is " + in_words(root) + ": use a table of keys and values");
    read_table("", root);
  }

 private:
  void add(Position at, std::string text) { document_.problems.push_back({at, std::move(text)}); }

  /// The section of this name with its fields; null for one that has only sections below it.
  static Section const* section_named(std::string_view name) {
    auto const found = std::ranges::find(sections(), name, &Section::name);
    return found == sections().end() ? nullptr : &*found;
  }
  /// Is there a section whose name begins with this one and a dot, or is it?
  static bool is_section(std::string_view path) {
    return std::ranges::any_of(sections(), [&](Section const& each) {
      return each.name == path ||
             (each.name.starts_with(path) && each.name.substr(path.size()).starts_with('.'));
    });
  }
  /// What may stand in this table: fields and tables.
  static std::vector<std::string_view> known_keys(std::string_view table) {
    std::vector<std::string_view> keys;
    if (auto const* const section = section_named(table))
      for (auto const& each : section->fields) keys.push_back(each.key);
    if (table.empty()) keys.push_back("backends");
    for (auto const& each : sections()) {
      auto name = each.name;
      if (!table.empty()) {
        if (!name.starts_with(table) || !name.substr(table.size()).starts_with('.')) continue;
        name.remove_prefix(table.size() + 1);
      }
      if (!name.empty() && name.find('.') == std::string_view::npos) keys.push_back(name);
    }
    return keys;
  }

  void read_table(std::string const& path, Node const& table) {
    if (!path.empty()) document_.origins[path] = table.at;
    for (std::size_t i = 0; i < table.items.size(); ++i)
      read_member(path, table.keys[i], table.items[i]);
  }

  void read_member(std::string const& table, Key const& key, Node const& value) {
    if (key.name.starts_with("x-")) return;  // theirs who write it
    if (table.empty() && (key.name == "backends" || key.name == "$schema")) {
      if (key.name == "backends") read_backends(value);
      return;
    }
    auto const path = path_of(table, key.name);
    if (auto const* const section = section_named(table))
      for (auto const& each : section->fields)
        if (each.key == key.name) return read_field(each, path, value, document_.settings);
    if (!is_section(path)) return add_unknown(table, key, known_keys(table));
    if (value.kind != Node::Kind::table)
      return add(value.at, path + " is " + in_words(value) + ": use a table, [" + path + "]");
    read_table(path, value);
  }

  void add_unknown(std::string_view table, Key const& key,
                   std::vector<std::string_view> const& known) {
    add(key.at, "unknown key " + poise::detail::in_quotes(key.name) +
                    (table.empty() ? "" : " in [" + std::string{table} + "]") +
                    poise::detail::suggestion(key.name, known, "there are"));
  }

  template <class Owner>
  void read_field(Field<Owner> const& field, std::string const& path, Node const& node,
                  Owner& owner) {
    document_.origins[path] = node.at;
    if (field.kind == Kind::policy && node.kind == Node::Kind::table) {
      PolicyTable const table{path, node, document_.problems};
      return field.set(owner, Value{table.text()});
    }
    std::string why;
    auto const value = read_value(field.kind, field.range, node, why);
    if (value) return field.set(owner, *value);
    if (why.empty()) why = "use " + allowed(field.kind, field.range);
    bool const is_secret = field.kind == Kind::secret && node.kind == Node::Kind::text;
    add(node.at, path + " is " + (is_secret ? "a text" : in_words(node)) + ": " + why);
  }

  void read_backends(Node const& list) {
    document_.origins["backends"] = list.at;
    if (list.kind != Node::Kind::list)
      return add(list.at, "backends is " + in_words(list) + ": use a list of tables, [[backends]]");
    for (auto const& each : list.items) read_backend(each);
  }

  void read_backend(Node const& table) {
    auto& all = document_.settings.backends;
    auto const path = "backends." + std::to_string(all.size());
    all.emplace_back();
    document_.origins[path] = table.at;
    if (table.kind != Node::Kind::table)
      return add(table.at, path + " is " + in_words(table) +
                               ": use a table such as {address = \"10.0.0.1:80\"}");
    auto const before = document_.problems.size();
    for (std::size_t i = 0; i < table.items.size(); ++i)
      read_backend_field(path, table.keys[i], table.items[i], all.back());
    if (document_.problems.size() != before) return;
    if (all.back().address.empty())
      add(table.at, path + " has no address: add address = \"host:port\"");
    if (all.back().id.empty()) all.back().id = all.back().address;
  }

  void read_backend_field(std::string const& path, Key const& key, Node const& value,
                          Endpoint& endpoint) {
    if (key.name.starts_with("x-")) return;
    auto const own = path + '.' + key.name;
    if (key.name == "labels") return read_labels(own, value, endpoint);
    std::vector<std::string_view> known{"labels"};
    for (auto const& each : backend_fields()) {
      if (each.key == key.name) return read_field(each, own, value, endpoint);
      known.push_back(each.key);
    }
    add_unknown("backends", key, known);
  }

  void read_labels(std::string const& path, Node const& table, Endpoint& endpoint) {
    document_.origins[path] = table.at;
    if (table.kind != Node::Kind::table)
      return add(table.at, path + " is " + in_words(table) +
                               ": use a table of texts, such as {disk = \"ssd\"}");
    for (std::size_t i = 0; i < table.items.size(); ++i) {
      auto const& value = table.items[i];
      if (value.kind != Node::Kind::text)
        add(value.at,
            path + '.' + table.keys[i].name + " is " + in_words(value) + ": use a text in quotes");
      else endpoint.labels.push_back({table.keys[i].name, value.text});
    }
  }

  Document& document_;
};

/// What can only be said of several fields together. Reported at the first of them that the file
/// has; runs only on values that are right by themselves.
class DocumentChecks {
 public:
  explicit DocumentChecks(Document& document) : document_{document}, settings_{document.settings} {}

  void check() {
    mark_secrets();
    check_backends();
    check_health();
    check_probe();
    check_retry();
    check_limits();
    check_load_reports();
    check_switches();
    check_credentials();
    auto const& follower = settings_.discovery.follower;
    refuse(follower.max_backoff < follower.backoff, "discovery.max_backoff",
           text_of(follower.max_backoff),
           "use at least discovery.backoff, which is " + text_of(follower.backoff));
  }

 private:
  void mark_secrets() {
    try {
      detail::mark_secrets(poise::detail::PolicyParser::parse(settings_.policy),
                           document_.settings.policy_secrets);
    } catch (ConfigError const& error) {  // it was read a moment ago
      document_.problems.push_back({place_of("policy"), std::string{"policy: "} + error.what()});
    }
  }

  void refuse(bool wrong, std::string const& path, std::string const& value,
              std::string const& advice) {
    if (wrong)
      document_.problems.push_back({place_of(path), path + " is " + value + ": " + advice});
  }
  [[nodiscard]] Position place_of(std::string_view path) const { return document_.place_of(path); }

  void check_backends() {
    auto const& all = settings_.backends;
    bool const sourced = !settings_.source.empty();
    if (!all.empty() && sourced)
      document_.problems.push_back(
          {place_of("source"), "source and [[backends]] are both given: remove one of them"});
    if (all.empty() && !sourced)
      document_.problems.push_back({place_of("backends"),
                                    "there are no backends: add [[backends]] with an address, or "
                                    "source = \"KIND:WHERE\""});
    std::map<std::string_view, std::size_t> ids;
    bool any_weight = all.empty();
    for (std::size_t i = 0; i < all.size(); ++i) {
      any_weight = any_weight || all[i].weight != 0;
      auto const [first, is_new] = ids.try_emplace(all[i].id, i);
      auto const path = "backends." + std::to_string(i);
      auto const own = document_.origins.contains(path + ".id") ? path + ".id" : path + ".address";
      refuse(!is_new, own, poise::detail::in_quotes(all[i].id),
             "backends." + std::to_string(first->second) +
                 " has the same id; ids must differ, since statistics follow them");
    }
    refuse(!any_weight, "backends.0.weight", "0",
           "every weight is 0, so nothing can be picked; use 1 or more for some");
  }

  void check_health() {
    auto const& ejection = settings_.health.monitor.ejection;
    auto const first = std::max(ejection.base, ejection.unreachable);
    refuse(ejection.max < first, "health.ejection.max", text_of(ejection.max),
           "use at least base and unreachable, the first ejection times: " + text_of(first));
  }

  void check_probe() {
    auto const& probe = settings_.probe.options;
    refuse(probe.timeout >= probe.interval, "probe.timeout", text_of(probe.timeout),
           "it must be shorter than probe.interval, which is " + text_of(probe.interval));
    refuse(probe.max_down_interval < probe.doubt_interval, "probe.max_down_interval",
           text_of(probe.max_down_interval),
           "use at least probe.doubt_interval, which is " + text_of(probe.doubt_interval));
    using Seconds = std::chrono::duration<double>;
    auto const silence = settings_.health.monitor.probe_silence;
    auto const longest =
        Seconds{probe.max_down_interval} * (1 + probe.jitter) + Seconds{probe.timeout};
    refuse(settings_.probe.kind != ProbeKind::none && longest >= Seconds{silence},
           "probe.max_down_interval", text_of(probe.max_down_interval),
           "with jitter and timeout that is no less than health.probe_silence, " +
               text_of(silence) + ", after which a prober counts as dead");
  }

  void check_retry() {
    auto const& retry = settings_.retry;
    if (retry.attempts == 1) return;
    refuse(retry.max_pause < retry.base_pause, "retry.max_pause", text_of(retry.max_pause),
           "use at least retry.base_pause, which is " + text_of(retry.base_pause));
    refuse(poise::detail::PolicyParser::parse(settings_.policy).name == "retry", "policy",
           poise::detail::in_quotes(settings_.policy),
           "it retries by itself; remove retry() from it, or remove [retry]");
    auto const error = document_.valid() ? check_policy(policy_text(settings_)) : "";
    refuse(!error.empty(), "retry.attempts", std::to_string(retry.attempts),
           "this policy can't be retried: " + error);
  }

  void check_credentials() {
    auto const kind = poise::detail::split_kind(settings_.source).first;
    auto const& credentials = settings_.credentials;
    refuse(!credentials.token_file.empty() && kind != "consul" && kind != "k8s", "discovery.token",
           "given", "only the sources consul and k8s take a token");
    refuse(!credentials.user.empty() && kind != "etcd", "discovery.user", "given",
           "only the source etcd takes a user");
    refuse(credentials.user.empty() != credentials.password_file.empty(),
           credentials.user.empty() ? "discovery.password" : "discovery.user", "given",
           "user and password go together");
  }

  /// A table whose switch was forgotten: somebody believes that it counts.
  void check_switches() {
    std::string_view told;  // a table's own tables have its switch
    for (auto const& each : sections()) {
      if (each.is_on == nullptr || each.is_on(settings_) || each.switch_path == told) continue;
      if (!document_.origins.contains(each.name) || document_.origins.contains(each.switch_path))
        continue;
      told = each.switch_path;
      document_.problems.push_back(
          {place_of(each.name), "[" + std::string{each.name} + "] has no effect: set " +
                                    std::string{each.switch_path} + ", or remove the table"});
    }
  }

  void check_load_reports() {
    auto const& policy = settings_.policy;
    bool const is_deaf =
        policy == "round_robin" || policy == "exact_round_robin" || policy == "random";
    refuse(settings_.load_reports.enabled && is_deaf, "load_reports.enabled", "true",
           "the policy " + policy + " looks at no weights; use smooth_weighted");
  }

  void check_limits() {
    auto const& limits = settings_.limits.adaptive;
    refuse(limits.min > limits.initial, "limits.adaptive.initial", std::to_string(limits.initial),
           "use at least limits.adaptive.min, which is " + std::to_string(limits.min));
    refuse(limits.initial > limits.max, "limits.adaptive.max", std::to_string(limits.max),
           "use at least limits.adaptive.initial, which is " + std::to_string(limits.initial));
  }

  Document& document_;
  Settings const& settings_;
};

}  // namespace detail

/// Reads settings from nodes. `problems` are what the format's reader found.
/// *Errors* none: they are in the document. *Cost* compiles the policy's text.
[[nodiscard]] inline Document read(Node const& root, std::vector<Problem> problems = {}) {
  Document document{.problems = std::move(problems)};
  detail::DocumentReader{document}.read(root);
  if (document.valid()) detail::DocumentChecks{document}.check();
  std::ranges::sort(document.problems, {}, &Problem::at);
  return document;
}

}  // namespace poise::inline v0_1_0::config
