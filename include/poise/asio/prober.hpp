// SPDX-License-Identifier: MIT
#pragma once

// Probes the backends of a balancer from an Asio event loop, and tells its health monitor.
//
//   asio::io_context loop;
//   poise::asio::HttpProbe const probe{"/up"};
//   poise::asio::Prober prober{loop.get_executor(), servers, monitor, probe};
//   poise::asio::Ticker ticker{loop.get_executor(), servers};
//   loop.run();                               // or on a thread of yours
//
// One loop on one thread serves any number of backends and balancers: a probe that hangs costs a
// socket, and delays nobody. Everything runs on a strand of the executor.
//
// Both may be destroyed at any moment, on any thread, also with the loop stopped, but before the
// loop: once the destructor returns they do not touch the balancer any more.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <asio/any_io_executor.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <asio/strand.hpp>

#include <poise/asio/probe.hpp>
#include <poise/health/schedule.hpp>
#include <poise/sync/relaxed.hpp>
#include <poise/time.hpp>

namespace poise::asio {

namespace detail {

/// What may be gone, and who may still ask for it. Recursive, since what is told may end the
/// teller.
class Guarded {
 public:
  /// Runs `use` unless it is over.
  template <class Use>
  void use(Use const& use) {
    std::scoped_lock const lock{mutex_};
    if (!over_) use();
  }
  void end() {
    std::scoped_lock const lock{mutex_};
    over_ = true;
  }

 private:
  std::recursive_mutex mutex_;
  bool over_ = false;
};

/// A timer that calls these again and again.
class Beat : public std::enable_shared_from_this<Beat> {
 public:
  Beat(::asio::any_io_executor const& executor, Duration period,
       std::vector<std::function<void()>> calls)
      : timer_{executor}, period_{period}, calls_{std::move(calls)} {}

  void start() { wait(Duration::zero()); }
  void end() { alive_.end(); }
  [[nodiscard]] std::uint64_t failures() const noexcept { return failures_.load(); }

 private:
  void wait(Duration time) {
    timer_.expires_after(std::chrono::duration_cast<::asio::steady_timer::duration>(time));
    timer_.async_wait([self = weak_from_this()](std::error_code) {
      if (auto const beat = self.lock()) beat->alive_.use([&] { beat->turn(); });
    });
  }
  void turn() {
    for (auto const& call : calls_) {
      try {
        call();
      } catch (...) {
        failures_.add(1);
      }
    }
    wait(period_);
  }

  ::asio::steady_timer timer_;
  Duration const period_;
  std::vector<std::function<void()>> const calls_;
  Guarded alive_{};
  sync::Relaxed<std::uint64_t> failures_{};
};

}  // namespace detail

/// Ticks balancers from an event loop, instead of a Keeper's thread: any number by one timer.
///
///   poise::asio::Ticker ticker{loop.get_executor(), 1s, users, orders, images};
class Ticker {
 public:
  /// *Requires* that the balancers outlive it and are not moved. *Errors* ConfigError: the period
  /// is not above 0.
  template <class... Balancers>
    requires(sizeof...(Balancers) != 0)
  Ticker(::asio::any_io_executor const& executor, Duration period, Balancers&... balancers)
      : beat_{std::make_shared<detail::Beat>(
            ::asio::make_strand(executor), period,
            std::vector<std::function<void()>>{[&balancers] { balancers.tick(); }...})} {
    health::detail::check_positive("period of asio::Ticker", period);
    beat_->start();
  }
  /// The same, once a second.
  template <class Balancer>
  Ticker(::asio::any_io_executor const& executor, Balancer& balancer)
      : Ticker{executor, std::chrono::seconds{1}, balancer} {}
  Ticker(Ticker const&) = delete;
  Ticker& operator=(Ticker const&) = delete;
  ~Ticker() { beat_->end(); }

  /// Ticks that threw.
  [[nodiscard]] std::uint64_t failures() const noexcept { return beat_->failures(); }

 private:
  std::shared_ptr<detail::Beat> beat_;
};

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
    ::asio::post(state_->strand, [state = state_] { state->stop(); });
  }

  /// Probes, reports and readings of the set that threw.
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

    /// A timer's handler. One that was set anew cancels the old wait, which then says nothing.
    auto later(void (State::*then)()) {
      return [weak = weak_from_this(), then](std::error_code error) {
        if (error) return;
        if (auto const self = weak.lock()) self->alive.use([&] { ((*self).*then)(); });
      };
    }

    /// Once a second: who is to be probed?
    void refresh() {
      guarded([&] { schedule.update(probing.targets(), now()); });
      set_timer.expires_after(std::chrono::seconds{1});
      set_timer.async_wait(later(&State::refresh));
      turn();
    }

    /// Whatever is due now; then sleeps until something is.
    void turn() {
      while (auto expired = schedule.expire(now())) {
        if (auto const node = running.extract(expired->ticket); node && node.mapped())
          node.mapped()->cancel();
        tell(expired->report);
      }
      while (auto due = schedule.start(now())) start(*due);
      auto const next = schedule.next();
      if (!next) return;
      timer.expires_after(std::max(*next - now(), Duration::zero()));
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
        answer({false, error.what()});
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

}  // namespace poise::asio
