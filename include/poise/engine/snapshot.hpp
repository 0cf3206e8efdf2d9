// SPDX-License-Identifier: MIT
#pragma once

// The part of a balancer that picks read: one immutable value. Every change replaces it.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/engine/id_index.hpp>
#include <poise/policy.hpp>
#include <poise/policy/claim.hpp>

namespace poise::inline v0_1_0::detail {

/// The records of one set of backends. It pins them, and is shared by all snapshots of the set.
template <class Record>
class Membership {
 public:
  explicit Membership(std::vector<Record*> members)
      : records{std::move(members)}, index_{records.size()} {
    for (std::uint32_t position = 0; position < records.size(); ++position)
      index_.insert(position, id_at());
    for (auto* record : records) record->join_membership();
  }
  Membership(Membership const&) = delete;
  Membership& operator=(Membership const&) = delete;
  ~Membership() {
    for (auto* record : records) record->leave_membership();
  }

  /// Where the backend of this id stands here, or IdIndex::absent.
  [[nodiscard]] std::uint32_t find_position(std::string_view id) const {
    return index_.find(id, id_at());
  }
  [[nodiscard]] Record* find(std::string_view id) const {
    auto const position = find_position(id);
    return position == IdIndex::absent ? nullptr : records[position];
  }
  /// The position of this record; IdIndex::absent if it is no member.
  [[nodiscard]] std::uint32_t position_of(Record const& record) const {
    auto const position = find_position(record.id());
    return position != IdIndex::absent && records[position] == &record ? position : IdIndex::absent;
  }

  std::vector<Record*> const records;

 private:
  [[nodiscard]] auto id_at() const {
    return [this](std::uint32_t position) -> std::string_view { return records[position]->id(); };
  }
  IdIndex index_;
};

template <class Record, class P>
struct Snapshot {
  Group<P> healthy{};
  std::shared_ptr<P const> policy{};
  std::uint32_t healthy_share = 100;    // percent of picks; used only if a backend is degraded
  std::uint32_t flags = 0;              // Run::Flag, copied into the Run of each pick
  std::vector<std::uint32_t> wanted{};  // of the healthy: BackendView::wants_pick
  Group<P> degraded{};
  Group<P> last_resort{};  // BackendView::last_resort; no other group has them
  std::shared_ptr<Membership<Record> const> membership{};
  std::vector<std::shared_ptr<void>> states{};  // by position; empty if the policy has none
};

}  // namespace poise::inline v0_1_0::detail
