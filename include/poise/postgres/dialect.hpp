// SPDX-License-Identifier: MIT
#pragma once

// How sql::Database speaks to PostgreSQL 14 or later: roles, timelines, positions of the WAL.
//
//   poise::sql::Database database{servers, poise::postgres::Dialect{}};
//
// The server's user needs no special rights. A replica tells its timeline only to members of
// pg_monitor; without that right, that of the first primary counts until the replica is promoted.

#include <charconv>
#include <chrono>
#include <cstdint>
#include <exception>
#include <string>
#include <string_view>
#include <system_error>

#include <poise/error.hpp>
#include <poise/postgres/connection.hpp>
#include <poise/postgres/error.hpp>
#include <poise/sql/node.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::postgres {

/// A position of the write-ahead log as a number: "16/B374D848" is (0x16 << 32) + 0xB374D848.
/// *Errors* Error: it is none.
[[nodiscard]] inline std::uint64_t position_of(std::string_view text) {
  std::uint64_t high = 0;
  std::uint64_t low = 0;
  auto const slash = text.find('/');
  auto const parse = [](std::string_view part, std::uint64_t& number) {
    auto const [end, error] = std::from_chars(part.data(), part.data() + part.size(), number, 16);
    return !part.empty() && part.size() <= 8 && error == std::errc{} &&
           end == part.data() + part.size();
  };
  if (slash == std::string_view::npos || !parse(text.substr(0, slash), high) ||
      !parse(text.substr(slash + 1), low))
    throw Error{poise::detail::in_quotes(text) + " is no position of the write-ahead log",
                Result::error};
  return (high << 32U) | low;
}

/// A sql::Dialect. *Threads* any.
struct Dialect {
  /// A server that takes longer to begin a transaction does not answer: the next one is tried.
  Duration begin_limit = std::chrono::seconds{2};

  /// Asks for role, position and timeline in one query.
  [[nodiscard]] sql::Observation look(Connection& connection, Duration limit) const {
    // Each branch of `case` is evaluated only where it is allowed.
    auto const rows = connection.query(
        "select pg_is_in_recovery(),"
        " case when pg_is_in_recovery() then pg_last_wal_replay_lsn()"
        " else pg_current_wal_insert_lsn() end,"
        " case when pg_is_in_recovery() then (select received_tli from pg_stat_wal_receiver)"
        " else ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int end",
        {}, limit);
    return {.role = rows.text(0, 0) == "t" ? sql::Role::replica : sql::Role::primary,
            .reached = {
                .timeline = rows.is_null(0, 2) ? 0 : static_cast<std::uint64_t>(rows.number(0, 2)),
                .position = position_in(rows, 0, 1)}};
  }
  [[nodiscard]] sql::Role told(Connection const& connection) const noexcept {
    return connection.told_role();
  }
  /// A server that takes no writes is found before anything is written.
  void begin(Connection& connection, bool writes) const {
    connection.query(writes ? "begin" : "begin read only", {}, begin_limit);
    if (writes && connection.is_read_only())
      throw Error{"this server takes no writes: it is a replica, or read-only", "25006"};
  }
  /// The position is read after the commit: within the transaction it would be too low.
  [[nodiscard]] sql::Token commit(Connection& connection) const {
    if (PQtransactionStatus(connection.native()) == PQTRANS_INERROR)  // commit would say nothing
      throw Error{"a statement failed, so the transaction can't be committed", "25P02"};
    auto const rows = connection.query(
        "commit; select case when pg_is_in_recovery() then pg_last_wal_replay_lsn()"
        " else pg_current_wal_insert_lsn() end");
    return {.timeline = 0, .position = position_in(rows, 0, 0)};
  }
  [[nodiscard]] sql::Fault fault_of(std::exception_ptr const& thrown) const noexcept {
    return postgres::fault_of(thrown);
  }

 private:
  /// The insert position of a page that has just begun lies behind its header of 24 or 40 bytes,
  /// which no replica reaches before the next record: the page's begin is what it reaches.
  static std::uint64_t position_in(Rows const& rows, int row, int column) {
    constexpr std::uint64_t page = 8192;
    constexpr std::uint64_t longest_header = 40;
    if (rows.is_null(row, column)) return 0;
    auto const position = position_of(rows.text(row, column));
    return position % page <= longest_header ? position - position % page : position;
  }
};

}  // namespace poise::inline v0_1_0::postgres
