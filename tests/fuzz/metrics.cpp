// SPDX-License-Identifier: MIT
// A request for a page, and what ids do to the formats: whatever they hold, the texts stay whole.
//
// An input is a method, a target, a host, an Accept header and ids, a line each.

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <string_view>

#include <poise/observe/escape.hpp>
#include <poise/observe/handler.hpp>
#include <poise/observe/json.hpp>
#include <poise/observe/prometheus.hpp>
#include <poise/observe/table.hpp>

#include "fuzz.hpp"
#include "support/exposition.hpp"

using namespace poise::observe;

void tests::fuzz(std::string_view input) {
  auto const method = take(input, '\n');
  auto const target = take(input, '\n');
  auto const host = take(input, '\n');
  auto const accept = take(input, '\n');
  Handler handler;
  handler.add("/x", [](HttpRequest const& request) {
    return HttpResponse{.body = std::string{content_type(negotiate(request.accept))}};
  });
  auto const response =
      handler({.method = method, .target = target, .host = host, .accept = accept});
  require(response.status == 200 || response.status >= 400, "there is an answer");
  require(response.status != 200 || method == "GET" || method == "HEAD", "only reading");

  std::array<Snapshot, 1> all{};
  for (auto const& id : split(input, '\n')) all[0].backends.push_back({.id = id});
  for (auto const& backend : all[0].backends) {
    auto const label = as_label(backend.id, 64);
    require(label.size() <= 64, "labels are bounded");
    require(as_utf8(label) == label, "labels are UTF-8");
  }
  // Ids of one balancer differ.
  std::ranges::sort(all[0].backends, {}, &BackendSnapshot::id);
  auto const again = std::ranges::unique(all[0].backends, {}, &BackendSnapshot::id);
  all[0].backends.erase(again.begin(), again.end());
  for (auto const format : {TextFormat::prometheus, TextFormat::openmetrics}) {
    Exposition const read{metrics_text(all, format)};
    require(read.complaints().empty(), "the text is sound");
  }
  auto const text = json(all);
  require(as_utf8(text) == text && text.find('\n') == text.size() - 1, "JSON is one line");
  require(table(all[0]).find('\x1b') == std::string::npos, "no terminal is driven");
}
