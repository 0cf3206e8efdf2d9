// SPDX-License-Identifier: MIT
#pragma once

// The live page: what a process's balancers do, in one look, in a browser.
//
//   poise::observe::Handler handler;
//   poise::observe::add_metrics(handler, {.readers = {reader}});
//   poise::observe::add_page(handler, {.readers = {reader}});
//   poise::status::Server const server{handler, {.port = 9100}};     // http://127.0.0.1:9100/
//
// It shows whether all is well, which backend is not, why, since when and until when, whether
// requests are affected, and what changed; then each backend, those in trouble first. It is one
// page of 53 kB without any other file, only reads, and lets no script run but its own.
//
// docs/operations.md says how to read it; feed.hpp what it is told.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <poise/observe/escape.hpp>
#include <poise/observe/feed.hpp>
#include <poise/observe/handler.hpp>
#include <poise/observe/page/charts.hpp>
#include <poise/observe/page/colours.hpp>
#include <poise/observe/page/explanations.hpp>
#include <poise/observe/page/markup.hpp>
#include <poise/observe/page/model.hpp>
#include <poise/observe/page/style.hpp>
#include <poise/observe/page/view.hpp>
#include <poise/random.hpp>

namespace poise::inline v0_1_0::observe {

namespace detail {

/// The page may load nothing but its own style and script, which carry a nonce.
[[nodiscard]] inline std::string content_policy(std::string_view nonce) {
  std::string const own = "'nonce-" + std::string{nonce} + "'";
  return "default-src 'none'; script-src " + own + "; style-src " + own +
         "; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
         "frame-ancestors 'none'";
}

/// Below which path the page finds the explanations of each balancer's picks, in JavaScript: null
/// if nowhere, "" for /explain and /why/, or its name.
[[nodiscard]] inline std::string places_of_explanations(HttpRequest const& request,
                                                        Metrics const& metrics) {
  auto const serves = [&](std::string const& under) {
    return request.handler != nullptr && request.handler->serves(under + "/explain") &&
           request.handler->serves(under + "/why/id");
  };
  std::string places;
  for (auto const& reader : metrics.readers) {
    bool const is_alone = metrics.readers.size() == 1;
    auto const& name = reader->name();
    places += serves('/' + name)       ? json_string(percent_encoded(name) + '/')
              : is_alone && serves({}) ? "\"\""
                                       : "null";
    places += ',';
  }
  return places;
}

[[nodiscard]] inline HttpResponse live_page(HttpRequest const& request, Metrics const& metrics) {
  auto const nonce = std::to_string(fresh_seed()) + std::to_string(poise::detail::system_seed());
  auto const opened = [&](std::string_view tag) {
    return '<' + std::string{tag} + " nonce=\"" + nonce + "\">";
  };
  HttpResponse response{.type = "text/html; charset=utf-8",
                        .headers = {{"Content-Security-Policy", content_policy(nonce)},
                                    {"Referrer-Policy", "no-referrer"},
                                    {"Cross-Origin-Resource-Policy", "same-origin"}}};
  auto& body = response.body;
  body = page_head;
  ((body += opened("style")) += page_colours) += page_style;
  (body += "</style>\n") += page_body;
  (body += opened("script")) += page_model;
  (body += page_charts) += page_explanations;
  ((body += "const EXPLAINED = [") += places_of_explanations(request, metrics)) += "];\n";
  body += page_view;
  body += "</script>\n</body>\n</html>\n";
  return response;
}

}  // namespace detail

/// Adds the page as /, and /events, which it listens to. The server must run the handler's tasks,
/// as status::Server does: one reading a second, so that the page has a past when it is opened.
///
/// It also shows why a backend is passed over, and what a pick for a key would do, if the handler
/// has analysis::add_explanations: of a single balancer, or of each below "/" and its reader's
/// name.
/// *Errors* ConfigError: as Metrics::check().
inline void add_page(Handler& handler, Metrics const& metrics, FeedOptions options = {}) {
  auto const feed = std::make_shared<Feed>(metrics, std::move(options));
  handler.every(Feed::period, [feed] { feed->advance(); });
  handler.add(
      "/", [metrics](HttpRequest const& request) { return detail::live_page(request, metrics); });
  handler.add("/events", [feed](HttpRequest const&) { return event_stream(feed); });
}

}  // namespace poise::inline v0_1_0::observe
