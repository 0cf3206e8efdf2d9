// SPDX-License-Identifier: MIT
#pragma once

// The engine behind Balancer: who its backends are, what picks see of them, and how both change.
//
// Reading and changing are two halves. A pick reads one immutable Snapshot (rosters, plan, policy)
// inside a read section and claims a record with one atomic add. A change takes the lock, edits a
// Draft, builds the next Snapshot from it (all that can throw happens here), and publishes.
//
//   core/record     a backend, and who keeps it alive          (invariants C1, C2)
//   core/snapshot   what picks see
//   core/run        what a lease carries from its pick to its end
//   propose         a policy's first proposal, claimed
//   core/choose     from a snapshot to a claimed record
//   core/draft      a change before anybody sees it, and the snapshot made of it
//
// Invariants:
//   C3  A change that throws has published nothing and altered no record.
//   C4  User code never runs under the lock except factories, plans and rules; a change from there,
//       or from inside a pick, is refused with UpdateRefused.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <poise/configuration.hpp>
#include <poise/core/choose.hpp>
#include <poise/core/draft.hpp>
#include <poise/core/record.hpp>
#include <poise/core/run.hpp>
#include <poise/core/snapshot.hpp>
#include <poise/error.hpp>
#include <poise/id_index.hpp>
#include <poise/payload.hpp>
#include <poise/policy.hpp>
#include <poise/random.hpp>
#include <poise/request.hpp>
#include <poise/runtime.hpp>
#include <poise/stats.hpp>
#include <poise/sync/drop_box.hpp>
#include <poise/sync/epoch.hpp>
#include <poise/sync/exclusive.hpp>
#include <poise/sync/linked.hpp>
#include <poise/sync/published.hpp>
#include <poise/sync/stop.hpp>

namespace poise {

template <class Core>
class Lease;

namespace detail {

template <class P, class Payload, class R>
class Core : public std::enable_shared_from_this<Core<P, Payload, R>> {
 public:
  using Observers = decltype(R::observers);
  using Watching = Watch<Observers>;
  using PayloadType = Payload;
  using Maker = std::conditional_t<std::is_void_v<Payload>, std::nullptr_t, Factory<Payload>>;
  using Record = detail::Record<Core>;
  using Lease = poise::Lease<Core>;

  Core(P policy, Maker make, R runtime)
      : runtime_{std::move(runtime)},
        own_lanes_{!runtime_.seed.has_value()},
        chance_{runtime_.seed ? *runtime_.seed : fresh_seed(), &mix},
        policy_{std::make_shared<P const>(std::move(policy))},
        make_{std::move(make)} {
    sync::start();
  }
  Core(Core const&) = delete;
  Core& operator=(Core const&) = delete;

  // -- picking ---------------------------------------------------------------------------------

  [[nodiscard, gnu::always_inline]] Lease pick(Request const& request) {
    if constexpr (!Watching::pick && !Watching::refused) {
      return find(request);
    } else {
      auto lease = find(request);
      notify([&](auto& observer) {
        using O = std::remove_reference_t<decltype(observer)>;
        if constexpr (observes_pick<O>)
          if (lease) observer.on_pick(Picked{request, *lease, lease.started()});
        if constexpr (observes_refused<O>)
          if (!lease) observer.on_refused(Refused{request, lease.error()});
      });
      return lease;
    }
  }

  /// Ends a request; a negative latency is one the caller did not measure.
  [[gnu::always_inline]] static void finish(Record& record, Run run, Outcome outcome,
                                            Duration latency) noexcept {
    if constexpr (!is_open) return record.owner().template end<true>(record, run, outcome, latency);
    if (run.is(Run::timed | Run::heard)) return end_in_full(record, run, outcome, latency);
    record.owner().template end<false>(record, run, outcome, latency);
  }

