// SPDX-License-Identifier: MIT
#pragma once

// A backend as its balancer holds it: the public Backend, and its lifetime.
//
// Invariants:
//   C1  A record lives while a membership lists it (pinned) or a lease holds it (in flight). The
//       last holder puts it into the core's drop box. A change, a tick or close() destroys it,
//       outside the lock.
//   C2  A record holds the core, so leases outlive the balancer; Core::close() breaks the cycle.

#include <algorithm>
#include <bit>
#include <cstdint>
#include <memory>
#include <utility>

#include <poise/backend.hpp>
#include <poise/sync/in_flight.hpp>
#include <poise/sync/relaxed.hpp>
#include <poise/sync/waiting_lot.hpp>

namespace poise::inline v0_1_0::detail {

inline std::uint64_t next_serial() noexcept {
  static constinit sync::Relaxed<std::uint64_t> serial{1};
  return serial.add(1);
}

template <class Core>
class Record final : public BackendWith<typename Core::PayloadType> {
 public:
  template <class Make>
  Record(Endpoint const& endpoint, std::shared_ptr<Core> owner, Make const& make)
      : BackendWith<typename Core::PayloadType>{endpoint, next_serial(), make} {
    this->owner_ = std::move(owner);
  }
  ~Record() = default;

  // -- requests ----------------------------------------------------------------------------------

  /// Counts a request out (policy/claim.hpp counts it in). The record may be destroyed by now when
  /// this returns.
  [[gnu::always_inline]] void release() noexcept {
    auto const* const key = this->owner_.get();  // read before: the record may be gone after
    if (auto const end = this->word_.release(); end != sync::InFlight::End::none) [[unlikely]]
      after_release(*this, key, end);
  }
  using Backend::count;
  void count_recorded() noexcept { this->recorded_.add(1); }

  [[nodiscard, gnu::always_inline]] Core& owner() const noexcept {
    return *static_cast<Core*>(this->owner_.get());
  }
  /// The owner kept alive (C2).
  [[nodiscard]] std::shared_ptr<Core> core() const noexcept {
    return std::static_pointer_cast<Core>(this->owner_);
  }

  /// Has the ends of requests wake the balancer's queue, and says how many are in flight.
  /// *Requires* that a set or a handle keeps the record.
  std::uint32_t mark() noexcept { return this->word_.mark(); }
  void unmark() noexcept { this->word_.unmark(); }

  // -- the set -----------------------------------------------------------------------------------

  void join_membership() noexcept { this->memberships_.add(); }
  /// The record may be destroyed when this returns.
  void leave_membership() noexcept {
    if (this->memberships_.drop() && this->word_.unpin()) bury();
  }
  /// Its position in the current membership.
  [[nodiscard]] std::uint32_t position() const noexcept { return this->position_.load(); }

  using Backend::condition;
  using Backend::forget;
  using Backend::inherit;
  [[nodiscard]] Endpoint const& endpoint() const noexcept { return this->endpoint_; }
  /// The current policy's state of this backend; null if the policy has none, or if the backend is
  /// no member. *Requires* a read section.
  [[nodiscard, gnu::always_inline]] void* policy_state() const noexcept {
    return this->policy_state_.load();
  }
  /// *Requires* the lock.
  void link_policy_state(void* state) noexcept { this->policy_state_.store(state); }
  template <class Entry>
  void decide(std::uint32_t new_position, Entry const& entry) noexcept {
    this->position_.store(new_position);
    this->weight_.store(entry.weight);
    this->condition_.store(std::bit_cast<std::uint32_t>(entry.condition));
  }
  /// Where the weight comes from. *Requires* the lock.
  void note_weights(std::uint32_t of_endpoint, bool is_set) noexcept {
    if (of_endpoint != this->endpoint_weight_.load()) this->endpoint_weight_.store(of_endpoint);
    if (is_set != this->weight_is_set_.load()) this->weight_is_set_.store(is_set);
  }
  /// *Requires* the lock.
  void note_removal() noexcept { this->position_.store(this->no_position); }
  /// Of a backend that the same change removes. *Requires* the lock.
  void note_drained() noexcept {
    auto drained = condition();
    drained.drained = true;
    this->condition_.store(std::bit_cast<std::uint32_t>(drained));
  }
  /// The operator's limits; rules may set lower ones. Both functions *require* the lock.
  void declare_admission(Admission admission) noexcept {
    this->declared_admission_ = admission;
    set_admission(admission,
                  this->on_trial() ? this->admission().max_in_flight : sync::InFlight::limit);
  }
  [[nodiscard]] Admission declared_admission() const noexcept { return this->declared_admission_; }
  /// By the operator, or only by the endpoint? *Requires* the lock.
  [[nodiscard]] bool admission_is_set() const noexcept { return this->admission_is_set_; }
  void note_admission_set() noexcept { this->admission_is_set_ = true; }
  void set_admission(Admission admission,
                     std::uint32_t max_on_trial = sync::InFlight::limit) noexcept {
    auto const limit = std::min(admission.max_in_flight, sync::InFlight::limit);
    if (limit != this->max_in_flight_.load()) this->max_in_flight_.store(limit);
    admission.max_in_flight = std::min(limit, max_on_trial);
    if (admission != this->admission())
      this->admission_.store(std::bit_cast<std::uint64_t>(admission));
  }

  static void destroy(Record* list) noexcept {
    while (list != nullptr) delete std::exchange(list, list->next_dropped);
  }

  Record* next_dropped = nullptr;
  [[no_unique_address]] typename Core::Observed::States observer_states;

 private:
  [[gnu::noinline, gnu::cold]] static void after_release(Record& record, void const* key,
                                                         sync::InFlight::End end) noexcept {
    if (end == sync::InFlight::End::free) record.bury();
    else sync::WaitingLot::wake(key);
  }

  /// Called by the last holder (C1). Once dropped, the record may be destroyed at any moment.
  [[gnu::noinline, gnu::cold]] void bury() noexcept {
    auto const owner = core();  // outlives the record
    if (!owner->box().drop(this)) delete this;
  }
};

}  // namespace poise::inline v0_1_0::detail
