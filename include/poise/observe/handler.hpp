// SPDX-License-Identifier: MIT
#pragma once

// From a request of HTTP to a response, for any server: yours, or status/server.hpp.
//
//   poise::observe::Handler handler{{.hosts = {"10.0.0.7"}}};
//   poise::observe::add_metrics(handler, {.readers = {reader}});  // /metrics, /json, /text and
//                                                                 // /healthz
//   auto const response = handler({.method = "GET", .target = "/metrics", .host = "10.0.0.7:9100",
//                                  .accept = accept});
//
// A route is a function from request to response; add your own with Handler::add, and with
// Handler::add_below for all paths that begin alike. Handlers only read: all methods but GET and
// HEAD are refused. A request for a host that is not allowed is refused too, so that a page from
// elsewhere can't read through a name that it made resolve to this machine (DNS rebinding).

#include <algorithm>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/base/address.hpp>
#include <poise/base/ascii.hpp>
#include <poise/base/percent.hpp>
#include <poise/error.hpp>
#include <poise/hashing/key.hpp>
#include <poise/observe/json.hpp>
#include <poise/observe/prometheus.hpp>
#include <poise/observe/reader.hpp>
#include <poise/observe/table.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::observe {

class Handler;

/// What a handler needs of a request: its first line and two headers.
struct HttpRequest {
  std::string_view method{};
  std::string_view target{};  ///< "/metrics?x=1"
  std::string_view host{};    ///< The header; may have a port.
  std::string_view accept{};
  Handler const* handler = nullptr;  ///< Set for routes: what else is served there.

  [[nodiscard]] std::string_view path() const noexcept {
    return target.substr(0, target.find('?'));
  }
  /// What the path has after this prefix, which is not encoded; as it was sent: see
  /// percent_decoded().
  [[nodiscard]] std::string_view below(std::string_view prefix) const noexcept;
};

namespace detail {

/// The byte at the front of a path, and how many characters stand for it: "%2F" is "/". A % that no
/// two hexadecimal digits follow stands for itself.
[[nodiscard]] inline std::pair<char, std::size_t> first_byte(std::string_view path) noexcept {
  auto const byte = poise::detail::percent_byte(path);
  return byte ? std::pair{*byte, std::size_t{3}} : std::pair{path[0], std::size_t{1}};
}
/// A path that routes are found by.
[[nodiscard]] inline std::string decoded_path(std::string_view path) {
  std::string result;
  while (!path.empty()) {
    auto const [byte, length] = first_byte(path);
    result += byte;
    path.remove_prefix(length);
  }
  return result;
}

}  // namespace detail

inline std::string_view HttpRequest::below(std::string_view prefix) const noexcept {
  auto rest = path();
  for (char const wanted : prefix) {
    if (rest.empty()) return {};
    auto const [byte, length] = detail::first_byte(rest);
    if (byte != wanted) return {};
    rest.remove_prefix(length);
  }
  return rest;
}

/// "a/b" -> "a%2Fb", as encodeURIComponent() of JavaScript does it; the text may be any bytes.
[[nodiscard]] inline std::string percent_encoded(std::string_view text) {
  return poise::detail::percent_encoded(text, "-_.!~*'()");
}
using poise::detail::percent_decoded;

/// The parameters of a target's query, "?key=a&format=json", in order. Empty if one can't be
/// decoded.
[[nodiscard]] inline std::optional<std::vector<std::pair<std::string, std::string>>> parameters(
    std::string_view target) {
  std::vector<std::pair<std::string, std::string>> result;
  auto const mark = target.find('?');
  auto rest = mark == std::string_view::npos ? std::string_view{} : target.substr(mark + 1);
  while (!rest.empty()) {
    auto const part = rest.substr(0, rest.find('&'));
    rest.remove_prefix(std::min(rest.size(), part.size() + 1));
    if (part.empty()) continue;
    auto const equals = part.find('=');
    auto name = percent_decoded(part.substr(0, equals), true);
    auto value = percent_decoded(
        equals == std::string_view::npos ? std::string_view{} : part.substr(equals + 1), true);
    if (!name || !value) return std::nullopt;
    result.emplace_back(std::move(*name), std::move(*value));
  }
  return result;
}

