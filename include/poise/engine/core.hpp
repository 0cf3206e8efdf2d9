// SPDX-License-Identifier: MIT
#pragma once

// The engine behind Balancer: picks, and how requests are completed.
//
// Reading and changing are two halves. A pick reads one immutable Snapshot (rosters, plan, policy)
// inside a read section and claims a record with one atomic add. A change (engine/writer.hpp)
// publishes the next snapshot.
//
//   engine/record            a backend and its lifetime                 (invariants C1, C2)
//   engine/snapshot          what picks see
//   policy/pick_info         what a lease carries from its pick to its end
//   policy/claim             claims a policy's first proposal
//   engine/select            from a snapshot to a claimed record
//   engine/policy_link       from a completed request to the policy
//   engine/observers         the calls of observers
//   engine/warnings          wrong use, told once
//   engine/waiting           requests that wait for room                (invariants Q1 to Q5)
//   engine/blocking_wait     a thread that waits
//   engine/announcer         news for observers, in order
//   engine/writer            the lock, and every change                 (invariants C3, C4)
//   engine/draft             a change before it is published
//   engine/rules             where rules see and change a draft
//   engine/snapshot_builder  from a draft to the next snapshot

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <poise/backend.hpp>
#include <poise/call.hpp>
#include <poise/engine/blocking_wait.hpp>
#include <poise/engine/record.hpp>
#include <poise/engine/select.hpp>
#include <poise/engine/snapshot.hpp>
#include <poise/engine/waiting.hpp>
#include <poise/engine/warnings.hpp>
#include <poise/engine/writer.hpp>
#include <poise/error.hpp>
#include <poise/handle.hpp>
#include <poise/lease.hpp>
#include <poise/observer.hpp>
#include <poise/policy.hpp>
#include <poise/policy/pick_info.hpp>
#include <poise/policy/sampled_pick.hpp>
#include <poise/random.hpp>
#include <poise/rehearsed.hpp>
#include <poise/request.hpp>
#include <poise/stats.hpp>
#include <poise/sync/epoch.hpp>
#include <poise/sync/grace.hpp>
#include <poise/sync/relaxed.hpp>
#include <poise/sync/stop.hpp>

namespace poise::inline v0_1_0::detail {

template <class P, class Payload, class R>
class Core : public Writer<Core<P, Payload, R>, P, Payload, R> {
  using Base = Writer<Core, P, Payload, R>;

 public:
  using PayloadType = Payload;
  using Record = detail::Record<Core>;
  using Lease = poise::Lease<Core>;
  using Handle = BackendHandle<Core>;
  using typename Base::Observed;

  Core(P policy, typename Base::Maker make, R runtime)
      : Base{std::move(policy), std::move(make), std::move(runtime.observers)},
        clock_{std::move(runtime.clock)},
        own_lanes_{!runtime.seed.has_value()},
        chance_{runtime.seed ? *runtime.seed : fresh_seed(), &mix} {
    sync::start();
  }

  // -- waiting (engine/waiting.hpp) --------------------------------------------------------------

  using MembershipType = typename Base::Membership;

  [[nodiscard]] WaitingRoom<Core>& room() noexcept { return room_; }
  /// The room, which keeps the core alive.
  [[nodiscard]] std::shared_ptr<sync::Queue> queue() { return {this->shared_from_this(), &room_}; }
  [[nodiscard]] std::shared_ptr<MembershipType const> membership() noexcept {
    return this->current_membership().membership;
  }
  [[nodiscard]] bool all_at_limits() noexcept {
    sync::ReadSection const section;
    auto const* snapshot = this->link_.current.load();
    return snapshot != nullptr && Selector::all_at_limits(*snapshot);
  }
  [[nodiscard]] static Record& record_of(Handle const& backend) noexcept {
    return static_cast<Record&>(*backend);
  }
  /// A pick that waits at most so long for room. *Requires* that the caller keeps the core.
  [[nodiscard]] Lease pick_for(Request const& request, Duration timeout) {
    auto lease = pick_unless_queued(request);
    if (!lease && is_worth_waiting(lease.error()))
      lease = BlockingWait<Core>::pick(this->shared_from_this(), request, timeout, lease.error());
    notify_of_pick(request, lease);
    return lease;
  }
  /// Without a queue in front of it: the lease, or why there is none.
  [[nodiscard]] Lease pick_unless_queued(Request const& request) {
    return room_.is_empty() ? find_and_note(request) : Lease{why_not(request)};
  }
  [[nodiscard]] static bool is_worth_waiting(Error const& error) noexcept {
    return error.refused != 0;
  }
  void notify_of_pick(Request const& request, Lease const& lease) noexcept {
    if constexpr (Observed::pick || Observed::refused)
      this->observers_.notify_of_pick(request, lease);
  }
  /// Drains a backend for good: afterwards no pick that began before brings a request to it.
  [[nodiscard]] Handle drain_for_good(std::string_view id) {
    this->set_drained(id, true);
    sync::wait_for_readers();
    return find_backend(id);
  }
  [[nodiscard]] bool drain_and_wait(std::string_view id, Duration timeout) {
    auto backend = drain_for_good(id);
    return !backend ||
           BlockingWait<Core>::until_empty(this->shared_from_this(), std::move(backend), timeout);
  }

