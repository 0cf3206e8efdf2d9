// SPDX-License-Identifier: MIT
// Which server a read or a write goes to: with three servers that only count.

#include <chrono>
#include <cstdint>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <poise/balancer.hpp>
#include <poise/policy/round_robin.hpp>
#include <poise/pool/pool.hpp>
#include <poise/sql/database.hpp>

#include "support/catch.hpp"
#include "support/servers.hpp"

namespace unit_sql_database {

using namespace std::chrono_literals;
using poise::Result;
using poise::sql::CommitUnknown;
using poise::sql::Fallback;
using poise::sql::NoPrimary;
using poise::sql::NotFresh;
using poise::sql::Role;

namespace {

/// A database server; a mutex guards all of them, since looks come from threads.
struct Machine {
  std::string id{};
  Role role = Role::replica;
  std::uint64_t timeline = 1;
  std::uint64_t position = 100;
  bool down = false;
  bool breaks_in_commit = false;
  int catches_up_at_look = 0;  // so many looks from now, if above 0
  int writes = 0;
};

struct Broken : std::runtime_error {
  using std::runtime_error::runtime_error;
};
struct WrongRole : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct World {
  std::mutex mutex{};
  std::map<std::string, Machine> machines{};
  std::uint64_t newest = 100;
};

/// A connection to one of them.
struct Line {
  World* world;
  Machine* machine;
  Machine& use() const {
    if (machine->down) throw Broken{"broken"};
    return *machine;
  }
};

struct Dialect {
  World* world;

  poise::sql::Observation look(Line& line, poise::Duration) const {
    std::scoped_lock const lock{world->mutex};
    auto& machine = line.use();
    if (machine.catches_up_at_look > 0 && --machine.catches_up_at_look == 0)
      machine.position = world->newest;
    return {machine.role, {machine.timeline, machine.position}};
  }
  Role told(Line& line) const {
    std::scoped_lock const lock{world->mutex};
    return line.machine->role;
  }
  void begin(Line& line, bool writes) const {
    std::scoped_lock const lock{world->mutex};
    if (writes && line.use().role != Role::primary) throw WrongRole{"read only"};
  }
  poise::sql::Token commit(Line& line) const {
    std::scoped_lock const lock{world->mutex};
    if (line.machine->breaks_in_commit) line.machine->down = true;
    return {0, line.use().position};
  }
  poise::sql::Fault fault_of(std::exception_ptr const& thrown) const {
    try {
      std::rethrow_exception(thrown);
    } catch (Broken const&) {
      return {.outcome = Result::reset};
    } catch (WrongRole const&) {
      return {.outcome = Result::rejected, .wrong_role = true};
    } catch (...) {
      return {.outcome = Result::cancelled};
    }
  }
};

using Pool = poise::pool::Pool<Line>;
using Servers = poise::Balancer<poise::RoundRobin, poise::sql::Server<Pool>,
                                poise::Runtime<poise::VirtualClock>>;

/// A primary "p" and two replicas "r" and "s", looked at once.
struct Shop {
  World world{};
  poise::VirtualClock clock{};
  Servers servers;
  poise::sql::Database<Servers, Dialect> database;

  Shop()
      : servers{tests::letters("prs"),
                [this](poise::Endpoint const& endpoint) {
                  auto& machine = world.machines[endpoint.id];
                  machine.id = endpoint.id;
                  return poise::sql::Server<Pool>{Pool{{.open =
                                                            [this, &machine](poise::Duration) {
                                                              std::scoped_lock const lock{
                                                                  world.mutex};
                                                              Line const line{&world, &machine};
                                                              static_cast<void>(line.use());
                                                              return line;
                                                            },
                                                        .check = {},
                                                        .reset = {},
                                                        .close = {}},
                                                       {.backoff = 1us, .max_backoff = 1us}}};
                },
                {},
                {.clock = clock, .seed = 1}},
        database{servers, Dialect{&world}} {
    world.machines["p"].role = Role::primary;
    database.look();
  }

  Machine& operator[](char const* id) { return world.machines[id]; }

