// SPDX-License-Identifier: MIT
#pragma once

// HAProxy's `backend` and `listen` sections, read and written, so that one list feeds HAProxy and
// poise.
//
//   server NAME HOST:PORT  id and address; unix@/path is unix:/path
//   weight N, maxconn N    weight, max_in_flight; 0 is no limit
//   backup, disabled       tier 1; weight 0
//   default-server         for the servers below it
//   id N                   the label "id", by which HAProxy's hash places servers
//   balance METHOD         the policy that comes closest; without it smooth_weighted
//
// Checks have no counterpart: poise's monitor and probes judge. `defaults` sections are not read.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/base/ascii.hpp>
#include <poise/discovery/look.hpp>
#include <poise/discovery/proxy_group.hpp>
#include <poise/endpoint.hpp>
#include <poise/error.hpp>

namespace poise::inline v0_1_0::discovery {

namespace detail {

/// The words of one line. *Errors* ConfigError: a quote that is not closed.
[[nodiscard]] inline std::vector<std::string> haproxy_words(std::string_view line,
                                                            std::size_t number) {
  std::vector<std::string> words;
  bool inside = false;
  char quote = 0;
  for (std::size_t i = 0; i < line.size(); ++i) {
    char letter = line[i];
    bool const is_blank = letter == ' ' || letter == '\t' || letter == '\r';
    if (quote == 0 && (letter == '#' || is_blank)) {
      if (letter == '#') break;
      inside = false;
      continue;
    }
    if (!std::exchange(inside, true)) words.emplace_back();
    if (letter == quote) {
      quote = 0;
    } else if (quote == 0 && (letter == '"' || letter == '\'')) {
      quote = letter;
    } else {
      bool const escapes = letter == '\\' && quote != '\'' && i + 1 < line.size();
      words.back() += escapes ? line[++i] : letter;
    }
  }
  if (quote != 0) throw ConfigError{at_line(number, "a quote is not closed")};
  return words;
}

class HaproxyParser {
 public:
  /// *Errors* ConfigError: a quote that is not closed.
  [[nodiscard]] std::vector<ProxyGroup> parse(std::string_view text) {
    while (!text.empty()) {
      ++line_;
      auto const line = text.substr(0, text.find('\n'));
      text.remove_prefix(std::min(line.size() + 1, text.size()));
      auto const words = haproxy_words(line, line_);
      if (!words.empty()) take(words);
    }
    return std::move(groups_);
  }

 private:
  using Words = std::vector<std::string>;

  void take(Words const& words) {
    constexpr std::array others{"global",    "defaults", "frontend",   "peers",
                                "resolvers", "mailers",  "userlist",   "ring",
                                "cache",     "program",  "http-errors"};
    auto const& first = words[0];
    if (first == "backend" || first == "listen") {
      groups_.push_back({.name = words.size() > 1 ? words[1] : "", .policy = "smooth_weighted"});
      defaults_ = {};
      inside_ = true;
    } else if (std::ranges::find(others, first) != others.end()) {
      inside_ = false;
    } else if (inside_) {
      take_line(groups_.back(), words);
    }
  }
  void take_line(ProxyGroup& group, Words const& words) {
    if (words[0] == "server") return take_server(group, words);
    if (words[0] == "default-server") return (void)take_parameters(group, defaults_, words, 1);
    if (words[0] == "balance" && words.size() > 1) return take_method(group, words[1]);
    if (words[0] == "server-template")
      add_problem(group.found.problems,
                  at_line(line_, "server-template: use a source of its own, such as dns: or srv:"));
  }

  void take_method(ProxyGroup& group, std::string_view method) const {
    if (method == "roundrobin" || method == "static-rr") group.policy = "smooth_weighted";
    else if (method == "leastconn") group.policy = "least_connections";
    else if (method.starts_with("random")) group.policy = method == "random(1)" ? "random" : "p2c";
    else if (method == "first") add_note(group, "balance first");
    else {
      group.policy = "ring";
      add_note(group, "balance " + std::string{method} +
                          ": HashRing<dialect::Haproxy> and its kin place keys as HAProxy does");
    }
  }