  // -- picking ---------------------------------------------------------------------------------

  [[nodiscard, gnu::always_inline]] Lease pick(Request const& request) {
    if constexpr (!Observed::pick && !Observed::refused && !Observed::event) {
      return find(request);
    } else {
      auto lease = find_and_note(request);
      notify_of_pick(request, lease);
      return lease;
    }
  }

  /// At most `count` distinct backends of one snapshot; if there are none, `error` says why.
  [[nodiscard]] std::vector<Lease> pick_many(std::size_t count, Request request, Error& error) {
    std::vector<std::uint64_t> excluded{request.excluded.begin(), request.excluded.end()};
    return collect_leases(
        request, error, [&](Snapshot const& snapshot, Time now, auto lane, auto const& keep) {
          while (count-- != 0) {
            request.excluded = excluded;
            Context context{request, chance_, lane};
            context.now = now;
            auto const& group = Selector::group(snapshot, request, context.random);
            if (group.roster.eligible == 0) return;
            auto const found = Selector::any(snapshot, group, context, false);
            if (found.claimed == nullptr) return;
            keep(static_cast<Record&>(*found.claimed), found.path_and_rest);
            excluded.push_back(found.claimed->serial());  // last: it may throw
          }
        });
  }
  /// Every backend that takes the request now.
  [[nodiscard]] std::vector<Lease> pick_all(Request const& request, Error& error) {
    return collect_leases(request, error,
                          [&](Snapshot const& snapshot, Time now, auto lane, auto const& keep) {
                            Context context{request, chance_, lane};
                            context.now = now;
                            Selector::claim_all(snapshot, context, keep);
                          });
  }

  /// What pick() would do now. Changes nothing.
  [[nodiscard]] Rehearsed rehearse(Request const& request) {
    Rehearsed result;
    auto& rehearsal = result.rehearsal;
    sync::ReadSection const section;
    auto const* snapshot = this->link_.current.load();
    if (snapshot == nullptr) {
      result.error = {.reason = PickError::closed};
      return result;
    }
    result.members_ = snapshot->membership;
    for (auto* record : snapshot->membership->records) {
      rehearsal.list(*record);
      result.backends.push_back(record);
    }
    auto const lane = sync::lane_of(section.thread_index(), own_lanes_);
    Context context{request, rehearsal.copy_of(chance_, lane), lane};
    if (timed(snapshot->flags)) context.now = clock_.now();
    context.rehearse(rehearsal, rehearsal);
    auto const found = Selector::pick_traced(*snapshot, context);
    result.winner = found.claimed;
    if (found.claimed == nullptr) {
      result.error = Selector::explain_failure(*snapshot, request, context.suggested_retry());
    } else {
      result.scanned = (low_half(found.path_and_rest) & Run::scanned) != 0;
      result.last_resort = Selector::is_last_resort(*snapshot, *found.claimed);
    }
    result.keyed = hooks::traits(*snapshot->policy).keyed && !request.key().empty();
    return result;
  }

