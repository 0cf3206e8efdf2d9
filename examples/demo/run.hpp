// SPDX-License-Identifier: MIT
#pragma once

// One policy's run: this is where poise is used.
//
// The sending thread picks, sends and finishes. The calling thread stands in for everything else
// that uses a balancer: plays the incidents, calls tick() and shows the statistics.

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include <asio/io_context.hpp>
#include <poise/analysis/decisions.hpp>
#include <poise/analysis/pages.hpp>
#include <poise/health/monitor.hpp>
#include <poise/observe/handler.hpp>
#include <poise/observe/meter.hpp>
#include <poise/observe/reader.hpp>
#include <poise/poise.hpp>

#include "background.hpp"
#include "fleet.hpp"
#include "load.hpp"
#include "log.hpp"
#include "page.hpp"
#include "pool.hpp"
#include "scenario.hpp"
#include "screen.hpp"

namespace demo {

template <class Policy, class... Rules>
class Run {
  using Runtime = poise::Runtime<poise::CycleClock, Rules..., poise::observe::Meter<>,
                                 poise::analysis::Decisions<>>;
  using Balancer = poise::Balancer<Policy, Pool, Runtime>;

 public:
  Run(Scenario const& scenario, Policy policy, Rules... rules)
      : scenario_{scenario},
        fleet_{scenario},
        balancer_{
            fleet_.endpoints(),
            [this](poise::Endpoint const& endpoint) { return Pool{client_, endpoint.address}; },
            std::move(policy),
            Runtime{.seed = scenario.seed,
                    .observers = {std::move(rules)..., poise::observe::Meter<>{},
                                  poise::analysis::Decisions<>{}}}} {
    log_.policy = balancer_.name();
    if (scenario.page)
      page_.emplace(*scenario.page,
                    std::make_shared<poise::observe::Reader>(log_.policy, balancer_),
                    [&](poise::observe::Handler& handler) { explain_on(handler); });
    log_.samples.reserve(static_cast<std::size_t>(scenario.rate * scenario.length.count() * 1.1));
  }
  Run(Run const&) = delete;
  Run& operator=(Run const&) = delete;
  ~Run() = default;

  [[nodiscard]] Log operator()(Screen& screen) {
    log_.start = Clock::now() + std::chrono::milliseconds{20};
    log_.end = log_.start + std::chrono::duration_cast<Clock::duration>(scenario_.length);
    Load load{client_, scenario_, log_.start, log_.end, [this](Instant due) { send(due); }};
    Background sender{client_};
    conduct(screen);
    sender.wait();  // for the last answers or their timeouts
    return std::move(log_);
  }

 private:
  /// /explain, /why/ID and /decisions.
  void explain_on(poise::observe::Handler& handler) {
    namespace analysis = poise::analysis;
    if constexpr ((std::same_as<Rules, poise::health::Standard> || ...))
      analysis::add_explanations(handler, balancer_,
                                 balancer_.template observer<poise::health::Standard>());
    else analysis::add_explanations(handler, balancer_);
    analysis::add_decisions(handler, balancer_,
                            balancer_.template observer<analysis::Decisions<>>());
  }
  void send(Instant due) {
    auto const picked = Clock::now();
    auto lease = std::make_shared<typename Balancer::Lease>(balancer_.pick());
    if (!*lease) {
      log_.samples.push_back({due, picked, picked, std::nullopt, poise::Result::refused});
      return;
    }
    auto& pool = (*lease)->payload();
    pool.get(due + request_timeout, [this, due, picked, lease](poise::Outcome outcome) {
      log_.samples.push_back(
          {due, picked, Clock::now(), number_of((*lease)->id()), outcome.result});
      lease->finish(outcome);
    });
  }

  void conduct(Screen& screen) {
    constexpr std::chrono::milliseconds frame{100};
    std::vector<Mood> moods(scenario_.backends, Mood::well);
    auto const turns = scenario_.calm ? std::vector<Turn>{} : script(scenario_.backends);
    auto turn = turns.begin();
    log_.calm_until = turns.empty() ? log_.end : at(turns.front().at);
    for (auto next_frame = log_.start; next_frame < log_.end; next_frame += frame) {
      for (; turn != turns.end() && at(turn->at) < next_frame; ++turn) {
        std::this_thread::sleep_until(at(turn->at));
        fleet_.apply(*turn);
        note(*turn, std::exchange(moods[turn->backend], turn->mood));
      }
      std::this_thread::sleep_until(next_frame);
      balancer_.tick();  // a second is usual; here everything happens ten times as fast
      screen.show(balancer_.stats(), moods, Clock::now() - log_.start);
    }
    std::this_thread::sleep_until(log_.end);
  }

  void note(Turn const& turn, Mood before) {
    if (turn.mood == Mood::dead) {
      log_.outage = {turn.backend, Clock::now(), log_.end};
    } else if (before == Mood::dead) {
      log_.outage->revived = Clock::now();
    }
  }

  [[nodiscard]] Instant at(double share) const {
    return log_.start + std::chrono::duration_cast<Clock::duration>(scenario_.length * share);
  }

  Scenario scenario_;
  Fleet fleet_;
  asio::io_context client_{1};  // outlives the pools
  Balancer balancer_;
  std::optional<Page> page_;
  Log log_;
};

}  // namespace demo
