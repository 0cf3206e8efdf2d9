// SPDX-License-Identifier: MIT
#pragma once

// The engine behind Balancer: who its backends are, what picks see of them, and how both change.
//
// Reading and changing are two halves. A pick reads one immutable Snapshot (rosters, plan, policy)
// inside a read section and claims a record with one atomic add. A change takes the lock, edits a
// Draft, builds the next Snapshot from it (all that can throw happens here), and publishes.
//
// Invariants:
//   C1  A record lives while a membership lists it (pinned) or a lease holds it (in flight); the
//       last of them puts it into the drop box, and a change, tick or close destroys it outside the
//       lock.
//   C2  A record holds the core, so leases outlive the balancer; close() breaks the cycle.
//   C3  A change that throws has published nothing and altered no record.
//   C4  User code never runs under the lock except factories, plans and rules; a change from there,
//       or from inside a pick, is refused with UpdateRefused.

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <poise/backend.hpp>
#include <poise/candidates.hpp>
#include <poise/configuration.hpp>
#include <poise/degraded_share.hpp>
#include <poise/error.hpp>
#include <poise/hash.hpp>
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
#include <poise/sync/published.hpp>
#include <poise/sync/shared_count.hpp>

namespace poise {

template <class Core>
class Lease;

namespace detail {

inline std::uint64_t next_serial() noexcept {
  static constinit sync::Relaxed<std::uint64_t> serial{1};
  return serial.add(1);
}

/// What a lease remembers of its pick. Whole words: bytes written one by one and read together
/// would stall the processor at the end of every request.
struct Run {
  enum Flag : std::uint32_t {
    timed = 1,     // start is set
    scanned = 2,   // no policy picked: path says nothing
    repeated = 4,  // an excluded backend, because nothing else was left
  };
  Time start{};
  Path path{};
  std::uint32_t flags = 0;

  [[nodiscard]] bool is(Flag flag) const noexcept { return (flags & flag) != 0; }
};

template <class P, class Payload, class R>
class Core : public std::enable_shared_from_this<Core<P, Payload, R>> {
 public:
  using Observers = decltype(R::observers);
  using Watching = Watch<Observers>;
  using PayloadType = Payload;
  using Maker = std::conditional_t<std::is_void_v<Payload>, std::nullptr_t, Factory<Payload>>;

  class Record final : public BackendWith<Payload> {
   public:
    template <class Make>
    Record(Endpoint const& endpoint, std::shared_ptr<Core> owner, Make const& make)
        : BackendWith<Payload>{endpoint, next_serial(), make}, core{std::move(owner)} {}
    ~Record() = default;

    std::shared_ptr<Core> const core;
    Record* next_dropped = nullptr;

   private:
    friend Core;
    sync::SharedCount memberships_;
    [[no_unique_address]] typename Watching::States observer_states_;
  };

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
  [[gnu::always_inline]] void finish(Record& record, Run const& run, Outcome outcome,
                                     Duration latency) noexcept {
    Time now{};
    if (timed(run.is(Run::timed))) {
      now = runtime_.clock.now();
      // If the clock jumped back this is negative, and so counts as unmeasured.
      if (latency < Duration::zero()) latency = now - run.start;
    }
    if (outcome.ending == Ending::abandoned) latency = unmeasured;
    record.count(outcome, latency, now);
    if constexpr (hooks::has_on_finish<P>) tell_policy(record, run, outcome, latency, now);
    if constexpr (Watching::finish) tell_observers(record, outcome, latency, now);
    if (record.word_.release()) [[unlikely]]
      bury(&record);
  }

  [[nodiscard]] Decision decide(Request const& request, Outcome outcome) {
    sync::ReadSection const section;
    auto const* snapshot = current_.load();
    if (snapshot == nullptr) return {};
    auto const now = timed(snapshot->timed) ? runtime_.clock.now() : Time{};
    Rng random{chance_, sync::lane_of(section.thread_index(), own_lanes_)};
    return hooks::decide(*snapshot->policy, Attempt{request, outcome, now, random()});
  }

  bool record(std::string_view id, Outcome outcome, Duration latency) noexcept {
    sync::ReadSection const section;
    auto const* snapshot = current_.load();
    auto* record = snapshot == nullptr ? nullptr : snapshot->membership->find(id);
    if (record == nullptr) return false;
    record->recorded_.add(1);
    record->count(outcome, latency, timed(snapshot->timed) ? runtime_.clock.now() : Time{});
    return true;
  }

