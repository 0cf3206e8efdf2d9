// SPDX-License-Identifier: MIT
// A thousand clients of a thousand backends, all of whom follow one registry: clients come, go and
// are deployed anew. How many clients has each backend, how many connections move, and what does a
// zone carry?

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include <poise/poise.hpp>

#include "support/catch.hpp"

namespace property_clients {

namespace {

constexpr std::uint32_t subset_size = 20;

/// Clients and backends by id, and the backends that each client uses as its Subset would.
class LiveFleet {
 public:
  using Table = std::map<std::string, std::vector<std::string>>;

  LiveFleet(std::size_t clients, std::size_t backends) {
    for (std::size_t i = 0; i < clients; ++i) add(clients_, "client-");
    for (std::size_t i = 0; i < backends; ++i) add(backends_, "backend-");
  }
  void client_joins() { add(clients_, "client-"); }
  void client_leaves() { remove(clients_); }
  void client_is_replaced() {
    client_leaves();
    client_joins();
  }
  void backend_is_replaced() {
    remove(backends_);
    add(backends_, "backend-");
  }

  [[nodiscard]] Table table() const {
    std::vector<std::uint64_t> hashes;
    std::vector<std::uint64_t> keys;
    for (auto const& each : backends_) hashes.push_back(poise::detail::stable_hash(each));
    for (auto const& each : clients_) keys.push_back(poise::detail::stable_hash(each));
    auto const used = poise::detail::assign_subsets(hashes, keys, subset_size);
    Table table;
    for (std::size_t i = 0; i < clients_.size(); ++i)
      for (auto const position : used[i]) table[clients_[i]].push_back(backends_[position]);
    return table;
  }
  [[nodiscard]] std::vector<std::string> const& clients() const { return clients_; }
  [[nodiscard]] std::vector<std::string> const& backends() const { return backends_; }

 private:
  void add(std::vector<std::string>& list, char const* kind) {
    list.push_back(kind + std::to_string(next_++));
  }
  void remove(std::vector<std::string>& list) {
    std::uniform_int_distribution<std::size_t> any{0, list.size() - 1};
    list.erase(list.begin() + static_cast<std::ptrdiff_t>(any(random_)));
  }

