// SPDX-License-Identifier: MIT
#pragma once

// A backend without a pick: Balancer::find returns it.
//
// It keeps the backend and its payload alive, also when the backend is removed or the balancer is
// gone. It counts nothing: no request is in flight because of it, and no limit knows it. For a
// request, pick; for statistics, pools and admin pages, this is enough.

#include <type_traits>
#include <utility>

#include <poise/backend.hpp>

namespace poise::inline v0_1_0 {

/// *Threads* a handle belongs to one thread at a time; copies of it are independent.
/// *Cost* a copy is one atomic add; a handle has the size of a pointer.
template <class Core>
class BackendHandle {
  using Record = typename Core::Record;

 public:
  BackendHandle() noexcept = default;
  /// *Requires* that a read section, a set or another handle keeps the record meanwhile.
  explicit BackendHandle(Record& record) noexcept : record_{&record} { record.join_membership(); }
  BackendHandle(BackendHandle const& other) noexcept : record_{other.record_} {
    if (record_ != nullptr) record_->join_membership();
  }
  BackendHandle(BackendHandle&& other) noexcept : record_{std::exchange(other.record_, nullptr)} {}
  BackendHandle& operator=(BackendHandle other) noexcept {
    std::swap(record_, other.record_);
    return *this;
  }
  ~BackendHandle() {
    if (record_ != nullptr) record_->leave_membership();
  }

  /// False if there was no backend of that id.
  [[nodiscard]] explicit operator bool() const noexcept { return record_ != nullptr; }
  /// The backend. *Requires* `*this` to be true.
  [[nodiscard]] auto& operator*() const noexcept {
    using Public = BackendWith<typename Core::PayloadType>;
    return static_cast<Public&>(*record_);
  }
  [[nodiscard]] auto* operator->() const noexcept { return &**this; }

 private:
  Record* record_ = nullptr;
};

}  // namespace poise::inline v0_1_0