  void sleep(Duration time) {
    if (time > Duration::zero()) runtime_.clock.sleep(time);
  }
  [[nodiscard]] Time now() const { return runtime_.clock.now(); }
  [[nodiscard]] auto& observers() noexcept { return runtime_.observers; }

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
        auto* kept = membership_ ? membership_->find(endpoint.id) : nullptr;
        if (kept == nullptr) {
          seat_new(draft, endpoint, nullptr);
        } else if (!same_identity(kept->endpoint_, endpoint)) {
          seat_new(draft, endpoint, &old[kept->position_.load()]);
        } else {
          draft.seats.push_back(old[kept->position_.load()]);
          set_weight(draft, draft.seats.back(), endpoint.weight);
        }
      }
      if constexpr (Watching::event) note_removed(draft, old);
      // Also when only the order is new: statistics are listed in it.
      draft.members_changed |=
          !std::ranges::equal(draft.seats, old, {}, &Seat::record, &Seat::record);
      return draft.members_changed || draft.seats != old || current_.own() == nullptr;
    });
  }

  void add(Endpoint endpoint) {
    std::vector<Endpoint> one;
    one.push_back(std::move(endpoint));
    check(one, true);
    change([&](Draft& draft) {
      if (membership_ && membership_->find(one[0].id) != nullptr)
        throw ConfigError{"add(): " + quoted(one[0].id) +
                          " is a backend already; use update() or set_weight() to change it"};
      seat_new(draft, one[0], nullptr);
      check_some_weight(draft);
      return true;
    });
  }

  void remove(std::string_view id) {
    change([&](Draft& draft) {
      auto const position = position_of(id, "remove");
      note(draft, Event::Kind::removed, draft.seats[position]);
      draft.seats.erase(draft.seats.begin() + static_cast<std::ptrdiff_t>(position));
      draft.members_changed = true;
      return true;
    });
  }

  void set_weight(std::string_view id, std::uint32_t weight) {
    change_one(id, "set_weight", [&](Draft& draft, Seat& seat) {
      set_weight(draft, seat, weight);
      check_some_weight(draft);
    });
  }

  void set_drained(std::string_view id, bool drained) {
    change_one(id, drained ? "drain" : "undrain", [&](Draft& draft, Seat& seat) {
      if (seat.condition.drained == drained) return;
      seat.condition.drained = drained;
      note(draft, drained ? Event::Kind::drained : Event::Kind::undrained, seat);
    });
  }

  /// What the operator says; nullopt leaves it to rules and probes again.
  void declare_health(std::string_view id, std::optional<HealthState> health) {
    change_one(id, "set_health", [&](Draft& draft, Seat& seat) {
      auto const before = seat.condition.health();
      seat.condition.declare(health);
      if (seat.condition.health() != before) note(draft, Event::Kind::health, seat);
    });
  }

  /// What a rule or probe says; an operator's word beats it.
  void report_health(std::string_view id, HealthState health) {
    change_one(id, "report_health",
               [&](Draft& draft, Seat& seat) { set_found(draft, seat, health); });
  }

  void set_admission(std::string_view id, Admission admission) {
    refuse_reentry();
    std::scoped_lock const lock{exclusive_};
    store_admission(*seats_[position_of(id, "set_admission")].record, admission);
  }

  void set_policy(P policy) {
    auto fresh = std::make_shared<P const>(std::move(policy));
    change([&](Draft& draft) {
      draft.policy = std::move(fresh);
      if constexpr (Watching::event) draft.events.push_back({Event::Kind::policy, {}});
      return true;
    });
  }

  /// Everything periodic: frees what nobody reads any more, lets idle backends' errors fade, and
  /// gives policy and rules their turn. All that the rules change is published once.
  void tick(Time now) {
    change([&](Draft& draft) {
      auto const elapsed = last_tick_ ? std::max(now - *last_tick_, Duration::zero()) : Duration{};
      last_tick_ = now;
      for (auto const& seat : seats_) seat.record->forget(elapsed);
      hooks::on_tick(*policy_, now);
      if constexpr (Watching::tick) return ask_rules(draft, now);
      else return false;
    });
  }

  [[nodiscard]] Stats stats() {
    refuse_reentry();
    std::scoped_lock const lock{exclusive_};
    Stats stats{.policy = hooks::name(*policy_),
                .retired_snapshots = current_.waiting(),
                .stranded_snapshots = current_.stranded(),
                .observer_failures = observer_failures_.load()};
    stats.backends.reserve(seats_.size());
    for (auto const& seat : seats_) stats.backends.push_back(BackendStats::of(*seat.record));
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
      seats_.clear();
      membership_.reset();
      current_.publish(nullptr);
    }
    // From inside a pick nobody can wait for that pick's end: then the last snapshots are leaked.
    while (!collected_all() && !sync::is_reading())
      std::this_thread::sleep_for(std::chrono::microseconds{20});
    destroy(box_.close());
  }

 private:
  // -- what picks see --------------------------------------------------------------------------

  /// The records of one set of backends. It pins them (C1), and is shared by all snapshots of the
  /// set.
  class Membership {
   public:
    explicit Membership(std::vector<Record*> members)
        : records{std::move(members)}, index_{records.size()} {
      for (std::uint32_t position = 0; position < records.size(); ++position)
        index_.insert(position, id_at());
      for (auto* record : records) record->memberships_.add();
    }
    Membership(Membership const&) = delete;
    Membership& operator=(Membership const&) = delete;
    ~Membership() {
      for (auto* record : records)
        if (record->memberships_.drop() && record->word_.unpin()) bury(record);
    }

    [[nodiscard]] Record* find(std::string_view id) const {
      auto const position = index_.find(id, id_at());
      return position == IdIndex::absent ? nullptr : records[position];
    }
    /// Where this very record stands here, or IdIndex::absent.
    [[nodiscard]] std::uint32_t position_of(Record const& record) const {
      auto position = record.position_.load();
      if (position < records.size() && records[position] == &record) return position;
      position = index_.find(record.id(), id_at());  // a change of order is being published
      return position != IdIndex::absent && records[position] == &record ? position
                                                                         : IdIndex::absent;
    }

    std::vector<Record*> const records;

   private:
    [[nodiscard]] auto id_at() const {
      return [this](std::uint32_t position) -> std::string_view { return records[position]->id(); };
    }
    IdIndex index_;
  };

  /// Backends that compete with each other, and the policy's plan for them.
  struct Group {
    Roster roster{};
    std::optional<hooks::PlanOf<P>> plan{};  // empty if nobody is eligible and nobody ever was
  };

  struct Snapshot {
    Group healthy{};
    std::shared_ptr<P const> policy{};
    std::uint32_t healthy_share = 100;  // percent; looked at only if somebody is degraded
    bool timed = false;
    Group degraded{};
    std::shared_ptr<Membership const> membership{};
    std::vector<std::shared_ptr<void>> states{};  // by position; empty if the policy has none
  };

  static constexpr bool always_timed =
      Watching::time || hooks::time_use<P> == hooks::UsesTime::always;
  static constexpr bool never_timed =
      !Watching::time && hooks::time_use<P> == hooks::UsesTime::never;

  /// The flag where only the running program knows; a constant where the types do.
  static constexpr bool timed(bool flag) noexcept { return always_timed || (!never_timed && flag); }

  /// The usual case, all of it inline: one proposal, which is accepted. The context never leaves
  /// the registers; a store that waits in the buffer would be paid for at the next atomic
  /// operation.
  [[nodiscard, gnu::always_inline]] Lease find(Request const& request) {
    sync::ReadSection const section;
    auto const* snapshot = current_.load();
    if (snapshot == nullptr) [[unlikely]]
      return Lease{Error{.reason = PickError::closed}};
    Context context{request, chance_, sync::lane_of(section.thread_index(), own_lanes_)};
    if (timed(snapshot->timed)) context.now = runtime_.clock.now();

    auto const& group = choose_group(*snapshot, request, context.lane);
    Candidates const candidates{group.roster};
    if (candidates.size() == 0) [[unlikely]]
      return Lease{why_not(*snapshot)};
    auto const i = hooks::pick(*snapshot->policy, *group.plan, candidates, context);
    if (i < candidates.size() && !is_excluded(request, candidates, i) &&
        claim(*snapshot, group, i, context, true)) [[likely]]
      return Lease{*record_at(group, i), Run{context.now, context.path, flags_of(*snapshot)}};
    auto const another = find_another(*snapshot, group, request, context.lane, context.now, i);
    if (another.record == nullptr) return Lease{why_not(*snapshot)};
    return Lease{*another.record, Run{context.now, another.path, another.flags}};
  }

  struct Another {  // two words, returned in registers, so that the lease need not live in memory
    Record* record = nullptr;
    Path path{};
    std::uint32_t flags = 0;
  };

  /// Seldom: the proposal was excluded or refused. The policy is asked again a few times; then any
  /// usable backend will do, of this group, of the other one; then an excluded one.
  [[gnu::noinline, gnu::cold]] Another find_another(Snapshot const& snapshot, Group const& group,
                                                    Request const& request, sync::Lane lane,
                                                    Time now, std::size_t first) {
    // If a share s of the backends is unusable, 4 more draws miss all others with s^5: 3 % at one
    // half.
    constexpr int asks = 4;
    Context context{request, chance_, lane};
    context.now = now;
    Candidates const candidates{group.roster};
    if (first < candidates.size()) context.refuse(candidates[first]);
    for (int ask = 0; ask < asks; ++ask) {
      context.path = {};
      auto const i = hooks::pick(*snapshot.policy, *group.plan, candidates, context);
      if (i >= candidates.size() || is_excluded(request, candidates, i)) continue;
      if (claim(snapshot, group, i, context, true))
        return {record_at(group, i), context.path, flags_of(snapshot)};
      context.refuse(candidates[i]);
    }
    context.path = {};
    auto const& other = &group == &snapshot.healthy ? snapshot.degraded : snapshot.healthy;
    for (bool const repeat : {false, true}) {
      if (repeat && request.excluded.empty()) break;
      auto const flags = flags_of(snapshot) | Run::scanned | (repeat ? Run::repeated : 0U);
      for (auto const* each : {&group, &other})
        if (auto* record = scan(snapshot, *each, context, repeat); record != nullptr)
          return {record, {}, flags};
    }
    return {};
  }

  static std::uint32_t flags_of(Snapshot const& snapshot) noexcept {
    return timed(snapshot.timed) ? Run::timed : 0U;
  }

  /// The first backend from a random start that takes the request; limits hold, warm-up shares do
  /// not.
  [[nodiscard]] Record* scan(Snapshot const& snapshot, Group const& group, Context& context,
                             bool excluded_ones) {
    auto const size = group.roster.eligible;
    if (size == 0) return nullptr;
    auto const start = context.random.below(size);
    for (std::size_t step = 0; step < size; ++step) {
      auto const i = (start + step) % size;
      auto* record = record_at(group, i);
      if (excludes(context.request, record->serial()) == excluded_ones &&
          claim(snapshot, group, i, context, false))
        return record;
    }
    return nullptr;
  }

  /// Counts the request in, unless the backend or the policy refuses it at this very count.
  [[nodiscard, gnu::always_inline]] bool claim(Snapshot const& snapshot, Group const& group,
                                               std::size_t i, Context& context, bool heed_share) {
    auto& record = *record_at(group, i);
    Claim claimed{record};
    auto const admission = record.admission();
    constexpr auto full = Admission{}.share;
    claimed.accepted = claimed.before < admission.max_in_flight &&
                       (!heed_share || admission.share == full ||
                        static_cast<std::uint32_t>(context.random()) < admission.share) &&
                       hooks::admit(*snapshot.policy, *group.plan, Candidates{group.roster}, i,
                                    claimed.before, context);
    return claimed.accepted;
  }

  /// A claim that is taken back unless it is accepted, also when admit() throws.
  struct Claim {
    explicit Claim(Record& claimed) noexcept : record{claimed}, before{claimed.word_.claim()} {}
    Claim(Claim const&) = delete;
    Claim& operator=(Claim const&) = delete;
    ~Claim() {
      if (!accepted) [[unlikely]]
        record.word_.undo();
    }
    Record& record;
    std::uint32_t const before;
    bool accepted = false;
  };

  static bool is_excluded(Request const& request, Candidates const& candidates,
                          std::size_t i) noexcept {
    return !request.excluded.empty() && excludes(request, candidates[i].serial());
  }

  static Record* record_at(Group const& group, std::size_t i) noexcept {
    return static_cast<Record*>(group.roster.entries[i].backend);
  }

  [[gnu::always_inline]] Group const& choose_group(Snapshot const& snapshot, Request const& request,
                                                   sync::Lane lane) {
    if (snapshot.degraded.roster.eligible == 0) [[likely]]
      return snapshot.healthy;
    return draw_group(snapshot, request, lane);
  }

  /// Healthy or degraded ones, by their shares; for a keyed policy the key decides instead of
  /// chance.
  [[gnu::noinline]] Group const& draw_group(Snapshot const& snapshot, Request const& request,
                                            sync::Lane lane) {
    auto const key = request.key();
    auto const draw = hooks::keyed(*snapshot.policy) && !key.empty()
                          ? hash_text(key) % 100
                          : Rng{chance_, lane}.below(100);
    return draw < snapshot.healthy_share ? snapshot.healthy : snapshot.degraded;
  }

  [[gnu::noinline, gnu::cold]] static Error why_not(Snapshot const& snapshot) noexcept {
    auto const& records = snapshot.membership->records;
    Error error{.reason = records.empty() ? PickError::empty : PickError::unavailable};
    for (auto const* record : records) {
      if (record->drained()) ++error.drained;
      else if (record->health() == HealthState::unhealthy) ++error.unhealthy;
      else if (record->weight() == 0) ++error.weightless;
      else ++error.refused;
    }
    return error;
  }

  // -- how requests end ------------------------------------------------------------------------

  void tell_policy(Record& record, Run const& run, Outcome outcome, Duration latency,
                   Time now) noexcept {
    sync::ReadSection const section;
    auto const* snapshot = current_.load();
    if (snapshot == nullptr) return;
    Finish finish{record, outcome, known(latency), now, std::nullopt};
    if (!run.is(Run::scanned)) finish.path = run.path;
    if (!snapshot->states.empty()) {
      auto const position = snapshot->membership->position_of(record);
      if (position == IdIndex::absent) return;  // removed meanwhile
      finish.state_block = snapshot->states[position].get();
    }
    guarded([&] { hooks::on_finish(*snapshot->policy, finish); });
  }

  static std::optional<Duration> known(Duration latency) noexcept {
    return latency < Duration::zero() ? std::nullopt : std::optional{latency};
  }

  void tell_observers(Record& record, Outcome outcome, Duration latency, Time now) noexcept {
    Finished const event{record, outcome, known(latency), now, {this, &Core::report_to}};
    std::apply(
        [&](auto&... states) {
          std::apply([&](auto&... observers) { (tell(observers, states, event), ...); },
                     runtime_.observers);
        },
        record.observer_states_);
  }

  template <class O, class State>
  void tell(O& observer, State& state, Finished const& event) noexcept {
    if constexpr (observes_finish_with_state<O>) guarded([&] { observer.on_finish(event, state); });
    else if constexpr (observes_finish<O>) guarded([&] { observer.on_finish(event); });
  }

  static void report_to(void* core, Backend const& backend, HealthState health) noexcept {
    static_cast<Core*>(core)->report(backend, health);
  }

  void report(Backend const& backend, HealthState health) noexcept {
    guarded([&] {
      change_and_keep([&](Draft& draft) {
        auto const position = static_cast<Record const&>(backend).position_.load();
        if (position >= draft.seats.size() || draft.seats[position].record != &backend)
          return false;
        auto& seat = draft.seats[position];
        if (seat.condition.found == health) return false;
        set_found(draft, seat, health);
        return true;
      });
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

  // -- how the set changes ---------------------------------------------------------------------

  /// A backend's place in the set, with what was decided about it.
  struct Seat {
    Record* record;
    std::uint32_t weight;
    Condition condition;
    friend bool operator==(Seat const&, Seat const&) = default;
  };

  /// The set as it will be, and the records that exist only if it comes to be.
  struct Draft {
    std::vector<Seat> seats{};
    std::shared_ptr<P const> policy{};
    std::vector<std::unique_ptr<Record>> fresh{};
    std::vector<Event> events{};
    std::vector<Admission> admissions{};  // by seat; empty if no rule had a say
    bool members_changed = false;
    bool weights_changed = false;
  };

  using Garbage = std::vector<std::unique_ptr<Snapshot const>>;

  /// Runs `edit` on a draft and publishes it if edit returns true. All or nothing (C3).
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
    Draft draft;  // outlives the lock: a failed change still owns the payloads it made
    Garbage garbage;
    {
      std::unique_lock lock{exclusive_};
      wait_for_room(lock);
      draft.seats = seats_;
      draft.policy = policy_;
      if (edit(draft)) publish(draft);
      for (std::size_t i = 0; i < draft.admissions.size(); ++i)
        store_admission(*seats_[i].record, draft.admissions[i]);
      garbage = collect();
    }
    garbage.clear();
    if constexpr (Watching::event)
      for (auto const& event : draft.events)
        notify([&](auto& observer) {
          if constexpr (observes_event<std::remove_reference_t<decltype(observer)>>)
            observer.on_event(event);
        });
  }

  template <class Edit>
  void change_one(std::string_view id, char const* what, Edit const& edit) {
    change([&](Draft& draft) {
      auto const position = position_of(id, what);
      edit(draft, draft.seats[position]);
      return draft.seats[position] != seats_[position];
    });
  }

  /// Destroys what the drop box holds, wherever a change ends.
  struct Cleaner {
    Core& core;
    explicit Cleaner(Core& owner) noexcept : core{owner} {}
    Cleaner(Cleaner const&) = delete;
    Cleaner& operator=(Cleaner const&) = delete;
    ~Cleaner() { destroy(core.box_.take()); }
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

  /// Builds the next snapshot and, when nothing can fail any more, makes it the current one.
  void publish(Draft& draft) {
    auto membership = membership_;
    if (draft.members_changed || !membership) membership = make_membership(draft);
    if (draft.members_changed || draft.weights_changed) ++generation_;

    auto snapshot = std::make_unique<Snapshot>();
    snapshot->policy = draft.policy;
    snapshot->timed = Watching::time || hooks::uses_time(*draft.policy);
    snapshot->membership = membership;
    snapshot->states = make_states(draft);
    form_groups(*snapshot, draft);
    current_.prepare();

    // Nothing below throws.
    for (std::uint32_t position = 0; position < draft.seats.size(); ++position) {
      auto const& seat = draft.seats[position];
      seat.record->position_.store(position);
      seat.record->weight_.store(seat.weight);
      seat.record->condition_.store(std::bit_cast<std::uint32_t>(seat.condition));
    }
    seats_ = std::move(draft.seats);
    policy_ = std::move(draft.policy);
    membership_ = std::move(membership);
    current_.publish(std::move(snapshot));
  }

  /// From here on the membership owns the fresh records too: its end is their end.
  [[nodiscard]] static std::shared_ptr<Membership const> make_membership(Draft& draft) {
    std::vector<Record*> records;
    records.reserve(draft.seats.size());
    for (auto const& seat : draft.seats) records.push_back(seat.record);
    auto membership = std::make_shared<Membership const>(std::move(records));
    for (auto& record : draft.fresh) record.release();  // NOLINT: see above
    return membership;
  }

  /// The policy's state of each backend: carried over, or fresh for a new backend or policy.
  [[nodiscard]] std::vector<std::shared_ptr<void>> make_states(Draft const& draft) {
    std::vector<std::shared_ptr<void>> states;
    auto const* before = current_.own();
    bool const carry =
        before != nullptr && before->policy == draft.policy && !before->states.empty();
    for (auto const& seat : draft.seats) {
      auto const position = seat.record->position_.load();
      bool const known = carry && position < before->states.size() &&
                         before->membership->records[position] == seat.record;
      auto state = known ? before->states[position] : hooks::make_state(*draft.policy);
      if (!state) return {};  // a policy has states for all backends or for none
      states.push_back(std::move(state));
    }
    return states;
  }

  void form_groups(Snapshot& snapshot, Draft const& draft) {
    auto const standings = arrange(draft);
    auto const weight = [&](std::size_t i) {
      return standings.empty() ? draft.seats[i].weight : standings[i].weight;
    };
    auto const health = [&](std::size_t i) {
      auto const& condition = draft.seats[i].condition;  // no rule overrides the operator
      return standings.empty() || condition.is_declared ? condition.health() : standings[i].health;
    };
    if (!draft.members_changed && arranged_anew(standings)) ++generation_;
    std::uint64_t counted = 0;
    std::uint64_t degraded = 0;
    for (std::size_t i = 0; i < draft.seats.size(); ++i) {
      if (draft.seats[i].condition.drained || weight(i) == 0) continue;
      ++counted;
      if (health(i) == HealthState::degraded) ++degraded;
    }
    auto const roster_of = [&](HealthState wanted) {
      return Roster::of(draft.seats.size(), generation_, [&](std::size_t i) {
        auto const& seat = draft.seats[i];
        return Roster::Member{seat.record, weight(i),
                              !seat.condition.drained && weight(i) != 0 && health(i) == wanted};
      });
    };
    auto const* before = current_.own();
    bool const same_policy = before != nullptr && before->policy == snapshot.policy;
    auto const* old_plan = same_policy && before->healthy.plan ? &*before->healthy.plan : nullptr;
    form_group(snapshot, snapshot.healthy, roster_of(HealthState::healthy), old_plan);
    if (degraded == 0) return;
    if (same_policy && before->degraded.plan) old_plan = &*before->degraded.plan;
    form_group(snapshot, snapshot.degraded, roster_of(HealthState::degraded), old_plan);
    snapshot.healthy_share = healthy_percent(snapshot.healthy.roster.eligible, degraded, counted);
  }

  /// A plan is made only for a group that has somebody; an empty one keeps the last plan, so that
  /// tables which depend on the members alone outlive an outage.
  void form_group(Snapshot& snapshot, Group& group, Roster roster,
                  hooks::PlanOf<P> const* old_plan) {
    group.roster = std::move(roster);
    if (!snapshot.states.empty()) {
      group.roster.states.resize(snapshot.states.size());
      for (std::size_t i = 0; i < snapshot.states.size(); ++i)
        group.roster.states[group.roster.places[i]] = snapshot.states[i].get();
    }
    if (group.roster.eligible != 0)
      group.plan = hooks::plan(*snapshot.policy, Candidates{group.roster}, old_plan);
    else if (old_plan != nullptr) group.plan = *old_plan;
  }

  /// What rules make of the draft; empty if no rule arranges.
  [[nodiscard]] std::vector<Standing> arrange(Draft const& draft) {
    std::vector<Standing> standings;
    if constexpr (Watching::arrange)
      for_each_rule([&](auto& rule, auto index) {
        if constexpr (arranges<std::remove_reference_t<decltype(rule)>>) {
          standings = stand(draft.seats, index, standings, false);
          rule.arrange(std::span{standings});
        }
      });
    return standings;
  }

  /// Have rules arranged other weights than last time, among the same members? Tables that depend
  /// on the weights hang on the generation.
  [[nodiscard]] bool arranged_anew(std::vector<Standing> const& standings) const noexcept {
    auto const* before = current_.own();
    if (before == nullptr) return false;
    Candidates const last{before->healthy.roster};
    for (std::size_t i = 0; i < standings.size(); ++i)
      if (standings[i].weight != last.member_weight(i)) return true;
    return false;
  }

  [[nodiscard]] bool ask_rules(Draft& draft, Time now) {
    bool publish_anyway = false;
    for_each_rule([&](auto& rule, auto index) {
      if constexpr (rules_on_tick<std::remove_reference_t<decltype(rule)>>) {
        auto standings = stand(draft.seats, index, {}, true);
        for (std::size_t i = 0; i < draft.admissions.size(); ++i)
          standings[i].admission = draft.admissions[i];
        if constexpr (std::is_void_v<decltype(rule.on_tick(now, std::span{standings}))>)
          rule.on_tick(now, std::span{standings});
        else publish_anyway |= rule.on_tick(now, std::span{standings});
        draft.admissions.resize(standings.size());
        for (std::size_t i = 0; i < standings.size(); ++i) {
          set_found(draft, draft.seats[i], standings[i].health);
          draft.admissions[i] = standings[i].admission;
        }
      }
    });
    return publish_anyway || draft.seats != seats_;
  }

  template <class Visit>
  void for_each_rule(Visit const& visit) {
    [&]<std::size_t... I>(std::index_sequence<I...>) {
      (visit(std::get<I>(runtime_.observers), std::integral_constant<std::size_t, I>{}), ...);
    }(std::make_index_sequence<std::tuple_size_v<Observers>>{});
  }

  /// The seats as rule number `index` sees them, on top of what earlier rules arranged.
  template <class Index>
  [[nodiscard]] std::vector<Standing> stand(std::vector<Seat> const& seats, Index index,
                                            std::vector<Standing> const& earlier, bool found) {
    std::vector<Standing> standings;
    standings.reserve(seats.size());
    for (std::size_t i = 0; i < seats.size(); ++i) {
      auto const& seat = seats[i];
      auto const own = found ? seat.condition.found : seat.condition.health();
      standings.push_back({*seat.record, earlier.empty() ? seat.weight : earlier[i].weight,
                           earlier.empty() ? own : earlier[i].health, seat.record->admission(),
                           seat.condition.drained,
                           &std::get<Index::value>(seat.record->observer_states_)});
    }
    (void)index;
    return standings;
  }

  // -- small edits -----------------------------------------------------------------------------

  void seat_new(Draft& draft, Endpoint const& endpoint, Seat const* predecessor) {
    draft.fresh.push_back(std::make_unique<Record>(endpoint, this->shared_from_this(), make_));
    auto& record = *draft.fresh.back();
    Condition condition{};
    if (predecessor != nullptr) {
      record.inherit(*predecessor->record);
      condition = predecessor->condition;
    }
    draft.seats.push_back({&record, endpoint.weight, condition});
    draft.members_changed = true;
    note(draft, Event::Kind::added, draft.seats.back());
  }

  void set_weight(Draft& draft, Seat& seat, std::uint32_t weight) {
    if (seat.weight == weight) return;
    seat.weight = weight;
    draft.weights_changed = true;
    note(draft, Event::Kind::weight, seat);
  }

  void set_found(Draft& draft, Seat& seat, HealthState health) {
    auto const before = seat.condition.health();
    seat.condition.found = health;
    if (seat.condition.health() != before) note(draft, Event::Kind::health, seat);
  }

  static void store_admission(Record& record, Admission admission) noexcept {
    admission.max_in_flight = std::min(admission.max_in_flight, sync::InFlight::limit);
    if (admission != record.admission())
      record.admission_.store(std::bit_cast<std::uint64_t>(admission));
  }

  void note(Draft& draft, Event::Kind kind, Seat const& seat) {
    if constexpr (Watching::event)
      draft.events.push_back({kind, seat.record->id(), seat.condition.health(), seat.weight});
  }

  void note_removed(Draft& draft, std::vector<Seat> const& old) {
    std::vector<Record*> kept;
    kept.reserve(draft.seats.size());
    for (auto const& seat : draft.seats) kept.push_back(seat.record);
    std::sort(kept.begin(), kept.end());
    for (auto const& seat : old)
      if (!std::binary_search(kept.begin(), kept.end(), seat.record))
        note(draft, Event::Kind::removed, seat);
  }

  [[nodiscard]] std::size_t position_of(std::string_view id, char const* what) const {
    auto* record = membership_ ? membership_->find(id) : nullptr;
    if (record != nullptr) return record->position_.load();
    std::string known;
    constexpr std::size_t shown = 5;
    for (std::size_t i = 0; i < seats_.size() && i < shown; ++i)
      known += (i == 0 ? "" : ", ") + quoted(seats_[i].record->id());
    if (seats_.size() > shown) known += ", ...";
    throw ConfigError{std::string{what} + "(): there is no backend " + quoted(id) +
                      (seats_.empty() ? "; there are none at all" : "; there are " + known)};
  }

  static void check_some_weight(Draft const& draft) {
    for (auto const& seat : draft.seats)
      if (seat.weight != 0) return;
    throw ConfigError{no_weight(draft.seats[0].record->id())};
  }

  // -- how records end -------------------------------------------------------------------------

  /// Called by the last holder of a record (C1). Once dropped it may be gone at any moment.
  [[gnu::noinline, gnu::cold]] static void bury(Record* record) noexcept {
    auto const core = record->core;  // outlives the record
    if (!core->box_.drop(record)) delete record;
  }

  static void destroy(Record* list) noexcept {
    while (list != nullptr) delete std::exchange(list, list->next_dropped);
  }

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

  static constexpr std::size_t max_retired = 64;  // a storm without a cap piled up thousands

  // Read by every pick, written only at the start.
  sync::Published<Snapshot> current_;
  R runtime_;
  bool const own_lanes_;
  Chance chance_;

  // Under the lock.
  sync::Exclusive exclusive_;
  std::vector<Seat> seats_;
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