  /// Counts a request that was not picked here. Policy and observers hear of it as of any other.
  bool record(std::string_view id, Outcome outcome, Duration latency) noexcept {
    // The membership keeps the record alive outside the section, where observers may use the
    // balancer.
    auto const [membership, flags] = current_membership();
    auto* record = membership == nullptr ? nullptr : membership->find(id);
    if (record == nullptr) return false;
    auto const now = timed(flags) ? runtime_.clock.now() : Time{};
    record->count_recorded();
    record->count(outcome, latency);
    if constexpr (hooks::has_on_finish<P>)
      if ((flags & Run::heard) != 0)
        tell_policy(*record, Run{Time{}, Path{}, Run::scanned}, outcome, latency, now);
    if constexpr (Watching::finish) tell_observers(*record, outcome, latency, now);
    return true;
  }

  // -- calls (core/call.hpp) -------------------------------------------------------------------

  [[nodiscard]] CallLimits limits(Request const& request) {
    if constexpr (hooks::has_limits<P>) {
      sync::ReadSection const section;
      if (auto const* snapshot = current_.load(); snapshot != nullptr)
        return hooks::limits(*snapshot->policy, request);
    }
    return {};
  }

  /// Is there to be another attempt? The request excludes those that were tried. Not if there are
  /// no backends at all: no pause would change that.
  [[nodiscard]] Decision decide(Request const& request, Outcome outcome, Time now, bool running) {
    if constexpr (hooks::has_decide<P>) {
      sync::ReadSection const section;
      auto const* snapshot = current_.load();
      if (snapshot == nullptr || snapshot->membership->records.empty())
        return {.why = Stop::nobody};
      Rng random{chance_, sync::lane_of(section.thread_index(), own_lanes_)};
      return hooks::decide(*snapshot->policy, Attempt{request, outcome, now, random(), running,
                                                      !Choose::any_untried(*snapshot, request)});
    }
    return {};
  }

  /// By a clock that knows no stop tokens to the end.
  void sleep(Duration time, sync::StopToken const& stop) {
    if (time <= Duration::zero()) return;
    if constexpr (requires { runtime_.clock.sleep(time, stop); }) runtime_.clock.sleep(time, stop);
    else runtime_.clock.sleep(time);
  }

  void tell_of_call(Called const& called) noexcept {
    if constexpr (Watching::call)
      notify([&](auto& observer) {
        if constexpr (observes_call<std::remove_reference_t<decltype(observer)>>)
          observer.on_call(called);
      });
  }

  /// What keeps a backend alive without a request in flight; null if it was removed.
  [[nodiscard]] std::shared_ptr<void const> keeper_of(Backend const& backend) {
    auto current = current_membership().membership;
    if (!current || current->position_of(static_cast<Record const&>(backend)) == IdIndex::absent)
      return nullptr;
    return current;
  }

  [[nodiscard]] Time now() const { return runtime_.clock.now(); }
  [[nodiscard]] auto& observers() noexcept { return runtime_.observers; }
  [[nodiscard]] auto& box() noexcept { return box_; }

  // -- changing --------------------------------------------------------------------------------

  /// Replaces the set; backends whose id stays keep statistics, health and, if nothing but the
  /// weight changed, their record.
  void update(std::vector<Endpoint> endpoints, bool may_be_empty) {
    if (endpoints.empty() && !may_be_empty)
      throw ConfigError{
          "update() with no endpoints would remove every backend; call clear() if that "
          "is meant"};
    check(endpoints);
    change([&](Draft& draft) {
      auto const old = std::exchange(draft.seats, {});
      draft.seats.reserve(endpoints.size());
      for (auto const& endpoint : endpoints) {
        auto const* kept = membership_ ? membership_->find(endpoint.id) : nullptr;
        auto const* seat = kept == nullptr ? nullptr : &old[kept->position()];
        if (seat != nullptr && same_identity(kept->endpoint(), endpoint)) {
          draft.seats.push_back(*seat);
          draft.set_weight(draft.seats.back(), endpoint.weight);
        } else {
          draft.seat_new(make_record(endpoint), endpoint.weight, seat);
        }
      }
      draft.compare(old);
    });
  }

  void add(Endpoint endpoint) {
    std::vector<Endpoint> one;
    one.push_back(std::move(endpoint));
    check(one, true);
    change([&](Draft& draft) {
      if (membership_ && membership_->find(one[0].id) != nullptr)
        throw ConfigError{"add(): " + detail::in_quotes(one[0].id) +
                          " is a backend already; use update() or set_weight() to change it"};
      draft.seat_new(make_record(one[0]), one[0].weight, nullptr);
      draft.check_some_weight();
    });
  }

