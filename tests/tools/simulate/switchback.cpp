// SPDX-License-Identifier: MIT
// Switchback, with real balancers on simulated servers.

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <poise/analysis/switchback.hpp>

#include "support.hpp"
#include "support/catch.hpp"
#include "support/policies.hpp"

namespace tools_simulate_switchback {

namespace {

using namespace std::chrono_literals;
using poise::analysis::Arm;
using poise::analysis::Switchback;
using poise::analysis::Verdict;

/// Clients that a switchback gives one of two policies.
class SwitchedClients {
 public:
  struct Ticket {
    simulate::Clients::Ticket lease;
    poise::Time picked;
  };
  static constexpr bool waits = false;

  SwitchedClients(std::size_t count, std::array<std::string, 2> policies, std::uint64_t seed)
      : policies_{std::move(policies)},
        trial_{{.seed = seed}},
        live_{trial_.arm({})},
        clients_{count, maker(), seed} {}

  void begin(std::vector<simulate::Host> const& hosts) { clients_.begin(hosts); }
  void advance(double now) {
    now_ = poise::Time{poise::Duration{static_cast<std::int64_t>(now)}};
    clients_.advance(now);
  }
  void changed() noexcept {}
  void tick(double now) {
    clients_.tick(now);
    if (auto const arm = trial_.arm(now_); arm != live_) {
      live_ = arm;
      clients_.set_policy(maker());
    }
  }
  void listed(std::size_t host, bool is_listed) { clients_.listed(host, is_listed); }
  std::size_t pick(std::size_t client, std::span<std::uint64_t const> tried, Ticket& ticket) {
    ticket.picked = now_;
    return clients_.pick(client, tried, ticket.lease);
  }
  std::uint64_t finish(std::size_t client, Ticket const& ticket, poise::Result result,
                       poise::LoadReport const& load) {
    trial_.record(ticket.picked, now_ - ticket.picked, poise::is_failure(result));
    return clients_.finish(client, ticket.lease, result, load);
  }
  [[nodiscard]] Verdict verdict() {
    trial_.arm(now_);
    return trial_.compare().verdict;
  }

 private:
  [[nodiscard]] simulate::Clients::Make maker() const {
    return [name = policies_[static_cast<std::size_t>(live_)]](std::size_t) {
      return tests::policy(name);
    };
  }

  std::array<std::string, 2> policies_;
  Switchback trial_;
  Arm live_;
  simulate::Clients clients_;
  poise::Time now_{};
};

std::string const one_slow = R"(
clients     2
servers     4 cores=1 discipline=ps speed=1
servers     1 cores=1 discipline=ps speed=0.3
work        exponential mean=10ms
utilisation 0.6
network     0.25ms
timeout     1s
warmup      1s
window      1261s
)";

/// 21 simulated minutes: the last one waits for requests in flight.
Verdict trial(std::string const& a, std::string const& b, std::uint64_t seed) {
  auto const scenario = simulate::read_scenario(one_slow);
  SwitchedClients clients{scenario.clients, {a, b}, seed};
  simulate::Engine{scenario, seed, clients}.run();
  return clients.verdict();
}

}  // namespace

TEST_CASE("a switchback of 20 minutes finds that adaptive beats two choices beside a slow server") {
  CHECK(trial("p2c", "adaptive", 1) == Verdict::b);
}

TEST_CASE("a switchback between a policy and itself finds no difference") {
  CHECK(trial("p2c", "p2c", 3) == Verdict::no_difference);
}

TEST_CASE("200 switchbacks each, at least 95 % of them right", "[.][nightly]") {
  int right = 0;
  int same = 0;
  for (std::uint64_t seed = 10; seed < 210; ++seed) {
    right += trial("p2c", "adaptive", seed) == Verdict::b ? 1 : 0;
    same += trial("adaptive", "adaptive", seed) == Verdict::no_difference ? 1 : 0;
  }
  CAPTURE(right, same);
  CHECK(right >= 190);
  CHECK(same >= 190);
}

}  // namespace tools_simulate_switchback
