// SPDX-License-Identifier: MIT
#pragma once

// How a balancer changes: every change takes the lock, edits a draft, builds the next snapshot from
// it (all that can throw happens here), and publishes.
//
// Invariants:
//   C3  A change that throws has published nothing and altered no record.
//   C4  User code never runs under the lock except plans and rules; a change from there, from a
//       payload factory or from inside a pick is refused with UpdateRefused.
//   C5  A request that completes waits for no change. It leaves a note. The thread that held the
//       lock serves the notes after each unlock.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <poise/backend.hpp>
#include <poise/changes.hpp>
#include <poise/endpoint.hpp>
#include <poise/engine/announcer.hpp>
#include <poise/engine/draft.hpp>
#include <poise/engine/endpoint_checks.hpp>
#include <poise/engine/observers.hpp>
#include <poise/engine/policy_link.hpp>
#include <poise/engine/record.hpp>
#include <poise/engine/rules.hpp>
#include <poise/engine/snapshot.hpp>
#include <poise/engine/snapshot_builder.hpp>
#include <poise/error.hpp>
#include <poise/handle.hpp>
#include <poise/observer.hpp>
#include <poise/policy.hpp>
#include <poise/stats.hpp>
#include <poise/sync/drop_box.hpp>
#include <poise/sync/epoch.hpp>
#include <poise/sync/exclusive.hpp>
#include <poise/sync/grace.hpp>
#include <poise/sync/relaxed.hpp>
#include <poise/sync/waiting_lot.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::detail {

/// The base of Core that owns what changes.
/// *Threads* any; changes wait for each other. *Errors* ConfigError, UpdateRefused; all or nothing.
template <class Core, class P, class Payload, class R>
class Writer : public std::enable_shared_from_this<Core> {
 public:
  using Observers = decltype(R::observers);
  using Observed = ObserverTraits<Observers>;
  using Maker = std::conditional_t<std::is_void_v<Payload>, std::nullptr_t, Factory<Payload>>;
  using Record = detail::Record<Core>;
  using Handle = BackendHandle<Core>;

  Writer(P policy, Maker make, Observers observers)
      : observers_{std::move(observers)},
        policy_{std::make_shared<P const>(std::move(policy))},
        make_{std::move(make)} {}
  Writer(Writer const&) = delete;
  Writer& operator=(Writer const&) = delete;

  /// Replaces the set; backends whose id stays keep statistics, health and, if nothing but the
  /// weight changed, their record.
  void update(std::vector<Endpoint> endpoints, bool may_be_empty) {
    if (endpoints.empty() && !may_be_empty)
      throw ConfigError{
          "update() with no endpoints would remove every backend; call clear() if that "
          "is meant"};
    check(endpoints);
    change_members(endpoints, endpoints.size(), [&](Draft& draft, auto const& take_record) {
      draft.update(endpoints, take_record, Observed::decides_health);
      draft.finish_edit(false);
    });
  }
  void add(Endpoint endpoint) {
    std::vector<Endpoint> one;
    one.push_back(std::move(endpoint));
    check(one, true);
    change_members(one, 0, [&](Draft& draft, auto const& take_record) {
      draft.add(one[0], take_record);
      draft.finish_edit(true);
    });
  }
  void remove(std::string_view id) {
    change([&](Draft& draft) {
      draft.remove(id);
      draft.finish_edit(false);
    });
  }
  void set_weight(std::string_view id, std::optional<std::uint32_t> weight) {
    change([&](Draft& draft) {
      draft.set_weight(id, weight);
      draft.finish_edit(true);
    });
  }
  void apply(Changes const& changes) {
    change_members(changes.endpoints_, changes.updated_,
                   [&](Draft& draft, auto const& take_record) {
                     for (auto const& step : changes.steps_)
                       take(draft, changes, step, take_record);
                     draft.finish_edit(changes.updated_ == 0);
                   });
  }
  void set_drained(std::string_view id, bool drained) {
    change([&](Draft& draft) { draft.set_drained(id, drained); });
  }
  void declare_health(std::string_view id, std::optional<HealthState> health) {
    change([&](Draft& draft) { draft.declare(id, health); });
  }
  void report_health(std::string_view id, HealthState health) {
    change([&](Draft& draft) { draft.report(id, health); });
  }
  void set_admission(std::string_view id, Admission admission) {
    change([&](Draft& draft) { draft.set_admission(id, admission); });
  }
  void set_policy(P policy) {
    auto fresh = std::make_shared<P>(std::move(policy));
    change([&](Draft& draft) {
      hooks::take_over(*fresh, *policy_);
      draft.set_policy(std::move(fresh));
    });
  }

