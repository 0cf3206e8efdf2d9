// SPDX-License-Identifier: MIT
#pragma once

// A client of misbehaving servers in virtual time: open-loop calls through a real balancer, with
// the real Retry, health monitor and probe schedule. Nothing sleeps; the same seed gives the same
// run on every machine.
//
//   World<poise::AnyPolicy, poise::health::Standard> world{endpoints, policy, {.rate = 100}};
//   world.set("a", Condition::hung);
//   world.run(std::chrono::seconds{30});

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <poise/balancer.hpp>
#include <poise/engine/call.hpp>
#include <poise/health/monitor.hpp>
#include <poise/probe/schedule.hpp>
#include <poise/runtime.hpp>

namespace tests {

/// What a server does with requests and probes.
enum class Condition : std::uint8_t {
  well,
  slow,        // well, but ten times as slow, up to half the timeout
  failing,     // an error after 1 ms
  refusing,    // its process is gone: what is in flight is reset, connections are refused
  gone,        // its host is gone: no answers, connections time out
  hung,        // accepts and never answers
  resetting,   // breaks off after 5 ms
  overloaded,  // asks for less after 1 ms
  rejecting,   // blames the caller after 1 ms; passes probes
};

inline constexpr std::array<std::string_view, 9> condition_names{
    "well", "slow", "failing", "refusing", "gone", "hung", "resetting", "overloaded", "rejecting"};

[[nodiscard]] constexpr std::string_view name(Condition condition) noexcept {
  return condition_names[static_cast<std::size_t>(condition)];
}
/// Does it serve its callers?
[[nodiscard]] constexpr bool is_well(Condition condition) noexcept {
  return condition <= Condition::slow;
}

struct WorldOptions {
  double rate = 40;  ///< Calls per second, at random moments.
  poise::Duration service = std::chrono::milliseconds{10};
  poise::Duration timeout = std::chrono::seconds{1};  ///< Of an attempt.
  poise::Duration connect_timeout = std::chrono::milliseconds{250};
  poise::Duration tick = std::chrono::seconds{1};  ///< 0: never.
  std::optional<poise::health::ProbeOptions> probes{};
  bool priorities = false;  ///< Of calls: at random; else normal.
  std::uint64_t seed = 1;
};

/// What happens in a world. Hooks are called between events, so they may use the balancer.
struct Watcher {
  Watcher() = default;
  Watcher(Watcher const&) = default;
  Watcher& operator=(Watcher const&) = default;
  struct Pick {
    std::string_view id;
    std::uint32_t attempt;
    bool repeated;
  };
  virtual ~Watcher() = default;
  virtual void picked(Pick const&) {}
  /// A pick found no backend.
  virtual void refused(poise::Error const&) {}
  virtual void finished(std::string_view /*id*/, poise::Result) {}
  /// A call is over; its last attempt ended so.
  virtual void called(poise::Result) {}
};

/// `Monitor`: a health monitor, or void for none.
template <class P, class Monitor = void>
class World {
  static constexpr bool monitored = !std::is_void_v<Monitor>;
  using Held = std::conditional_t<monitored, Monitor, poise::MeasureLatency>;

 public:
  using Runtime = poise::Runtime<poise::VirtualClock, Held>;
  using Balancer = poise::Balancer<P, void, Runtime>;

  World(std::vector<poise::Endpoint> endpoints, P policy, WorldOptions const& options,
        Held with = {})
      : monitor{with},
        balancer{std::move(endpoints), std::move(policy), runtime(options, std::move(with))},
        options_{options},
        dice_{options.seed} {
    if (options_.tick > poise::Duration::zero()) tick();
    if constexpr (monitored)
      if (options_.probes) {
        schedule_.emplace(*options_.probes, options_.seed);
        probe_targets();
      }
    arrive();
  }
  World(World const&) = delete;
  World& operator=(World const&) = delete;
  ~World() = default;

  // -- what happens to it ------------------------------------------------------------------------

