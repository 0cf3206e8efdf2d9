// SPDX-License-Identifier: MIT
#pragma once

// Calls that do not block, on any Asio: the template behind asio/call.hpp, which says how they are
// used, and asio/boost_call.hpp.
//
// A call without a timeout and without hedging is one coroutine, which awaits what fn gives.
//
// With them its attempts are coroutines of their own, so that one can be given up. The call, they
// and its timer run on a strand made for it, so that it does not matter how many threads run the
// executor. What an attempt may still need when it was given up (fn, the request with its texts,
// its backend) lives as long as the attempt.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>

#include <type_traits>
#include <utility>
#include <vector>

#include <poise/call.hpp>
#include <poise/core/call.hpp>
#include <poise/error.hpp>
#include <poise/outcome.hpp>
#include <poise/policy.hpp>
#include <poise/request.hpp>
#include <poise/sync/stop.hpp>
#include <poise/time.hpp>

namespace poise::asio::detail {

using poise::detail::Result;

/// What a request refers to, for a call that outlives it. An empty one refers to nothing.
class Texts {
 public:
  Texts() = default;
  explicit Texts(Request const& request)
      : id_{request.id},
        client_id_{request.client_id},
        route_key_{request.route_key},
        excluded_{request.excluded.begin(), request.excluded.end()} {}

  /// Has the request look at these. Not to be moved after.
  void lend_to(Request& request) const noexcept {
    if (!id_.empty()) request.id = id_;
    if (!client_id_.empty()) request.client_id = client_id_;
    if (!route_key_.empty()) request.route_key = route_key_;
    if (!excluded_.empty()) request.excluded = excluded_;
  }

 private:
  std::string id_{};
  std::string client_id_{};
  std::string route_key_{};
  std::vector<std::uint64_t> excluded_{};
};

/// What fn's awaitable brings.
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