  void replan() {
    change([](Draft& draft) { draft.replan(); });
  }

  /// Everything periodic: frees retired snapshots, lets the error rates of idle backends decay, and
  /// calls on_tick of policy and rules. All that the rules change is published once.
  void tick(Time now) {
    change([&](Draft& draft) {
      auto const elapsed = last_tick_ ? std::max(now - *last_tick_, Duration::zero()) : Duration{};
      last_tick_ = now;
      for (auto const& entry : draft.entries) entry.record->forget(elapsed);
      hooks::on_tick(*policy_, now);
      if constexpr (Observed::tick) rules().tick(draft, now);
    });
    observers_.notify_of_tick();
  }

  /// Waits for no change.
  [[nodiscard]] Stats stats() {
    refuse_reentry();
    auto const membership = current_membership().membership;
    auto stats = summary();
    if (!membership) return stats;
    stats.backends.reserve(membership->records.size());
    for (auto const* record : membership->records)
      stats.backends.push_back(BackendStats::of(*record));
    return stats;
  }
  /// The statistics without those of the backends, in O(1).
  [[nodiscard]] Stats summary() {
    return {.policy = name(),
            .retired_snapshots = retired_.load(),
            .stranded_snapshots = stranded_.load(),
            .ticks_missing = observers_.ticks_missing(),
            .observer_failures = link_.failures() + observers_.failures()};
  }

  /// The policy's name.
  [[nodiscard]] std::string name() {
    sync::ReadSection const section;
    auto const* snapshot = link_.current.load();
    return snapshot == nullptr ? std::string{} : hooks::name(*snapshot->policy);
  }

  /// The runtime's observers, as the balancer holds them.
  [[nodiscard]] auto& observers() noexcept { return observers_.all(); }
  [[nodiscard]] auto& box() noexcept { return box_; }

  /// What the queue has for the observers.
  void add_queue_news(std::list<Event>& news) noexcept { queue_news_.add(news); }
  /// Tells it, unless an observer could not use the balancer here: then the next change, tick or
  /// turn of the queue does.
  void tell_queue_news() noexcept {
    if constexpr (Observed::event)
      if (!sync::is_reading() && !exclusive_.held_by_this_thread() &&
          !making_.held_by_this_thread())
        queue_news_.tell([&](Event const& event) { observers_.notify_of_event(event); });
  }

  /// The end of the balancer: no more picks, and every record that no lease holds is destroyed.
  /// Waits for picks in progress on other threads (microseconds).
  void close() noexcept {
    {
      std::scoped_lock const lock{exclusive_};
      closed_ = true;
      link_.unlink();
      membership_.reset();
      link_.current.publish(nullptr);
    }
    // From inside a pick that pick's end can't be waited for: then the last snapshots are leaked.
    while (!collected_all() && !sync::is_reading())
      std::this_thread::sleep_for(std::chrono::microseconds{20});
    wake_queue();
    Record::destroy(box_.close());
  }

 protected:
  using Snapshot = detail::Snapshot<Record, P>;
  using Membership = detail::Membership<Record>;
  using Draft = detail::Draft<Record, P>;

  void report(Backend const& backend, HealthState health) noexcept {
    leave({.serial = backend.serial(),
           .position = static_cast<Record const&>(backend).position(),
           .health = health});
  }
  void review(Time now) noexcept { leave({.review = now}); }