  void remove(std::string_view id) {
    change([&](Draft& draft) { draft.remove(position_of(id, "remove")); });
  }

  void set_weight(std::string_view id, std::uint32_t weight) {
    change([&](Draft& draft) {
      draft.set_weight(draft.seats[position_of(id, "set_weight")], weight);
      draft.check_some_weight();
    });
  }

  void set_drained(std::string_view id, bool drained) {
    change([&](Draft& draft) {
      draft.set_drained(draft.seats[position_of(id, drained ? "drain" : "undrain")], drained);
    });
  }

  /// What the operator says; nullopt leaves it to rules and probes again.
  void declare_health(std::string_view id, std::optional<HealthState> health) {
    change(
        [&](Draft& draft) { draft.declare(draft.seats[position_of(id, "set_health")], health); });
  }

  /// What a rule or probe says; an operator's word beats it.
  void report_health(std::string_view id, HealthState health) {
    change(
        [&](Draft& draft) { draft.find(draft.seats[position_of(id, "report_health")], health); });
  }

  void set_admission(std::string_view id, Admission admission) {
    refuse_reentry();
    std::scoped_lock const lock{exclusive_};
    membership_->records[position_of(id, "set_admission")]->declare_admission(admission);
  }

  void set_policy(P policy) {
    auto fresh = std::make_shared<P>(std::move(policy));
    change([&](Draft& draft) {
      hooks::inherit(*fresh, *policy_);
      draft.set_policy(std::move(fresh));
    });
  }

  /// Everything periodic: frees what nobody reads any more, lets idle backends' errors fade, and
  /// gives policy and rules their turn. All that the rules change is published once.
  void tick(Time now) {
    change([&](Draft& draft) {
      auto const elapsed = last_tick_ ? std::max(now - *last_tick_, Duration::zero()) : Duration{};
      last_tick_ = now;
      for (auto const& seat : draft.seats) seat.record->forget(elapsed);
      hooks::on_tick(*policy_, now);
      if constexpr (Watching::tick) rules().tick(draft, now);
    });
    tell_of_tick();
  }

  [[nodiscard]] Stats stats() {
    refuse_reentry();
    std::scoped_lock const lock{exclusive_};
    Stats stats{.policy = hooks::name(*policy_),
                .retired_snapshots = current_.waiting(),
                .stranded_snapshots = current_.stranded(),
                .observer_failures = observer_failures_.load()};
    if (!membership_) return stats;
    stats.backends.reserve(membership_->records.size());
    for (auto const* record : membership_->records)
      stats.backends.push_back(BackendStats::of(*record));
    return stats;
  }

  [[nodiscard]] std::string name() {
    sync::ReadSection const section;
    auto const* snapshot = current_.load();
    return snapshot == nullptr ? std::string{} : hooks::name(*snapshot->policy);
  }

  /// The balancer is going: no more picks, and everything that no lease holds is destroyed. Waits
  /// for picks in progress on other threads (microseconds).
  void close() noexcept {
    {
      std::scoped_lock const lock{exclusive_};
      closed_ = true;
      hearer_.store(nullptr);
      membership_.reset();
      current_.publish(nullptr);
    }
    // From inside a pick nobody can wait for that pick's end: then the last snapshots are leaked.
    while (!collected_all() && !sync::is_reading())
      std::this_thread::sleep_for(std::chrono::microseconds{20});
    Record::destroy(box_.close());
  }

 private:
  using Membership = detail::Membership<Record>;
  using Snapshot = detail::Snapshot<Record, P>;
  using Group = detail::Group<P>;
  using Draft = detail::Draft<Record, P>;
  using Choose = detail::Choose<Record, P>;
  using Garbage = std::vector<std::unique_ptr<Snapshot const>>;

  // -- how requests begin ----------------------------------------------------------------------

  static constexpr bool always_timed =
      Watching::time || hooks::time_use<P> == hooks::UsesTime::always;
  static constexpr bool never_timed =
      !Watching::time && hooks::time_use<P> == hooks::UsesTime::never;