  std::mt19937_64 random_{7};
  std::size_t next_ = 0;
  std::vector<std::string> clients_{};
  std::vector<std::string> backends_{};
};

/// The fewest and most clients that a backend has.
struct Cover {
  std::size_t least = 0;
  std::size_t most = 0;
};
Cover cover_of(LiveFleet::Table const& table, std::vector<std::string> const& backends) {
  std::map<std::string, std::size_t> counts;
  for (auto const& each : backends) counts[each] = 0;
  for (auto const& [client, used] : table)
    for (auto const& each : used)
      if (auto const at = counts.find(each); at != counts.end()) ++at->second;
  Cover cover{.least = table.size()};
  for (auto const& [id, count] : counts) {
    cover.least = std::min(cover.least, count);
    cover.most = std::max(cover.most, count);
  }
  return cover;
}

/// Connections that clients open which were there before: beside those of a client that joins.
std::size_t moved(LiveFleet::Table const& before, LiveFleet::Table const& after) {
  std::size_t count = 0;
  for (auto const& [client, used] : after) {
    auto const old = before.find(client);
    if (old == before.end()) continue;
    std::set<std::string> const had(old->second.begin(), old->second.end());
    for (auto const& each : used) count += had.contains(each) ? 0U : 1U;
  }
  return count;
}

/// While the news spreads: every other client has the new list.
LiveFleet::Table half_informed(LiveFleet::Table const& before, LiveFleet::Table const& after) {
  LiveFleet::Table table;
  bool informed = false;
  for (auto const& [client, used] : after) {
    informed = !informed;
    auto const old = before.find(client);
    table[client] = informed || old == before.end() ? used : old->second;
  }
  return table;
}

struct Run {
  double mean_moved = 0;
  std::size_t most_moved = 0;
  Cover cover{};
  Cover between{};  // while half of the clients know of the change
};

/// Applies a change `count` times.
Run repeat(LiveFleet& fleet, std::size_t count, void (LiveFleet::*change)()) {
  Run run;
  auto before = fleet.table();
  auto const widen = [](Cover& all, Cover const& one, bool first) {
    all.least = first ? one.least : std::min(all.least, one.least);
    all.most = std::max(all.most, one.most);
  };
  for (std::size_t i = 0; i < count; ++i) {
    (fleet.*change)();
    auto after = fleet.table();
    auto const connections = moved(before, after);
    run.mean_moved += static_cast<double>(connections) / static_cast<double>(count);
    run.most_moved = std::max(run.most_moved, connections);
    widen(run.cover, cover_of(after, fleet.backends()), i == 0);
    widen(run.between, cover_of(half_informed(before, after), fleet.backends()), i == 0);
    before = std::move(after);
  }
  return run;
}

/// What each backend of a zone carries beside the mean, if all clients send equally much.
std::map<std::string, double> zone_loads(std::map<std::string, int> const& clients,
                                         std::map<std::string, int> const& backends, bool live) {
  std::vector<poise::Endpoint> servers;
  for (auto const& [zone, count] : backends)
    for (int i = 0; i < count; ++i)
      servers.push_back({.id = zone + std::to_string(i), .zone = zone});
  std::vector<poise::Endpoint> found;
  for (auto const& [zone, count] : clients)
    for (int i = 0; i < count; ++i) found.push_back({.id = zone + std::to_string(i), .zone = zone});
  auto const mean = static_cast<double>(found.size()) / static_cast<double>(servers.size());
  constexpr int picks = 20'000;
  std::map<std::string, double> loads;
  for (auto const& [zone, count] : clients) {
    poise::Clients known{zone + "0"};
    if (live) (void)known.set(found);
    using Policy = poise::ZoneAware<poise::RoundRobin>;
    poise::Balancer<Policy> balancer{servers, Policy{{.local = zone, .live = known}}};
    for (int i = 0; i < picks; ++i)
      loads[balancer.pick()->zone()] += static_cast<double>(count) / picks;
  }
  for (auto& [zone, load] : loads) load /= mean * backends.at(zone);
  return loads;
}

}  // namespace

TEST_CASE("a thousand clients of a thousand backends: each backend keeps its clients") {
  LiveFleet fleet{1000, 1000};
  // 1000 * 20 / 1000 = 20 clients for each, give or take 3; a client or backend is 20 connections.
  for (auto const change : {&LiveFleet::client_joins, &LiveFleet::client_leaves,
                            &LiveFleet::client_is_replaced, &LiveFleet::backend_is_replaced}) {
    auto const run = repeat(fleet, 3, change);
    CHECK(run.cover.least >= 17);
    CHECK(run.cover.most <= 23);
    CHECK(run.between.least >= 4);  // a backend that has just joined is known to half of them
    CHECK(run.between.most <= 27);
    CHECK(run.most_moved <= 200);  // of 20,000
  }
}

TEST_CASE("the table of a thousand clients is what their balancers use") {
  LiveFleet fleet{100, 1000};
  auto const table = fleet.table();
  std::vector<poise::Endpoint> servers;
  for (auto const& each : fleet.backends()) servers.push_back({.id = each});
  std::vector<poise::Endpoint> found;
  for (auto const& each : fleet.clients()) found.push_back({.id = each});
  for (auto const* id : {"client-0", "client-57", "client-99"}) {
    poise::Clients clients{id};
    (void)clients.set(found);
    using Policy = poise::Subset<poise::RoundRobin>;
    poise::Balancer<Policy> balancer{servers, Policy{{.size = subset_size, .live = clients}}};
    std::set<std::string> used;
    for (std::uint32_t i = 0; i < 2 * subset_size; ++i) used.insert(balancer.pick()->id());
    auto const& row = table.at(id);
    CHECK(used == std::set<std::string>(row.begin(), row.end()));
  }
}

TEST_CASE("zones carry what they can as their clients come and go") {
  std::map<std::string, int> const backends{{"a", 40}, {"b", 30}, {"c", 30}};
  for (auto const& clients : {std::map<std::string, int>{{"a", 40}, {"b", 30}, {"c", 30}},
                              std::map<std::string, int>{{"a", 70}, {"b", 20}, {"c", 10}},
                              std::map<std::string, int>{{"a", 5}, {"b", 5}, {"c", 90}}})
    for (auto const& [zone, load] : zone_loads(clients, backends, true)) {
      INFO(zone << " carries " << load);
      CHECK(std::abs(load - 1) < 0.05);
    }
  // With the numbers of yesterday the crowded zone is not relieved.
  CHECK(zone_loads({{"a", 5}, {"b", 5}, {"c", 90}}, backends, false).at("c") > 1.5);
}

TEST_CASE("the table of clients in docs/design/discovery.md", "[.][table]") {
  LiveFleet fleet{1000, 1000};
  struct Row {
    char const* name;
    void (LiveFleet::*change)();
  };
  for (auto const& [name, change] :
       {Row{"a client joins", &LiveFleet::client_joins},
        Row{"a client leaves", &LiveFleet::client_leaves},
        Row{"a client is replaced", &LiveFleet::client_is_replaced},
        Row{"a backend is replaced", &LiveFleet::backend_is_replaced}}) {
    auto const run = repeat(fleet, 50, change);
    std::printf("| %s | %.0f | %zu | %zu to %zu | %zu to %zu |\n", name, run.mean_moved,
                run.most_moved, run.cover.least, run.cover.most, run.between.least,
                run.between.most);
  }
  for (bool const live : {true, false})
    for (auto const& [zone, load] :
         zone_loads({{"a", 50}, {"b", 50}, {"c", 900}}, {{"a", 400}, {"b", 300}, {"c", 300}}, live))
      std::printf("%s: zone %s carries %.2f of the mean\n", live ? "live" : "configured",
                  zone.c_str(), load);
}

}  // namespace property_clients
