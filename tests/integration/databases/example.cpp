// SPDX-License-Identifier: MIT
// examples/database against a real cluster whose replicas stop to follow.

#include <cstdlib>
#include <fstream>
#include <future>
#include <iterator>
#include <string>

#include "integration/databases/cluster.hpp"
#include "support/catch.hpp"

namespace integration_databases_example {

namespace {

/// What the program prints, and its status.
struct Run {
  int status = 0;
  std::string text{};
};

Run run(tests::Cluster const& cluster, std::string const& arguments) {
  auto const output = cluster.folder() + "/output";
  auto const hosts = cluster.address(0) + ',' + cluster.address(1) + ',' + cluster.address(2);
  Run result;
  result.status = std::system((std::string{POISE_TEST_DATABASE} + " --hosts " + hosts + ' ' +
                               arguments + " >" + output + " 2>&1")
                                  .c_str());
  std::ifstream file{output};
  result.text.assign(std::istreambuf_iterator<char>{file}, {});
  return result;
}

/// Runs it while both replicas stand still from some transfer on.
Run run_with_a_pause(tests::Cluster const& cluster, std::string const& arguments) {
  auto program = std::async(std::launch::async, [&] { return run(cluster, arguments); });
  for (int i : {1, 2}) {
    auto replica = cluster.connect(i);
    auto const follows = [&] {
      auto const exists = replica.query("select to_regclass('poise_clients') is not null");
      return exists.text(0, 0) == "t" &&
             replica.query("select 1 from poise_clients where made > 2").size() != 0;
    };
    CHECK(tests::eventually(follows));
    replica.query("select pg_wal_replay_pause()");
  }
  auto result = program.get();
  for (int i : {1, 2}) cluster.connect(i).query("select pg_wal_replay_resume()");
  INFO(result.text);
  CHECK(result.text.find("wrong sums 0,") != std::string::npos);
  return result;
}

}  // namespace

TEST_CASE("clients of the example see their own transfers with tokens, and miss some without") {
  tests::Cluster const cluster;
  auto const without = run_with_a_pause(cluster, "--tokens off --seconds 3 --rate 50");
  INFO(without.text);
  CHECK(without.text.find("stale reads 0,") == std::string::npos);
  cluster.connect(0).query("drop table poise_accounts, poise_clients");
  auto const dropped = [&] {
    for (int i : {1, 2})
      if (cluster.connect(i).query("select to_regclass('poise_clients')").is_null(0, 0) == false)
        return false;
    return true;
  };
  REQUIRE(tests::eventually(dropped));
  auto const with = run_with_a_pause(cluster, "--tokens on --seconds 3 --rate 50");
  INFO(with.text);
  CHECK(with.status == 0);
  CHECK(with.text.find("\nstale reads 0,") != std::string::npos);
}

TEST_CASE("the example says what is wrong with its command line") {
  tests::Cluster const cluster;
  auto const refused = [&](char const* arguments, char const* text) {
    auto const result = run(cluster, arguments);
    INFO(result.text);
    CHECK(result.status != 0);
    CHECK(result.text.find(text) != std::string::npos);
  };
  refused("--tokens maybe", "--tokens is \"maybe\", but must be on or off");
  refused("--rate 0", "must be a whole number from 1");
  refused("--hots x", "there is no option --hots");
  refused("--settings 'pasword secret' --seconds 1", "no connection string");
}

}  // namespace integration_databases_example