  /// Does only the running program know?
  static constexpr bool is_open = !always_timed && !never_timed;

  /// By the flag where only the running program knows; a constant where the types do.
  static constexpr bool timed(std::uint32_t flags) noexcept {
    return always_timed || (!never_timed && (flags & Run::timed) != 0);
  }

  /// The usual case, all of it inline: one proposal, which is accepted. Context and lease never
  /// leave the registers; a store that waits in the buffer would be paid for at the next atomic
  /// operation. What is seldom is called with little, and finds out the rest for itself.
  [[nodiscard, gnu::always_inline]] Lease find(Request const& request) {
    sync::ReadSection const section;
    auto const* snapshot = current_.load();
    if (snapshot == nullptr) [[unlikely]]
      return Lease{Error{.reason = PickError::closed}};
    auto const lane = sync::lane_of(section.thread_index(), own_lanes_);
    Time now{};
    if (timed(snapshot->flags)) now = runtime_.clock.now();

    Proposal first{nullptr, not_asked};
    if ((snapshot->flags & Run::at_length) == 0 && request.excluded.empty()) [[likely]] {
      first = Choose::first(*snapshot, snapshot->healthy, request, chance_, lane, now);
      if (first.claimed != nullptr) [[likely]]
        return Lease{static_cast<Record&>(*first.claimed),
                     Run{now, first.path_and_rest | snapshot->flags}};
    }
    auto const found = find_another(request, *snapshot, now, first.path_and_rest);
    if (found.claimed == nullptr) return Lease{Choose::why_not(*snapshot)};
    return Lease{static_cast<Record&>(*found.claimed),
                 Run{now, found.path_and_rest | snapshot->flags}};
  }

  [[gnu::noinline]] Proposal find_another(Request const& request, Snapshot const& snapshot,
                                          Time now, std::uint64_t path_and_first) {
    sync::ReadSection const section;
    Context context{request, chance_, sync::lane_of(section.thread_index(), own_lanes_)};
    context.now = now;
    if (path_and_first == not_asked) {
      auto const& group = Choose::group(snapshot, request, context.random);
      if (group.roster.eligible == 0) return {};
      return Choose::any(snapshot, group, context);
    }
    context.path = Path{upper_half(path_and_first)};
    return Choose::next(snapshot, snapshot.healthy, context, lower_half(path_and_first));
  }

  // -- how requests end ------------------------------------------------------------------------

  /// Not inline where it may not be needed, so that what is needed finds room in the registers.
  [[gnu::noinline]] static void end_in_full(Record& record, Run run, Outcome outcome,
                                            Duration latency) noexcept {
    record.owner().template end<true>(record, run, outcome, latency);
  }

  /// Without `InFull` nobody measures, and the policy does not listen.
  template <bool InFull>
  [[gnu::always_inline]] void end(Record& record, Run run, Outcome outcome,
                                  Duration latency) noexcept {
    Time now{};
    if (InFull && timed(run.flags())) {
      now = runtime_.clock.now();
      // If the clock jumped back this is negative, and so counts as unmeasured.
      if (latency < Duration::zero()) latency = now - run.start;
    }
    if (outcome.ending == Ending::abandoned) latency = unmeasured;
    record.count(outcome, latency);
    if constexpr (InFull && hooks::has_on_finish<P>)
      if (run.is(Run::heard)) tell_policy(record, run, outcome, latency, now);
    if constexpr (Watching::finish) tell_observers(record, outcome, latency, now);
    record.release();
  }

  /// The usual case, without the way through the snapshot: the policy is a step away, and so is
  /// its state of this record. That they belong together is known as N2 in sync/linked.hpp says.
  [[gnu::always_inline]] void tell_policy(Record& record, Run run, Outcome outcome,
                                          Duration latency, Time now) noexcept {
    constexpr bool stateful = hooks::may_have_state<P>;
    sync::ReadSection const section;
    auto const* policy = hearer_.load();
    auto* const state = stateful ? record.policy_state() : nullptr;
    auto const flags = hearer_flags_.load();
    if (policy == nullptr || (stateful && state == nullptr) || hearer_.load() != policy)
        [[unlikely]]
      return tell_snapshots_policy(record, run, outcome, latency, now);
    tell(*policy, flags, state, record, run, outcome, latency, now);
  }