  /// Until the call is over.
  /// *Errors* as those of a blocking call.
  static typename Net::template Awaitable<void> drive(Self self) {
    self->look();
    while (!self->over_) {
      typename Net::ErrorCode woken;  // by the time or by an attempt, it does not matter
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
  Reply take() {
    if (last_.empty()) call_.fail();
    return last_.take();
  }

 private:
  /// An attempt in progress; shared with its coroutine.
  struct Runner {
    typename Call::Going going{.request = nullptr};
    Request request{};
    Result<Reply> result{};
    typename Net::Signal signal{};
    bool ended = false;
    std::optional<Ending> given_up{};
    std::shared_ptr<void const> keeper{};  // of its backend, once given up
  };
  using Running = std::shared_ptr<Runner>;

  /// Does what there is to do now.
  void look() {
    try {
      while (!over_ && (stop() || harvest() || cut_late() || start_due())) continue;
    } catch (...) {
      drop_all(Ending::cancelled);
      throw;
    }
  }

  /// The caller gave up.
  bool stop() {
    if (!cancelled_) return false;
    last_ = {};
    drop_all(Ending::cancelled);
    call_.over(Stop::cancelled);
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
      give_up(each, Ending::timeout);
      settle(Ending::timeout);
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
    if (auto const after = call_.limits().hedge_after; !beside && after > Duration::zero())
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
        result.keep();
      } else {
        result.keep(co_await std::move(answer));
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

  /// What an outcome means for the call. A failure waits for the attempt beside it, if there is
  /// one.
  void settle(Outcome outcome) {
    due_.reset();
    if (!is_failure(outcome.ending)) drop_all(Ending::cancelled);
    if (running_[0] || running_[1]) return;
    if (auto const pause = call_.next(outcome); pause) plan(*pause);
    else over_ = true;
  }

  void drop_all(Ending ending) {
    for (auto& each : running_)
      if (each) give_up(each, ending);
  }

  void give_up(Running& place, Ending ending) {
    auto const runner = std::exchange(place, nullptr);
    runner->given_up = ending;
    runner->keeper = call_.cut_off(runner->going, ending);
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
    constexpr Duration longest = std::chrono::hours{1};  // then it looks again
    return std::clamp(next - call_.now(), Duration::zero(), longest);
  }

  typename Net::Executor strand_;
  typename Net::Timer timer_;
  std::shared_ptr<Core> core_;
  Texts texts_;
  Request request_;
  Fn fn_;
  Call call_;
  std::array<Running, 2> running_{};  // the second is there only beside the first
  Result<Reply> last_{};
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

  template <class B, class Fn>
  static auto call(B& balancer, Request const& request, Fn fn, CallOptions const& options,
                   Texts texts = {}) -> Awaitable<ReplyOf<B, Fn>> {
    auto const& core = poise::detail::Inside::core(balancer);
    if (!core) throw NoBackend{Error{.reason = PickError::closed}};
    poise::detail::Terms const terms{*core, request, options.report};
    if (terms.deadline_at(terms.began) || terms.limits.hedge_after > Duration::zero() ||
        options.stop.stop_possible())
      return raced<ReplyOf<B, Fn>>(core, request, Texts{request}, terms, std::move(fn), options);
    return plain<ReplyOf<B, Fn>>(core, request, std::move(texts), terms, std::move(fn),
                                 options.report);
  }

  /// With a completion token; keeps copies of the request's texts.
  template <class Executor, class B, class Fn, class Token>
  static auto spawn(Executor const& executor, B& balancer, Request const& request, Fn fn,
                    Token&& token, CallOptions const& options) {
    return co_spawn(executor, call(balancer, request, std::move(fn), options, Texts{request}),
                    std::forward<Token>(token));
  }

 private:
  template <class Reply, class Core, class Fn>
  static Awaitable<Reply> plain(std::shared_ptr<Core> core, Request request, Texts texts,
                                poise::detail::Terms terms, Fn fn, CallReport* report) {
    texts.lend_to(request);
    poise::detail::Call<Core> call{*core, request, terms, report};
    auto going = call.begin();
    for (;;) {
      Result<Reply> result;
      try {
        auto answer = poise::detail::invoke(fn, *going.lease, *going.request);
        if constexpr (std::is_void_v<Reply>) {
          co_await std::move(answer);
          result.keep();
        } else {
          result.keep(co_await std::move(answer));
        }
      } catch (...) {
        result.keep_exception(&Net::outcome_of);
      }
      auto const pause = call.ended(going, result.outcome);
      if (!pause) co_return result.take();
      auto const state = co_await Net::cancellation;
      bool gave_up = state.cancelled() != Net::no_cancellation;
      if (!gave_up && *pause > Duration::zero()) gave_up = !co_await wait(*pause);
      if (gave_up) call.over(Stop::cancelled);
      if (gave_up || !call.again(going, *pause)) co_return result.take();
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

  template <class Reply, class Core, class Fn>
  static Awaitable<Reply> raced(std::shared_ptr<Core> core, Request request, Texts texts,
                                poise::detail::Terms terms, Fn fn, CallOptions options) {
    typename Net::Executor const executor = co_await Net::executor;
    typename Net::Executor const strand = make_strand(executor);
    auto const race = std::make_shared<Race<Net, Core, Fn, Reply>>(
        strand, std::move(core), request, std::move(texts), terms, std::move(fn), options.report);
    // Weak, since the caller's signal may outlive the executor.
    auto const cancel = [weak = std::weak_ptr{race}](auto...) {
      if (auto const running = weak.lock()) running->cancel();
    };
    sync::StopCallback<std::decay_t<decltype(cancel)>> const on_stop{options.stop, cancel};
    auto const state = co_await Net::cancellation;
    if (state.slot().is_connected()) state.slot().assign(cancel);
    if (state.cancelled() != Net::no_cancellation) race->cancel();
    // Without a slot: the one it would take is of another strand, and was taken just now.
    co_await co_spawn(strand, std::decay_t<decltype(*race)>::drive(race),
                      bind_cancellation_slot(typename Net::Slot{}, typename Net::UseAwaitable{}));
    state.slot().clear();
    co_return race->take();
  }
};

}  // namespace poise::asio::detail
