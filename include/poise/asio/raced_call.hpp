// SPDX-License-Identifier: MIT
#pragma once

// Calls that do not block, on any Asio: the template behind asio/call.hpp, which documents them,
// and boost_asio/call.hpp.
//
// A call without a timeout and without hedging is one coroutine, which awaits what fn gives.
//
// With them each attempt is a coroutine of its own, so that it can be given up. The call, its
// attempts and its timer run on a strand made for the call, so any number of threads may run the
// executor. What an attempt may still need after it was given up (fn, the request with its texts,
// its backend) lives as long as the attempt.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include <poise/call.hpp>
#include <poise/engine/call.hpp>
#include <poise/engine/fallback.hpp>
#include <poise/error.hpp>
#include <poise/outcome.hpp>
#include <poise/policy.hpp>
#include <poise/request.hpp>
#include <poise/stored_request.hpp>
#include <poise/sync/stop.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::asio::detail {

using poise::detail::AttemptResult;
using Texts = poise::detail::RequestTexts;

/// The result of fn's awaitable.
template <class B, class Fn>
using ReplyOf = typename std::remove_cvref_t<decltype(poise::detail::invoke(
    std::declval<Fn&>(), std::declval<typename B::Backend&>(),
    std::declval<Request&>()))>::value_type;

/// A call whose attempts may be given up. All of it runs on its strand.
template <class Net, class Core, class Fn, class Reply>
class Race : public std::enable_shared_from_this<Race<Net, Core, Fn, Reply>> {
  using Call = poise::detail::Call<Core>;
  using Self = std::shared_ptr<Race>;

 public:
  Race(typename Net::Executor strand, std::shared_ptr<Core> core, Request const& request,
       Texts texts, poise::detail::Terms const& terms, Fn fn, CallReport* report)
      : strand_{std::move(strand)},
        timer_{strand_},
        core_{std::move(core)},
        texts_{std::move(texts)},
        request_{request},
        fn_{std::move(fn)},
        call_{*core_, request_, terms, report} {
    texts_.lend_to(request_);
  }

  /// Runs until the call is over.
  /// *Errors* as those of a blocking call.
  static typename Net::template Awaitable<void> drive(Self self) {
    self->look();
    while (!self->over_) {
      typename Net::ErrorCode woken;  // by the time or by an attempt: both mean "look"
      self->timer_.expires_after(self->until_next());
      co_await self->timer_.async_wait(redirect_error(typename Net::UseAwaitable{}, woken));
      self->look();
    }
  }

  /// The caller gives up.
  /// *Threads* any.
  void cancel() {
    post(strand_, [self = this->shared_from_this()] {
      self->cancelled_ = true;
      self->timer_.cancel();
    });
  }

  /// The last attempt's reply or exception.
  /// *Requires* that the call is over.
  template <class Out>
  Out take() {
    if (last_.empty()) call_.fail();
    return last_.template take_as<Out>();
  }

 private:
  /// An attempt in progress; shared with its coroutine.
  struct Runner {
    typename Call::ActiveAttempt going{.request = nullptr};
    Request request{};
    AttemptResult<Reply> result{};
    typename Net::Signal signal{};
    bool ended = false;
    std::optional<Result> given_up{};
    std::shared_ptr<void const> keeper{};  // of its backend, once given up
  };
  using Running = std::shared_ptr<Runner>;

  /// Does everything that is due now.
  void look() {
    try {
      while (!over_ && (stop() || harvest() || cut_late() || start_due())) continue;
    } catch (...) {
      drop_all(Result::cancelled);
      throw;
    }
  }

  /// The caller gave up.
  bool stop() {
    if (!cancelled_) return false;
    last_ = {};
    drop_all(Result::cancelled);
    call_.over(StopReason::cancelled);
    over_ = true;
    return true;
  }

  /// An attempt has ended.
  bool harvest() {
    for (auto& each : running_) {
      if (!each || !each->ended) continue;
      auto const ended = std::exchange(each, nullptr);
      last_ = std::move(ended->result);
      call_.record(ended->going, last_.outcome);
      settle(last_.outcome);
      return true;
    }
    return false;
  }

  /// An attempt takes too long.
  bool cut_late() {
    auto const now = call_.now();
    for (auto& each : running_) {
      if (!each || !each->request.deadline || now < *each->request.deadline) continue;
      last_ = {};
      give_up(each, Result::timeout);
      settle(Result::timeout);
      return true;
    }
    return false;
  }

