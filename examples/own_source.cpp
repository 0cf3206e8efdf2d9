// SPDX-License-Identifier: MIT
// A source of your own: a function that returns the list, or says why it has none. Here it is a
// table of a database, as it might be read once every ten seconds.
//
// The guard keeps the last backends when the table is suddenly empty.

#include <chrono>
#include <cstdint>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <poise/discovery/feed.hpp>
#include <poise/discovery/list.hpp>
#include <poise/poise.hpp>

struct Row {
  std::string host;
  std::uint32_t weight;
};
using Table = std::optional<std::vector<Row>>;  // nothing: the database does not answer

poise::discovery::Look read(Table const& table) {
  if (!table) return poise::discovery::Failed{"the database does not answer"};
  poise::discovery::Found found;
  for (auto const& row : *table)
    found.endpoints.push_back({.address = row.host + ":80", .weight = row.weight});
  return found;
}

int main() {
  using namespace std::chrono_literals;
  Table table{{{"10.0.0.1", 1}, {"10.0.0.2", 2}}};
  poise::Balancer<poise::SmoothWeighted> servers{{}};

  // In a service: poise::discovery::Watcher follows it on a thread (docs/discovery.md). Here time
  // is ours, and a function that does not block needs no thread.
  poise::discovery::Feed feed{
      std::make_unique<poise::discovery::ReadySource>("table", [&] { return read(table); }),
      poise::discovery::into(servers),
      {.log = [](std::string const& source, poise::discovery::Event const& event) {
        std::cout << source << ": " << name(event.kind) << ": " << event.text << '\n';
      }}};
  poise::Time now{};
  auto const backends_after = [&](Table const& next) {
    table = next;
    feed.step(now += 40s);
    return servers.stats().backends.size();
  };
  bool const follows = backends_after(table) == 2;
  bool const grows = backends_after({{{"10.0.0.1", 1}, {"10.0.0.2", 2}, {"10.0.0.3", 1}}}) == 3;
  bool const outlives_its_source = backends_after(std::nullopt) == 3;
  bool const outlives_an_empty_table = backends_after(std::vector<Row>{}) == 3;
  return follows && grows && outlives_its_source && outlives_an_empty_table ? 0 : 1;
}