  void set(std::string_view id, Condition condition) {
    conditions_[std::string{id}] = condition;
    if (condition == Condition::refusing || condition == Condition::gone) cut_off(id, condition);
  }
  [[nodiscard]] Condition condition(std::string_view id) const {
    auto const found = conditions_.find(id);
    return found == conditions_.end() ? Condition::well : found->second;
  }
  /// The next request takes so long, and no timeout applies to it.
  void stream(poise::Duration time) { next_service_ = time; }
  /// The clock that the balancer sees jumps back; time goes on.
  void set_clock_back(poise::Duration by) { offset_ -= by; }
  void set_rate(double rate) { options_.rate = rate; }
  void watch(Watcher* watcher) { watcher_ = watcher; }

  void run(poise::Duration time) { run_until(now_ + time); }
  void run_until(poise::Time end) {
    while (!queue_.empty() && queue_.begin()->first <= end) step();
    move_to(end);
  }
  /// No further calls; those in flight end.
  void finish() {
    options_.rate = 0;
    while (!calls_.empty()) step();
  }

  [[nodiscard]] poise::Time now() const { return now_; }
  [[nodiscard]] std::size_t calls_in_progress() const { return calls_.size(); }

  poise::VirtualClock clock{};
  Held monitor;
  Balancer balancer;

 private:
  using Core =
      std::remove_cvref_t<decltype(*poise::detail::Inside::core(std::declval<Balancer const&>()))>;
  using Call = poise::detail::Call<Core>;
  using Queue = std::multimap<poise::Time, std::function<void()>>;
  struct Running {
    std::string key{};
    poise::Request request{};
    std::optional<Call> call{};
    std::optional<typename Call::ActiveAttempt> attempt{};
    std::string id{};  // of the backend it is at; empty between two attempts
    typename Queue::iterator ends{};
    bool stream = false;
  };
  using Calls = std::list<Running>;

  struct Answer {
    poise::Duration after;
    poise::Outcome outcome;
  };

  Runtime runtime(WorldOptions const& options, Held with) {
    clock.set(start);
    return {.clock = clock, .seed = options.seed, .observers = {std::move(with)}};
  }

  void move_to(poise::Time time) {
    now_ = std::max(now_, time);
    clock.set(now_ + offset_);
  }
  void step() {
    auto first = queue_.extract(queue_.begin());
    move_to(first.key());
    first.mapped()();
  }
  typename Queue::iterator after(poise::Duration time, std::function<void()> event) {
    return queue_.emplace(now_ + time, std::move(event));
  }

  double unit() { return static_cast<double>(dice_() >> 11U) * 0x1p-53; }

  // -- calls -------------------------------------------------------------------------------------

  void arrive() {
    if (options_.rate <= 0) return;
    auto const gap = -std::log1p(-unit()) / options_.rate;
    after(poise::Duration{static_cast<std::int64_t>(gap * 1e9)}, [this] {
      if (options_.rate > 0) begin();
      arrive();
    });
  }

  void begin() {
    auto const at = calls_.emplace(calls_.end());
    at->key = std::to_string(dice_() % 1000);
    at->request.route_key = at->key;
    if (options_.priorities) at->request.priority = static_cast<poise::Priority>(dice_() % 3);
    auto& core = *poise::detail::Inside::core(balancer);
    poise::detail::Terms const terms{core, at->request, nullptr};
    at->call.emplace(core, at->request, terms, nullptr);
    try {
      at->attempt.emplace(at->call->begin());
    } catch (poise::NoBackend const& error) {
      watcher_->refused(error.error());
      return over(at, poise::Result::abandoned);
    }
    serve(at);
  }

  void serve(typename Calls::iterator at) {
    at->id = at->attempt->lease->id();
    watcher_->picked({at->id, at->attempt->request->attempt, at->attempt->lease.repeated()});
    at->stream = next_service_ != poise::Duration::zero();
    auto const service = at->stream ? std::exchange(next_service_, {}) : options_.service;
    auto const answer = answer_of(condition(at->id), at->stream ? service : scattered(service));
    at->ends = after(answer.after, [this, at, outcome = answer.outcome] { end(at, outcome); });
  }

  /// Half to one and a half of it.
  poise::Duration scattered(poise::Duration mean) {
    return poise::Duration{
        static_cast<std::int64_t>(static_cast<double>(mean.count()) * (0.5 + unit()))};
  }