/// A body that goes on: the server sends what `next` returns, again and again with this pause,
/// until it returns nothing. A client that reads slowly is asked for the next part later.
struct Stream {
  Duration every{};
  std::function<std::optional<std::string>()> next{};
};

/// What a server has to send, beside its own headers.
struct HttpResponse {
  int status = 200;
  std::string type = "text/plain; charset=utf-8";
  std::string body{};
  std::vector<std::pair<std::string, std::string>> headers{};
  std::optional<Stream> stream{};  ///< After the body.
};

/// Makes a page. *Threads* as the server calls it: status::Server by one at a time.
using Route = std::function<HttpResponse(HttpRequest const&)>;

/// Something that the server is to do again and again, whether or not there are requests.
struct Task {
  Duration period{};
  std::function<void()> run{};
};

/// Which requests are served.
struct HandlerOptions {
  /// Hosts that requests may name, without ports, beside 127.0.0.1, localhost and [::1].
  std::vector<std::string> hosts{};
};

namespace detail {

using poise::detail::equal_ignoring_case;

/// "0.75" -> 750; from 1 on 1000. *Source* RFC 9110, 12.4.2.
[[nodiscard]] inline int thousandths(std::string_view text) noexcept {
  if (text.starts_with('1')) return 1000;
  if (!text.starts_with("0.")) return 0;
  int result = 0;
  int weight = 100;
  for (char const digit : text.substr(2)) {
    if (digit < '0' || digit > '9') return 0;
    result += weight * (digit - '0');
    weight /= 10;
  }
  return result;
}

/// The quality that an Accept header gives a media type, in thousandths; 0 if it is not named.
[[nodiscard]] inline int quality_of(std::string_view accept, std::string_view type) noexcept {
  using poise::detail::trimmed;
  auto const cut = [](std::string_view& rest, char separator) {
    auto const part = rest.substr(0, rest.find(separator));
    rest.remove_prefix(std::min(rest.size(), part.size() + 1));
    return part;
  };
  int best = 0;
  while (!accept.empty()) {
    auto parameters = cut(accept, ',');
    if (!equal_ignoring_case(trimmed(cut(parameters, ';')), type)) continue;
    int quality = 1000;
    while (!parameters.empty()) {
      auto const parameter = trimmed(cut(parameters, ';'));
      if (parameter.starts_with("q=")) quality = thousandths(parameter.substr(2));
    }
    best = std::max(best, quality);
  }
  return best;
}

}  // namespace detail

/// OpenMetrics if the client likes it at least as well as plain text.
[[nodiscard]] inline TextFormat negotiate(std::string_view accept) noexcept {
  auto const open = detail::quality_of(accept, "application/openmetrics-text");
  return open > 0 && open >= detail::quality_of(accept, "text/plain") ? TextFormat::openmetrics
                                                                      : TextFormat::prometheus;
}

/// *Threads* calls may run at once, if the routes allow it; add() and every() only before.
class Handler {
 public:
  explicit Handler(HandlerOptions options = {}) : options_{std::move(options)} {}

  /// The path is not encoded: "/a b" is found by "/a%20b".
  void add(std::string path, Route route) {
    routes_.insert_or_assign(std::move(path), std::move(route));
  }
  /// Has the server call this about once a period: status::Server does, on its thread. A server of
  /// yours must see to tasks() itself.
  void every(Duration period, std::function<void()> run) {
    tasks_.push_back({period, std::move(run)});
  }
  [[nodiscard]] std::span<Task const> tasks() const noexcept { return tasks_; }
  /// For every path that begins with `prefix` and has no route of its own; the longest prefix
  /// counts. HttpRequest::below gives the rest.
  void add_below(std::string prefix, Route route) {
    below_.insert_or_assign(std::move(prefix), std::move(route));
  }
  void allow_host(std::string host) { options_.hosts.push_back(std::move(host)); }