  /// While a policy replaces another; for a policy without states; for a removed backend.
  [[gnu::noinline]] void tell_snapshots_policy(Record& record, Run run, Outcome outcome,
                                               Duration latency, Time now) noexcept {
    sync::ReadSection const section;
    auto const* snapshot = current_.load();
    if (snapshot == nullptr) return;
    void* state = nullptr;
    if (!snapshot->states.empty() || snapshot->membership->records.empty()) {
      auto const position = snapshot->membership->position_of(record);
      if (position == IdIndex::absent) return;  // removed meanwhile
      state = snapshot->states[position].get();
    }
    tell(*snapshot->policy, snapshot->flags, state, record, run, outcome, latency, now);
  }

  [[gnu::always_inline]] void tell(P const& policy, std::uint32_t flags, void* state,
                                   Record& record, Run run, Outcome outcome, Duration latency,
                                   Time now) noexcept {
    Finish finish{record, outcome, std::nullopt, now, std::nullopt, state};
    // Assigned, not copied from a temporary: bytes that were written one by one and are read at
    // once would stall the processor, if the finish lives in memory.
    if (latency >= Duration::zero()) finish.latency = latency;
    if (run.picked_under(flags)) finish.path = run.path();
    if (run.same_policy(flags)) finish.started = run.start;
    try {
      hooks::on_finish(policy, finish);
    } catch (...) {
      observer_failures_.add(1);
    }
  }

  static std::optional<Duration> known(Duration latency) noexcept {
    return latency < Duration::zero() ? std::nullopt : std::optional{latency};
  }

  [[gnu::always_inline]] void tell_observers(Record& record, Outcome outcome, Duration latency,
                                             Time now) noexcept {
    // Inlined throughout: an event whose address nobody needs is never written to memory.
    tell_each({record, outcome, known(latency), now, {this, &Core::report_to, &Core::review_at}},
              record.observer_states, std::make_index_sequence<std::tuple_size_v<Observers>>{});
  }

  template <std::size_t... I>
  [[gnu::always_inline]] void tell_each(Finished const& event, typename Watching::States& states,
                                        std::index_sequence<I...>) noexcept {
    (tell(std::get<I>(runtime_.observers), std::get<I>(states), event), ...);
  }

  template <class O, class State>
  [[gnu::always_inline]] void tell([[maybe_unused]] O& observer, [[maybe_unused]] State& state,
                                   [[maybe_unused]] Finished const& event) noexcept {
    try {
      if constexpr (observes_finish_with_state<O>) observer.on_finish(event, state);
      else if constexpr (observes_finish<O>) observer.on_finish(event);
    } catch (...) {
      observer_failures_.add(1);
    }
  }

  static void report_to(void* core, Backend const& backend, HealthState health) noexcept {
    static_cast<Core*>(core)->report(backend, health);
  }

  void report(Backend const& backend, HealthState health) noexcept {
    guarded([&] {
      change_and_keep([&](Draft& draft) {
        auto const position = static_cast<Record const&>(backend).position();
        if (position < draft.seats.size() && draft.seats[position].record == &backend)
          draft.find(draft.seats[position], health);
      });
    });
  }

  static void review_at(void* core, Time now) noexcept { static_cast<Core*>(core)->review(now); }

  void review(Time now) noexcept {
    guarded([&] {
      change_and_keep([&](Draft& draft) {
        if constexpr (Watching::tick) rules().tick(draft, now);
      });
    });
    tell_of_tick();
  }

  void tell_of_tick() noexcept {
    if constexpr (Watching::after_tick)
      notify([&](auto& observer) {
        using O = std::remove_reference_t<decltype(observer)>;
        if constexpr (tells_others<O>)
          observer.after_tick([&](auto const& news) { tell_of(news); });
        else if constexpr (observes_tick<O>) observer.after_tick();
      });
  }

