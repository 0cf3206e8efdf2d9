// SPDX-License-Identifier: MIT
// A real PostgreSQL primary with two replicas: where reads and writes go, what a failover costs.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <poise/postgres/dialect.hpp>
#include <poise/sql/database.hpp>

#include "integration/databases/cluster.hpp"
#include "support/catch.hpp"

namespace integration_databases_database {

using namespace std::chrono_literals;
using poise::Result;
using poise::postgres::Connection;
using poise::postgres::Error;
using poise::sql::Role;
using tests::Cluster;
using tests::Database;
using tests::eventually;
using tests::Servers;

namespace {

auto insert(std::int64_t id) {
  return [id](Connection& c) { c.query("insert into log values ($1)", {std::to_string(id)}); };
}
std::int64_t last_of(Connection& c) {
  return c.query("select coalesce(max(id), 0) from log").number(0, 0);
}
std::int64_t count_of(Connection& c) { return c.query("select count(*) from log").number(0, 0); }

/// Waits until all are known, with a table "log".
void prepare(Servers& servers, Database& database) {
  auto const is_known = [&] {
    database.look();
    int primaries = 0;
    int replicas = 0;
    servers.for_each([&](auto& backend) {
      auto const role = backend.payload().node().state().role;
      primaries += role == Role::primary ? 1 : 0;
      replicas += role == Role::replica ? 1 : 0;
    });
    return primaries == 1 && replicas == 2;
  };
  REQUIRE(eventually(is_known));
  auto const made =
      database.write([](Connection& c) { c.query("create table log (id bigint primary key)"); });
  auto const has_table = [&] {
    database.look();
    int done = 0;
    servers.for_each([&](auto& backend) {
      done += backend.payload().node().state().reached >= made.token ? 1 : 0;
    });
    return done == 3;
  };
  REQUIRE(eventually(has_table));
}

/// Which server a transaction ran on, by its port.
std::string port_of(Connection& c) { return std::string{c.query("show port").text(0, 0)}; }

void set_replay(Cluster const& cluster, char const* what) {
  for (int i : {1, 2}) cluster.connect(i).query(std::string{"select pg_wal_replay_"} + what + "()");
}

}  // namespace

TEST_CASE("reads spread over replicas, writes go to the primary, and tokens keep reads fresh") {
  Cluster const cluster;
  auto servers = cluster.balancer({.max = 4});
  Database database{servers};
  prepare(servers, database);

  {
    INFO("at rest");
    std::set<std::string> readers;
    for (int i = 0; i < 200; ++i) readers.insert(database.read(port_of));
    CHECK(readers.size() == 2);
    CHECK(database.counts().primary_reads == 0);
    std::uint64_t opened = 0;
    servers.for_each([&](auto& b) { opened += b.payload().numbers().opened; });
    CHECK(opened <= 6);
    auto const writer = database.write(port_of).value;
    CHECK(readers.count(writer) == 0);
  }
  {
    INFO("a hidden write in a read fails loudly, and is nobody's failure");
    auto const hide = [](Connection& c) { c.query("insert into log values (-1)"); };
    try {
      database.read(hide);
      FAIL("it was let through");
    } catch (Error const& error) {
      CHECK(error.state() == "25006");
    }
    servers.for_each([](auto& b) { CHECK(b.failed() == 0); });
    database.look();
  }
  {
    INFO("a transaction in which a statement failed is not reported as committed");
    auto const swallow = [](Connection& c) {
      c.query("insert into log values (-2)");
      CHECK_THROWS_AS(c.query("select 1/0"), Error);
    };
    CHECK_THROWS_WITH(database.write(swallow), Catch::Contains("can't be committed"));
    CHECK(database.read(last_of) == 0);
  }
  {
    INFO("while replay is paused, reads without tokens are stale, and sessions never");
    set_replay(cluster, "pause");
    int stale = 0;
    int stale_in_session = 0;
    auto session = database.session();
    for (std::int64_t i = 1; i <= 20; ++i) {
      session.write(insert(i));
      stale += database.read(last_of) < i ? 1 : 0;
      stale_in_session += session.read(last_of, {.wait = 2ms}) < i ? 1 : 0;
    }
    CHECK(stale > 0);
    CHECK(stale_in_session == 0);
    set_replay(cluster, "resume");
    auto const caught_up = [&] {
      database.look();
      auto const before = database.counts().replica_reads;
      CHECK(session.read(last_of) == 20);
      return database.counts().replica_reads > before;
    };
    CHECK(eventually(caught_up));
  }
}

TEST_CASE("a failover loses no acknowledged write, and the old primary gets none") {
  Cluster cluster;
  auto servers = cluster.balancer({.max = 4, .backoff = 50ms, .max_backoff = 500ms});
  Database database{servers};
  prepare(servers, database);

  std::mutex mutex;
  std::set<std::int64_t> acknowledged;
  std::atomic<std::int64_t> next{0};
  std::atomic<bool> stop{false};
  std::atomic<int> stale{0};
  std::atomic<int> failed_reads{0};
  poise::Duration longest_gap{};
  auto const write = [&] {
    auto session = database.session();
    auto last = std::chrono::steady_clock::now();
    while (!stop) {
      auto const id = ++next;
      try {
        session.write(insert(id), {.timeout = 20s});
      } catch (std::exception const&) {
        continue;  // of unknown fate, or not written: not acknowledged
      }
      {
        std::scoped_lock const lock{mutex};
        acknowledged.insert(id);
        auto const now = std::chrono::steady_clock::now();
        longest_gap = std::max<poise::Duration>(longest_gap, now - last);
        last = now;
      }
      auto const sees = [id](Connection& c) {
        return c.query("select 1 from log where id = $1", {std::to_string(id)}).size() == 1;
      };
      try {
        if (!session.read(sees, {.timeout = 20s})) ++stale;
      } catch (std::exception const&) {
        ++failed_reads;
      }
    }
  };
  std::vector<std::thread> writers;
  for (int i = 0; i < 2; ++i) writers.emplace_back(write);
  auto const has_written = [&](std::size_t more) {
    std::size_t before = 0;
    {
      std::scoped_lock const lock{mutex};
      before = acknowledged.size();
    }
    return eventually([&] {
      database.look();
      std::scoped_lock const lock{mutex};
      return acknowledged.size() >= before + more;
    });
  };
  CHECK(has_written(50));

  cluster.kill(0);
  std::uint64_t received[3]{};
  for (int i : {1, 2})
    received[i] = poise::postgres::position_of(
        cluster.connect(i).query("select pg_last_wal_receive_lsn()").text(0, 0));
  int const best = received[1] >= received[2] ? 1 : 2;
  cluster.promote(best);
  CHECK(has_written(50));

  cluster.start(0);  // as a primary that knows of nothing
  auto old = cluster.connect(0);
  auto const before = count_of(old);
  CHECK(old.query("select pg_is_in_recovery()").text(0, 0) == "f");
  CHECK(has_written(100));
  stop = true;
  for (auto& writer : writers) writer.join();

  CHECK(count_of(old) == before);
  auto now = cluster.connect(best);
  auto const rows = now.query("select id from log");
  std::set<std::int64_t> found;
  for (int i = 0; i < rows.size(); ++i) found.insert(rows.number(i, 0));
  std::vector<std::int64_t> lost;
  std::ranges::set_difference(acknowledged, found, std::back_inserter(lost));
  CHECK(lost.empty());
  CHECK(stale == 0);
  CHECK(failed_reads == 0);
  WARN("acknowledged " << acknowledged.size() << ", longest time without a write "
                       << std::chrono::duration_cast<std::chrono::milliseconds>(longest_gap).count()
                       << " ms");
}

TEST_CASE("errors of connecting say what is wrong, and show no password") {
  Cluster const cluster;
  auto const open = [&](char const* text) {
    static_cast<void>(Connection::open(cluster.address(0), text, 5s));
  };
  try {
    open("dbname=nowhere user=postgres password=secret");
    FAIL("there is no such database");
  } catch (Error const& error) {
    CHECK_THAT(error.what(), Catch::Contains("nowhere") && !Catch::Contains("secret"));
    CHECK(error.fault().outcome.result == Result::rejected);
  }
  try {
    static_cast<void>(Connection::open("127.0.0.1:1", tests::settings, 5s));
    FAIL("nobody listens there");
  } catch (Error const& error) {
    CHECK(error.fault().outcome.result == Result::refused);
    CHECK(!error.fault().outcome.sent);
  }
  CHECK_THROWS_WITH(poise::postgres::servers("passwort secret"),
                    Catch::Contains("no connection string") && !Catch::Contains("secret"));
  auto slow = cluster.connect(1);
  CHECK_THROWS_WITH(slow.query("select pg_sleep(20)", {}, 20ms), Catch::Contains("in time"));
}

TEST_CASE("positions are numbers, not texts") {
  using poise::postgres::position_of;
  CHECK(position_of("0/0") == 0);
  CHECK(position_of("16/B374D848") == 0x16B374D848U);
  CHECK(position_of("A/0") > position_of("9/FFFFFFFF"));
  for (char const* text : {"", "/", "1", "1/", "/1", "1/g", "100000000/0", "1/ 2"})
    CHECK_THROWS_AS(position_of(text), Error);
}

TEST_CASE("each kind of error blames whom it should") {
  using poise::postgres::fault_of_state;
  for (char const* state : {"42601", "23505", "22012", "28P01", "3D000", "55P03", "25P02"})
    CHECK(fault_of_state(state).outcome.result == Result::rejected);
  CHECK(fault_of_state("25006").wrong_role);
  CHECK(fault_of_state("40001").elsewhere);
  CHECK(fault_of_state("57P01").outcome.result == Result::reset);
  CHECK(fault_of_state("57P03").outcome.result == Result::refused);
  CHECK(fault_of_state("53300").outcome.result == Result::overloaded);
  CHECK(!fault_of_state("53300").outcome.sent);
  CHECK(fault_of_state("XX000").outcome.result == Result::error);
}

}  // namespace integration_databases_database
