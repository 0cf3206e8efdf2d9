// SPDX-License-Identifier: MIT
#pragma once

// nginx's `upstream` blocks, read and written, so that one list feeds nginx and poise.
//
//   server HOST[:PORT]    id: the text as written, by which nginx's hash places servers
//   weight=N max_conns=N  weight, max_in_flight
//   backup, down, drain   tier 1; weight 0
//   least_conn, random .. the policy that comes closest; without any, smooth_weighted
//
// A name of several addresses is one backend here, and several servers in nginx. max_fails and
// fail_timeout have no counterpart: poise's health monitor judges. Files that are included are not
// read.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/discovery/look.hpp>
#include <poise/discovery/proxy_group.hpp>
#include <poise/endpoint.hpp>
#include <poise/error.hpp>

namespace poise::inline v0_1_0::discovery {

namespace detail {

/// The words of nginx's configuration language.
class NginxWords {
 public:
  struct Word {
    enum class Kind : std::uint8_t { text, semicolon, open, close, end } kind = Kind::end;
    std::string text{};
    std::size_t line = 0;
  };

  explicit NginxWords(std::string_view text) : rest_{text} {}

  /// *Errors* ConfigError: a quote that is not closed.
  [[nodiscard]] Word next() {
    skip();
    Word word{.line = line_};
    if (rest_.empty()) return word;
    switch (rest_[0]) {
      case ';': word.kind = Word::Kind::semicolon; break;
      case '{': word.kind = Word::Kind::open; break;
      case '}': word.kind = Word::Kind::close; break;
      case '"':
      case '\'': return quoted();
      default: return plain();
    }
    rest_.remove_prefix(1);
    return word;
  }
  /// Passes over the text up to the brace that closes this block: code of another language.
  void skip_code() {
    for (std::size_t depth = 1; depth != 0 && !rest_.empty();) {
      char const letter = take();
      if (letter == '"' || letter == '\'') skip_string(letter);
      if (letter == '{') ++depth;
      if (letter == '}') --depth;
    }
  }

 private:
  char take() {
    char const letter = rest_[0];
    if (letter == '\n') ++line_;
    rest_.remove_prefix(1);
    return letter;
  }
  void skip() {
    while (!rest_.empty()) {
      if (rest_[0] == '#') rest_.remove_prefix(std::min(rest_.find('\n'), rest_.size()));
      else if (is_space(rest_[0])) take();
      else return;
    }
  }
  Word quoted() {
    Word word{.kind = Word::Kind::text, .line = line_};
    char const quote = take();
    while (!rest_.empty() && rest_[0] != quote) append(word.text);
    if (rest_.empty()) throw ConfigError{at_line(word.line, "a quote is not closed")};
    take();
    return word;
  }
  Word plain() {
    Word word{.kind = Word::Kind::text, .line = line_};
    while (!rest_.empty() && !is_space(rest_[0]) && rest_[0] != ';' && rest_[0] != '{' &&
           rest_[0] != '}') {
      bool const is_variable = rest_.starts_with("${");
      append(word.text);
      while (is_variable && !rest_.empty() && word.text.back() != '}') word.text += take();
    }
    return word;
  }
  void skip_string(char quote) {
    std::string text;
    while (!rest_.empty() && rest_[0] != quote) append(text);
    if (!rest_.empty()) take();
  }
  void append(std::string& text) {
    if (rest_[0] == '\\' && rest_.size() > 1) take();
    text += take();
  }
  static bool is_space(char letter) {
    return letter == ' ' || letter == '\t' || letter == '\r' || letter == '\n';
  }

  std::string_view rest_;
  std::size_t line_ = 1;
};

class NginxParser {
 public:
  explicit NginxParser(std::string_view text) : words_{text} {}

  /// *Errors* ConfigError: braces or quotes that don't match.
  [[nodiscard]] std::vector<ProxyGroup> parse() {
    using Kind = NginxWords::Word::Kind;
    std::vector<std::string> statement;
    for (;;) {
      auto word = words_.next();
      if (statement.empty()) line_ = word.line;
      switch (word.kind) {
        case Kind::text: statement.push_back(std::move(word.text)); continue;
        case Kind::semicolon: take(statement); break;
        case Kind::open: open(statement); break;
        case Kind::close: close(word.line); break;
        case Kind::end: return end(word.line);
      }
      statement.clear();
    }
  }

 private:
  using Statement = std::vector<std::string>;

  void open(Statement const& statement) {
    auto const kind = statement.empty() ? std::string_view{} : std::string_view{statement[0]};
    if (kind.ends_with("_by_lua_block")) return words_.skip_code();
    ++depth_;
    if (kind != "upstream" || statement.size() != 2 || upstream_ != 0) return;
    upstream_ = depth_;
    groups_.push_back({.name = statement[1], .policy = "smooth_weighted"});
  }
  void close(std::size_t line) {
    if (depth_ == 0) throw ConfigError{at_line(line, "} without {")};
    if (depth_ == upstream_) upstream_ = 0;
    --depth_;
  }
  std::vector<ProxyGroup> end(std::size_t line) {
    if (depth_ != 0)
      throw ConfigError{at_line(line, "the file ends inside of a block: } is missing")};
    return std::move(groups_);
  }