  /// The current membership, to be used outside a read section.
  [[nodiscard]] auto current_membership() noexcept {
    struct {
      std::shared_ptr<Membership const> membership;
      std::uint32_t flags = 0;
    } current;
    sync::ReadSection const section;
    if (auto const* snapshot = link_.current.load(); snapshot != nullptr) {
      current.membership = snapshot->membership;
      current.flags = snapshot->flags;
    }
    return current;
  }

  // Read by every pick, written only by changes.
  PolicyLink<Record, P> link_;
  ObserverList<Observers> observers_;

 private:
  using Garbage = std::vector<std::unique_ptr<Snapshot const>>;

  /// A function of a draft without its type: change() is compiled once, not once per edit.
  class Edit {
   public:
    template <class Fn>
    Edit(Fn const& fn) noexcept  // NOLINT: implicit
        : fn_{&fn},
          call_{[](void const* edit, Draft& draft) { (*static_cast<Fn const*>(edit))(draft); }} {}
    void operator()(Draft& draft) const { call_(fn_, draft); }

   private:
    void const* fn_;
    void (*call_)(void const*, Draft&);
  };

  // -- changes -----------------------------------------------------------------------------------

  /// Runs `edit` on a draft and publishes it if that changed anything. All or nothing (C3).
  void change(Edit const& edit) {
    refuse_reentry();
    Finisher const finisher{*this};  // last, outside the lock
    std::unique_lock lock{exclusive_};
    wait_for_room(lock);
    change_locked(std::move(lock), edit);
  }

  /// Runs edit(draft, take_record), where take_record(endpoint) gives the record made for it.
  ///
  /// Records and their payloads are made before the lock is taken, so that nothing waits for
  /// factories. If the set changed meanwhile, the missing records are made as well.
  /// The first `updated` endpoints are a set, the others are added to it.
  template <class EditMembers>
  void change_members(std::vector<Endpoint> const& endpoints, std::size_t updated,
                      EditMembers const& edit) {
    Finisher const finisher{*this};  // runs after `known`, maybe a removed backend's last owner
    std::vector<std::unique_ptr<Record>> made(endpoints.size());
    for (bool complete = false; !complete;) {
      refuse_reentry();
      auto const known = current_membership().membership;
      make_missing(endpoints, updated, known.get(), made);
      complete = true;  // also if the balancer is closed
      change([&](Draft& draft) {
        complete = membership_ == known;
        if (complete)
          edit(draft, [&](Endpoint const& endpoint) {
            return std::move(made[static_cast<std::size_t>(&endpoint - endpoints.data())]);
          });
      });
    }
  }

  void make_missing(std::vector<Endpoint> const& endpoints, std::size_t updated,
                    Membership const* known, std::vector<std::unique_ptr<Record>>& made) {
    std::scoped_lock const lock{making_};  // factories run one at a time
    for (std::size_t i = 0; i < endpoints.size(); ++i) {
      auto const* kept = known == nullptr || i >= updated ? nullptr : known->find(endpoints[i].id);
      bool const missing = kept == nullptr || !same_identity(kept->endpoint(), endpoints[i]);
      if (missing && !made[i])
        made[i] = std::make_unique<Record>(endpoints[i], this->shared_from_this(), make_);
    }
  }

  /// One of several changes.
  template <class TakeRecord>
  static void take(Draft& draft, Changes const& changes, Changes::Step const& step,
                   TakeRecord const& take_record) {
    using Kind = Changes::Kind;
    switch (step.kind) {
      case Kind::weight: return draft.set_weight(step.id, step.weight);
      case Kind::drained: return draft.set_drained(step.id, step.drained);
      case Kind::declared: return draft.declare(step.id, step.health);
      case Kind::found: return draft.report(step.id, *step.health);
      case Kind::admission: return draft.set_admission(step.id, step.admission);
      case Kind::remove: return draft.remove(step.id);
      case Kind::add: return draft.add(changes.endpoints_[step.endpoint], take_record);
      case Kind::update:
        return draft.update(std::span{changes.endpoints_}.first(changes.updated_), take_record,
                            Observed::decides_health);
    }
  }

