// SPDX-License-Identifier: MIT
#pragma once

// asio/call.hpp for Boost.Asio; the documentation is there.
//
//   co_return co_await poise::boost_asio::call(servers, request, fn);  // fn: an awaitable of Boost
//
// Needs Boost 1.78 or later (before, Boost.Asio had no cancellation slots). Where it is not
// installed, this header is empty.

#if __has_include(<boost/asio/bind_cancellation_slot.hpp>)

#include <boost/asio/awaitable.hpp>

#if defined(BOOST_ASIO_HAS_CO_AWAIT)

#include <exception>
#include <string_view>
#include <system_error>
#include <utility>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/cancellation_type.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>

#include <poise/asio/raced_call.hpp>
#include <poise/asio/waiting_pick.hpp>
#include <poise/call.hpp>
#include <poise/outcome.hpp>
#include <poise/request.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::boost_asio {

/// Boost.Asio, as asio/raced_call.hpp uses it.
struct Boost {
  template <class T>
  using Awaitable = boost::asio::awaitable<T>;
  using UseAwaitable = boost::asio::use_awaitable_t<>;
  using Executor = boost::asio::any_io_executor;
  using Timer = boost::asio::steady_timer;
  using Signal = boost::asio::cancellation_signal;
  using Slot = boost::asio::cancellation_slot;
  using ErrorCode = boost::system::error_code;
  static constexpr boost::asio::this_coro::executor_t executor{};
  static constexpr boost::asio::this_coro::cancellation_state_t cancellation{};
  static constexpr auto no_cancellation = boost::asio::cancellation_type::none;
  static constexpr auto every_cancellation = boost::asio::cancellation_type::all;
  static Outcome outcome_of(std::exception_ptr const& thrown) noexcept {
    try {
      std::rethrow_exception(thrown);
    } catch (boost::system::system_error const& error) {
      if (error.code() == boost::asio::error::eof) return Result::reset;
      return poise::outcome_of(
          std::make_exception_ptr(std::system_error{static_cast<std::error_code>(error.code())}));
    } catch (...) {
      return poise::outcome_of(thrown);
    }
  }
};

template <class B, class Fn>
auto call(B& balancer, Request const& request, Fn fn, CallOptions const& options = {}) {
  using Reply = asio::detail::ReplyOf<B, Fn>;
  return asio::detail::Calls<Boost>::template call<Reply>(balancer, request, std::move(fn),
                                                          options);
}
template <class B, class Fn>
auto call(B& balancer, Fn fn, CallOptions const& options = {}) {
  return call(balancer, any_request, std::move(fn), options);
}

/// As in asio/call.hpp.
template <class B, class Fn, class Fallback>
auto call_or(B& balancer, Request const& request, Fn fn, Fallback fallback,
             CallOptions const& options = {}) {
  return asio::detail::Calls<Boost>::call_or(balancer, request, std::move(fn), std::move(fallback),
                                             options);
}
/// The same for a request without wishes.
template <class B, class Fn, class Fallback>
auto call_or(B& balancer, Fn fn, Fallback fallback, CallOptions const& options = {}) {
  return call_or(balancer, any_request, std::move(fn), std::move(fallback), options);
}

/// The same with a completion token; see asio/call.hpp.
template <class Executor, class B, class Fn, class Token>
auto async_call(Executor const& executor, B& balancer, Request const& request, Fn fn, Token&& token,
                CallOptions const& options = {}) {
  return asio::detail::Calls<Boost>::spawn(executor, balancer, request, std::move(fn),
                                           std::forward<Token>(token), options);
}

/// As in asio/call.hpp.
template <class B>
auto pick_for(B& balancer, Request const& request, Duration timeout) {
  return asio::detail::Waits<Boost>::pick_for(poise::detail::Inside::core(balancer), request,
                                              timeout, asio::detail::Texts{request});
}
/// As in asio/call.hpp.
template <class B>
auto drain_and_wait(B& balancer, std::string_view id, Duration timeout) {
  return asio::detail::Waits<Boost>::drain_and_wait(poise::detail::Inside::core(balancer), id,
                                                    timeout);
}

}  // namespace poise::inline v0_1_0::boost_asio

#endif
#endif
