// SPDX-License-Identifier: MIT
#pragma once

// Balancer::call: runs the attempts of a call one after the other on the caller's thread, and
// sleeps between them. Out is what a call returns: the reply, or an AttemptResult for call_or().

#include <exception>
#include <type_traits>
#include <utility>

#include <poise/backend.hpp>
#include <poise/call.hpp>
#include <poise/engine/call.hpp>
#include <poise/engine/fallback.hpp>
#include <poise/error.hpp>
#include <poise/outcome.hpp>
#include <poise/request.hpp>

namespace poise::inline v0_1_0::detail {

template <class Core>
class BlockingCall {
  using Lease = typename Core::Lease;
  using Backend = BackendWith<typename Core::PayloadType>;

 public:
  template <class Fn>
  using ReplyOf = std::remove_cvref_t<decltype(invoke(std::declval<Fn&>(), std::declval<Backend&>(),
                                                      std::declval<Request const&>()))>;

  /// *Requires* that the core lives until the first pick. From then on the lease keeps it alive, so
  /// fn may destroy the balancer.
  template <class Out, class Fn>
  [[gnu::always_inline]] static Out call(Core& core, Request const& request, Fn& fn,
                                         CallOptions const& options) {
    Terms const terms{core, request, options.report};
    if (terms.too_late() || options.stop.stop_requested()) [[unlikely]]
      refuse(core, request, terms, options);
    auto const deadline = terms.deadline_at(terms.began);
    if (!deadline) [[likely]]
      return call_for<Out>(core, request, request, terms, fn, options);
    auto timed = request;
    timed.deadline = deadline;
    return call_for<Out>(core, request, timed, terms, fn, options);
  }

  /// The reply, or the fallback's.
  template <class Fn, class Fallback>
  static ReplyOf<Fn> call_or(Core& core, Request const& request, Fn& fn, Fallback&& fallback,
                             CallOptions const& options) {
    using Result = AttemptResult<ReplyOf<Fn>>;
    auto result = [&] {
      try {
        return call<Result>(core, request, fn, options);
      } catch (...) {
        Result none;
        none.keep_exception([](std::exception_ptr const& thrown) { return outcome_of(thrown); });
        return none;
      }
    }();
    if (!is_unanswered(result.outcome)) return result.take();
    return fall_back<ReplyOf<Fn>>(std::forward<Fallback>(fallback),
                                  Unanswered{result.thrown, result.outcome});
  }

 private:
  /// `first` is the first attempt's request: `request` with the attempt's own deadline.
  template <class Out, class Fn>
  static Out call_for(Core& core, Request const& request, Request const& first, Terms const& terms,
                      Fn& fn, CallOptions const& options) {
    auto lease = core.pick(first);
    if (!lease) [[unlikely]]
      refuse(core, request, terms, options, lease.error());
    auto result = run(*lease, first, fn);
    if (result.outcome.result != Result::success || options.report != nullptr) [[unlikely]]
      return go_on<Out>(core, request, first, terms, lease.release(), std::move(result), fn,
                        options);
    lease.finish(result.outcome);
    return result.template take_as<Out>();
  }

  /// One attempt.
  template <class Fn>
  [[gnu::always_inline]] static auto run(Backend& backend, Request const& request, Fn& fn) {
    AttemptResult<ReplyOf<Fn>> result;
    try {
      if constexpr (std::is_void_v<ReplyOf<Fn>>) {
        invoke(fn, backend, request);
        result.template keep<typename Core::Observers>(fn);
      } else {
        result.template keep<typename Core::Observers>(fn, invoke(fn, backend, request));
      }
    } catch (...) {
      result.keep_exception([](std::exception_ptr const& thrown) { return outcome_of(thrown); });
    }
    return result;
  }

  /// Continues a call whose first attempt failed, or which fills a report.
  template <class Out, class Fn>
  [[gnu::noinline]] static Out go_on(Core& core, Request const& request, Request const& first,
                                     Terms terms, typename Lease::Token token,
                                     AttemptResult<ReplyOf<Fn>> result, Fn& fn,
                                     CallOptions const& options) {
    Call<Core> call{core, request, terms, options.report};
    auto attempt = call.adopt(Lease::adopt(token), first);
    for (;;) {
      auto const pause = call.ended(attempt, result.outcome);
      if (!pause || !call.wait(*pause, options.stop) || !call.again(attempt, *pause))
        return result.template take_as<Out>();
      result = run(*attempt.lease, *attempt.request, fn);
    }
  }

  [[noreturn, gnu::noinline]] static void refuse(Core& core, Request const& request, Terms terms,
                                                 CallOptions const& options,
                                                 Error const& error = {}) {
    Call<Core> call{core, request, terms, options.report};
    auto const why = error.reason != PickError::none ? StopReason::no_backend
                     : options.stop.stop_requested() ? StopReason::cancelled
                                                     : StopReason::deadline;
    call.refuse(why, error);
  }
};

}  // namespace poise::inline v0_1_0::detail
