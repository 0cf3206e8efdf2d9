// SPDX-License-Identifier: MIT
#pragma once

// Explanations over HTTP: /explain?key=... says what a pick would do, /why/ID why a backend is
// passed over.
//
//   poise::observe::Handler handler;
//   poise::analysis::add_explanations(handler, servers, monitor);   // or without a monitor
//
// They are text; with ?format=json, or if the Accept header asks for it, JSON. An explanation shows
// ids, zones and numbers, like the other pages: serve it to operators only.

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <poise/analysis/explain.hpp>
#include <poise/analysis/json.hpp>
#include <poise/analysis/why.hpp>
#include <poise/error.hpp>
#include <poise/observe/escape.hpp>
#include <poise/observe/handler.hpp>
#include <poise/request.hpp>

namespace poise::inline v0_1_0::analysis {

namespace detail {

/// The parameters of the two pages.
struct PageQuery {
  std::string key{};
  Priority priority = Priority::normal;
  bool as_json = false;
  std::string mistake{};  ///< In words; empty if there is none.

  explicit PageQuery(observe::HttpRequest const& request)
      : as_json{observe::detail::quality_of(request.accept, "application/json") >
                observe::detail::quality_of(request.accept, "text/plain")} {
    auto all = observe::parameters(request.target);
    if (!all) {
      mistake = "a % must be followed by two hexadecimal digits\n";
      return;
    }
    for (auto& [name, value] : *all) take(name, value);
  }

 private:
  void take(std::string const& name, std::string& value) {
    if (name == "key") {
      key = std::move(value);
    } else if (name == "format" && (value == "json" || value == "text")) {
      as_json = value == "json";
    } else if (auto const found = priority_named(value); name == "priority" && found) {
      priority = *found;
    } else {
      mistake = poise::detail::in_quotes(name) + " = " + poise::detail::in_quotes(value) +
                " is not known; there are key=..., priority=high, normal or low, and format=text "
                "or json\n";
    }
  }
  static std::optional<Priority> priority_named(std::string_view name) noexcept {
    if (name == "high") return Priority::high;
    if (name == "normal") return Priority::normal;
    if (name == "low") return Priority::low;
    return std::nullopt;
  }
};

[[nodiscard]] inline observe::HttpResponse page(bool as_json, std::string_view body) {
  return {.type = as_json ? "application/json" : "text/plain; charset=utf-8",
          .body = observe::as_utf8(body)};
}

/// Makes both pages. explain(request) and why(id) answer.
template <class Explain, class WhyOf, class Now>
void add_pages(observe::Handler& handler, std::string const& under, Explain explain, WhyOf why_of,
               Now now) {
  handler.add(under + "/explain", [explain](observe::HttpRequest const& request) {
    PageQuery const query{request};
    if (!query.mistake.empty()) return observe::HttpResponse{.status = 400, .body = query.mistake};
    Explanation const explanation =
        explain(Request{.route_key = query.key, .priority = query.priority});
    return page(query.as_json, query.as_json ? json(explanation) : message(explanation));
  });
  auto prefix = under + "/why/";
  handler.add_below(prefix, [prefix, why_of, now](observe::HttpRequest const& request) {
    PageQuery query{request};
    auto const id = observe::percent_decoded(request.below(prefix), false);
    if (!id) query.mistake = "a % must be followed by two hexadecimal digits\n";
    if (!query.mistake.empty()) return observe::HttpResponse{.status = 400, .body = query.mistake};
    Why const found = why_of(*id);
    auto response =
        page(query.as_json, query.as_json ? json(found, now()) : message(found, now()) + '\n');
    if (found.reason == Reason::unknown) response.status = 404;
    return response;
  });
}

}  // namespace detail

/// Adds /explain and /why/... for this balancer; `under` comes before them, "/orders" say, if there
/// are several. *Requires* that the balancer outlives the handler, and stays where it is.
template <class Balancer>
void add_explanations(observe::Handler& handler, Balancer const& balancer,
                      std::string const& under = {}) {
  detail::add_pages(
      handler, under, [&balancer](Request const& request) { return explain(balancer, request); },
      [&balancer](std::string_view id) { return why(balancer, id); },
      [&balancer] { return balancer.now(); });
}
/// The same with what the monitor knows. *Requires* that the monitor outlives the handler, too.
template <class Balancer, Monitors Monitor>
void add_explanations(observe::Handler& handler, Balancer const& balancer, Monitor const& monitor,
                      std::string const& under = {}) {
  detail::add_pages(
      handler, under,
      [&balancer, &monitor](Request const& request) { return explain(balancer, monitor, request); },
      [&balancer, &monitor](std::string_view id) { return why(balancer, monitor, id); },
      [&balancer] { return balancer.now(); });
}

}  // namespace poise::inline v0_1_0::analysis
