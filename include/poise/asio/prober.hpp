// SPDX-License-Identifier: MIT
#pragma once

// Probes the backends of a balancer from an Asio event loop, and reports to its health monitor.
//
//   asio::io_context loop;
//   poise::asio::HttpProbe const probe{"/up"};
//   poise::asio::Prober prober{loop.get_executor(), servers, monitor, probe};
//   poise::asio::Ticker ticker{loop.get_executor()};
//   auto const watched = ticker.watch(servers);
//   loop.run();                               // or on a thread of yours
//
// One loop on one thread serves any number of backends and balancers: a probe that hangs costs one
// socket, and delays no other probe. Everything runs on a strand of the executor.
//
// A prober may be destroyed at any time before the loop, on any thread, even if the loop is
// stopped. Once its destructor has returned, it no longer uses the balancer.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <exception>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include <asio/any_io_executor.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <asio/strand.hpp>

#include <poise/asio/ending.hpp>
#include <poise/asio/probe.hpp>
#include <poise/asio/ticker.hpp>
#include <poise/outcome.hpp>
#include <poise/probe/schedule.hpp>
#include <poise/sync/relaxed.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::asio {

/// *Errors* ConfigError: see health::Schedule and health::Probing::check.
class Prober {
 public:
  /// *Requires* that the balancer outlives it and is not moved.
  template <class Balancer, class Monitor>
  Prober(::asio::any_io_executor const& executor, Balancer& balancer, Monitor monitor,
         StartProbe probe, health::ProbeOptions const& options = {})
      : state_{std::make_shared<State>(
            ::asio::make_strand(executor), std::move(probe), options,
            health::AnyProbing{health::Probing{balancer, std::move(monitor)}, options})} {
    ::asio::post(state_->strand, [state = state_] { state->alive.use([&] { state->refresh(); }); });
  }
  Prober(Prober const&) = delete;
  Prober& operator=(Prober const&) = delete;
  ~Prober() {
    state_->alive.end();
    state_->probing.warn({});
    ::asio::post(state_->strand, [state = state_] { state->stop(); });
  }

  /// How many probes, reports and reads of the set threw.
  [[nodiscard]] std::uint64_t failures() const noexcept { return state_->failures.load(); }

 private:
  struct State : std::enable_shared_from_this<State> {
    State(::asio::any_io_executor on, StartProbe with, health::ProbeOptions const& options,
          health::AnyProbing known)
        : strand{std::move(on)},
          probe{std::move(with)},
          schedule{options},
          probing{std::move(known)},
          set_timer{strand},
          timer{strand},
          tick_timer{strand} {}

    /// A timer's handler. Setting a timer again cancels its old wait, which then does nothing.
    auto later(void (State::*then)()) {
      return [weak = weak_from_this(), then](std::error_code error) {
        if (error) return;
        if (auto const self = weak.lock()) self->alive.use([&] { ((*self).*then)(); });
      };
    }

    /// Once a second: reads which backends are to be probed.
    void refresh() {
      guarded([&] { schedule.update(probing.targets(), now()); });
      guarded([&] { probing.warn(schedule.warning()); });
      set_timer.expires_after(std::chrono::seconds{1});
      set_timer.async_wait(later(&State::refresh));
      turn();
    }

    /// Makes all probes that are due, then sleeps until the next one is due.
    void turn() {
      while (auto expired = schedule.expire(now())) {
        if (auto const node = running.extract(expired->ticket); node && node.mapped())
          node.mapped()->cancel();
        tell(expired->report);
      }
      while (auto due = schedule.start(now())) start(*due);
      auto const next = schedule.next();
      if (!next) return;
      constexpr Duration max_wait = std::chrono::hours{1};  // then it looks again
      timer.expires_after(std::clamp(*next - now(), Duration::zero(), max_wait));
      timer.async_wait(later(&State::turn));
    }

    void start(health::Schedule::Probe const& due) {
      auto const answer = [weak = weak_from_this(), on = strand, id = due.id,
                           ticket = due.ticket](health::Probed result) {
        ::asio::post(on, [weak, id, ticket, found = std::move(result)] {
          if (auto const self = weak.lock())
            self->alive.use([&] { self->finish(id, ticket, found); });
        });
      };
      try {
        running.emplace(due.ticket, probe(strand, due.address, answer));
      } catch (std::exception const& error) {
        failures.add(1);
        auto const* const failure = dynamic_cast<std::system_error const*>(&error);
        answer({false, error.what(), failure != nullptr && is_local_failure(failure->code())});
      } catch (...) {
        failures.add(1);
        answer({false, "the probe threw"});
      }
    }

    void finish(std::string const& id, std::uint64_t ticket, health::Probed const& result) {
      running.erase(ticket);
      tell(schedule.finish(id, ticket, result, now()));
      turn();
    }

    void tell(std::optional<health::Schedule::Report> const& found) {
      if (found)
        guarded([&] {
          if (!probing.report(*found) || std::exchange(tick_waits, true)) return;
          tick_timer.expires_after(probing.soon);
          tick_timer.async_wait(later(&State::tick));
        });
    }

    void tick() {
      tick_waits = false;
      guarded([&] { probing.tick(); });
    }

    void stop() {
      for (auto* each : {&timer, &set_timer, &tick_timer}) each->cancel();
      for (auto const& [ticket, attempt] : running)
        if (attempt) attempt->cancel();
      running.clear();
    }

    template <class Call>
    void guarded(Call const& call) {
      try {
        call();
      } catch (...) {
        failures.add(1);
      }
    }

    static Time now() { return SteadyClock{}.now(); }

    ::asio::any_io_executor strand;
    StartProbe probe;
    health::Schedule schedule;
    health::AnyProbing probing;
    ::asio::steady_timer set_timer;
    ::asio::steady_timer timer;
    ::asio::steady_timer tick_timer;
    bool tick_waits = false;
    std::map<std::uint64_t, std::shared_ptr<Attempt>> running{};  // by ticket
    detail::Guarded alive{};
    sync::Relaxed<std::uint64_t> failures{};
  };

  std::shared_ptr<State> state_;
};

}  // namespace poise::inline v0_1_0::asio
