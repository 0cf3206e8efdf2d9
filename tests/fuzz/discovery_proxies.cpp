// SPDX-License-Identifier: MIT
// Files of nginx and HAProxy, and HAProxy's answers: what is read can be written, and is read again
// as it was; or it is refused.

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include <poise/discovery/haproxy.hpp>
#include <poise/discovery/nginx.hpp>
#include <poise/discovery/proxy_group.hpp>
#include <poise/error.hpp>
#include <poise/probe/haproxy.hpp>

#include "fuzz.hpp"

namespace {

using namespace poise::discovery;

/// Without what the proxy's language can't say: ids of one's own, labels, many tiers.
std::vector<poise::Endpoint> comparable(std::vector<poise::Endpoint> list) {
  auto const lowest = detail::lowest_tier(list);
  for (auto& each : list) {
    each.id = {};
    each.labels = {};
    each.tier = each.tier == lowest ? 0 : 1;
  }
  return list;
}

template <class Parse, class Write>
void check(std::string_view input, Parse const& parse, Write const& write) {
  std::vector<ProxyGroup> groups;
  try {
    groups = parse(input);
  } catch (poise::ConfigError const&) {
    return;
  }
  for (auto const& group : groups) {
    std::string text;
    try {
      text = write("web", group.found.endpoints, group.policy);
    } catch (poise::ConfigError const&) {
      continue;
    }
    auto const again = parse(text);
    tests::require(again.size() == 1, "one block is written");
    if (group.found.endpoints.empty()) continue;
    auto const& list = group.found.endpoints;
    auto const largest = std::ranges::max(list, {}, &poise::Endpoint::weight).weight;
    if (largest > 256) continue;  // scaled for HAProxy
    tests::require(comparable(again[0].found.endpoints) == comparable(list),
                   "a list that was written is read as it was");
  }
}

}  // namespace

void tests::fuzz(std::string_view input) {
  check(input, parse_nginx, [](auto const&... of) { return to_nginx(of...); });
  check(input, parse_haproxy, [](auto const&... of) { return to_haproxy(of...); });
  (void)poise::health::detail::stat_of_server(input, "web", "a", "status");
}
