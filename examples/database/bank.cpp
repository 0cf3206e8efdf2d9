// SPDX-License-Identifier: MIT

#include "bank.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <exception>
#include <mutex>
#include <string>
#include <utility>

#include <poise/postgres/connection.hpp>
#include <poise/sql/database.hpp>

namespace bank {

using poise::postgres::Connection;

namespace {

constexpr int accounts = 10;
constexpr std::int64_t money = 1'000;

}  // namespace

void Tally::note_transfer() {
  ++transfers;
  std::scoped_lock const lock{mutex_};
  auto const now = Clock::now();
  longest_ = std::max(longest_, now - std::exchange(last_, now));
}
std::chrono::milliseconds Tally::longest_pause() const {
  std::scoped_lock const lock{mutex_};
  return std::chrono::duration_cast<std::chrono::milliseconds>(
      std::max(longest_, Clock::now() - last_));
}

void open(Database& database, unsigned clients) {
  auto session = database.session();
  session.write([&](Connection& c) {
    c.query(
        "drop table if exists poise_accounts, poise_clients;"
        "create table poise_accounts (id int primary key, money bigint not null);"
        "create table poise_clients (id int primary key, made bigint not null)");
    c.query("insert into poise_accounts select i, $1::bigint from generate_series(1, $2::int) i",
            {std::to_string(money), std::to_string(accounts)});
    c.query("insert into poise_clients select i, 0 from generate_series(0, $1::int) i",
            {std::to_string(clients)});
  });
}

Client::Client(Database& database, unsigned number, bool with_tokens, Tally& tally)
    : database_{&database},
      session_{database.session()},
      number_{std::to_string(number)},
      with_tokens_{with_tokens},
      tally_{&tally} {}

void Client::transfer_and_check() {
  try {
    if (transfer()) check();
  } catch (std::exception const&) {
    ++tally_->failed;
  }
}

bool Client::transfer() {
  auto const made = made_ + 1;
  auto const from = 1 + made % accounts;
  auto const to = 1 + (made * 7 + 3) % accounts;
  // In the order of their ids, so that two transfers never wait for each other.
  auto const add = [](Connection& c, std::int64_t account, int sum) {
    c.query("update poise_accounts set money = money + $1 where id = $2",
            {std::to_string(sum), std::to_string(account)});
  };
  try {
    session_.write([&](Connection& c) {
      add(c, std::min(from, to), from < to ? -1 : 1);
      add(c, std::max(from, to), from < to ? 1 : -1);
      c.query("update poise_clients set made = $1 where id = $2", {std::to_string(made), number_});
    });
  } catch (poise::sql::CommitUnknown const&) {
    ++tally_->unknown;  // the next transfer has the same number, so it does not matter
    return false;
  }
  made_ = made;
  tally_->note_transfer();
  return true;
}

void Client::check() {
  auto const look = [&](Connection& c) {
    auto const rows = c.query(
        "select (select sum(money) from poise_accounts)::bigint,"
        " (select made from poise_clients where id = $1)",
        {number_});
    if (rows.number(0, 0) != accounts * money) ++tally_->wrong_sums;
    if (rows.number(0, 1) < made_) ++tally_->stale_reads;
  };
  if (with_tokens_) session_.read(look);
  else database_->read(look);
}

}  // namespace bank