  [[nodiscard]] Answer answer_of(Condition condition, poise::Duration service) const {
    using namespace std::chrono_literals;
    switch (condition) {
      case Condition::well: return {service, poise::Result::success};
      case Condition::slow:
        return {std::max(service, std::min(10 * service, options_.timeout / 2)),
                poise::Result::success};
      case Condition::failing: return {1ms, poise::Result::error};
      case Condition::refusing: return {200us, poise::Result::refused};
      case Condition::gone: return {options_.connect_timeout, poise::Result::connect_timeout};
      case Condition::hung: return {options_.timeout, poise::Result::timeout};
      case Condition::resetting: return {5ms, poise::Result::reset};
      case Condition::overloaded: return {1ms, poise::Result::overloaded};
      case Condition::rejecting: return {1ms, poise::Result::rejected};
    }
    return {};
  }

  /// What was in flight there gets its answer now, or never.
  void cut_off(std::string_view id, Condition condition) {
    for (auto at = calls_.begin(); at != calls_.end(); ++at) {
      if (at->id != id) continue;
      queue_.erase(at->ends);
      bool const reset = condition == Condition::refusing;
      at->ends = after(reset ? poise::Duration{} : options_.timeout, [this, at, reset] {
        end(at, reset ? poise::Result::reset : poise::Result::timeout);
      });
    }
  }

  void end(typename Calls::iterator at, poise::Outcome outcome) {
    auto const id = std::exchange(at->id, {});
    auto const pause = at->call->ended(*at->attempt, outcome);
    watcher_->finished(id, outcome.result);
    if (!pause) return over(at, outcome.result);
    after(*pause, [this, at, waited = *pause, result = outcome.result] {
      if (at->call->again(*at->attempt, waited)) return serve(at);
      watcher_->refused(at->attempt->lease.error());
      over(at, result);
    });
  }

  void over(typename Calls::iterator at, poise::Result result) {
    calls_.erase(at);
    watcher_->called(result);
  }

  // -- what is periodic --------------------------------------------------------------------------

  void tick() {
    balancer.tick();
    after(options_.tick, [this] { tick(); });
  }

  void probe_targets() {
    schedule_->update(probing().targets(), now_);
    after(std::chrono::seconds{1}, [this] { probe_targets(); });
    probe();
  }
  [[nodiscard]] auto probing() { return poise::health::Probing{balancer, monitor}; }

  void probe() {
    if constexpr (monitored) {
      constexpr poise::Duration quick = std::chrono::milliseconds{10};
      while (auto const expired = schedule_->expire(now_)) report(expired->report);
      while (auto const due = schedule_->start(now_)) {
        auto const state = condition(due->id);
        auto const answer = answer_of(state, std::min(options_.service, quick));
        if (state == Condition::hung) continue;  // it will expire
        bool const passes = is_well(state) || state == Condition::rejecting;
        after(answer.after, [this, id = due->id, ticket = due->ticket, passes, state] {
          report(schedule_->finish(id, ticket, {passes, std::string{name(state)}}, now_));
          probe_again();
        });
      }
      probe_again();
    }
  }
  void probe_again() {
    auto const next = schedule_->next();
    if (!next || (probe_due_ && *probe_due_ <= *next && *probe_due_ > now_)) return;
    probe_due_ = *next;
    after(std::max(*next - now_, poise::Duration::zero()), [this, due = *next] {
      if (probe_due_ == due) probe();
    });
  }
  void report(std::optional<poise::health::Schedule::Report> const& report) {
    if constexpr (monitored)
      if (report && probing().report(*report) && !std::exchange(tick_is_due_, true))
        after(poise::health::AnyProbing::soon, [this] {
          tick_is_due_ = false;
          balancer.tick();
        });
  }

  static constexpr poise::Time start{std::chrono::hours{1}};
  poise::Time now_ = start;
  poise::Duration offset_{};
  WorldOptions options_;
  std::mt19937_64 dice_;
  Queue queue_{};
  Calls calls_{};
  std::map<std::string, Condition, std::less<>> conditions_{};
  poise::Duration next_service_{};
  std::optional<poise::health::Schedule> schedule_{};
  std::optional<poise::Time> probe_due_{};
  bool tick_is_due_ = false;
  Watcher ignored_{};
  Watcher* watcher_ = &ignored_;
};

}  // namespace tests