  /// The fraction of all keys that each backend gets now, by id; empty if the policy has no keys.
  /// *Cost* a walk through its whole table.
  [[nodiscard]] std::vector<std::pair<std::string, double>> key_shares() {
    std::vector<std::pair<std::string, double>> result;
    sync::ReadSection const section;
    auto const* snapshot = this->link_.current.load();
    if (snapshot == nullptr || !snapshot->healthy.plan) return result;
    auto const& group = snapshot->healthy;
    auto const shares = hooks::shares(*snapshot->policy, *group.plan, Candidates{group.roster});
    for (std::size_t position = 0; position < shares.size(); ++position)
      result.emplace_back(snapshot->membership->records[position]->id(), shares[position]);
    return result;
  }

  /// Completes a request; a negative latency is one that the caller did not measure.
  [[gnu::always_inline]] static void finish(Record& record, Run run, Outcome outcome,
                                            Duration latency) noexcept {
    if constexpr (!timed_by_flag)
      return record.owner().template end<true>(record, run, outcome, latency);
    if (run.is(Run::timed | Run::heard)) return finish_on_slow_path(record, run, outcome, latency);
    record.owner().template end<false>(record, run, outcome, latency);
  }

  /// Counts a request that was not picked here. Policy and observers are notified as of any other.
  bool record(std::string_view id, Outcome outcome, Duration latency) noexcept {
    // The membership keeps the record alive outside the section, where observers may use the
    // balancer.
    auto const [membership, flags] = this->current_membership();
    auto* record = membership == nullptr ? nullptr : membership->find(id);
    if (record == nullptr) return false;
    auto const now = timed(flags) ? clock_.now() : Time{};
    // The result is counted before the request, as in finish. In the other order, a read between
    // the two counts would take the request for a success.
    record->count(outcome, latency);
    record->count_recorded();
    if constexpr (hooks::has_on_finish<P>)
      if ((flags & Run::heard) != 0)
        this->link_.notify(*record, Run{Time{}, Path{}, Run::scanned}, outcome, latency, now);
    if constexpr (Observed::finish)
      this->observers_.notify_of_finish(*record, outcome, latency, now, std::nullopt, reporter());
    return true;
  }

  /// What a backend said about its load.
  static void report_load(Record& record, LoadReport const& report) noexcept {
    static_assert(Observed::load_report,
                  "no observer of this balancer takes load reports: list one in its Runtime, such "
                  "as poise::WeightedByReports");
    record.owner().observers_.notify_of_load_report(record, report);
  }
  bool report_load(std::string_view id, LoadReport const& report) noexcept {
    // As record().
    auto const membership = this->current_membership().membership;
    auto* record = membership == nullptr ? nullptr : membership->find(id);
    if (record == nullptr) return false;
    report_load(*record, report);
    return true;
  }

  /// As Writer's; what was found wrong since is told, too.
  void tick(Time now) {
    Base::tick(now);
    if constexpr (Observed::event) tell(find_warnings());
  }

  /// As Writer's, with warnings.
  [[nodiscard]] Stats stats() {
    auto stats = Base::stats();
    auto const warnings = find_warnings();
    for (auto const& each : warnings) stats.warnings.push_back(each.text);
    if constexpr (Observed::event) tell(warnings);
    return stats;
  }

  void set_warning(std::string about, std::string text) {
    standing_warnings_.set(std::move(about), std::move(text));
  }

  // -- calls (engine/call.hpp) -------------------------------------------------------------------

  [[nodiscard]] CallTimeouts timeouts(Request const& request) {
    if constexpr (hooks::has_decide<P>)
      if (!called_.load()) called_.store(true);
    if constexpr (hooks::has_timeouts<P>) {
      sync::ReadSection const section;
      if (auto const* snapshot = this->link_.current.load(); snapshot != nullptr)
        return hooks::timeouts(*snapshot->policy, request);
    }
    return {};
  }

  /// Decides on another attempt. The request excludes the backends that were tried. No retry if
  /// there are no backends at all: no pause would change that.
  [[nodiscard]] Decision decide(Request const& request, Outcome outcome, Time now, bool running) {
    if constexpr (hooks::has_decide<P>) {
      sync::ReadSection const section;
      auto const* snapshot = this->link_.current.load();
      if (snapshot == nullptr || snapshot->membership->records.empty())
        return {.why = StopReason::no_backend};
      Rng random{chance_, sync::lane_of(section.thread_index(), own_lanes_)};
      return hooks::decide(*snapshot->policy, Attempt{request, outcome, now, random(), running,
                                                      !Selector::has_untried(*snapshot, request)});
    }
    return {};
  }