  /// *Requires* the lock, which is released before events are sent and snapshots destroyed.
  void change_locked(std::unique_lock<sync::Exclusive> lock, Edit const& edit) {
    std::optional<Draft> draft;  // outlives the lock: a failed change still owns the payloads it
    Garbage garbage;             // made
    std::vector<Handle> drained;
    {
      auto const held = std::move(lock);
      if (closed_) return;  // a request may complete after the balancer closed
      draft.emplace(membership_.get(), policy_, Observed::event);
      edit(*draft);
      if (draft->changed || link_.current.own() == nullptr) drained = publish(*draft);
      else keep_settings(*draft);
      garbage = collect();
    }
    garbage.clear();
    if constexpr (tells_payloads) tell_payloads();
    if constexpr (Observed::event) {
      observers_.notify_of_events(draft->events);
      watch(drained);
    }
  }

  // -- notes: changes that completed requests ask for ---------------------------------------------

  struct Note {
    std::uint64_t serial = 0;  // of the backend that is reported
    std::uint32_t position = 0;
    HealthState health = HealthState::healthy;
    std::optional<Time> review{};  // if set the note reports nothing, but calls the rules
  };

  /// A completed request never waits: if a change is in progress, the thread that makes it serves
  /// the note afterwards.
  void leave(Note const& note) noexcept {
    observers_.guarded([&] {
      if (sync::is_reading()) refuse_reentry();
      std::scoped_lock const lock{notes_mutex_};
      notes_.push_back(note);
    });
    serve_notes();
  }

  /// Called after every unlock, so that no note is left behind. It destroys no payload: the thread
  /// may be a request's.
  void serve_notes() noexcept {
    bool any = false;
    for (bool again = true; again;) {
      again = false;
      observers_.guarded([&] { again = serve_some_notes(); });
      any = any || again;
    }
    if (any) wake_queue();
  }

  /// A change may have made room for requests that wait.
  void wake_queue() noexcept { sync::WaitingLot::wake(&self()); }
  [[nodiscard]] Core& self() noexcept { return static_cast<Core&>(*this); }

  /// False if there are none, or if another thread holds the lock: that thread serves them.
  bool serve_some_notes() {
    if (sync::is_reading() || exclusive_.held_by_this_thread() || !has_notes()) return false;
    std::unique_lock lock{exclusive_, std::try_to_lock};
    if (!lock.owns_lock() || link_.current.waiting() >= max_retired) return false;
    if (closed_) {
      (void)take_notes();
      return false;
    }
    std::vector<Note> notes;
    bool reviewed = false;
    try {
      change_locked(std::move(lock), [&](Draft& draft) {
        notes = take_notes();
        for (auto const& note : notes) reviewed = apply(draft, note) || reviewed;
      });
    } catch (...) {
      put_back(notes);  // the next change tries again
      throw;
    }
    if (reviewed) observers_.notify_of_tick();
    return !notes.empty();
  }

  /// True if it called the rules.
  bool apply(Draft& draft, Note const& note) {
    if (note.review) {
      if constexpr (Observed::tick) rules().tick(draft, *note.review);
      return true;
    }
    auto const is_meant = [&](auto const& entry) { return entry.record->serial() == note.serial; };
    if (note.position < draft.entries.size() && is_meant(draft.entries[note.position]))
      draft.report(draft.entries[note.position], note.health);
    else if (auto const found = std::ranges::find_if(draft.entries, is_meant);
             found != draft.entries.end())
      draft.report(*found, note.health);
    return false;
  }

  [[nodiscard]] bool has_notes() noexcept {
    std::scoped_lock const lock{notes_mutex_};
    return !notes_.empty();
  }
  [[nodiscard]] std::vector<Note> take_notes() noexcept {
    std::scoped_lock const lock{notes_mutex_};
    return std::exchange(notes_, {});
  }
  /// Reports only: the next tick calls the rules anyway.
  void put_back(std::vector<Note>& notes) {
    std::erase_if(notes, [](Note const& note) { return note.review.has_value(); });
    std::scoped_lock const lock{notes_mutex_};
    notes.insert(notes.end(), notes_.begin(), notes_.end());
    notes_.swap(notes);
  }