  /// What one observer has to tell the others.
  template <class News>
  void tell_of(News const& news) noexcept {
    notify([&](auto& observer) {
      using O = std::remove_reference_t<decltype(observer)>;
      if constexpr (requires { observer.on_transition(news); }) observer.on_transition(news);
      else if constexpr (requires { &O::on_transition; })
        static_assert(
            requires { observer.on_transition(news); },
            "a poise observer's on_transition: "
            "void on_transition(health::Transition const&)");
    });
  }

  template <class Call>
  void guarded(Call const& call) noexcept {
    try {
      call();
    } catch (...) {
      observer_failures_.add(1);
    }
  }

  template <class Tell>
  void notify(Tell const& tell_one) noexcept {
    std::apply([&](auto&... observers) { (guarded([&] { tell_one(observers); }), ...); },
               runtime_.observers);
  }

  /// The current set, to be used outside a read section.
  [[nodiscard]] auto current_membership() noexcept {
    struct {
      std::shared_ptr<Membership const> membership;
      std::uint32_t flags = 0;
    } current;
    sync::ReadSection const section;
    if (auto const* snapshot = current_.load(); snapshot != nullptr) {
      current.membership = snapshot->membership;
      current.flags = snapshot->flags;
    }
    return current;
  }

  // -- how the set changes ---------------------------------------------------------------------

  /// Runs `edit` on a draft and publishes it if that changed anything. All or nothing (C3).
  template <class Edit>
  void change(Edit const& edit) {
    refuse_reentry();
    Cleaner const cleaner{*this};  // last, outside the lock
    change_and_keep(edit);
  }

  /// The same on a request's thread, which must destroy no payload: the next change does.
  template <class Edit>
  void change_and_keep(Edit const& edit) {
    refuse_reentry();
    std::optional<Draft> draft;  // outlives the lock: a failed change still owns the payloads it
    Garbage garbage;             // made
    {
      std::unique_lock lock{exclusive_};
      if (closed_) return;  // a report or review of a request that ends late
      wait_for_room(lock);
      draft.emplace(membership_.get(), policy_, Watching::event);
      edit(*draft);
      if (draft->changed || current_.own() == nullptr) publish(*draft);
      else set_admissions(*draft);
      garbage = collect();
    }
    garbage.clear();
    if constexpr (Watching::event)
      for (auto const& event : draft->events)
        notify([&](auto& observer) {
          if constexpr (observes_event<std::remove_reference_t<decltype(observer)>>)
            observer.on_event(event);
        });
  }

  /// Builds the next snapshot and, when nothing can fail any more, makes it the current one.
  void publish(Draft& draft) {
    auto membership = membership_;
    if (draft.members_changed || !membership) membership = draft.make_membership();
    auto const standings = rules().arrange(draft);
    SnapshotMaker<Record, P> const maker{draft, standings, current_.own(), generation_};
    auto snapshot = maker.make(membership);
    current_.prepare();

    // Nothing below throws.
    for (std::uint32_t position = 0; position < draft.seats.size(); ++position) {
      auto const& seat = draft.seats[position];
      seat.record->decide(position, seat.weight, seat.condition);
    }
    if constexpr (hooks::has_on_finish<P>) link(draft, *snapshot);
    set_admissions(draft);  // before picks see who became eligible
    generation_ = maker.generation();
    policy_ = std::move(draft.policy);
    membership_ = std::move(membership);
    current_.publish(std::move(snapshot));
  }

  /// Leads the ends of requests to the next snapshot's policy and states. *Requires* that the
  /// records know their positions in it.
  void link(Draft const& draft, Snapshot const& next) noexcept {
    auto const* policy = next.policy.get();
    if (hearer_.load() != policy) hearer_.store(nullptr);
    if (draft.members_changed && membership_)
      for (auto* record : membership_->records)
        if (auto const position = record->position();
            position >= draft.seats.size() || draft.seats[position].record != record)
          record->link_policy_state(nullptr);  // removed
    for (std::size_t i = 0; i < draft.seats.size(); ++i)
      draft.seats[i].record->link_policy_state(next.states.empty() ? nullptr
                                                                   : next.states[i].get());
    hearer_flags_.store(next.flags);
    hearer_.store(policy);
  }

