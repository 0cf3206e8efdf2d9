// SPDX-License-Identifier: MIT
// A real cluster and what goes wrong around it: passwords, full servers, broken transactions,
// session state, restarts, and replicas that hang or were cut off.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <poise/postgres/dialect.hpp>
#include <poise/sql/database.hpp>

#include "integration/databases/cluster.hpp"
#include "support/catch.hpp"

namespace integration_databases_bad_input {

using namespace std::chrono_literals;
using poise::postgres::Connection;
using poise::postgres::Error;
using poise::sql::CommitUnknown;
using poise::sql::NoPrimary;
using poise::sql::Role;
using tests::Cluster;
using tests::Database;
using tests::eventually;
using tests::Servers;

namespace {

void wait_for_roles(Servers& servers, Database& database) {
  REQUIRE(eventually([&] {
    database.look();
    int known = 0;
    servers.for_each([&](auto& backend) {
      known += backend.payload().node().state().role == Role::unknown ? 0 : 1;
    });
    return known == 3;
  }));
}
std::string pid_of(Connection& c) {
  return std::string{c.query("select pg_backend_pid()").text(0, 0)};
}
std::int64_t rows_of(Database& database) {
  return database
      .write([](Connection& c) { return c.query("select count(*) from log").number(0, 0); })
      .value;
}
std::uint64_t failures_of(Servers& servers) {
  std::uint64_t sum = 0;
  servers.for_each([&](auto& backend) { sum += backend.failed(); });
  return sum;
}

/// The primary asks this user for a password.
void lock_user(Cluster const& cluster) {
  cluster.connect(0).query("create role locked login password 'right'");
  auto const file = cluster.folder() + "/p/pg_hba.conf";
  std::ifstream in{file};
  std::string const rules{std::istreambuf_iterator<char>{in}, {}};
  std::ofstream{file} << "host all locked 127.0.0.1/32 scram-sha-256\n" << rules;
  cluster.connect(0).query("select pg_reload_conf()");
}

}  // namespace

TEST_CASE("a wrong password is told and shows no password and ejects nothing") {
  Cluster const cluster;
  lock_user(cluster);
  auto const open = [&](char const* settings) {
    Servers servers{{{.id = "p", .address = cluster.address(0)}},
                    poise::postgres::servers(settings, {.backoff = 20ms, .max_backoff = 100ms})};
    Database database{servers};
    std::string what;
    try {
      database.write([](Connection&) {}, {.timeout = 500ms});
    } catch (NoPrimary const& error) {
      what = error.what();
    }
    CHECK(failures_of(servers) == 0);
    CHECK(servers.find("p")->payload().numbers().not_opened < 50);
    return what;
  };
  REQUIRE(eventually([&] {
    return open("dbname=postgres user=locked password=wr0ng").find("password auth") !=
           std::string::npos;
  }));
  auto const what = open("dbname=postgres user=locked password=wr0ng");
  CHECK_THAT(what, Catch::Contains("\"p\" said:") && Catch::Contains("locked"));
  CHECK_THAT(what, !Catch::Contains("wr0ng"));
  CHECK(eventually([&] { return open("dbname=postgres user=locked password=right").empty(); }));
}

TEST_CASE("a server without room for a connection is waited for") {
  Cluster const cluster;
  auto servers = cluster.balancer({.max = 2, .backoff = 20ms, .max_backoff = 100ms});
  Database database{servers};
  std::vector<Connection> all;
  try {
    for (int i = 0; i < 200; ++i) all.push_back(cluster.connect(0));
    FAIL("there was room for 200");
  } catch (Error const& error) {
    CHECK(error.fault().outcome.result == poise::Result::overloaded);
    CHECK(!error.fault().outcome.sent);
  }
  CHECK_THROWS_AS(database.write([](Connection&) {}, {.timeout = 300ms}), NoPrimary);
  std::thread leave{[&] {
    std::this_thread::sleep_for(200ms);
    all.clear();
  }};
  CHECK_NOTHROW(database.write([](Connection&) {}, {.timeout = 20s}));
  leave.join();
}

TEST_CASE("a broken transaction is not repeated and session state does not go around") {
  Cluster const cluster;
  auto servers = cluster.balancer({.max = 1, .check_after = 0s});
  Database database{servers};
  wait_for_roles(servers, database);
  database.write([](Connection& c) { c.query("create table log (id bigint primary key)"); });
  {
    INFO("a connection that is killed in a transaction");
    int calls = 0;
    auto const kill = [&](Connection& c) {
      ++calls;
      c.query("insert into log values (1)");
      cluster.connect(0).query("select pg_terminate_backend($1::int)", {pid_of(c)});
      std::this_thread::sleep_for(50ms);
      c.query("insert into log values (2)");
    };
    CHECK_THROWS_AS(database.write(kill), Error);
    CHECK(calls == 1);
    CHECK(rows_of(database) == 0);
  }
  {
    INFO("an idle connection that is killed is replaced, and no caller hears of it");
    auto const pid = database.write(pid_of).value;
    cluster.connect(0).query("select pg_terminate_backend($1::int)", {pid});
    REQUIRE(eventually([&] {
      return cluster.connect(0)
                 .query("select 1 from pg_stat_activity where pid = $1::int", {pid})
                 .size() == 0;
    }));
    CHECK(database.write(pid_of).value != pid);
  }
  {
    INFO("COPY");
    CHECK_THROWS_WITH(database.write([](Connection& c) { c.query("copy log from stdin"); }),
                      Catch::Contains("can't COPY"));
    CHECK(rows_of(database) == 0);
  }
  {
    INFO("LISTEN: the notification is not taken for an answer");
    database.write([](Connection& c) { c.query("listen news"); });
    cluster.connect(0).query("notify news");
    std::this_thread::sleep_for(50ms);
    for (int i = 0; i < 3; ++i) CHECK(rows_of(database) == 0);
  }
  {
    INFO("a transaction that is left open ends with its connection's use");
    auto held = servers.find("p")->payload().acquire();
    held->query("begin; insert into log values (3)");
    held.give_back();
    CHECK(rows_of(database) == 0);
    auto failed = servers.find("p")->payload().acquire();
    failed->query("begin");
    CHECK_THROWS_AS(failed->query("select 1/0"), Error);
    failed.give_back();
    CHECK(rows_of(database) == 0);
  }
  {
    INFO("a prepared statement stays where it was made");
    database.write([](Connection& c) { c.query("prepare count as select count(*) from log"); });
    auto const before = failures_of(servers);
    try {
      database.read([](Connection& c) { c.query("execute count"); });
      FAIL("a replica knew it");
    } catch (Error const& error) {
      CHECK(error.state() == "26000");
    }
    CHECK(failures_of(servers) == before);
  }
}

TEST_CASE("after a restart of the primary the next write succeeds") {
  Cluster cluster;
  auto servers = cluster.balancer({.max = 2, .backoff = 20ms, .max_backoff = 100ms});
  Database database{servers};
  wait_for_roles(servers, database);
  database.write([](Connection& c) { c.query("create table log (id bigint primary key)"); });
  cluster.kill(0);
  cluster.start(0);
  CHECK_NOTHROW(database.write([](Connection& c) { c.query("insert into log values (1)"); },
                               {.timeout = 20s}));
  CHECK(rows_of(database) == 1);
}

TEST_CASE("no read fails while a replica hangs or is cut off and the rest serves") {
  Cluster cluster;
  Servers servers{cluster.endpoints(),
                  poise::postgres::servers(tests::settings, {.max = 4}, tests::query_limit)};
  poise::sql::Database database{servers, poise::postgres::Dialect{.begin_limit = 300ms}};
  wait_for_roles(servers, database);
  database.write([](Connection& c) { c.query("create table log (id bigint)"); });
  auto const port_of = [](Connection& c) { return std::string{c.query("show port").text(0, 0)}; };
  auto const readers = [&](poise::sql::ReadOptions options) {
    options.timeout = 20s;
    std::set<std::string> ports;
    for (int i = 0; i < 40; ++i) ports.insert(database.read(port_of, options));
    return ports;
  };
  CHECK(readers({}).size() == 2);
  {
    INFO("it hangs");
    cluster.stop(1);
    CHECK_NOTHROW(readers({}));
    database.look();
    CHECK(readers({}).size() == 1);
    cluster.go_on(1);
    CHECK(eventually([&] {
      database.look();
      return readers({}).size() == 2;
    }));
  }
  {
    INFO("it gets nothing from the primary any more, which no server calls a lag");
    auto lonely = cluster.connect(1);
    lonely.query("alter system set primary_conninfo = ''");
    lonely.query("select pg_reload_conf()");
    auto const lonely_port = port_of(lonely);
    auto const stopped = [&] {
      return lonely.query("select 1 from pg_stat_wal_receiver").size() == 0;
    };
    REQUIRE(eventually(stopped));
    auto const is_passed_over = [&] {
      database.write([](Connection& c) { c.query("insert into log values (1)"); });
      database.look();
      return !readers({.max_bytes = 0, .wait = 1s}).contains(lonely_port);
    };
    CHECK(eventually(is_passed_over));
  }
  {
    INFO("a user without rights learns no timeline of a replica, and reads all the same");
    cluster.connect(0).query("create role plain login");
    Servers few{cluster.endpoints(), poise::postgres::servers("dbname=postgres user=plain")};
    Database plain{few};
    REQUIRE(eventually([&] {
      plain.look();
      return few.find("r2")->payload().node().state().role == Role::replica;
    }));
    CHECK(plain.read(port_of) != port_of(*few.find("p")->payload().acquire()));
  }
  {
    INFO("no replica is left");
    cluster.kill(1);
    cluster.kill(2);
    // Commits wait for one of them otherwise.
    cluster.connect(0).query("alter system set synchronous_standby_names = ''");
    cluster.connect(0).query("select pg_reload_conf()");
    CHECK(readers({}).size() == 1);
  }
}

}  // namespace integration_databases_bad_input
