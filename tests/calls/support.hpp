// SPDX-License-Identifier: MIT
#pragma once

// Coroutines that ask backends on an event loop, and a balancer whose policy is a test's.

#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <asio.hpp>

#include <poise/asio/call.hpp>
#include <poise/balancer.hpp>

#include "support/scripted.hpp"
#include "support/servers.hpp"

#if defined(ASIO_HAS_CO_AWAIT)

namespace tests {

using namespace std::chrono_literals;

/// Real time, and a policy whose hooks a test writes.
using Called = poise::Balancer<Scripted, void, poise::Runtime<poise::SteadyClock>>;

/// So many attempts of what failed or still runs, with this pause.
inline Scripted trying(std::uint32_t attempts, poise::CallLimits limits = {},
                       poise::Duration pause = {}) {
  Scripted policy;
  policy.hooks->limits = limits;
  policy.hooks->decide = [=](poise::Attempt const& attempt) {
    if (!attempt.running && !is_failure(attempt.outcome.ending)) return poise::Decision{};
    return poise::Decision{attempt.request.attempt < attempts, pause, poise::Stop::attempts};
  };
  return policy;
}

inline Called called(std::string_view ids, Scripted const& policy = trying(1)) {
  return Called{letters(ids), policy, {.clock = {}, .seed = 1}};
}

template <class Balancer>
std::uint32_t in_flight(Balancer& balancer) {
  std::uint32_t count = 0;
  for (auto const& each : balancer.stats().backends) count += each.in_flight;
  return count;
}

template <class Balancer>
std::uint64_t ended(Balancer& balancer, poise::Ending ending) {
  std::uint64_t count = 0;
  for (auto const& each : balancer.stats().backends) count += each.ended(ending);
  return count;
}

inline asio::awaitable<void> rest(poise::Duration time) {
  asio::steady_timer timer{co_await asio::this_coro::executor, time};
  co_await timer.async_wait(asio::use_awaitable);
}

/// Awaits what only open() ends; heeds no cancellation. Copies are the same gate.
class Gate {
 public:
  asio::awaitable<void> wait() {
    co_await asio::async_initiate<asio::use_awaitable_t<> const, void()>(
        [state = state_](auto handler) {
          auto const kept = std::make_shared<decltype(handler)>(std::move(handler));
          state->waiting = [kept] { std::move (*kept)(); };
        },
        asio::use_awaitable);
  }
  void open() {
    if (auto const waiting = std::exchange(state_->waiting, nullptr)) waiting();
  }
  [[nodiscard]] bool is_awaited() const { return state_->waiting != nullptr; }

 private:
  struct State {
    std::function<void()> waiting{};
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

/// Runs a coroutine to its end; returns or throws what it does.
template <class T>
T run(asio::io_context& context, asio::awaitable<T> what) {
  std::exception_ptr thrown;
  std::optional<T> reply;
  asio::co_spawn(
      context,
      [](asio::awaitable<T> inner, std::optional<T>& to) -> asio::awaitable<void> {
        to.emplace(co_await std::move(inner));
      }(std::move(what), reply),
      [&](std::exception_ptr error) { thrown = std::move(error); });
  context.run();
  context.restart();
  if (thrown) std::rethrow_exception(thrown);
  return std::move(*reply);
}

inline void run(asio::io_context& context, asio::awaitable<void> what) {
  (void)run(context, [](asio::awaitable<void> inner) -> asio::awaitable<bool> {
    co_await std::move(inner);
    co_return true;
  }(std::move(what)));
}

}  // namespace tests

#endif
