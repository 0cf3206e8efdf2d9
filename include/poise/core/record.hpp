// SPDX-License-Identifier: MIT
#pragma once

// A backend as its balancer holds it: the public Backend, and who keeps it alive.
//
// Invariants:
//   C1  A record lives while a membership lists it (pinned) or a lease holds it (in flight); the
//       last of them puts it into the core's drop box, and a change, tick or close destroys it
//       outside the lock.
//   C2  A record holds the core, so leases outlive the balancer; Core::close() breaks the cycle.

#include <algorithm>
#include <bit>
#include <cstdint>
#include <memory>
#include <utility>

#include <poise/backend.hpp>
#include <poise/payload.hpp>
#include <poise/sync/in_flight.hpp>
#include <poise/sync/relaxed.hpp>

namespace poise::detail {

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

  /// Counts a request out (in: propose.hpp); the record may be gone after.
  [[gnu::always_inline]] void release() noexcept {
    if (this->word_.release()) [[unlikely]]
      bury();
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

  // -- the set -----------------------------------------------------------------------------------

  void join_membership() noexcept { this->memberships_.add(); }
  /// The record may be gone after.
  void leave_membership() noexcept {
    if (this->memberships_.drop() && this->word_.unpin()) bury();
  }
  /// Where it stands in the current membership.
  [[nodiscard]] std::uint32_t position() const noexcept { return this->position_.load(); }

  using Backend::condition;
  using Backend::forget;
  using Backend::inherit;
  [[nodiscard]] Endpoint const& endpoint() const noexcept { return this->endpoint_; }
  /// What the current policy keeps of this backend; null if it keeps nothing, or if the backend is
  /// not in the set. *Requires* a read section.
  [[nodiscard, gnu::always_inline]] void* policy_state() const noexcept {
    return this->policy_state_.load();
  }
  /// *Requires* the lock.
  void link_policy_state(void* state) noexcept { this->policy_state_.store(state); }
  void decide(std::uint32_t new_position, std::uint32_t new_weight,
              Condition new_condition) noexcept {
    this->position_.store(new_position);
    this->weight_.store(new_weight);
    this->condition_.store(std::bit_cast<std::uint32_t>(new_condition));
  }
  /// What the operator lets in; rules may let in less. *Requires* the lock, both.
  void declare_admission(Admission admission) noexcept {
    this->declared_admission_ = admission;
    set_admission(admission);
  }
  [[nodiscard]] Admission declared_admission() const noexcept { return this->declared_admission_; }
  void set_admission(Admission admission) noexcept {
    admission.max_in_flight = std::min(admission.max_in_flight, sync::InFlight::limit);
    if (admission != this->admission())
      this->admission_.store(std::bit_cast<std::uint64_t>(admission));
  }

  static void destroy(Record* list) noexcept {
    while (list != nullptr) delete std::exchange(list, list->next_dropped);
  }

  Record* next_dropped = nullptr;
  [[no_unique_address]] typename Core::Watching::States observer_states;

 private:
  /// Called by the last holder (C1). Once dropped the record may be gone at any moment.
  [[gnu::noinline, gnu::cold]] void bury() noexcept {
    auto const keeper = core();  // outlives the record
    if (!keeper->box().drop(this)) delete this;
  }
};

}  // namespace poise::detail