  static void set_admissions(Draft const& draft) noexcept {
    for (std::size_t i = 0; i < draft.admissions.size(); ++i)
      draft.seats[i].record->set_admission(draft.admissions[i]);
  }

  [[nodiscard]] std::unique_ptr<Record> make_record(Endpoint const& endpoint) {
    return std::make_unique<Record>(endpoint, this->shared_from_this(), make_);
  }

  [[nodiscard]] Rules<Record, Observers> rules() {
    return Rules<Record, Observers>{runtime_.observers};
  }

  /// Destroys what the drop box holds, wherever a change ends.
  struct Cleaner {
    Core& core;
    explicit Cleaner(Core& owner) noexcept : core{owner} {}
    Cleaner(Cleaner const&) = delete;
    Cleaner& operator=(Cleaner const&) = delete;
    ~Cleaner() { Record::destroy(core.box_.take()); }
  };

  void refuse_reentry() const {
    if (sync::is_reading())
      throw UpdateRefused{
          "a balancer can't be changed from inside a pick (a policy's hook, a filter): "
          "do it after the pick returned"};
    if (exclusive_.held_by_this_thread())
      throw UpdateRefused{
          "a balancer can't be changed from inside its own change (a payload factory, "
          "a plan, a rule's on_tick or arrange): do it after the change returned"};
  }

  /// Bounds what waits for readers. Waits without the lock, for a reader that was preempted, at
  /// worst.
  void wait_for_room(std::unique_lock<sync::Exclusive>& lock) {
    while (current_.waiting() >= max_retired) {
      auto garbage = collect();
      if (!garbage.empty()) {
        lock.unlock();
        garbage.clear();
        lock.lock();
        continue;
      }
      lock.unlock();
      std::this_thread::sleep_for(std::chrono::microseconds{50});
      lock.lock();
    }
  }

  [[nodiscard]] std::size_t position_of(std::string_view id, char const* what) const {
    auto* record = membership_ ? membership_->find(id) : nullptr;
    if (record != nullptr) return record->position();
    throw ConfigError{std::string{what} + "(): there is no backend " + detail::in_quotes(id) +
                      "; there are " + known_ids()};
  }

  /// A few of them, for an error.
  [[nodiscard]] std::string known_ids() const {
    if (!membership_ || membership_->records.empty()) return "none at all";
    constexpr std::size_t shown = 5;
    std::string known;
    for (std::size_t i = 0; i < membership_->records.size() && i < shown; ++i)
      known += (i == 0 ? "" : ", ") + detail::in_quotes(membership_->records[i]->id());
    return known + (membership_->records.size() > shown ? ", ..." : "");
  }

  // -- how things end -------------------------------------------------------------------------

  [[nodiscard]] bool collected_all() noexcept {
    Garbage garbage;  // destroyed after the lock is released
    std::scoped_lock const lock{exclusive_};
    garbage = collect();
    return current_.waiting() == 0;
  }

  /// What nobody reads any more; nothing if memory is short, and then the next change tries again.
  [[nodiscard]] Garbage collect() noexcept {
    try {
      return current_.collect();
    } catch (std::bad_alloc const&) {
      return {};
    }
  }

  static constexpr auto not_asked = Proposal::nobody - 1;  // instead of what a policy proposed
  static constexpr std::size_t max_retired = 64;  // a storm without a cap piled up thousands

  // Read by every pick, written only at the start.
  sync::Published<Snapshot> current_;
  sync::Linked<P const*> hearer_;  // the snapshot's policy, for the ends of requests
  sync::Linked<std::uint32_t> hearer_flags_;
  R runtime_;
  bool const own_lanes_;
  Chance chance_;

  // Under the lock.
  sync::Exclusive exclusive_;
  bool closed_ = false;
  std::shared_ptr<P const> policy_;
  std::shared_ptr<Membership const> membership_;
  std::uint64_t generation_ = 0;
  std::optional<Time> last_tick_;
  Maker make_;

  sync::DropBox<Record> box_;
  sync::Relaxed<std::uint64_t> observer_failures_{0};
};

}  // namespace detail

}  // namespace poise
