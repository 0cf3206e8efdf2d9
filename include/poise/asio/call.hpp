// SPDX-License-Identifier: MIT
#pragma once

// Balancer::call for coroutines: with retries, hedging, timeouts and cancellation, and without a
// thread of its own. docs/calls.md has more.
//
//   asio::awaitable<Reply> ask(poise::Balancer<...>& servers, poise::Request request) {
//     co_return co_await poise::asio::call(
//         servers, request,
//         [](auto& server) -> asio::awaitable<Reply> { return fetch(server.address()); });
//   }
//
// fn(backend) or fn(backend, request) gives an asio::awaitable, which runs on the executor of the
// coroutine that awaits the call, or, if the policy has timeouts or hedges or the request has a
// deadline, on a strand of that executor. What it brings is classified with outcome_of, and
// returned or thrown as from a blocking call.
//
// Cancellation: the caller's, by cancellation slot or by CallOptions::stop, reaches what fn awaits.
// So does a timeout, and the end of a hedge's loser: such an attempt is given up at once, its lease
// is finished (timeout or cancelled) and what it still brings is dropped, whether it heeds the
// cancellation, takes its time or never ends. Without timeout, deadline, hedging and stop token
// nothing is given up: there a call lasts as long as fn does.
//
// The balancer may be destroyed while calls are in progress: their attempts end in peace, and no
// others follow. If the executor stops the calls stop; they are counted out when their coroutines
// are destroyed, with the execution context at the latest.
//
// With g++ 12 give a lambda that captures more than references and numbers a name first:
//
//   auto const ask = [connection](auto& server) -> asio::awaitable<Reply> { ... };
//   co_return co_await poise::asio::call(servers, request, ask);
//
// Written inside the awaited expression what it captured is destroyed twice: a fault of that
// compiler, whatever is called there.
//
// *Cost* one coroutine frame, which Asio recycles; with timeouts or hedges a strand, the call's
// state and two coroutines more (bench/coroutines). Needs standalone Asio 1.22 or later and a
// compiler whose coroutines it knows: 1.22 knows g++'s. Elsewhere this header is empty.

#include <asio/awaitable.hpp>

#if defined(ASIO_HAS_CO_AWAIT)

#include <exception>
#include <system_error>
#include <utility>

#include <asio/any_io_executor.hpp>
#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/cancellation_type.hpp>
#include <asio/co_spawn.hpp>
#include <asio/error.hpp>
#include <asio/post.hpp>
#include <asio/redirect_error.hpp>
#include <asio/steady_timer.hpp>
#include <asio/strand.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>

#include <poise/asio/calls.hpp>
#include <poise/call.hpp>
#include <poise/outcome.hpp>
#include <poise/request.hpp>

namespace poise::asio {

/// Standalone Asio, as asio/calls.hpp uses it.
struct Standalone {
  template <class T>
  using Awaitable = ::asio::awaitable<T>;
  using UseAwaitable = ::asio::use_awaitable_t<>;
  using Executor = ::asio::any_io_executor;
  using Timer = ::asio::steady_timer;
  using Signal = ::asio::cancellation_signal;
  using Slot = ::asio::cancellation_slot;
  using ErrorCode = ::asio::error_code;
  static constexpr ::asio::this_coro::executor_t executor{};
  static constexpr ::asio::this_coro::cancellation_state_t cancellation{};
  static constexpr auto no_cancellation = ::asio::cancellation_type::none;
  static constexpr auto every_cancellation = ::asio::cancellation_type::all;
  static Outcome outcome_of(std::exception_ptr const& thrown) noexcept {
    try {
      std::rethrow_exception(thrown);
    } catch (std::system_error const& error) {
      // The other side closed before the answer was whole.
      return error.code() == ::asio::error::eof ? Outcome{Ending::reset}
                                                : poise::outcome_of(thrown);
    } catch (...) {
      return poise::outcome_of(thrown);
    }
  }
};

/// An awaitable for the reply. The balancer, and the request's texts, must live until it is awaited
/// and the call began, the latter until its end.
/// *Errors*, thrown where it is awaited: NoBackend, CallStopped, and what fn throws.
template <class B, class Fn>
auto call(B& balancer, Request const& request, Fn fn, CallOptions const& options = {}) {
  return detail::Calls<Standalone>::call(balancer, request, std::move(fn), options);
}
template <class B, class Fn>
auto call(B& balancer, Fn fn, CallOptions const& options = {}) {
  return call(balancer, any_request, std::move(fn), options);
}

/// The same with a completion token, for void(std::exception_ptr, Reply): runs on the executor; the
/// handler is called on its associated executor, and cancelled by its associated slot. Keeps copies
/// of the request's texts.
/// *Requires* that Reply can be made from nothing, as co_spawn does.
template <class Executor, class B, class Fn, class Token>
auto async_call(Executor const& executor, B& balancer, Request const& request, Fn fn, Token&& token,
                CallOptions const& options = {}) {
  return detail::Calls<Standalone>::spawn(executor, balancer, request, std::move(fn),
                                          std::forward<Token>(token), options);
}

}  // namespace poise::asio

#endif