  void take_server(ProxyGroup& group, Words const& words) const {
    if (words.size() < 3 || words[1].empty())
      return add_problem(group.found.problems, at_line(line_, "server has no name or address"));
    auto server = defaults_;
    server.id = words[1];
    server.address = words[2];
    for (std::string_view const unix_socket : {"unix@", "/"})
      if (server.address.starts_with(unix_socket))
        server.address =
            "unix:" + server.address.substr(unix_socket == "/" ? 0 : unix_socket.size());
    if (take_parameters(group, server, words, 3)) add_server(group, line_, std::move(server));
  }
  /// False if one needs a number, and has none.
  bool take_parameters(ProxyGroup& group, Endpoint& server, Words const& words,
                       std::size_t i) const {
    for (; i < words.size(); ++i) {
      auto const& key = words[i];
      bool const has_value = has_argument(key);
      auto const value = has_value && i + 1 < words.size() ? words[++i] : std::string{};
      if (!take_parameter(server, key, value)) {
        add_problem(group.found.problems, at_line(line_, key + " needs a whole number, not " +
                                                             poise::detail::in_quotes(value)));
        return false;
      }
    }
    return true;
  }
  static bool take_parameter(Endpoint& server, std::string const& key, std::string const& value) {
    if (key == "weight") return set_weight(server, value);
    if (key == "maxconn") return set_limit(server, value);
    if (key == "id") server.labels.push_back({"id", value});
    else if (key == "backup" || key == "no-backup") server.tier = key == "backup" ? 1 : 0;
    else if (key == "disabled") server.weight = 0;
    return true;
  }
  /// Those whose next word is an argument: it is no parameter, whatever it says.
  static bool has_argument(std::string_view key) {
    constexpr std::array keys{"weight",
                              "maxconn",
                              "id",
                              "addr",
                              "agent-addr",
                              "agent-inter",
                              "agent-port",
                              "agent-send",
                              "alpn",
                              "ca-file",
                              "check-alpn",
                              "check-proto",
                              "check-sni",
                              "ciphers",
                              "ciphersuites",
                              "cookie",
                              "crl-file",
                              "crt",
                              "downinter",
                              "error-limit",
                              "fall",
                              "fastinter",
                              "guid",
                              "hash-key",
                              "init-addr",
                              "inter",
                              "log-bufsize",
                              "log-proto",
                              "max-reuse",
                              "maxqueue",
                              "minconn",
                              "namespace",
                              "npn",
                              "observe",
                              "on-error",
                              "on-marked-down",
                              "on-marked-up",
                              "pool-low-conn",
                              "pool-max-conn",
                              "pool-purge-delay",
                              "port",
                              "proto",
                              "proxy-v2-options",
                              "redir",
                              "resolve-net",
                              "resolve-opts",
                              "resolve-prefer",
                              "resolvers",
                              "rise",
                              "slowstart",
                              "sni",
                              "socks4",
                              "source",
                              "ssl-max-ver",
                              "ssl-min-ver",
                              "tcp-ut",
                              "track",
                              "usesrc",
                              "verify",
                              "verifyhost",
                              "ws"};
    return std::ranges::find(keys, key) != keys.end();
  }
  void add_note(ProxyGroup& group, std::string_view what) const {
    add_problem(group.notes, at_line(line_, what));
  }

  std::vector<ProxyGroup> groups_{};
  Endpoint defaults_{};
  bool inside_ = false;
  std::size_t line_ = 0;
};

/// HAProxy's weights end at 256: a larger one scales all, and none that serves becomes 0.
[[nodiscard]] inline std::uint32_t scaled_to_haproxy(std::uint32_t weight, std::uint32_t largest) {
  constexpr std::uint32_t max = 256;
  if (largest <= max || weight == 0) return weight;
  return std::max<std::uint32_t>(1,
                                 static_cast<std::uint32_t>(std::uint64_t{weight} * max / largest));
}

/// Letters of a name in HAProxy, beside letters and digits.
inline constexpr std::string_view haproxy_letters = "_.-:";

/// HAProxy takes few letters: the others become "_".
[[nodiscard]] inline std::string haproxy_name(std::string name) {
  for (char& letter : name)
    if (!poise::detail::is_letter_or_digit(letter) &&
        haproxy_letters.find(letter) == std::string_view::npos)
      letter = '_';
  return name;
}

}  // namespace detail

/// All `backend` and `listen` sections of a file of HAProxy's.
/// *Errors* ConfigError: a quote that is not closed.
[[nodiscard]] inline std::vector<ProxyGroup> parse_haproxy(std::string_view text) {
  return detail::HaproxyParser{}.parse(text);
}

/// A `backend` section of these servers, in their order. `policy` is poise's; HAProxy knows
/// least_connections, random and p2c, and takes turns by weight else. `parameters` follow each
/// server: "check", say, or "check agent-check agent-port 9999".
/// *Errors* ConfigError: a name or an address that HAProxy could not read; two ids that become the
/// same name.
[[nodiscard]] inline std::string to_haproxy(std::string const& name,
                                            std::vector<Endpoint> const& endpoints,
                                            std::string_view policy = "smooth_weighted",
                                            std::string_view parameters = "check") {
  detail::check_word(name, "a backend's name", detail::haproxy_letters);
  std::uint32_t largest = 0;
  for (auto const& each : endpoints) largest = std::max(largest, each.weight);
  auto const lowest = detail::lowest_tier(endpoints);
  auto const* const method = policy == "least_connections" ? "leastconn"
                             : policy == "random"          ? "random(1)"
                             : policy == "p2c"             ? "random(2)"
                                                           : "roundrobin";
  auto text = "backend " + name + "\n    balance " + method + "\n";
  std::vector<std::string> names;
  for (auto const& each : endpoints) {
    bool const unix_socket = each.address.starts_with("unix:");
    detail::check_word(each.address, "a server's address in HAProxy",
                       unix_socket ? "_.-:/" : "_.-:[]");
    names.push_back(detail::haproxy_name(each.id.empty() ? each.address : each.id));
    text += "    server " + names.back() + " " +
            (unix_socket ? "unix@" + each.address.substr(5) : each.address);
    text += " weight " + std::to_string(detail::scaled_to_haproxy(each.weight, largest));
    if (each.max_in_flight != Endpoint{}.max_in_flight && each.max_in_flight != 0)
      text += " maxconn " + std::to_string(each.max_in_flight);
    if (each.tier != lowest) text += " backup";
    if (each.max_in_flight == 0) text += " disabled";
    if (!parameters.empty()) text.append(" ").append(parameters);
    text += "\n";
  }
  std::ranges::sort(names);
  if (auto const twice = std::ranges::adjacent_find(names); twice != names.end())
    throw ConfigError{"two servers would be named " + poise::detail::in_quotes(*twice) +
                      " in HAProxy, which takes letters, digits and _.-: only"};
  return text;
}

}  // namespace poise::inline v0_1_0::discovery