  /// Is there a route for this path, which is not encoded?
  [[nodiscard]] bool serves(std::string_view path) const { return find(path) != nullptr; }
  /// What a route throws becomes a 500 without its text.
  [[nodiscard]] HttpResponse operator()(HttpRequest const& request) const {
    auto response = answer(request);
    response.headers.emplace_back("Cache-Control", "no-store");
    response.headers.emplace_back("X-Content-Type-Options", "nosniff");
    return response;
  }

 private:
  [[nodiscard]] HttpResponse answer(HttpRequest const& request) const {
    if (!allows(request.host))
      return {
          .status = 421,
          .body = "this host name is not served here; it must be among HandlerOptions::hosts\n"};
    if (request.method != "GET" && request.method != "HEAD")
      return {.status = 405, .body = "only GET and HEAD\n", .headers = {{"Allow", "GET, HEAD"}}};
    auto const* route = find(detail::decoded_path(request.path()));
    if (route == nullptr) return {.status = 404, .body = paths()};
    auto routed = request;
    routed.handler = this;
    try {
      return (*route)(routed);
    } catch (...) {
      return {.status = 500, .body = "this page could not be made\n"};
    }
  }

  /// Null if there is none.
  [[nodiscard]] Route const* find(std::string_view path) const {
    if (auto const found = routes_.find(path); found != routes_.end()) return &found->second;
    Route const* best = nullptr;  // prefixes of one path stand in the order of their lengths
    for (auto const& [prefix, route] : below_)
      if (path.starts_with(prefix)) best = &route;
    return best;
  }

  [[nodiscard]] bool allows(std::string_view host) const {
    auto const name = poise::detail::split_port(host).host;
    auto const is_it = [&](std::string_view each) {
      return detail::equal_ignoring_case(each, name);
    };
    return is_it("127.0.0.1") || is_it("localhost") || is_it("[::1]") ||
           std::ranges::any_of(options_.hosts, is_it);
  }

  [[nodiscard]] std::string paths() const {
    std::string text{"there is no such page; there are:\n"};
    for (auto const& [path, route] : routes_) text += path + '\n';
    for (auto const& [prefix, route] : below_) text += prefix + "...\n";
    return text;
  }

  HandlerOptions options_;
  std::map<std::string, Route, std::less<>> routes_{};
  std::vector<Task> tasks_{};
  std::map<std::string, Route, std::less<>> below_{};
};

/// The readers of the balancers that a process tells about, and how.
struct Metrics {
  std::vector<std::shared_ptr<Reader const>> readers{};
  TextOptions text{};

  /// *Errors* ConfigError: two readers have the same name, so that their numbers would be told
  /// apart by nothing.
  void check() const {
    std::set<std::string_view> names;
    for (auto const& reader : readers)
      if (!names.insert(reader->name()).second)
        throw ConfigError{"two readers are named " + poise::detail::in_quotes(reader->name()) +
                          ": give each observe::Reader of a process a name of its own"};
  }
  [[nodiscard]] std::vector<Snapshot> read() const {
    std::vector<Snapshot> all;
    all.reserve(readers.size());
    for (auto const& reader : readers) all.push_back(reader->read());
    return all;
  }
};

/// Adds /metrics (Prometheus, or OpenMetrics by the Accept header), /json, /text and /healthz.
/// *Errors* ConfigError: as Metrics::check().
inline void add_metrics(Handler& handler, Metrics const& metrics) {
  metrics.check();
  handler.add("/metrics", [metrics](HttpRequest const& request) {
    auto const format = negotiate(request.accept);
    return HttpResponse{.type = std::string{content_type(format)},
                        .body = metrics_text(metrics.read(), format, metrics.text)};
  });
  handler.add("/json", [metrics](HttpRequest const&) {
    return HttpResponse{.type = "application/json", .body = json(metrics.read())};
  });
  handler.add("/text", [metrics](HttpRequest const&) {
    HttpResponse response;
    for (auto const& each : metrics.read()) response.body += table(each) + '\n';
    return response;
  });
  handler.add("/healthz", [](HttpRequest const&) { return HttpResponse{.body = "ok\n"}; });
}

}  // namespace poise::inline v0_1_0::observe