  /// Ends early on a stop request if the clock's sleep takes a stop token.
  void sleep(Duration time, sync::StopToken const& stop) {
    if (time <= Duration::zero()) return;
    if constexpr (requires { clock_.sleep(time, stop); }) clock_.sleep(time, stop);
    else clock_.sleep(time);
  }

  void notify_of_call(Called const& called) noexcept { this->observers_.notify_of_call(called); }

  /// Empty if there is no such backend.
  [[nodiscard]] Handle find_backend(std::string_view id) noexcept {
    sync::ReadSection const section;
    auto const* snapshot = this->link_.current.load();
    auto* record = snapshot == nullptr ? nullptr : snapshot->membership->find(id);
    return record == nullptr ? Handle{} : Handle{*record};
  }

  template <class Fn>
  void for_each(Fn& fn) {
    auto const membership = this->current_membership().membership;
    if (!membership) return;
    for (auto* record : membership->records) fn(static_cast<BackendWith<Payload>&>(*record));
  }

  /// What keeps a backend alive without a request in flight; null if it was removed.
  [[nodiscard]] std::shared_ptr<void const> owner_of(Backend const& backend) {
    auto current = this->current_membership().membership;
    if (!current || current->position_of(static_cast<Record const&>(backend)) == IdIndex::absent)
      return nullptr;
    return current;
  }

  [[nodiscard]] Time now() const { return clock_.now(); }

 private:
  using Snapshot = detail::Snapshot<Record, P>;
  using Group = detail::Group<P>;
  using Selector = detail::Selector<Record, P>;

  // -- how requests begin ----------------------------------------------------------------------

  static constexpr bool always_timed =
      Observed::time || hooks::time_use<P> == hooks::UsesTime::always;
  static constexpr bool never_timed =
      !Observed::time && hooks::time_use<P> == hooks::UsesTime::never;

  /// True if only the running program knows whether requests are timed.
  static constexpr bool timed_by_flag = !always_timed && !never_timed;

  /// A constant where the types decide; otherwise the flag decides.
  static constexpr bool timed(std::uint32_t flags) noexcept {
    return always_timed || (!never_timed && (flags & Run::timed) != 0);
  }

  /// Runs claim(snapshot, now, keep) in a read section; keep(record, path and flags) takes what was
  /// claimed.
  template <class Claim>
  [[nodiscard]] std::vector<Lease> collect_leases(Request const& request, Error& error,
                                                  Claim const& claim) {
    std::vector<Lease> leases;
    {
      sync::ReadSection const section;
      auto const* snapshot = this->link_.current.load();
      if (snapshot == nullptr) {
        error = {.reason = PickError::closed};
      } else {
        auto const now = timed(snapshot->flags) ? clock_.now() : Time{};
        auto const lane = sync::lane_of(section.thread_index(), own_lanes_);
        claim(*snapshot, now, lane, [&](Record& record, std::uint64_t path_and_flags) {
          leases.push_back(Lease{record, Run{now, path_and_flags | snapshot->flags}});
        });
        if (leases.empty()) error = Selector::explain_failure(*snapshot, request);
      }
    }
    if constexpr (Observed::event)
      if (leases.empty()) room_.note_failure();
    if constexpr (Observed::pick || Observed::refused) {
      for (auto const& lease : leases) this->observers_.notify_of_pick(request, lease);
      if (leases.empty()) this->observers_.notify_of_pick(request, Lease{error});
    }
    return leases;
  }

  /// Why a request finds no backend while others wait in front of it.
  [[nodiscard, gnu::noinline, gnu::cold]] Error why_not(Request const& request) noexcept {
    sync::ReadSection const section;
    auto const* snapshot = this->link_.current.load();
    if (snapshot == nullptr) return {.reason = PickError::closed};
    return Selector::explain_failure(*snapshot, request);
  }

  friend class WaitingRoom<Core>;

  /// find(), for observers that are told when all backends are full.
  [[nodiscard, gnu::always_inline]] Lease find_and_note(Request const& request) {
    auto lease = find(request);
    if constexpr (Observed::event)
      if (!lease) [[unlikely]]
        room_.note_failure();
    return lease;
  }