  /// Another attempt is due.
  bool start_due() {
    if (begun_ && (!due_ || call_.now() < *due_)) return false;
    due_.reset();
    auto const beside = running_[0] ? running_[0] : running_[1];
    auto runner = std::make_shared<Runner>();
    if (!begun_) runner->going = call_.begin();
    else if (beside ? !call_.hedge(runner->going, beside->going, pause_)
                    : !call_.again(runner->going, pause_)) {
      over_ = !beside;
      return true;
    }
    begun_ = true;
    if (auto const after = call_.timeouts().hedge_after; !beside && after > Duration::zero())
      plan(after);
    launch(running_[running_[0] ? 1 : 0] = std::move(runner));
    return true;
  }

  void launch(Running const& runner) {
    runner->request = *runner->going.request;
    runner->request.excluded = {};  // a list that changes
    // The handler keeps the signal for as long as there is something to cancel.
    co_spawn(strand_, run(this->shared_from_this(), runner),
             bind_cancellation_slot(runner->signal.slot(), [runner](std::exception_ptr const&) {}));
  }

  static typename Net::template Awaitable<void> run(Self self, Running runner) {
    auto& result = runner->result;
    try {
      auto answer = poise::detail::invoke(self->fn_, *runner->going.lease, runner->request);
      if constexpr (std::is_void_v<Reply>) {
        co_await std::move(answer);
        result.template keep<typename Core::Observers>(self->fn_);
      } else {
        result.template keep<typename Core::Observers>(self->fn_, co_await std::move(answer));
      }
    } catch (...) {
      result.keep_exception(&Net::outcome_of);
    }
    if (runner->given_up) {
      runner->going.lease.finish(*runner->given_up);
    } else {
      runner->ended = true;
      self->timer_.cancel();
    }
  }

  /// Acts on an outcome. After a failure the attempt beside it goes on, if there is one.
  void settle(Outcome outcome) {
    due_.reset();
    if (!is_failure(outcome.result)) drop_all(Result::cancelled);
    if (running_[0] || running_[1]) return;
    if (auto const pause = call_.next(outcome); pause) plan(*pause);
    else over_ = true;
  }

  void drop_all(Result result) {
    for (auto& each : running_)
      if (each) give_up(each, result);
  }

  void give_up(Running& place, Result result) {
    auto const runner = std::exchange(place, nullptr);
    runner->given_up = result;
    runner->keeper = call_.cut_off(runner->going, result);
    runner->signal.emit(Net::every_cancellation);
  }

  void plan(Duration pause) {
    pause_ = pause;
    due_ = call_.now() + pause;
  }

  [[nodiscard]] Duration until_next() const {
    auto next = due_.value_or(Time::max());
    for (auto const& each : running_)
      if (each && each->request.deadline) next = std::min(next, *each->request.deadline);
    constexpr Duration max_wait = std::chrono::hours{1};  // then it looks again
    return std::clamp(next - call_.now(), Duration::zero(), max_wait);
  }

  typename Net::Executor strand_;
  typename Net::Timer timer_;
  std::shared_ptr<Core> core_;
  Texts texts_;
  Request request_;
  Fn fn_;
  Call call_;
  std::array<Running, 2> running_{};  // the second is there only beside the first
  AttemptResult<Reply> last_{};
  std::optional<Time> due_{};  // when another attempt begins, ...
  Duration pause_{};           // ... and what was waited for it
  bool begun_ = false;
  bool over_ = false;
  bool cancelled_ = false;
};

/// On one kind of Asio.
template <class Net>
struct Calls {
  template <class T>
  using Awaitable = typename Net::template Awaitable<T>;

  /// Out is the reply, or an AttemptResult for call_or().
  template <class Out, class B, class Fn>
  static auto call(B& balancer, Request const& request, Fn fn, CallOptions const& options,
                   Texts texts = {}) -> Awaitable<Out> {
    using Reply = ReplyOf<B, Fn>;
    auto const& core = poise::detail::Inside::core(balancer);
    if (!core) throw NoBackend{Error{.reason = PickError::closed}};
    poise::detail::Terms const terms{*core, request, options.report};
    if (terms.deadline_at(terms.began) || terms.timeouts.hedge_after > Duration::zero() ||
        options.stop.stop_possible())
      return raced<Out, Reply>(core, request, Texts{request}, terms, std::move(fn), options.stop,
                               options.report);
    return plain<Out, Reply>(core, request, std::move(texts), terms, std::move(fn), options.report);
  }

  /// The reply, or the fallback's.
  template <class B, class Fn, class Fallback>
  static auto call_or(B& balancer, Request const& request, Fn fn, Fallback fallback,
                      CallOptions const& options) -> Awaitable<ReplyOf<B, Fn>> {
    using Reply = ReplyOf<B, Fn>;
    return answered<Reply>(call<AttemptResult<Reply>>(balancer, request, std::move(fn), options),
                           std::move(fallback));
  }

