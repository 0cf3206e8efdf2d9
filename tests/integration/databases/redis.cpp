// SPDX-License-Identifier: MIT
// A real Redis primary with two replicas, and a real Sentinel that promotes one of them.

#include <signal.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <poise/balancer.hpp>
#include <poise/policy/power_of_two.hpp>
#include <poise/redis/dialect.hpp>
#include <poise/sql/database.hpp>

#include "integration/servers/program.hpp"
#include "support/catch.hpp"

namespace integration_databases_redis {

using namespace std::chrono_literals;
using poise::Result;
using poise::redis::Connection;
using poise::redis::Error;
using poise::sql::Role;

namespace {

using RedisServers = poise::Balancer<poise::P2C, poise::redis::Server>;
using RedisDatabase = poise::sql::Database<RedisServers, poise::redis::Dialect>;

template <class Holds>
bool comes_true(Holds const& holds) {
  auto const end = std::chrono::steady_clock::now() + 30s;
  while (!holds()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(10ms);
  }
  return true;
}

/// A primary 0 and its replicas 1 and 2.
class RedisCluster {
 public:
  RedisCluster() {
    for (auto& port : ports_) port = tests::free_port();
    for (std::size_t i = 0; i < 3; ++i) start(i, i != 0);
  }
  void start(std::size_t i, bool follows) {
    std::vector<std::string> command{"redis-server",
                                     "--port",
                                     std::to_string(ports_[i]),
                                     "--bind",
                                     "127.0.0.1",
                                     "--save",
                                     "",
                                     "--dir",
                                     scratch_.path(),
                                     "--logfile",
                                     "redis.log",
                                     "--repl-diskless-sync-delay",
                                     "0",
                                     "--repl-ping-replica-period",
                                     "1"};
    if (follows) {
      command.emplace_back("--replicaof");
      command.emplace_back("127.0.0.1 " + std::to_string(ports_[0]));
    }
    programs_[i].emplace(std::move(command), ports_[i]);
  }
  void kill(std::size_t i) {
    programs_[i]->signal(SIGKILL);
    programs_[i].reset();
  }
  void stop(std::size_t i) { programs_[i]->signal(SIGSTOP); }
  void go_on(std::size_t i) { programs_[i]->signal(SIGCONT); }

  /// Its replication stands still, and goes on: with a wrong password it can't follow.
  void set_following(std::size_t i, bool follows) const {
    auto replica = connect(i);
    replica.command({"CONFIG", "SET", "masterauth", follows ? "" : "wrong"});
    replica.command({"CLIENT", "KILL", "TYPE", "master"});
  }
  void watch_with_sentinel() {
    auto const port = tests::free_port();
    auto const file =
        scratch_.write("sentinel.conf",
                       "port " + std::to_string(port) + "\nbind 127.0.0.1\ndir " + scratch_.path() +
                           "\nlogfile sentinel.log\nsentinel monitor poise 127.0.0.1 " +
                           std::to_string(ports_[0]) +
                           " 1\nsentinel down-after-milliseconds poise 500\n"
                           "sentinel failover-timeout poise 3000\n");
    sentinel_.emplace(std::vector<std::string>{"redis-server", file, "--sentinel"}, port);
    auto watcher = Connection::open("127.0.0.1:" + std::to_string(port), {}, 10s);
    REQUIRE(comes_true([&] {
      return watcher.command({"SENTINEL", "REPLICAS", "poise"}).size() == 2 &&
             watcher.command({"SENTINEL", "CKQUORUM", "poise"}).text().starts_with("OK");
    }));
  }

  [[nodiscard]] std::string address(std::size_t i) const {
    return "127.0.0.1:" + std::to_string(ports_[i]);
  }
  [[nodiscard]] Connection connect(std::size_t i) const {
    return Connection::open(address(i), {}, 10s);
  }
  [[nodiscard]] RedisServers balancer(poise::pool::Options const& options = {}) const {
    std::vector<poise::Endpoint> endpoints;
    for (std::size_t i = 0; i < 3; ++i)
      endpoints.push_back({.id = std::to_string(i), .address = address(i)});
    return RedisServers{std::move(endpoints), poise::redis::servers({}, options)};
  }

