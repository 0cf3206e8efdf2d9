// SPDX-License-Identifier: MIT
#pragma once

// A probe of your own as a coroutine, with your own test of a healthy backend.
//
//   asio::awaitable<poise::health::Probed> ping(std::string address) {
//     auto const reply = co_await ask(address, "PING");
//     co_return poise::health::Probed{reply == "PONG", reply};
//   }
//   poise::asio::Prober prober{executor, servers, monitor, poise::asio::CoroutineProbe{ping}};
//
// Needs a compiler whose coroutines your Asio supports: 1.22 supports g++'s, but not clang's with
// libc++.
//
// After the timeout the coroutine is cancelled: the operation that it awaits ends with
// operation_aborted. An exception is a failed probe. A std::system_error of a local failure
// (is_local_failure) is no verdict.

#include <exception>
#include <memory>
#include <string>
#include <system_error>
#include <utility>

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/co_spawn.hpp>

#include <poise/asio/probe.hpp>
#include <poise/outcome.hpp>
#include <poise/probe/schedule.hpp>

namespace poise::inline v0_1_0::asio {

/// `Ask` is called with an address and returns an asio::awaitable<health::Probed>.
template <class Ask>
class CoroutineProbe {
 public:
  explicit CoroutineProbe(Ask ask) : ask_{std::move(ask)} {}

  std::shared_ptr<Attempt> operator()(::asio::any_io_executor const& executor,
                                      std::string const& address, Done done) const {
    auto attempt = std::make_shared<Running>();
    // Found by its argument: Asio does not declare it for compilers whose coroutines it does not
    // support.
    co_spawn(
        executor, ask_(address),
        ::asio::bind_cancellation_slot(
            attempt->signal.slot(), [attempt, answer = std::move(done)](
                                        std::exception_ptr const& thrown, health::Probed result) {
              answer(thrown ? failure(thrown) : std::move(result));
            }));
    return attempt;
  }

 private:
  struct Running final : Attempt {
    void cancel() noexcept override { signal.emit(::asio::cancellation_type::terminal); }
    ::asio::cancellation_signal signal;
  };

  static health::Probed failure(std::exception_ptr const& thrown) {
    try {
      std::rethrow_exception(thrown);
    } catch (std::system_error const& error) {
      return {false, error.what(), is_local_failure(error.code())};
    } catch (std::exception const& error) {
      return {false, error.what()};
    } catch (...) {
      return {false, "the probe threw"};
    }
  }

  Ask ask_;
};

}  // namespace poise::inline v0_1_0::asio
