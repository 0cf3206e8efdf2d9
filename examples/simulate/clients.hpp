// SPDX-License-Identifier: MIT
#pragma once

// Clients as they are in production: each has a balancer of its own and knows only its own
// requests.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/balancer.hpp>
#include <poise/compose/any_policy.hpp>
#include <poise/load_report.hpp>
#include <poise/observer.hpp>
#include <poise/weighted_by_reports.hpp>

#include "engine.hpp"

namespace simulate {

/// Weights by load reports, or none.
class Reports {
 public:
  using State = poise::WeightedByReports::State;

  Reports() = default;
  explicit Reports(poise::WeightedByReportsOptions const& options) : rule_{options} {}

  void on_load_report(poise::Reported const& reported, State& state) const noexcept {
    if (rule_) rule_->on_load_report(reported, state);
  }
  bool on_tick(poise::Time now, std::span<poise::BackendView> all) {
    return rule_ && rule_->on_tick(now, all);
  }
  void arrange(std::span<poise::BackendView> all) const {
    if (rule_) poise::WeightedByReports::arrange(all);
  }

 private:
  std::optional<poise::WeightedByReports> rule_{};
};

/// A second of gRPC's defaults is here what a server measures over, which is a tick. But the
/// blackout is three of them and not ten, which would be longer than most scenarios' warm-up.
[[nodiscard]] inline Reports reports_of(Scenario const& scenario) {
  auto const tick = poise::Duration{static_cast<std::int64_t>(load_time * scenario.work.mean)};
  return Reports{{.blackout = 3 * tick, .expiration = 180 * tick, .update_period = tick}};
}

class Clients {
 public:
  using Runtime = poise::Runtime<poise::VirtualClock, Reports>;
  using Balancer = poise::Balancer<poise::AnyPolicy, std::uint32_t, Runtime>;  // payload: the host
  using Ticket = Balancer::Lease::Token;
  using Make = std::function<poise::AnyPolicy(std::size_t client)>;
  static constexpr bool waits = false;

  Clients(std::size_t count, Make make, std::uint64_t seed, Reports reports = {})
      : count_{count}, make_{std::move(make)}, seed_{seed}, reports_{reports} {}

  void begin(std::vector<Host> const& hosts) {
    hosts_ = &hosts;
    std::vector<poise::Endpoint> endpoints;
    for (std::size_t i = 0; i < hosts.size(); ++i)
      if (hosts[i].listed) endpoints.push_back(endpoint(i));
    balancers_.reserve(count_);
    for (std::size_t client = 0; client < count_; ++client)
      balancers_.emplace_back(
          endpoints,
          [](poise::Endpoint const& each) {
            return static_cast<std::uint32_t>(std::stoul(each.id));
          },
          make_(client),
          Runtime{.clock = clock_,
                  .seed = poise::detail::mix(seed_ * count_ + client),
                  .observers = {reports_}});
  }
  void advance(double now) noexcept {
    clock_.set(poise::Time{poise::Duration{static_cast<std::int64_t>(now)}});
  }
  void changed() noexcept {}
  /// From now on all clients pick by what this makes.
  void set_policy(Make const& make) {
    for (std::size_t client = 0; client < count_; ++client)
      balancers_[client].set_policy(make(client));
  }
  void tick(double) {
    for (auto& each : balancers_) each.tick();
  }
  void listed(std::size_t host, bool is_listed) {
    for (auto& each : balancers_)
      if (is_listed) each.add(endpoint(host));
      else each.remove(std::to_string(host));
  }

  std::size_t pick(std::size_t client, std::span<std::uint64_t const> tried, Ticket& ticket) {
    ++number_;
    std::string_view const id{reinterpret_cast<char const*>(&number_), sizeof number_};
    auto lease = balancers_[client].pick({.id = id, .excluded = tried});
    if (!lease) return nobody;
    auto const host = lease->payload();
    ticket = lease.release();
    return host;
  }
  /// Returns the serial of the backend, for requests that are tried again elsewhere.
  std::uint64_t finish(std::size_t, Ticket const& ticket, poise::Result result,
                       poise::LoadReport const& load) {
    auto lease = Balancer::Lease::adopt(ticket);
    auto const serial = lease.serial();
    lease.report_load(load);
    lease.finish(result);
    return serial;
  }

 private:
  [[nodiscard]] poise::Endpoint endpoint(std::size_t i) const {
    return {.id = std::to_string(i), .weight = (*hosts_)[i].server.kind().weight};
  }

  std::size_t count_;
  Make make_;
  std::uint64_t seed_;
  Reports reports_;
  std::uint64_t number_ = 0;
  std::vector<Host> const* hosts_ = nullptr;
  poise::VirtualClock clock_{};
  std::vector<Balancer> balancers_{};
};

}  // namespace simulate
