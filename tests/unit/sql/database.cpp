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

#include <poise/analysis/explain.hpp>
#include <poise/balancer.hpp>
#include <poise/compose/bounded.hpp>
#include <poise/compose/failover.hpp>
#include <poise/policy/power_of_two.hpp>
#include <poise/policy/rendezvous.hpp>
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
  int promoted_at_look = 0;
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
  bool tells_role = true;
};

/// A connection to one of them.
struct Line {
  World* world = nullptr;
  Machine* machine = nullptr;
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
    if (machine.promoted_at_look > 0 && --machine.promoted_at_look == 0) {
      machine.role = Role::primary;
      ++machine.timeline;
    }
    return {machine.role, {machine.timeline, machine.position}};
  }
  Role told(Line& line) const {
    std::scoped_lock const lock{world->mutex};
    return world->tells_role ? line.machine->role : Role::unknown;
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

  explicit Shop(poise::sql::Options const& options = {})
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
        database{servers, Dialect{&world}, options} {
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

TEST_CASE("a server whose connections do not tell its role keeps the one that it said last") {
  Shop shop;
  shop.world.tells_role = false;
  for (int i = 0; i < 5; ++i) CHECK(shop.write().value == "p");
  for (int i = 0; i < 5; ++i) CHECK(shop.database.read(id_of) != "p");
  CHECK(shop.database.counts().looks == 1);
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

TEST_CASE("the longest wait and timeout are no limit, and negative ones leave no time") {
  constexpr auto forever = poise::Duration::max();
  Shop shop;
  auto const token = shop.write(forever).token;
  shop["s"].position += 1;
  shop.database.look();
  shop["s"].catches_up_at_look = 3;
  CHECK(shop.database.read(id_of, {.after = token, .wait = forever, .timeout = forever}) == "s");
  CHECK(shop.database.counts().primary_reads == 0);
  for (auto const age : {forever, poise::Duration::min()})
    CHECK_FALSE(
        shop.database.read(id_of, {.max_age = age, .wait = age, .timeout = forever}).empty());
  CHECK_THROWS_AS(shop.write(poise::Duration::min()), poise::sql::NoPrimary);
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

TEST_CASE("an explained pick tells how far each replica is behind") {
  Shop shop;
  for (int i = 1; i <= 20; ++i) {
    shop.clock.advance(1s);
    shop["p"].position += 10;
    shop["s"].position = shop["p"].position;
    shop.database.look();
  }
  auto const explained = [&](poise::sql::Freshness const& freshness) {
    auto const fresh = shop.database.fresh(freshness);
    return message(poise::analysis::explain(shop.servers, {.condition = fresh}));
  };
  auto const text = explained({.max_age = 5s});
  CHECK_THAT(text, Catch::Contains("picks s"));
  CHECK_THAT(text, Catch::Contains("p: refused by the condition (the primary)"));
  CHECK_THAT(text, Catch::Contains("r: refused by the condition (behind by 200 bytes, 19 s)"));
  CHECK_THAT(explained({.after = {1, 1'000}}), Catch::Contains("(behind by 900 bytes, 19 s)"));
  CHECK_THAT(explained({.after = {2, 0}}), Catch::Contains("(on timeline 1, not 2)"));
  shop.servers.find("r")->payload().node().forget_role();
  CHECK_THAT(explained({}), Catch::Contains("(its role is not known)"));
}

TEST_CASE("a fresh replica is picked under every policy and wrapper") {
  Shop shop;
  shop["p"].position = 140;
  shop["s"].position = 101;
  shop.database.look();
  auto const check = [&](auto policy) {
    poise::Balancer<decltype(policy), poise::sql::Server<Pool>> others{
        tests::letters("prs"),
        [&](poise::Endpoint const& endpoint) {
          poise::sql::Server<Pool> server{Pool{{.open = [](poise::Duration) { return Line{}; }}}};
          auto const state = shop.servers.find(endpoint.id)->payload().node().state();
          server.node().observe({state.role, state.reached}, {});
          return server;
        },
        policy};
    poise::sql::Fresh<typename decltype(others)::Backend> const same{
        shop.database.cluster(), {.max_bytes = 39}, shop.clock.now()};
    CAPTURE(others.name());
    for (int i = 0; i < 20; ++i) {
      auto const key = std::to_string(i);
      auto lease = others.pick({.route_key = key, .condition = same});
      REQUIRE(lease);
      CHECK(lease->id() == "s");
    }
  };
  CHECK(shop.database.fresh({.max_bytes = 39})(*shop.servers.find("s")));
  check(poise::P2C{});
  check(poise::RoundRobin{});
  check(poise::Rendezvous{});
  check(poise::Failover{{}, poise::P2C{}});
  check(poise::Bounded{{}, poise::Rendezvous{}});
}

TEST_CASE("reads that fall back to the primary are limited to a fraction of all reads") {
  Shop shop{{.max_primary_share = 0.25, .min_primary_reads = 2}};
  auto const token = shop.write().token;
  poise::sql::ReadOptions const behind{.after = token, .wait = 0s, .timeout = 5ms};
  for (int i = 0; i < 96; ++i) shop.database.read(id_of);
  int served = 0;
  int refused = 0;
  for (int i = 0; i < 60; ++i) {
    try {
      auto const reader = shop.database.read(id_of, behind);
      CHECK(reader == "p");
      ++served;
    } catch (NotFresh const&) {
      ++refused;
    }
  }
  CHECK(served >= 24);  // a quarter of the reads before them
  CHECK(served <= 2 + (96 + 60) / 4);
  CHECK(refused == 60 - served);
  CHECK(shop.database.counts().primary_reads == static_cast<std::uint64_t>(served));
  CHECK(shop.database.counts().limited_reads >= static_cast<std::uint64_t>(refused));
  shop.clock.advance(3s);
  CHECK(shop.database.read(id_of, behind) == "p");  // the minimum
  CHECK_NOTHROW(shop.write());                      // writes are not limited
}

TEST_CASE("a limit of the primary's share that makes no sense is refused") {
  CHECK_THROWS_WITH((Shop{{.max_primary_share = 1.5}}),
                    Catch::Contains("max_primary_share of sql::Options is 1.5"));
}

TEST_CASE("a read that the limit holds back is served as soon as a replica has caught up") {
  Shop shop{{.max_primary_share = 0, .min_primary_reads = 0}};
  auto const token = shop.write().token;
  shop["r"].catches_up_at_look = 5;
  CHECK(shop.database.read(id_of, {.after = token, .wait = 0s, .timeout = 20s}) == "r");
  CHECK(shop.database.counts().limited_reads > 0);
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
                    Catch::Contains("no primary for 3 s; the last was \"p\" on timeline 1") &&
                        Catch::Contains("\"p\" said: broken"));
  CHECK_NOTHROW(shop.database.read(id_of));
}

TEST_CASE("of two primaries on one timeline the first goes on until it is none") {
  Shop shop;
  shop["r"].role = Role::primary;
  shop["r"].position = 1'000;
  for (int i = 0; i < 5; ++i) {
    shop.database.look();
    CHECK(shop.write().value == "p");
    CHECK(shop.database.read(id_of) == "s");
  }
  shop["p"].down = true;
  CHECK(shop.write().value == "r");
  shop["p"].down = false;
  shop.database.look();
  CHECK(shop.write().value == "r");
  shop.servers.remove("r");
  shop.clock.advance(5s);
  CHECK(shop.write().value == "p");  // the other one was not seen for long
}

TEST_CASE("without a replica all reads go to the primary") {
  Shop shop;
  shop["r"].down = shop["s"].down = true;
  shop.database.look();
  for (int i = 0; i < 5; ++i) CHECK(shop.database.read(id_of, {.max_age = 1s}) == "p");
  CHECK(shop.database.counts().primary_reads == 5);
}

TEST_CASE("a replica that is promoted while a read waits for it serves the read as the primary") {
  Shop shop;
  auto const token = shop.write().token;
  shop["p"].down = true;
  shop["s"].position += 1;
  shop.database.look();
  shop["s"].promoted_at_look = 3;
  CHECK(shop.database.read(id_of, {.after = token, .wait = 10s}) == "s");
  CHECK(shop.database.counts().primary_reads == 1);
}

TEST_CASE("a clock that goes back makes no lagging replica fresh") {
  Shop shop;
  shop.clock.advance(1h);
  for (int i = 1; i <= 20; ++i) {
    shop.clock.advance(1s);
    shop["p"].position += 10;
    shop.database.look();
  }
  shop.clock.advance(-10s);
  shop["r"].position = 160;  // as the primary was 14 s ago
  shop["s"].position = shop["p"].position;
  shop.database.look();
  for (int i = 0; i < 4; ++i) CHECK(shop.database.read(id_of, {.max_age = 5s, .wait = 0s}) == "s");
  shop.clock.advance(1h);
  for (int i = 0; i < 4; ++i) CHECK(shop.database.read(id_of, {.max_age = 5s, .wait = 0s}) == "s");
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