  // -- publishing ---------------------------------------------------------------------------------

  /// Builds the next snapshot and, when nothing can fail any more, makes it the current one.
  /// Returns the backends that were drained, if observers take events.
  std::vector<Handle> publish(Draft& draft) {
    auto membership = membership_;
    if (draft.members_changed || !membership) membership = draft.make_membership();
    auto const views = rules().arrange(draft);
    SnapshotBuilder<Record, P> const builder{draft, views, link_.current.own(), generation_};
    auto snapshot = builder.build(membership);
    link_.current.prepare();
    auto news = payload_news(draft, membership);
    auto drained = newly_drained(draft);

    // Nothing below throws.
    for (std::uint32_t position = 0; position < draft.entries.size(); ++position)
      draft.entries[position].record->decide(position, draft.entries[position]);
    for (auto* record : draft.drained_and_removed) record->note_drained();
    if (draft.members_changed) note_removals(draft);
    if constexpr (hooks::has_on_finish<P>) link_.link(draft, *snapshot, membership_.get());
    keep_settings(draft);  // before picks see what became eligible
    generation_ = builder.generation();
    policy_ = std::move(draft.policy);
    membership_ = std::move(membership);
    link_.current.publish(std::move(snapshot));
    if constexpr (tells_payloads) payload_news_.add(news);
    return drained;
  }

  [[nodiscard]] static bool was_removed(Draft const& draft, Record const& record) noexcept {
    auto const position = record.position();
    return position >= draft.entries.size() || draft.entries[position].record != &record;
  }
  /// *Requires* that the records of the draft know their positions in it.
  void note_removals(Draft const& draft) noexcept {
    if (!membership_) return;
    for (auto* record : membership_->records)
      if (was_removed(draft, *record)) record->note_removal();
  }

  // -- events of payloads -------------------------------------------------------------------------

  static constexpr bool tells_payloads = hears_events<Payload>();

  /// Of one change. The memberships keep the records alive.
  struct PayloadNews {
    std::shared_ptr<Membership const> before;
    std::shared_ptr<Membership const> after;
    std::vector<std::pair<Record*, BackendEvent>> events{};
  };

  [[nodiscard]] std::list<PayloadNews> payload_news(
      Draft const& draft, std::shared_ptr<Membership const> const& membership) const {
    std::list<PayloadNews> news;
    if constexpr (tells_payloads) {
      PayloadNews one{membership_, membership};
      if (draft.members_changed && membership_) add_removals(*membership, one);
      for (auto const& entry : draft.entries) add_flips(entry, one);
      if (!one.events.empty()) news.push_back(std::move(one));
    }
    return news;
  }
  void add_removals(Membership const& after, PayloadNews& news) const {
    for (auto* record : membership_->records)
      if (after.position_of(*record) == IdIndex::absent)
        news.events.emplace_back(record, BackendEvent::removed);
  }
  static void add_flips(typename Draft::DraftEntry const& entry, PayloadNews& news) {
    auto const is = entry.condition;
    auto const was = entry.record->condition();
    bool const out = is.health() == HealthState::unhealthy;
    if (out != (was.health() == HealthState::unhealthy))
      news.events.emplace_back(entry.record,
                               out ? BackendEvent::ejected : BackendEvent::readmitted);
    if (is.drained != was.drained)
      news.events.emplace_back(entry.record,
                               is.drained ? BackendEvent::drained : BackendEvent::undrained);
  }

  /// In the order of changes.
  void tell_payloads() noexcept {
    if constexpr (tells_payloads)
      payload_news_.tell([&](PayloadNews const& news) {
        for (auto const& each : news.events)
          observers_.guarded([&] { tell_payload<Payload>(*each.first, each.second); });
      });
  }

  // -- what the queue finds (engine/waiting.hpp) --------------------------------------------------

