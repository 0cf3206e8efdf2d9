// SPDX-License-Identifier: MIT

#include "admin.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <fmt/format.h>
#include <poise/observe/handler.hpp>

#include "totals.hpp"

namespace gateway {

namespace {

/// Calls fn(name, what it counts, value) for each.
template <class Fn>
void for_each_count(Totals const& totals, Fn const& fn) {
  fn("connections", "Connections of clients.", totals.connections.load());
  fn("turned_away", "Connections that were one too many.", totals.turned_away.load());
  fn("own_responses", "Responses that no backend gave.", totals.refused.load());
  fn("retries", "Attempts after the first of a request.", totals.retries.load());
  fn("backend_connections", "Connections to backends that were opened.", totals.connected.load());
  fn("backend_reused", "Requests on a kept connection.", totals.reused.load());
  fn("backend_stale", "Kept connections that a backend had closed.", totals.stale.load());
  fn("cut_off", "Responses that a backend broke off.", totals.cut_off.load());
  fn("tunnels", "Upgraded connections.", totals.tunnels.load());
  fn("client_gone", "Requests whose client was gone before their end.", totals.client_gone.load());
}

/// In the text format of Prometheus, or of OpenMetrics, whose names of families have no _total.
std::string exposition(Shared const& shared, bool open_metrics) {
  std::string text;
  auto const family = [&](std::string_view name, std::string_view type, std::string_view help) {
    auto const suffix = type == "counter" && !open_metrics ? "_total" : "";
    text += fmt::format("# HELP poise_gateway_{0}{1} {2}\n# TYPE poise_gateway_{0}{1} {3}\n", name,
                        suffix, help, type);
  };
  family("clients", "gauge", "Connections of clients that are open.");
  text += fmt::format("poise_gateway_clients {}\n", shared.clients.load());
  family("responses", "counter", "Responses by the first digit of their status.");
  for (std::size_t i = 1; i < shared.totals.responses.size(); ++i)
    text += fmt::format("poise_gateway_responses_total{{status=\"{}xx\"}} {}\n", i,
                        shared.totals.responses[i].load());
  for_each_count(shared.totals,
                 [&](std::string_view name, std::string_view help, std::uint64_t value) {
                   family(name, "counter", help);
                   text += fmt::format("poise_gateway_{}_total {}\n", name, value);
                 });
  return text;
}

std::string as_json(Shared const& shared) {
  auto text = fmt::format("{{\"clients\":{},\"responses\":{{", shared.clients.load());
  for (std::size_t i = 1; i < shared.totals.responses.size(); ++i)
    text += fmt::format("{}\"{}xx\":{}", i == 1 ? "" : ",", i, shared.totals.responses[i].load());
  text += '}';
  for_each_count(shared.totals, [&](std::string_view name, std::string_view, std::uint64_t value) {
    text += fmt::format(",\"{}\":{}", name, value);
  });
  return text + "}\n";
}

}  // namespace

poise::observe::Handler admin_pages(Service const& service, Shared const& shared) {
  namespace observe = poise::observe;
  auto handler = service.pages();
  handler.add("/metrics", [balancers = handler, &shared](observe::HttpRequest request) {
    request.host = "localhost";  // this handler has judged the host
    auto response = balancers(request);
    response.headers.clear();  // this handler adds them
    constexpr std::string_view end = "# EOF\n";
    bool const open_metrics = response.body.ends_with(end);
    auto const place = response.body.size() - (open_metrics ? end.size() : 0);
    response.body.insert(place, exposition(shared, open_metrics));
    return response;
  });
  handler.add("/gateway", [&shared](observe::HttpRequest const&) {
    return observe::HttpResponse{.type = "application/json", .body = as_json(shared)};
  });
  return handler;
}

}  // namespace gateway
