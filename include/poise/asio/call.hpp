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
// fn(backend) or fn(backend, request) returns an asio::awaitable. It runs on the executor of the
// coroutine that awaits the call. If the policy has timeouts or hedges, or the request a deadline,
// it runs on a strand of that executor. outcome_of classifies its reply or exception, which is
// returned or thrown as from a blocking call.
//
// Cancellation: the caller cancels by cancellation slot or by CallOptions::stop. The operation that
// fn awaits is cancelled then, and also after a timeout, and when another attempt of a hedged call
// won. Such an attempt is given up at once: its lease is finished (timeout or cancelled), and its
// later result is dropped, even if it ignores the cancellation. Without timeout, deadline, hedging
// and stop token no attempt is given up, and a call takes as long as fn does.
//
// The balancer may be destroyed while calls are in progress. Their attempts finish, and no others
// follow. If the executor stops, the calls stop; they are counted out when their coroutines are
// destroyed, at the latest with the execution context.
//
// With g++ 12 give a lambda that captures more than references and numbers a name first:
//
//   auto const ask = [connection](auto& server) -> asio::awaitable<Reply> { ... };
//   co_return co_await poise::asio::call(servers, request, ask);
//
// If the lambda is written inside the awaited expression, that compiler destroys its captures
// twice, for any awaited function.
//
// *Cost* one coroutine frame, which Asio recycles; with timeouts or hedges also a strand, the
// call's state and two more coroutines (bench/coroutines). Needs standalone Asio 1.22 or later, and
// a compiler whose coroutines Asio supports: 1.22 supports g++'s, and clang's with
// -DASIO_HAS_CO_AWAIT -DASIO_HAS_STD_COROUTINE. Elsewhere this header is an error that says so.

#include <asio/awaitable.hpp>

#if defined(ASIO_HAS_CO_AWAIT)

#include <exception>
#include <string_view>
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

#include <poise/asio/raced_call.hpp>
#include <poise/asio/waiting_pick.hpp>
#include <poise/call.hpp>
#include <poise/outcome.hpp>
#include <poise/request.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::asio {

/// Standalone Asio, as asio/raced_call.hpp uses it.
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
      // The peer closed before the answer was complete.
      return error.code() == ::asio::error::eof ? Outcome{Result::reset}
                                                : poise::outcome_of(thrown);
    } catch (...) {
      return poise::outcome_of(thrown);
    }
  }
};

/// An awaitable of the reply. The balancer must live until it is awaited and the call has begun,
/// the request's texts until the call ends.
/// *Errors* thrown where it is awaited: NoBackend, CallStopped, and exceptions of fn.
template <class B, class Fn>
auto call(B& balancer, Request const& request, Fn fn, CallOptions const& options = {}) {
  using Reply = detail::ReplyOf<B, Fn>;
  return detail::Calls<Standalone>::template call<Reply>(balancer, request, std::move(fn), options);
}
template <class B, class Fn>
auto call(B& balancer, Fn fn, CallOptions const& options = {}) {
  return call(balancer, any_request, std::move(fn), options);
}

/// Balancer::call_or, awaited: fallback() and fallback(why) may also return an awaitable of the
/// reply.
template <class B, class Fn, class Fallback>
auto call_or(B& balancer, Request const& request, Fn fn, Fallback fallback,
             CallOptions const& options = {}) {
  return detail::Calls<Standalone>::call_or(balancer, request, std::move(fn), std::move(fallback),
                                            options);
}
/// The same for a request without wishes.
template <class B, class Fn, class Fallback>
auto call_or(B& balancer, Fn fn, Fallback fallback, CallOptions const& options = {}) {
  return call_or(balancer, any_request, std::move(fn), std::move(fallback), options);
}

/// The same with a completion token for void(std::exception_ptr, Reply). Runs on the executor. The
/// handler is called on its associated executor; its associated slot cancels the call. Keeps copies
/// of the request's texts.
/// *Requires* that Reply has a default constructor, as co_spawn does.
template <class Executor, class B, class Fn, class Token>
auto async_call(Executor const& executor, B& balancer, Request const& request, Fn fn, Token&& token,
                CallOptions const& options = {}) {
  return detail::Calls<Standalone>::spawn(executor, balancer, request, std::move(fn),
                                          std::forward<Token>(token), options);
}

/// An awaitable for a lease: Balancer::pick_for without blocking a thread. Empty, and says why, if
/// the time is over first or there is no use in waiting; also if the caller is cancelled, by its
/// slot. Keeps copies of the request's texts; its condition and user data must live until the end.
template <class B>
auto pick_for(B& balancer, Request const& request, Duration timeout) {
  return detail::Waits<Standalone>::pick_for(poise::detail::Inside::core(balancer), request,
                                             timeout, detail::Texts{request});
}

/// An awaitable for a bool: Balancer::drain_and_wait without blocking a thread. `id` must live
/// until it is awaited. False also if the caller is cancelled.
/// *Errors* ConfigError, where it is awaited: there is no such backend.
template <class B>
auto drain_and_wait(B& balancer, std::string_view id, Duration timeout) {
  return detail::Waits<Standalone>::drain_and_wait(poise::detail::Inside::core(balancer), id,
                                                   timeout);
}

}  // namespace poise::inline v0_1_0::asio

#else
#error \
    "this Asio does not know the coroutines of this compiler: compile with " \
    "-DASIO_HAS_CO_AWAIT -DASIO_HAS_STD_COROUTINE, or use a newer Asio"
#endif