  void take(Statement const& statement) {
    if (upstream_ == 0 || depth_ != upstream_ || statement.empty()) return;
    auto& group = groups_.back();
    if (statement[0] == "server") take_server(group, statement);
    else if (!take_method(group, statement)) add_note(group, statement[0]);
  }
  void add_note(ProxyGroup& group, std::string_view what) const {
    add_problem(group.notes, at_line(line_, what));
  }

  bool take_method(ProxyGroup& group, Statement const& statement) const {
    auto const& method = statement[0];
    if (method == "least_conn") group.policy = "least_connections";
    else if (method == "random") group.policy = statement.size() == 1 ? "random" : "p2c";
    else if (method == "hash" || method == "ip_hash") {
      group.policy = "ring";
      add_note(group, method + ": HashRing<dialect::Nginx> and its kin place keys as nginx does");
    } else return false;
    return true;
  }

  void take_server(ProxyGroup& group, Statement const& statement) const {
    if (statement.size() < 2)
      return add_problem(group.found.problems, at_line(line_, "server has no address"));
    Endpoint endpoint{.id = statement[1], .address = with_port(statement[1])};
    for (std::size_t i = 2; i < statement.size(); ++i)
      if (!take_parameter(group, endpoint, statement[i]))
        return add_problem(
            group.found.problems,
            at_line(line_, poise::detail::in_quotes(statement[i]) + " needs a whole number"));
    add_server(group, line_, std::move(endpoint));
  }
  /// False if it needs a number, and has none.
  bool take_parameter(ProxyGroup& group, Endpoint& endpoint, std::string_view text) const {
    auto const equals = text.find('=');
    auto const key = text.substr(0, equals);
    auto const value = equals == std::string_view::npos ? "" : text.substr(equals + 1);
    if (key == "weight") return set_weight(endpoint, value);
    if (key == "max_conns") return set_limit(endpoint, value);
    if (text == "backup") endpoint.tier = 1;
    else if (text == "down" || text == "drain") endpoint.weight = 0;
    else add_note(group, text);
    return true;
  }
  static std::string with_port(std::string const& address) {
    if (address.starts_with("unix:")) return address;
    auto const colon = address.find(':', address.find(']') + 1);
    return colon == std::string::npos ? address + ":80" : address;
  }

  NginxWords words_;
  std::vector<ProxyGroup> groups_{};
  std::size_t depth_ = 0;
  std::size_t upstream_ = 0;  // the depth of the one that is open
  std::size_t line_ = 1;      // of the statement
};

}  // namespace detail

/// All `upstream` blocks of a file of nginx's.
/// *Errors* ConfigError: quotes or braces that don't match.
[[nodiscard]] inline std::vector<ProxyGroup> parse_nginx(std::string_view text) {
  return detail::NginxParser{text}.parse();
}

/// An `upstream` block of these servers, in their order. `policy` is poise's; nginx knows
/// least_connections, random and p2c, and takes turns by weight else. In nginx the last two have no
/// backups: where there are some, it takes turns.
/// *Errors* ConfigError: a name or an address that nginx could not read.
[[nodiscard]] inline std::string to_nginx(std::string const& name,
                                          std::vector<Endpoint> const& endpoints,
                                          std::string_view policy = "smooth_weighted") {
  detail::check_word(name, "an upstream's name", "_.-");
  auto const lowest = detail::lowest_tier(endpoints);
  bool has_backup = false;
  std::string servers;
  for (auto const& each : endpoints) {
    bool const unix_socket = each.address.starts_with("unix:");
    detail::check_word(each.address, "a server's address in nginx",
                       unix_socket ? "_.-:/" : "_.-:[]");
    servers += "    server " + each.address;
    if (each.weight > 1) servers += " weight=" + std::to_string(each.weight);
    bool const is_limited = each.max_in_flight != Endpoint{}.max_in_flight;
    if (is_limited) servers += " max_conns=" + std::to_string(each.max_in_flight);
    if (each.tier != lowest) servers += " backup";
    if (each.weight == 0 || each.max_in_flight == 0) servers += " down";
    servers += ";\n";
    has_backup = has_backup || each.tier != lowest;
  }
  // nginx refuses an upstream without servers.
  if (endpoints.empty()) servers = "    server 127.0.0.1:1 down;\n";
  auto text = "upstream " + name + " {\n    zone " + name + " 256k;\n";
  if (policy == "least_connections") text += "    least_conn;\n";
  else if (policy == "random" && !has_backup) text += "    random;\n";
  else if (policy == "p2c" && !has_backup) text += "    random two least_conn;\n";
  return text + servers + "}\n";
}

}  // namespace poise::inline v0_1_0::discovery