  /// One row more, on the primary's log.
  static std::string write_on(Line& line) {
    std::scoped_lock const lock{line.world->mutex};
    ++line.machine->writes;
    line.world->newest = line.machine->position += 10;
    return line.machine->id;
  }
  auto write(poise::Duration timeout = 5s) {
    return database.write(write_on, {.timeout = timeout});
  }
  void replicate() {
    for (auto& [id, machine] : world.machines) machine.position = world.newest;
  }
  void promote(char const* id) {
    (*this)[id].role = Role::primary;
    ++(*this)[id].timeline;
  }
};

std::string id_of(Line& line) { return line.machine->id; }

}  // namespace

TEST_CASE("writes go to the primary, reads to all replicas") {
  Shop shop;
  CHECK(shop.write().value == "p");
  std::set<std::string> readers;
  for (int i = 0; i < 10; ++i) readers.insert(shop.database.read(id_of));
  CHECK(readers == std::set<std::string>{"r", "s"});
  CHECK(shop.database.counts().replica_reads == 10);
  CHECK(shop.database.counts().writes == 1);
}

TEST_CASE("a read after a write goes to a server that has it") {
  Shop shop;
  auto const token = shop.write().token;
  CHECK(shop.database.read(id_of, {.after = token, .wait = 1ms}) == "p");
  CHECK(shop.database.counts().primary_reads == 1);
  shop["s"].position = shop.world.newest;
  shop.database.look();
  for (int i = 0; i < 5; ++i) CHECK(shop.database.read(id_of, {.after = token}) == "s");
}

TEST_CASE("a replica that does not catch up in time loses no connection, and is not to blame") {
  Shop shop;
  auto const token = shop.write().token;
  for (int i = 0; i < 5; ++i)
    CHECK(shop.database.read(id_of, {.after = token, .wait = 300us}) == "p");
  for (char const* id : {"r", "s"}) {
    auto const replica = shop.servers.find(id);
    CHECK(replica->payload().numbers().opened == 1);
    CHECK(replica->failed() == 0);
    CHECK(replica->payload().node().state().role == Role::replica);
  }
}

TEST_CASE("a read waits for the replica that is ahead, if it catches up in time") {
  Shop shop;
  auto const token = shop.write().token;
  shop["s"].position += 1;
  shop.database.look();
  shop["s"].catches_up_at_look = 3;
  CHECK(shop.database.read(id_of, {.after = token, .wait = 10s}) == "s");
  CHECK(shop.database.counts().waited_reads == 1);
  CHECK(shop.database.counts().primary_reads == 0);
}

TEST_CASE("what a read does if no replica is fresh is the caller's choice") {
  Shop shop;
  auto const token = shop.write().token;
  poise::sql::ReadOptions options{.after = token, .wait = 0s, .timeout = 50ms};
  options.fallback = Fallback::stale;
  CHECK(shop.database.read(id_of, options) != "p");
  CHECK(shop.database.counts().stale_reads == 1);
  options.fallback = Fallback::fail;
  CHECK_THROWS_AS(shop.database.read(id_of, options), NotFresh);
  CHECK_THROWS_WITH(shop.database.read(id_of, options),
                    Catch::Contains("reached position 110 of timeline 1"));
}

TEST_CASE("a replica that lags in bytes is passed over") {
  Shop shop;
  shop["p"].position = 140;
  shop["s"].position = 101;
  shop.database.look();
  auto const& node = shop.servers.find("r")->payload().node();
  CHECK(shop.database.cluster().bytes_behind(node) == 40);
  for (int i = 0; i < 4; ++i)
    CHECK(shop.database.read(id_of, {.max_bytes = 39, .wait = 0s}) == "s");
}

TEST_CASE("a replica that lags in time is passed over, whatever the clocks say") {
  Shop shop;
  for (int i = 1; i <= 20; ++i) {
    shop.clock.advance(1s);
    shop["p"].position += 10;
    shop["s"].position = shop["p"].position - 10;
    shop["r"].position = shop["p"].position - 100;  // as the primary was 10 s ago
    shop.database.look();
  }
  for (int i = 0; i < 4; ++i) CHECK(shop.database.read(id_of, {.max_age = 9s, .wait = 0s}) == "s");
  std::set<std::string> readers;
  for (int i = 0; i < 4; ++i) readers.insert(shop.database.read(id_of, {.max_age = 10s}));
  CHECK(readers.size() == 2);
  for (auto const* id : {"r", "s"}) shop.servers.find(id)->payload().node().forget_role();
  CHECK(shop.database.read(id_of, {.max_age = 10s, .wait = 0s}) == "p");
}

TEST_CASE("a session reads its own writes, and never less than it read before") {
  Shop shop;
  auto session = shop.database.session();
  session.write(Shop::write_on);
  CHECK(session.token().position == 110);
  CHECK(session.read(id_of, {.wait = 0s}) == "p");
  shop["r"].position = 150;  // more than the session wrote
  shop.database.look();
  CHECK(session.read(id_of) == "r");
  CHECK(session.token().position == 150);
  shop["s"].position = 149;
  shop.database.look();
  for (int i = 0; i < 4; ++i) CHECK(session.read(id_of) == "r");
}

TEST_CASE("a write waits while there is no primary, and goes on with the next") {
  Shop shop;
  shop["p"].down = true;
  std::thread promotion{[&] {
    std::this_thread::sleep_for(50ms);
    std::scoped_lock const lock{shop.world.mutex};
    shop.promote("r");
  }};
  auto const written = shop.write();
  promotion.join();
  CHECK(written.value == "r");
  CHECK(written.token.timeline == 2);
}

TEST_CASE("a write that finds no primary says which one was the last") {
  Shop shop;
  shop["p"].down = true;
  shop.clock.advance(3s);
  CHECK_THROWS_AS(shop.write(20ms), NoPrimary);
  CHECK_THROWS_WITH(shop.write(20ms),
                    Catch::Contains("no primary for 3 s; the last was \"p\" on timeline 1"));
  CHECK_NOTHROW(shop.database.read(id_of));
}

TEST_CASE("an old primary that is back gets neither writes nor reads") {
  Shop shop;
  shop["p"].down = true;
  shop.promote("r");
  shop.database.look();
  shop["p"].down = false;
  shop.database.look();
  for (int i = 0; i < 5; ++i) CHECK(shop.write().value == "r");
  for (int i = 0; i < 5; ++i) CHECK(shop.database.read(id_of) == "s");
  CHECK(shop["p"].writes == 0);
}

TEST_CASE("a primary that was demoted is found by what its connections tell") {
  Shop shop;
  shop.write();
  shop["p"].role = Role::replica;
  shop.promote("s");
  CHECK(shop.write().value == "s");
}

TEST_CASE("a commit whose answer is lost is neither repeated nor called a failure") {
  Shop shop;
  shop["p"].breaks_in_commit = true;
  CHECK_THROWS_AS(shop.write(), CommitUnknown);
  CHECK(shop["p"].writes == 1);
  try {
    shop["p"].down = false;
    shop.write();
  } catch (CommitUnknown const& unknown) {
    CHECK_THROWS_AS(std::rethrow_if_nested(unknown), Broken);
  }
}

TEST_CASE("a transaction that broke is not repeated, and one that the caller broke is no failure") {
  Shop shop;
  int calls = 0;
  CHECK_THROWS_AS(shop.database.write([&](Line&) {
    ++calls;
    throw Broken{"in the middle"};
  }),
                  Broken);
  CHECK(calls == 1);
  shop.database.look();
  CHECK_THROWS_AS(shop.database.write([](Line&) { throw std::logic_error{"mine"}; }),
                  std::logic_error);
  CHECK(shop.servers.find("p")->failed() == 1);
}

TEST_CASE("a read that breaks goes to another server, and fails after the last") {
  Shop shop;
  std::vector<std::string> tried;
  auto const read = [&](Line& line) {
    tried.push_back(id_of(line));
    if (tried.size() < 2) throw Broken{"in the middle"};
    return 7;
  };
  CHECK(shop.database.read(read) == 7);
  CHECK(std::set<std::string>(tried.begin(), tried.end()).size() == 2);
  shop.database.look();
  int calls = 0;
  CHECK_THROWS_AS(shop.database.read([&](Line&) {
    ++calls;
    throw Broken{"always"};
  }),
                  Broken);
  CHECK(calls == 3);
}

TEST_CASE("a replica of which nothing is known is not read from") {
  Shop shop;
  shop["r"].down = true;
  shop.database.look();
  for (int i = 0; i < 4; ++i) CHECK(shop.database.read(id_of) == "s");
}

}  // namespace unit_sql_database
