// SPDX-License-Identifier: MIT
#pragma once

// Clients as they are in production: each has a balancer of its own and knows only its own
// requests.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/balancer.hpp>
#include <poise/compose/any_policy.hpp>

#include "engine.hpp"

namespace simulate {

class Clients {
 public:
  using Balancer = poise::Balancer<poise::AnyPolicy, std::uint32_t,
                                   poise::Runtime<poise::VirtualClock>>;  // payload: the host
  using Ticket = Balancer::Lease::Token;
  using Make = std::function<poise::AnyPolicy(std::size_t client)>;
  static constexpr bool waits = false;

  Clients(std::size_t count, Make make, std::uint64_t seed)
      : count_{count}, make_{std::move(make)}, seed_{seed} {}

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
          poise::Runtime<poise::VirtualClock>{.clock = clock_,
                                              .seed = poise::detail::mix(seed_ * count_ + client)});
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
  std::uint64_t finish(std::size_t, Ticket const& ticket, poise::Result result) {
    auto lease = Balancer::Lease::adopt(ticket);
    auto const serial = lease.serial();
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
  std::uint64_t number_ = 0;
  std::vector<Host> const* hosts_ = nullptr;
  poise::VirtualClock clock_{};
  std::vector<Balancer> balancers_{};
};

}  // namespace simulate
