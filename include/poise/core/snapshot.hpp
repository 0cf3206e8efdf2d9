// SPDX-License-Identifier: MIT
#pragma once

// What picks see of a balancer: one immutable value, which every change replaces.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/id_index.hpp>
#include <poise/policy.hpp>
#include <poise/propose.hpp>

namespace poise::detail {

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

  [[nodiscard]] Record* find(std::string_view id) const {
    auto const position = index_.find(id, id_at());
    return position == IdIndex::absent ? nullptr : records[position];
  }
  /// Where this very record stands here, or IdIndex::absent.
  [[nodiscard]] std::uint32_t position_of(Record const& record) const {
    auto const position = index_.find(record.id(), id_at());
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
  std::uint32_t healthy_share = 100;  // percent; looked at only if somebody is degraded
  std::uint32_t flags = 0;            // what its picks begin with: Run::Flag
  Group<P> degraded{};
  std::shared_ptr<Membership<Record> const> membership{};
  std::vector<std::shared_ptr<void>> states{};  // by position; empty if the policy has none
};

}  // namespace poise::detail
