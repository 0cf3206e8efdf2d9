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

/// Retries what failed or still runs, up to this number of attempts, after this pause.
inline Scripted trying(std::uint32_t attempts, poise::CallTimeouts const& timeouts = {},
                       poise::Duration pause = {}) {
  Scripted policy;
  policy.hooks->timeouts = timeouts;
  policy.hooks->decide = [=](poise::Attempt const& attempt) {
    if (!attempt.running && !is_failure(attempt.outcome.result)) return poise::Decision{};
    return poise::Decision{attempt.request.attempt < attempts, pause, poise::StopReason::attempts};
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
std::uint64_t ended(Balancer& balancer, poise::Result result) {
  std::uint64_t count = 0;
  for (auto const& each : balancer.stats().backends) count += each.ended(result);
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
    // Named: g++ 12 may destroy twice what a temporary in an awaited expression captures.
    auto initiate = [state = state_](auto handler) {
      auto const kept = std::make_shared<decltype(handler)>(std::move(handler));
      state->waiting = [kept] { std::move (*kept)(); };
    };
    co_await asio::async_initiate<asio::use_awaitable_t<> const, void()>(std::move(initiate),
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

/// The reply of the tests' backends; one type for all tests, since each takes long to compile.
struct Answer {
  poise::Outcome outcome{};
  std::string text{};
};
inline poise::Outcome outcome_of(Answer const& answer) { return answer.outcome; }

using Ask = std::function<asio::awaitable<Answer>(Called::Backend&, poise::Request const&)>;
using Hear = std::function<void(std::exception_ptr, Answer)>;

/// asio::call(), awaited in a coroutine of its own; runs the loop until it ended, and no longer.
Answer call(asio::io_context& loop, Called& servers, Ask const& ask,
            poise::Request const& request = {}, poise::CallOptions const& options = {});

/// asio::async_call().
void start(asio::any_io_executor const& executor, Called& servers, Ask const& ask, Hear const& hear,
           poise::Request const& request = {}, poise::CallOptions const& options = {},
           asio::cancellation_slot slot = {});

}  // namespace tests

#endif
