// SPDX-License-Identifier: MIT
// A call is cut off after each step of its event loop: by its slot, by a stop token, by the end of
// its balancer or of the loop itself. Nothing may stay in flight, and nothing be used after it is
// gone, which is AddressSanitizer's to say.

#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include "integration/calls/support.hpp"
#include "support/catch.hpp"

namespace integration_calls_cancel {

#if defined(ASIO_HAS_CO_AWAIT)

using namespace tests;
using poise::Result;

namespace {

enum class By { slot, stop, balancers_end, loops_end };

struct Way {
  char const* name;
  poise::CallTimeouts timeouts;
};
Way const ways[]{{"plain", {}},
                 {"with timeouts", {.timeout = 60ms, .attempt_timeout = 8ms}},
                 {"hedged", {.hedge_after = 1ms}},
                 {"hedged, with timeouts", {.attempt_timeout = 8ms, .hedge_after = 1ms}}};

/// Everything there is to be cut off in: a failure and the pause after it, an attempt that hangs
/// until it is given up, one that takes a few steps.
asio::awaitable<Answer> misbehave(Called::Backend& backend, poise::Request const&) {
  if (backend.id() == "a") co_return Answer{Result::reset};
  co_await rest(1ms);
  if (backend.id() == "b") co_await rest(20ms);
  co_return Answer{Result::error};
}

/// One call, cut off after so many steps; false if it was over before.
class Cut {
 public:
  Cut(Way const& way, By by) : by_{by} {
    servers_.emplace(called("abcd", trying(5, way.timeouts, 2ms)));
    loop_ = std::make_unique<asio::io_context>();
  }

  bool after(int steps) {
    take_token();
    start(
        loop_->get_executor(), *servers_, misbehave,
        [this](std::exception_ptr const& error, Answer const&) {
          over_ = true;
          thrown_ = error;
        },
        {.id = "cut"}, {.stop = stop_}, signal_.slot());
    for (int step = 0; step < steps && !over_; ++step)
      if (loop_->run_one() == 0) break;
    if (over_) return false;
    cut();
    if (by_ != By::loops_end) loop_->run();
    return true;
  }

  [[nodiscard]] std::uint32_t in_flight() { return servers_ ? tests::in_flight(*servers_) : 0; }
  [[nodiscard]] bool came_back() const { return over_; }
  /// What the caller heard: cancelled, or the failure that was there already.
  [[nodiscard]] bool was_cancelled() const {
    return !thrown_ || poise::outcome_of(thrown_).result == Result::cancelled;
  }

 private:
  void take_token() {
#if defined(__cpp_lib_jthread)
    if (by_ == By::stop) stop_ = source_.get_token();
#endif
  }

  void cut() {
    switch (by_) {
      case By::slot: return signal_.emit(asio::cancellation_type::all);
      case By::stop:
#if defined(__cpp_lib_jthread)
        source_.request_stop();
#endif
        return;
      case By::balancers_end: return servers_.reset();
      case By::loops_end: return loop_.reset();
    }
  }

  By by_;
  asio::cancellation_signal signal_{};
#if defined(__cpp_lib_jthread)
  std::stop_source source_{};
#endif
  poise::sync::StopToken stop_{};
  std::optional<Called> servers_{};
  std::unique_ptr<asio::io_context> loop_{};
  bool over_ = false;
  std::exception_ptr thrown_{};
};

/// At every step, until the call is over by itself.
int cut_everywhere(By by) {
  int cuts = 0;
  for (auto const& way : ways)
    for (int steps = 0;; ++steps) {
      INFO(way.name << ", after " << steps << " steps");
      Cut call{way, by};
      if (!call.after(steps)) break;
      ++cuts;
      REQUIRE(call.in_flight() == 0);
      if (by == By::slot || by == By::stop) {
        REQUIRE(call.came_back());
        REQUIRE(call.was_cancelled());
      }
      if (by == By::balancers_end) REQUIRE(call.came_back());
    }
  return cuts;
}

}  // namespace

TEST_CASE("a call is cancelled by its slot wherever it is") {
  CHECK(cut_everywhere(By::slot) > 40);
}

#if defined(__cpp_lib_jthread)
TEST_CASE("a call is cancelled by a stop token wherever it is") {
  CHECK(cut_everywhere(By::stop) > 40);
}
#endif

TEST_CASE("a call completes at every step at which its balancer is destroyed") {
  CHECK(cut_everywhere(By::balancers_end) > 40);
}

TEST_CASE("a call can be destroyed with its event loop wherever it is") {
  CHECK(cut_everywhere(By::loops_end) > 40);
}

TEST_CASE("a cancelled attempt is notified, and its backend is not blamed") {
  for (auto const& way : ways) {
    asio::io_context loop;
    auto servers = called("a", trying(1, way.timeouts));
    asio::cancellation_signal signal;
    bool aborted = false;
    auto const ask = [&](auto&, auto&) -> asio::awaitable<Answer> {
      asio::steady_timer timer{co_await asio::this_coro::executor, 1h};
      std::error_code error;
      co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, error));
      aborted = error == asio::error::operation_aborted;
      throw std::system_error{error};
    };
    bool over = false;
    start(
        loop.get_executor(), servers, ask, [&](auto const&, auto const&) { over = true; }, {}, {},
        signal.slot());
    loop.poll();
    signal.emit(asio::cancellation_type::terminal);
    loop.run();
    CHECK(over);
    CHECK(aborted);
    CHECK(stats_of(servers, "a").ended(Result::cancelled) == 1);
    CHECK(stats_of(servers, "a").failed == 0);
  }
}

#endif

}  // namespace integration_calls_cancel