  /// The usual case, all of it inline: one proposal, which is accepted. Context and lease never
  /// leave the registers: the next atomic operation would wait for a store in the store buffer. The
  /// rare cases are called with few arguments and work out the others again.
  /// On failure `room_after` is when the policy has room again, if it knows.
  [[nodiscard, gnu::always_inline]] Lease find(Request const& request,
                                               Duration* room_after = nullptr) {
    if constexpr (Observed::samples)
      if (this->observers_.wants_pick()) [[unlikely]]
        return find_and_record(request, room_after);
    sync::ReadSection const section;
    auto const* snapshot = this->link_.current.load();
    if (snapshot == nullptr) [[unlikely]]
      return Lease{Error{.reason = PickError::closed}};
    auto const lane = sync::lane_of(section.thread_index(), own_lanes_);
    Time now{};
    if (timed(snapshot->flags)) now = clock_.now();
    look_for_key(*snapshot, request);

    Proposal first{nullptr, not_asked};
    if (Selector::begins_fast(*snapshot, request)) [[likely]] {
      first = Selector::first(*snapshot, snapshot->healthy, request, chance_, lane, now);
      if (first.claimed != nullptr) [[likely]]
        return Lease{static_cast<Record&>(*first.claimed),
                     Run{now, first.path_and_rest | snapshot->flags}};
    }
    auto const found = find_on_slow_path(request, *snapshot, now, first.path_and_rest);
    if (found.claimed == nullptr) {
      Duration const retry_after{static_cast<Duration::rep>(found.path_and_rest)};
      if (room_after != nullptr) *room_after = retry_after;
      return Lease{Selector::explain_failure(*snapshot, request, retry_after)};
    }
    return Lease{static_cast<Record&>(*found.claimed),
                 Run{now, found.path_and_rest | snapshot->flags}};
  }

  [[gnu::always_inline]] void look_for_key(Snapshot const& snapshot, Request const& request) {
    if ((snapshot.flags & Run::keyed) != 0)
      if (!key_seen_.load() && !request.key().empty()) [[unlikely]]
        key_seen_.store(true);
  }

  /// find(), by the same steps, with a record of them.
  [[gnu::noinline, gnu::cold]] Lease find_and_record(Request const& request, Duration* room_after) {
    PickRecorder recorder;
    auto lease = find_traced(request, room_after, recorder);
    this->observers_.notify_of_sample(recorder.pick());
    return lease;
  }
  [[nodiscard]] Lease find_traced(Request const& request, Duration* room_after,
                                  PickRecorder& recorder) {
    sync::ReadSection const section;
    auto const lane = sync::lane_of(section.thread_index(), own_lanes_);
    auto const now = clock_.now();
    recorder.begin(request, now, chance_.position(lane));
    auto const* snapshot = this->link_.current.load();
    if (snapshot == nullptr) {
      recorder.end_with(PickError::closed);
      return Lease{Error{.reason = PickError::closed}};
    }
    look_for_key(*snapshot, request);
    Context context{request, chance_, lane};
    if (timed(snapshot->flags)) context.now = now;
    context.listen(recorder);
    auto const found = Selector::pick_traced(*snapshot, context);
    recorder.end_draws(chance_.position(lane));
    if (found.claimed == nullptr) {
      if (room_after != nullptr) *room_after = context.suggested_retry();
      auto const error = Selector::explain_failure(*snapshot, request, context.suggested_retry());
      recorder.end_with(error.reason);
      return Lease{error};
    }
    recorder.end_with(*found.claimed, (low_half(found.path_and_rest) & Run::scanned) != 0);
    return Lease{static_cast<Record&>(*found.claimed),
                 Run{context.now, found.path_and_rest | snapshot->flags}};
  }

  /// If it claims nothing, path_and_rest says when to come back, as Context::suggested_retry().
  [[gnu::noinline]] Proposal find_on_slow_path(Request const& request, Snapshot const& snapshot,
                                               Time now, std::uint64_t path_and_first) {
    sync::ReadSection const section;
    Context context{request, chance_, sync::lane_of(section.thread_index(), own_lanes_)};
    context.now = now;
    Proposal found{};
    if (path_and_first == not_asked) {
      auto const& group = Selector::group(snapshot, request, context.random);
      if (group.roster.eligible != 0) found = Selector::any(snapshot, group, context);
    } else {
      context.path = Path{high_half(path_and_first)};
      found = Selector::next(snapshot, snapshot.healthy, context, low_half(path_and_first));
    }
    if (found.claimed == nullptr)
      found.path_and_rest = static_cast<std::uint64_t>(context.suggested_retry().count());
    return found;
  }