  /// *Requires* the lock, and a membership of the fresh records.
  [[nodiscard]] static std::vector<Handle> newly_drained(Draft const& draft) {
    std::vector<Handle> drained;
    if constexpr (Observed::event) {
      for (auto* record : draft.drained_and_removed) drained.emplace_back(*record);
      for (auto const& entry : draft.entries)
        if (entry.drained_here) drained.emplace_back(*entry.record);
    }
    return drained;
  }
  /// Has the observers told when these backends, which were drained, are empty.
  void watch(std::vector<Handle>& drained) noexcept {
    if (drained.empty()) return;
    sync::wait_for_readers();  // a pick that began before the drain may still bring a request
    for (auto& each : drained)
      observers_.guarded([&] { self().room().tell_when_empty(std::move(each)); });
  }

  /// What takes effect without a new snapshot: admissions, and where weights come from.
  static void keep_settings(Draft const& draft) noexcept {
    for (auto const& entry : draft.entries) {
      entry.record->note_weights(entry.endpoint_weight, entry.weight_is_set);
      if (!entry.admission) continue;
      entry.record->declare_admission(*entry.admission);
      if (entry.operator_admits) entry.record->note_admission_set();
    }
    for (std::size_t i = 0; i < draft.admissions.size(); ++i)
      draft.entries[i].record->set_admission(draft.admissions[i].admission,
                                             draft.admissions[i].max_on_trial);
  }

  [[nodiscard]] Rules<Record, Observers> rules() {
    return Rules<Record, Observers>{observers_.all()};
  }

  /// Serves notes and destroys what the drop box holds, wherever a change ends.
  struct Finisher {
    Writer& writer;
    explicit Finisher(Writer& owner) noexcept : writer{owner} {}
    Finisher(Finisher const&) = delete;
    Finisher& operator=(Finisher const&) = delete;
    ~Finisher() {
      writer.serve_notes();
      writer.wake_queue();
      writer.tell_queue_news();
      Record::destroy(writer.box_.take());
    }
  };

  void refuse_reentry() const {
    if (sync::is_reading())
      throw UpdateRefused{
          "a balancer can't be changed from inside a pick (a policy's hook, a filter): "
          "do it after the pick returned"};
    if (exclusive_.held_by_this_thread() || making_.held_by_this_thread())
      throw UpdateRefused{
          "a balancer can't be changed from inside its own change (a payload factory, "
          "a plan, a rule's on_tick or arrange): do it after the change returned"};
  }

  /// Bounds the number of retired snapshots. Waits without the lock, for a preempted reader at
  /// worst.
  void wait_for_room(std::unique_lock<sync::Exclusive>& lock) {
    while (!closed_ && link_.current.waiting() >= max_retired) {
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

  [[nodiscard]] bool collected_all() noexcept {
    Garbage garbage;  // destroyed after the lock is released
    std::scoped_lock const lock{exclusive_};
    garbage = collect();
    return link_.current.waiting() == 0;
  }

  /// The snapshots that no pick reads any more. Empty if memory is short: the next change tries
  /// again.
  [[nodiscard]] Garbage collect() noexcept {
    try {
      auto garbage = link_.current.collect();
      retired_.store(link_.current.waiting());
      stranded_.store(link_.current.stranded());
      return garbage;
    } catch (std::bad_alloc const&) {
      return {};
    }
  }

  static constexpr std::size_t max_retired = 64;  // a storm without a cap piled up thousands

  // Under the lock.
  sync::Exclusive exclusive_;
  bool closed_ = false;
  std::shared_ptr<P const> policy_;
  std::shared_ptr<Membership const> membership_;
  std::uint64_t generation_ = 0;
  std::optional<Time> last_tick_;

  sync::Exclusive making_;  // never taken under the other lock
  Maker make_;

  std::mutex notes_mutex_;  // taken under the others, and for a moment only
  std::vector<Note> notes_;
  Announcer<PayloadNews> payload_news_;
  Announcer<Event> queue_news_;

  sync::DropBox<Record> box_;
  sync::Relaxed<std::size_t> retired_{0};
  sync::Relaxed<std::size_t> stranded_{0};
};

}  // namespace poise::inline v0_1_0::detail
