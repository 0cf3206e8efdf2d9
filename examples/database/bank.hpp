// SPDX-License-Identifier: MIT
#pragma once

// A bank in a database: transfers between accounts, and what must hold whoever is asked.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>

#include <poise/balancer.hpp>
#include <poise/policy/power_of_two.hpp>
#include <poise/postgres/dialect.hpp>
#include <poise/sql/database.hpp>

namespace bank {

using Servers = poise::Balancer<poise::P2C, poise::postgres::Server>;
using Database = poise::sql::Database<Servers, poise::postgres::Dialect>;
using Session = poise::sql::Session<Servers, poise::postgres::Dialect>;

/// What clients saw, all together.
struct Tally {
  std::atomic<std::uint64_t> transfers{0};
  std::atomic<std::uint64_t> unknown{0};      // commits whose answer was lost
  std::atomic<std::uint64_t> failed{0};       // reads and writes
  std::atomic<std::uint64_t> stale_reads{0};  // a client did not see its own transfer
  std::atomic<std::uint64_t> wrong_sums{0};   // money came or went

  /// Notes a transfer, for the longest time without one.
  void note_transfer();
  [[nodiscard]] std::chrono::milliseconds longest_pause() const;

 private:
  using Clock = std::chrono::steady_clock;
  mutable std::mutex mutex_{};
  Clock::time_point last_{Clock::now()};
  Clock::duration longest_{};
};

/// Makes the tables, and waits until all replicas have them.
void open(Database& database, unsigned clients);

/// One client: transfers money, and reads whether it sees what it did.
class Client {
 public:
  Client(Database& database, unsigned number, bool with_tokens, Tally& tally);
  void transfer_and_check();

 private:
  bool transfer();
  void check();

  Database* database_;
  Session session_;
  std::string number_;
  bool with_tokens_;
  Tally* tally_;
  std::int64_t made_ = 0;  // transfers that the bank acknowledged
};

}  // namespace bank
