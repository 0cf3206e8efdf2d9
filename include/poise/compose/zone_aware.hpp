// SPDX-License-Identifier: MIT
#pragma once

// Picks backends of the client's own zone, as far as that zone has the capacity.
//
//   poise::ZoneAware<poise::P2C>{{.local = "eu-1a"}}
//
// Use it to keep traffic in the zone without overloading a zone that has many clients and few
// backends. Let `up` be a zone's fraction of the capacity, and `local` its fraction of the clients.
// A client in a zone with up >= local sends all requests there. Otherwise it sends up / local of
// them there, and spreads the rest over other zones in proportion to max(0, up - local). Each
// client follows this rule by itself, and together they give every zone what it can carry. That
// needs right fractions of the clients.
//
// Source: Envoy, zone aware routing; without its minimum of six hosts.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/backend.hpp>
#include <poise/candidates.hpp>
#include <poise/compose/clients.hpp>
#include <poise/compose/partition.hpp>
#include <poise/error.hpp>
#include <poise/policy.hpp>

namespace poise::inline v0_1_0 {

/// Where this client is, and how all clients are spread over the zones.
struct ZoneOptions {
  std::string local{};  ///< The zone that this client is in.
  /// How clients are spread over zones, in any unit. Empty: evenly over the zones of the backends.
  std::map<std::string, double> clients{};
  /// The clients as a registry knows them, once it has a list: instead of `clients`.
  Clients live{};
};

/// The capacity of a zone is the weight of its eligible backends. If the local zone has no eligible
/// backend, the inner policy picks among all, as if there were no zones. A request that excludes
/// all backends of the drawn zone gets another zone. With a keyed policy the key draws the zone.
/// *Errors* ConfigError: no local zone, a zone without name, shares that are negative or not
/// finite, no share for the local zone.
/// *Cost* one more random number while requests leave the zone; 40 bytes of plan a backend, and 4
/// more per zone.
template <class P>
class ZoneAware : public detail::PartitionedPolicy<P, std::string> {
  using Base = detail::PartitionedPolicy<P, std::string>;

 public:
  using Plan = typename Base::Plan;

  explicit ZoneAware(ZoneOptions options, P inner = detail::default_policy<P>())
      : Base{std::move(inner)}, options_{std::move(options)} {
    check(options_);
  }

  [[nodiscard]] std::string name() const {
    return "zone_aware(" + hooks::name(this->inner()) + ")";
  }

  [[nodiscard]] Plan plan(Candidates const& candidates, Plan const* before) const {
    auto const capacity = capacities(candidates);
    auto const local = capacity.find(options_.local);
    if (local == capacity.end() || local->second == 0) {
      auto plan = this->divide({std::string{}}, candidates, before,
                               [](Backend const&, std::string_view) { return true; });
      Base::set_loads(plan, {1});
      return plan;
    }
    std::vector<std::string> zones{options_.local};
    for (auto const& [zone, weight] : capacity)
      if (zone != options_.local) zones.push_back(zone);
    auto plan = this->divide(
        zones, candidates, before,
        [](Backend const& backend, std::string_view zone) { return backend.zone() == zone; });
    Base::set_loads(plan, shares(zones, capacity));
    return plan;
  }

 private:
  using Capacities = std::map<std::string, double>;

  /// The weight of the eligible backends of each zone.
  static Capacities capacities(Candidates const& candidates) {
    Capacities result;
    for (std::size_t position = 0; position < candidates.members(); ++position) {
      auto& capacity = result[candidates.member(position).zone()];
      if (candidates.index_of(position) != Candidates::none)
        capacity += static_cast<double>(candidates.member_weight(position));
    }
    return result;
  }

  /// The load of each zone, in 2^-32. *Requires* that the local zone comes first and has capacity.
  [[nodiscard]] std::vector<std::uint64_t> shares(std::vector<std::string> const& zones,
                                                  Capacities const& capacity) const {
    double whole = 0;
    for (auto const& [zone, weight] : capacity) whole += weight;
    auto const clients = client_shares(zones);
    auto const up = [&](std::string const& zone) { return capacity.at(zone) / whole; };
    auto const residual = [&](std::string const& zone) {
      auto const there = clients.find(zone);
      return std::max(0.0, up(zone) - (there == clients.end() ? 0 : there->second));
    };
    auto const stay = std::min(1.0, up(zones[0]) / clients.at(zones[0]));
    double residuals = 0;
    for (std::size_t i = 1; i < zones.size(); ++i) residuals += residual(zones[i]);

    constexpr double unit = 0x1p32;
    std::vector<std::uint64_t> result(zones.size());
    result[0] = static_cast<std::uint64_t>(std::lround(unit * stay));
    for (std::size_t i = 1; i < zones.size() && residuals > 0; ++i)
      result[i] = static_cast<std::uint64_t>(
          std::lround(unit * (1 - stay) * residual(zones[i]) / residuals));
    if (std::all_of(result.begin(), result.end(), [](auto share) { return share == 0; }))
      result[0] = 1;
    return result;
  }

  /// Each zone's fraction of the clients; the sum is 1.
  [[nodiscard]] std::map<std::string, double> client_shares(
      std::vector<std::string> const& zones) const {
    auto result = options_.clients;
    if (auto const live = options_.live.view()) {
      result = live->zones;
      result.try_emplace(options_.local, 1);  // this client
    }
    if (result.empty())
      for (auto const& zone : zones)
        if (!zone.empty()) result[zone] = 1;
    double sum = 0;
    for (auto const& [zone, share] : result) sum += share;
    for (auto& [zone, share] : result) share /= sum;
    return result;
  }

  static void check(ZoneOptions const& options) {
    if (options.local.empty())
      throw ConfigError{
          "local zone of ZoneAware is \"\": name the zone that this client is in, or do without "
          "ZoneAware"};
    for (auto const& [zone, share] : options.clients) {
      if (zone.empty())
        throw ConfigError{"clients of ZoneAware has a zone \"\": a zone needs a name"};
      if (!std::isfinite(share) || share < 0)
        throw ConfigError{"clients of ZoneAware gives zone " + detail::in_quotes(zone) +
                          " the share " + std::to_string(share) + ": a share is 0 or more"};
    }
    if (options.clients.empty()) return;
    auto const local = options.clients.find(options.local);
    if (local == options.clients.end() || local->second == 0)
      throw ConfigError{"clients of ZoneAware gives no share to the local zone " +
                        detail::in_quotes(options.local) +
                        ", although this client is in it: give every zone with clients its share"};
  }

  ZoneOptions options_;
};

}  // namespace poise::inline v0_1_0