  // -- how requests end ------------------------------------------------------------------------

  /// Not inline, so that the fast path has more registers.
  [[gnu::noinline]] static void finish_on_slow_path(Record& record, Run run, Outcome outcome,
                                                    Duration latency) noexcept {
    record.owner().template end<true>(record, run, outcome, latency);
  }

  /// Without `InFull` no latency is measured, and the policy's on_finish is not called.
  template <bool InFull>
  [[gnu::always_inline]] void end(Record& record, Run run, Outcome outcome,
                                  Duration latency) noexcept {
    Time now{};
    if (InFull && timed(run.flags())) {
      now = clock_.now();
      // Negative if the clock jumped back; then it counts as unmeasured.
      if (latency < Duration::zero()) latency = now - run.start;
    }
    if (outcome.result == Result::abandoned) latency = unmeasured;
    record.count(outcome, latency);
    if constexpr (InFull && hooks::has_on_finish<P>)
      if (run.is(Run::heard)) this->link_.notify(record, run, outcome, latency, now);
    if constexpr (Observed::finish)
      this->observers_.notify_of_finish(record, outcome, latency, now, run.start, reporter());
    record.release();
  }

  [[nodiscard, gnu::always_inline]] Reporter reporter() noexcept {
    return {this, &Core::report_to, &Core::review_at};
  }
  static void report_to(void* core, Backend const& backend, HealthState health) noexcept {
    static_cast<Core*>(core)->report(backend, health);
  }
  static void review_at(void* core, Time now) noexcept { static_cast<Core*>(core)->review(now); }

  // -- wrong use ---------------------------------------------------------------------------------

  [[nodiscard]] std::vector<Warning> find_warnings() {
    std::vector<Warning> warnings;
    if (this->observers_.ticks_missing())
      warnings.push_back({"ticks",
                          "the health monitor gets no ticks: call tick() once a second, or use a "
                          "poise::Ticker"});
    standing_warnings_.add_to(warnings);
    auto const membership = this->current_membership().membership;
    if (!membership) return warnings;
    if constexpr (Observed::warning)
      for (auto* record : membership->records)
        this->observers_.add_warnings(*record, clock_.now(), warnings);
    if (never_retries()) warn_of_all_picks(*membership, warnings, &retries_in_call_only);
    if (never_saw_a_key()) warn_of_all_picks(*membership, warnings, &keys_are_missing);
    return warnings;
  }
  [[nodiscard]] bool never_retries() {
    if constexpr (hooks::has_decide<P>)
      return !called_.load() && this->name().find("retry(") != std::string::npos;
    return false;
  }
  [[nodiscard]] bool never_saw_a_key() const { return !key_seen_.load() && looks_at_keys(); }

  /// Unless there were too few picks to tell: a program's warm-up, a test.
  void warn_of_all_picks(MembershipType const& membership, std::vector<Warning>& warnings,
                         Warning (*warning)(std::string const&, std::uint64_t)) {
    constexpr std::uint64_t few = 1000;
    std::uint64_t picks = 0;
    for (auto const* record : membership.records) picks += record->counts().total;
    if (picks >= few) warnings.push_back(warning(this->name(), picks));
  }

  void tell(std::vector<Warning> const& warnings) {
    auto news = told_warnings_.news_of(warnings);
    this->add_queue_news(news);
    this->tell_queue_news();
  }

  [[nodiscard]] bool looks_at_keys() const {
    sync::ReadSection const section;
    auto const* snapshot = this->link_.current.load();
    return snapshot != nullptr && (snapshot->flags & Run::keyed) != 0;
  }

  static constexpr auto not_asked = Proposal::none - 1;  // in the place of a proposed index

  decltype(R::clock) clock_;
  bool const own_lanes_;
  sync::Relaxed<bool> called_{false};    // call() was used
  sync::Relaxed<bool> key_seen_{false};  // a policy that looks at keys was given one
  RandomSource chance_;
  WaitingRoom<Core> room_{*this};
  StandingWarnings standing_warnings_{};
  [[no_unique_address]] std::conditional_t<Observed::event, ToldWarnings, TellsNoWarnings>
      told_warnings_{};
};

}  // namespace poise::inline v0_1_0::detail