  /// With a completion token; keeps copies of the request's texts.
  template <class Executor, class B, class Fn, class Token>
  static auto spawn(Executor const& executor, B& balancer, Request const& request, Fn fn,
                    Token&& token, CallOptions const& options) {
    return co_spawn(executor,
                    call<ReplyOf<B, Fn>>(balancer, request, std::move(fn), options, Texts{request}),
                    std::forward<Token>(token));
  }

 private:
  template <class Reply, class Fallback>
  static Awaitable<Reply> answered(Awaitable<AttemptResult<Reply>> attempts, Fallback fallback) {
    std::optional<AttemptResult<Reply>> result;
    try {
      result.emplace(co_await std::move(attempts));
    } catch (...) {
      result.emplace().keep_exception(&Net::outcome_of);
    }
    if (!poise::detail::is_unanswered(result->outcome)) co_return result->take();
    Unanswered const why{result->thrown, result->outcome};
    using Given = std::remove_cvref_t<poise::detail::FallbackResult<Fallback>>;
    if constexpr (std::is_same_v<Given, Awaitable<Reply>>)
      co_return co_await poise::detail::ask_fallback(std::move(fallback), why);
    else co_return poise::detail::fall_back<Reply>(std::move(fallback), why);
  }

  template <class Out, class Reply, class Core, class Fn>
  static Awaitable<Out> plain(std::shared_ptr<Core> core, Request request, Texts texts,
                              poise::detail::Terms terms, Fn fn, CallReport* report) {
    texts.lend_to(request);
    poise::detail::Call<Core> call{*core, request, terms, report};
    auto going = call.begin();
    for (;;) {
      AttemptResult<Reply> result;
      try {  // as in Race::run: a coroutine for both costs 80 ns a call (docs/design/calls.md)
        auto answer = poise::detail::invoke(fn, *going.lease, *going.request);
        if constexpr (std::is_void_v<Reply>) {
          co_await std::move(answer);
          result.template keep<typename Core::Observers>(fn);
        } else {
          result.template keep<typename Core::Observers>(fn, co_await std::move(answer));
        }
      } catch (...) {
        result.keep_exception(&Net::outcome_of);
      }
      auto const pause = call.ended(going, result.outcome);
      if (!pause) co_return result.template take_as<Out>();
      auto const state = co_await Net::cancellation;
      bool gave_up = state.cancelled() != Net::no_cancellation;
      if (!gave_up && *pause > Duration::zero()) gave_up = !co_await wait(*pause);
      if (gave_up) call.over(StopReason::cancelled);
      if (gave_up || !call.again(going, *pause)) co_return result.template take_as<Out>();
    }
  }

  /// False if the caller gave up meanwhile.
  static Awaitable<bool> wait(Duration pause) {
    auto const executor = co_await Net::executor;
    typename Net::Timer timer{executor, pause};
    typename Net::ErrorCode error;
    co_await timer.async_wait(redirect_error(typename Net::UseAwaitable{}, error));
    co_return !error;
  }

  template <class Out, class Reply, class Core, class Fn>
  static Awaitable<Out> raced(std::shared_ptr<Core> core, Request request, Texts texts,
                              poise::detail::Terms terms, Fn fn, sync::StopToken stop,
                              CallReport* report) {
    typename Net::Executor const executor = co_await Net::executor;
    typename Net::Executor const strand = make_strand(executor);
    auto const race = std::make_shared<Race<Net, Core, Fn, Reply>>(
        strand, std::move(core), request, std::move(texts), terms, std::move(fn), report);
    // Weak, since the caller's signal may outlive the executor.
    auto const cancel = [weak = std::weak_ptr{race}](auto...) {
      if (auto const running = weak.lock()) running->cancel();
    };
    sync::StopCallback<std::decay_t<decltype(cancel)>> const on_stop{stop, cancel};
    auto const state = co_await Net::cancellation;
    if (state.slot().is_connected()) state.slot().assign(cancel);
    if (state.cancelled() != Net::no_cancellation) race->cancel();
    // Without a slot: the one it would take is of another strand, and was taken just now.
    co_await co_spawn(strand, std::decay_t<decltype(*race)>::drive(race),
                      bind_cancellation_slot(typename Net::Slot{}, typename Net::UseAwaitable{}));
    state.slot().clear();
    co_return race->template take<Out>();
  }
};

}  // namespace poise::inline v0_1_0::asio::detail