 private:
  tests::Scratch scratch_{};
  std::array<std::uint16_t, 3> ports_{};
  std::array<std::optional<tests::Program>, 3> programs_{};
  std::optional<tests::Program> sentinel_{};
};

auto set(std::string const& key, std::string const& value) {
  return [=](Connection& c) { c.command({"SET", key, value}); };
}
auto get(std::string const& key) {
  return [=](Connection& c) { return std::string{c.command({"GET", key}).text()}; };
}
std::string port_of(Connection& c) {
  return std::string{c.command({"CONFIG", "GET", "port"})[1].text()};
}

/// Waits until roles are known and both replicas follow.
void await_replicas(RedisServers& servers, RedisDatabase& database) {
  REQUIRE(comes_true([&] {
    database.look();
    int primaries = 0;
    int replicas = 0;
    servers.for_each([&](auto& backend) {
      auto const role = backend.payload().node().state().role;
      primaries += role == Role::primary ? 1 : 0;
      replicas += role == Role::replica ? 1 : 0;
    });
    return primaries == 1 && replicas == 2;
  }));
  auto const token = database.write(set("ready", "1")).token;
  REQUIRE(comes_true([&] {
    database.look();
    int reached = 0;
    servers.for_each([&](auto& backend) {
      reached += backend.payload().node().state().reached >= token ? 1 : 0;
    });
    return reached == 3;
  }));
}

}  // namespace

TEST_CASE("Redis: writes go to the primary and reads to replicas and tokens keep reads fresh") {
  RedisCluster cluster;
  auto servers = cluster.balancer({.max = 4});
  RedisDatabase database{servers};
  await_replicas(servers, database);

  std::set<std::string> readers;
  for (int i = 0; i < 200; ++i) readers.insert(database.read(port_of));
  CHECK(readers.size() == 2);
  CHECK(!readers.contains(database.write(port_of).value));

  for (std::size_t i : {1U, 2U}) cluster.set_following(i, false);
  int stale = 0;
  int stale_in_session = 0;
  auto session = database.session();
  for (int i = 1; i <= 20; ++i) {
    auto const value = std::to_string(i);
    session.write(set("n", value));
    stale += database.read(get("n")) != value ? 1 : 0;
    stale_in_session += session.read(get("n"), {.wait = 2ms}) != value ? 1 : 0;
  }
  CHECK(stale > 0);
  CHECK(stale_in_session == 0);
  CHECK(database.counts().primary_reads > 0);

  for (std::size_t i : {1U, 2U}) cluster.set_following(i, true);
  CHECK(comes_true([&] {
    database.look();
    auto const before = database.counts().replica_reads;
    CHECK(session.read(get("n")) == "20");
    return database.counts().replica_reads > before;
  }));
}

TEST_CASE("Redis: Sentinel promotes a replica and the old primary gets no write when it returns") {
  RedisCluster cluster;
  cluster.watch_with_sentinel();
  auto servers = cluster.balancer({.max = 4, .backoff = 50ms, .max_backoff = 500ms});
  RedisDatabase database{servers};
  await_replicas(servers, database);

  std::mutex mutex;
  std::set<std::string> acknowledged;
  std::atomic<int> next{0};
  std::atomic<bool> stop{false};
  std::atomic<int> stale{0};
  auto const write = [&] {
    auto session = database.session();
    while (!stop) {
      auto const key = "key" + std::to_string(++next);
      bool has_it = false;
      try {
        has_it = session.write(
            [&](Connection& c) {
              c.command({"SET", key, "1"});
              return c.command({"WAIT", "1", "1000"}).number() >= 1;
            },
            {.timeout = 30s});
        if (session.read(get(key), {.timeout = 30s}) != "1") ++stale;
      } catch (std::exception const&) {
        continue;  // not acknowledged, or not read
      }
      if (!has_it) continue;  // a failover may lose it: Redis promises nothing
      std::scoped_lock const lock{mutex};
      acknowledged.insert(key);
    }
  };
  std::vector<std::thread> writers;
  for (int i = 0; i < 2; ++i) writers.emplace_back(write);
  auto const has_written = [&](std::size_t more) {
    auto const count = [&] {
      std::scoped_lock const lock{mutex};
      return acknowledged.size();
    };
    auto const before = count();
    return comes_true([&] {
      database.look();
      return count() >= before + more;
    });
  };
  CHECK(has_written(50));
  cluster.kill(0);
  CHECK(has_written(50));
  cluster.start(0, false);  // empty, and a primary until Sentinel says otherwise
  database.look();
  CHECK(has_written(50));
  auto old = cluster.connect(0);
  if (old.command({"ROLE"})[0].text() == "master")
    CHECK(old.command({"DBSIZE"}).number() == 0);  // none of ours
  stop = true;
  for (auto& writer : writers) writer.join();

  CHECK(stale == 0);
  auto const primary = database.write(port_of).value;
  auto now = Connection::open("127.0.0.1:" + primary, {}, 10s);
  int lost = 0;
  for (auto const& key : acknowledged) lost += get(key)(now) == "1" ? 0 : 1;
  CHECK(lost == 0);
}

TEST_CASE("Redis: no read fails while a replica hangs and is killed") {
  RedisCluster cluster;
  auto servers = RedisServers{
      [&] {
        std::vector<poise::Endpoint> endpoints;
        for (std::size_t i = 0; i < 3; ++i)
          endpoints.push_back({.id = std::to_string(i), .address = cluster.address(i)});
        return endpoints;
      }(),
      poise::redis::servers({.limit = 200ms}, {.max = 4})};
  RedisDatabase database{servers};
  await_replicas(servers, database);
  auto const read_often = [&] {
    for (int i = 0; i < 50; ++i) CHECK(database.read(get("ready"), {.timeout = 20s}) == "1");
  };
  read_often();
  cluster.stop(1);
  read_often();
  cluster.go_on(1);
  cluster.kill(2);
  read_often();
}

TEST_CASE("Redis: errors say what is wrong and whom they blame and show no password") {
  RedisCluster cluster;
  CHECK_THROWS_WITH(Connection::open(cluster.address(0), {.password = "secret"}, 10s),
                    Catch::Contains("AUTH") && !Catch::Contains("secret"));
  auto primary = cluster.connect(0);
  primary.command({"SET", "text", "x"});
  CHECK_THROWS_WITH(primary.command({"INCR", "text"}), Catch::Contains("not an integer"));
  CHECK(primary.command({"GET", "text"}).text() == "x");  // the connection is fine
  CHECK(primary.command({"GET", "none"}).is_null());
  CHECK_THROWS_AS(primary.command({"GET", "text"})[0], Error);
  try {
    auto replica = cluster.connect(1);
    replica.command({"SET", "text", "y"});
    FAIL("a replica took a write");
  } catch (Error const& error) {
    CHECK(error.fault().wrong_role);
  }
  try {
    static_cast<void>(Connection::open("127.0.0.1:1", {}, 10s));
    FAIL("nothing listens there");
  } catch (Error const& error) {
    CHECK(error.fault().outcome.result == Result::refused);
  }
  try {
    primary.command({"BLPOP", "none", "0"}, 20ms);
    FAIL("it answered");
  } catch (Error const& error) {
    CHECK(error.fault().outcome.result == Result::timeout);
  }
  CHECK_THROWS_AS(Connection::open("nowhere", {}, 1s), poise::ConfigError);
}

TEST_CASE("Redis: a connection that is not clean does not go back to its pool") {
  RedisCluster cluster;
  auto servers = cluster.balancer({.max = 2});
  auto& pool = servers.find("0")->payload();
  auto const idle_after = [&](Connection::Words words) {
    pool.acquire()->command(words);
    return pool.numbers().idle;
  };
  CHECK(idle_after({"PING"}) == 1);
  CHECK(idle_after({"multi"}) == 0);
  CHECK(idle_after({"SELECT", "1"}) == 0);
  CHECK(idle_after({"SUBSCRIBE", "news"}) == 0);
  auto held = pool.acquire();
  held->command({"MULTI"});
  held->command({"EXEC"});
  held.give_back();
  CHECK(pool.numbers().idle == 1);
}

TEST_CASE("Redis: histories are ordered by who follows whom") {
  using poise::redis::detail::Histories;
  using Clock = std::chrono::steady_clock;
  auto const start = Clock::time_point{} + 1h;
  Histories histories;
  auto const none = std::string(40, '0');
  CHECK(histories.number_of({true, "a", "A", none}, start) == 1);
  CHECK(histories.number_of({false, "b", "A", none}, start) == 1);
  CHECK(histories.number_of({true, "b", "B", "A"}, start + 1s) == 2);   // promoted
  CHECK(histories.number_of({true, "a", "A", none}, start + 2s) == 1);  // back
  CHECK(histories.number_of({true, "a", "X", none}, start + 2s) == 0);  // back, and empty
  CHECK(histories.number_of({true, "b", "Y", none}, start + 3s) == 3);  // it lost its data
  CHECK(histories.number_of({false, "c", "Z", none}, start + 1h) == 0);
  CHECK(histories.number_of({true, "c", "Z", "?"}, start + 1h) == 4);  // all others are gone
}

}  // namespace integration_databases_redis
