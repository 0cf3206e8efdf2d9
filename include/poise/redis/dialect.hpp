// SPDX-License-Identifier: MIT
#pragma once

// How sql::Database speaks to Redis 4 or later: a primary and its replicas, with or without
// Sentinel, no cluster.
//
//   poise::sql::Database database{servers, poise::redis::Dialect{}};
//   auto order = database.write([](auto& connection) { connection.command({"INCR", "orders"}); });
//   database.read(fn, {.after = order.token});
//
// The role is what each server says of itself. A position is the offset of the replication stream.
// Redis has no timelines, but each primary has an id of its history, and a replica that is promoted
// remembers the id that it followed: its history is the successor of that one. So an old primary
// that comes back gets nothing, also before Sentinel demotes it. A primary whose history is not
// known to follow the last one counts if it is the same server, which lost its data, or if no
// primary was seen for 10 s.
//
// Nothing is a transaction here: a write is what your function sends. MULTI and EXEC are yours.

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include <poise/redis/connection.hpp>
#include <poise/redis/error.hpp>
#include <poise/sql/database.hpp>
#include <poise/sql/node.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::redis {

namespace detail {

/// What a server says of its history.
struct History {
  bool is_primary = false;
  std::string address{};  ///< Of the server.
  std::string id{};
  std::string before{};  ///< The id that it followed; all zeros if it followed none.
};

/// Numbers for histories: a successor's is higher. *Threads* any.
class Histories {
 public:
  /// 0: it is not known how it relates to those seen so far.
  std::uint64_t number_of(History const& seen, std::chrono::steady_clock::time_point now) {
    std::scoped_lock const lock{mutex_};
    auto known = numbers_.find(seen.id);
    if (known == numbers_.end()) {
      auto const number = number_of_new(seen, now);
      if (number == 0) return 0;
      known = numbers_.emplace(seen.id, number).first;
    }
    if (seen.is_primary && known->second >= newest_) {
      newest_ = known->second;
      primary_ = seen.address;
      primary_at_ = now;
    }
    return known->second;
  }

 private:
  [[nodiscard]] std::uint64_t number_of_new(History const& seen,
                                            std::chrono::steady_clock::time_point now) const {
    if (numbers_.empty()) return 1;
    if (auto const older = numbers_.find(seen.before); older != numbers_.end())
      return older->second + 1;
    bool const succeeds = seen.address == primary_ || now - primary_at_ > patience;
    return seen.is_primary && succeeds ? newest_ + 1 : 0;
  }

  static constexpr std::chrono::seconds patience{10};

  std::mutex mutex_{};
  std::map<std::string, std::uint64_t> numbers_{};
  std::uint64_t newest_ = 0;  // that a primary had
  std::string primary_{};     // its address
  std::chrono::steady_clock::time_point primary_at_{};
};

/// A value of "name:value\r\n" lines; empty if there is none.
[[nodiscard]] inline std::string_view field_of(std::string_view text, std::string_view name) {
  for (std::size_t at = text.find(name); at != std::string_view::npos;
       at = text.find(name, at + 1)) {
    bool const begins = at == 0 || text[at - 1] == '\n';
    auto const end = at + name.size();
    if (!begins || end >= text.size() || text[end] != ':') continue;
    auto const rest = text.substr(end + 1);
    return rest.substr(0, rest.find_first_of("\r\n"));
  }
  return {};
}
[[nodiscard]] inline std::uint64_t offset_of(std::string_view text) noexcept {
  std::int64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return static_cast<std::uint64_t>(std::max<std::int64_t>(number, 0));  // -1: none yet
}

}  // namespace detail

/// A sql::Dialect. Copies share what they know of histories. *Threads* any. *Cost* of a read: one
/// ROLE after it; of a write: one before, one after.
class Dialect {
 public:
  /// A server that takes longer to say its role before a write does not answer.
  Duration begin_limit = std::chrono::seconds{2};

  [[nodiscard]] sql::Observation look(Connection& connection, Duration limit) const {
    auto const reply = connection.command({"INFO", "replication"}, limit);
    auto const field = [text = reply.text()](char const* name) {
      return detail::field_of(text, name);
    };
    bool const is_primary = field("role") == "master";
    auto const number = histories_->number_of({.is_primary = is_primary,
                                               .address = connection.address(),
                                               .id = std::string{field("master_replid")},
                                               .before = std::string{field("master_replid2")}},
                                              std::chrono::steady_clock::now());
    auto const role = is_primary ? sql::Role::primary : sql::Role::replica;
    return {.role = number == 0 ? sql::Role::unknown : role,
            .reached = {.timeline = number,
                        .position = detail::offset_of(
                            field(is_primary ? "master_repl_offset" : "slave_repl_offset"))}};
  }
  /// Redis tells nothing without a command.
  [[nodiscard]] sql::Role told(Connection const&) const noexcept { return sql::Role::unknown; }
  void begin(Connection& connection, bool writes) const {
    if (writes && connection.command({"ROLE"}, begin_limit)[0].text() != "master")
      throw Error{"READONLY this server takes no writes: it is a replica"};
  }
  /// The offset after what was written, or after what may have been read.
  [[nodiscard]] sql::Token commit(Connection& connection) const {
    auto const role = connection.command({"ROLE"});
    bool const is_primary = role[0].text() == "master";
    return {.timeline = 0,
            .position = static_cast<std::uint64_t>(
                std::max<std::int64_t>(role[is_primary ? 1 : 4].number(), 0))};
  }
  [[nodiscard]] sql::Fault fault_of(std::exception_ptr const& thrown) const noexcept {
    return redis::fault_of(thrown);
  }

 private:
  std::shared_ptr<detail::Histories> histories_ = std::make_shared<detail::Histories>();
};

}  // namespace poise::inline v0_1_0::redis
