// SPDX-License-Identifier: MIT
#pragma once

// A probe of your own as a coroutine, which knows what "works" means for your backends.
//
//   asio::awaitable<poise::health::Probed> ping(std::string address) {
//     auto const reply = co_await ask(address, "PING");
//     co_return poise::health::Probed{reply == "PONG", reply};
//   }
//   poise::asio::Prober prober{executor, servers, monitor, poise::asio::CoroutineProbe{ping}};
//
// Needs a compiler whose coroutines your Asio knows: 1.22 knows g++'s, but not clang's with libc++.
//
// After the timeout it is cancelled: what it awaits ends with operation_aborted. What it throws is
// a failed probe.

#include <exception>
#include <memory>
#include <string>
#include <utility>

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/co_spawn.hpp>

#include <poise/asio/probe.hpp>
#include <poise/health/schedule.hpp>

namespace poise::asio {

/// `Ask` is called with an address and gives an asio::awaitable<health::Probed>.
template <class Ask>
class CoroutineProbe {
 public:
  explicit CoroutineProbe(Ask ask) : ask_{std::move(ask)} {}

  std::shared_ptr<Attempt> operator()(::asio::any_io_executor const& executor,
                                      std::string const& address, Done done) const {
    auto attempt = std::make_shared<Running>();
    // Found by its argument: Asio has none for compilers whose coroutines it doesn't know.
    co_spawn(
        executor, ask_(address),
        ::asio::bind_cancellation_slot(
            attempt->signal.slot(), [attempt, answer = std::move(done)](
                                        std::exception_ptr const& thrown, health::Probed result) {
              answer(thrown ? health::Probed{false, what(thrown)} : std::move(result));
            }));
    return attempt;
  }

 private:
  struct Running final : Attempt {
    void cancel() noexcept override { signal.emit(::asio::cancellation_type::terminal); }
    ::asio::cancellation_signal signal;
  };

  static std::string what(std::exception_ptr const& thrown) {
    try {
      std::rethrow_exception(thrown);
    } catch (std::exception const& error) {
      return error.what();
    } catch (...) {
      return "the probe threw";
    }
  }

  Ask ask_;
};

}  // namespace poise::asio
