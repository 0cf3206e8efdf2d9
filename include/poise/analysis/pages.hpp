// SPDX-License-Identifier: MIT
#pragma once

// Explanations over HTTP: /explain?key=... says what a pick would do, /why/ID why a backend is
// passed over, /decisions what sampled picks did; /decisions?id=ID those that looked at a backend;
// /shadow what another policy would have picked.
//
//   poise::observe::Handler handler;
//   poise::analysis::add_explanations(handler, servers, monitor);   // or without a monitor
//   poise::analysis::add_decisions(handler, servers, servers.observer<Decisions<>>());
//   poise::analysis::add_shadow(handler, shadow.shadow_record());
//
// They are text; with ?format=json, or if the Accept header asks for it, JSON. An explanation shows
// ids, zones and numbers, like the other pages: serve it to operators only.

#include <algorithm>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/analysis/decisions.hpp>
#include <poise/analysis/explain.hpp>
#include <poise/analysis/json.hpp>
#include <poise/analysis/shadow_record.hpp>
#include <poise/analysis/shadow_report.hpp>
#include <poise/analysis/why.hpp>
#include <poise/error.hpp>
#include <poise/observe/escape.hpp>
#include <poise/observe/handler.hpp>
#include <poise/request.hpp>

namespace poise::inline v0_1_0::analysis {

namespace detail {

/// The parameters of the pages.
struct PageQuery {
  std::string key{};
  std::string id{};
  Priority priority = Priority::normal;
  bool as_json = false;
  std::string mistake{};  ///< In words; empty if there is none.

  /// `known`: what the page takes beside format=...
  PageQuery(observe::HttpRequest const& request, std::initializer_list<std::string_view> known)
      : as_json{observe::detail::quality_of(request.accept, "application/json") >
                observe::detail::quality_of(request.accept, "text/plain")} {
    auto all = observe::parameters(request.target);
    if (!all) {
      mistake = "a % must be followed by two hexadecimal digits\n";
      return;
    }
    for (auto& [name, value] : *all)
      if (name != "format" && std::ranges::find(known, name) == known.end())
        mistake = unknown(name, value, known);
      else if (!take(name, value)) mistake = unknown(name, value, known);
  }

 private:
  bool take(std::string const& name, std::string& value) {
    if (name == "format") {
      as_json = value == "json";
      return value == "json" || value == "text";
    }
    if (name == "priority") {
      auto const found = priority_named(value);
      priority = found.value_or(priority);
      return found.has_value();
    }
    (name == "key" ? key : id) = std::move(value);
    return true;
  }
  static std::string unknown(std::string const& name, std::string const& value,
                             std::initializer_list<std::string_view> known) {
    auto text = poise::detail::in_quotes(name) + " = " + poise::detail::in_quotes(value) +
                (known.size() == 0 ? " is not known; there is " : " is not known; there are ");
    for (auto const& each : known)
      text += std::string{each} + (each == "priority" ? "=high, normal or low, " : "=..., ");
    return text + (known.size() == 0 ? "" : "and ") + "format=text or json\n";
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
    PageQuery const query{request, {"key", "priority"}};
    if (!query.mistake.empty()) return observe::HttpResponse{.status = 400, .body = query.mistake};
    Explanation const explanation =
        explain(Request{.route_key = query.key, .priority = query.priority});
    return page(query.as_json, query.as_json ? json(explanation) : message(explanation));
  });
  auto prefix = under + "/why/";
  handler.add_below(prefix, [prefix, why_of, now](observe::HttpRequest const& request) {
    PageQuery query{request, {}};
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

/// Adds /decisions: the last sampled picks of this balancer, the newest first. *Requires* that the
/// balancer outlives the handler, and stays where it is.
template <class Balancer, DecisionOptions O>
void add_decisions(observe::Handler& handler, Balancer const& balancer, Decisions<O> decisions,
                   std::string const& under = {}) {
  handler.add(under + "/decisions", [&balancer, decisions = std::move(decisions)](
                                        observe::HttpRequest const& request) {
    detail::PageQuery const query{request, {"id"}};
    if (!query.mistake.empty()) return observe::HttpResponse{.status = 400, .body = query.mistake};
    auto last = decisions.last();
    if (!query.id.empty())
      std::erase_if(last, [&](Decision const& each) {
        return each.winner != query.id && std::ranges::find(each.ids, query.id) == each.ids.end();
      });
    auto const now = balancer.now();
    if (query.as_json) return detail::page(true, json(last, now));
    auto text = std::to_string(last.size()) + " of " + std::to_string(decisions.recorded()) +
                " sampled picks, one in " + std::to_string(1U << O.sampling) + '\n';
    for (auto const& each : last) text += message(each, now) + '\n';
    return detail::page(false, text);
  });
}

/// Adds /shadow: what a shadow policy would have picked until now.
inline void add_shadow(observe::Handler& handler, ShadowRecord record,
                       std::string const& under = {}) {
  handler.add(under + "/shadow", [record = std::move(record)](observe::HttpRequest const& request) {
    detail::PageQuery const query{request, {}};
    if (!query.mistake.empty()) return observe::HttpResponse{.status = 400, .body = query.mistake};
    auto const report = record.report();
    return detail::page(query.as_json, query.as_json ? json(report) : message(report));
  });
}

}  // namespace poise::inline v0_1_0::analysis
