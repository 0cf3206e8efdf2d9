// SPDX-License-Identifier: MIT
#pragma once

// A real primary with two streaming replicas, for the lifetime of a value.

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <unistd.h>

#include <poise/balancer.hpp>
#include <poise/policy/power_of_two.hpp>
#include <poise/postgres/connection.hpp>
#include <poise/postgres/dialect.hpp>
#include <poise/sql/database.hpp>

namespace tests {

inline constexpr char const* settings = "dbname=postgres user=postgres";

/// Longer than any query of these tests takes on a busy machine.
inline constexpr std::chrono::seconds query_limit{10};

using Servers = poise::Balancer<poise::P2C, poise::postgres::Server>;
using Database = poise::sql::Database<Servers, poise::postgres::Dialect>;

class Cluster {
 public:
  Cluster() {
    if (mkdtemp(folder_.data()) == nullptr) throw std::runtime_error{"no folder in /tmp"};
    run("create", std::to_string(port_));
  }
  Cluster(Cluster const&) = delete;
  Cluster& operator=(Cluster const&) = delete;
  ~Cluster() { static_cast<void>(call("remove", "")); }

  /// p, r1 and r2 by number.
  [[nodiscard]] std::string address(int server) const {
    return "127.0.0.1:" + std::to_string(port_ + server);
  }
  [[nodiscard]] std::vector<poise::Endpoint> endpoints() const {
    std::vector<poise::Endpoint> result;
    for (int i = 0; i < 3; ++i) result.push_back({.id = name(i), .address = address(i)});
    return result;
  }
  [[nodiscard]] Servers balancer(poise::pool::Options const& options = {}) const {
    return Servers{endpoints(), poise::postgres::servers(settings, options, query_limit)};
  }
  /// A connection beside the balancer.
  [[nodiscard]] poise::postgres::Connection connect(int server) const {
    return poise::postgres::Connection::open(address(server), settings, std::chrono::seconds{5});
  }
  [[nodiscard]] std::string const& folder() const noexcept { return folder_; }
  void kill(int server) { run("kill", name(server)); }
  /// It hangs: its connections stand, and nothing answers.
  void stop(int server) { run("stop", name(server)); }
  void go_on(int server) { run("cont", name(server)); }
  void start(int server) { run("start", name(server) + ' ' + std::to_string(port_ + server)); }
  /// Promotes a replica, and has the other one follow it.
  void promote(int server) {
    connect(server).query("select pg_promote(true, 20)");
    auto other = connect(3 - server);
    other.query("alter system set primary_conninfo = 'host=127.0.0.1 user=postgres port=" +
                std::to_string(port_ + server) + "'");
    other.query("select pg_reload_conf()");
  }

 private:
  static std::string name(int server) { return server == 0 ? "p" : "r" + std::to_string(server); }
  [[nodiscard]] int call(std::string const& command, std::string const& rest) const {
    auto const script = std::filesystem::path{__FILE__}.parent_path() / "servers.sh";
    return std::system(
        ("bash " + script.string() + ' ' + command + ' ' + folder_ + ' ' + rest).c_str());
  }
  void run(std::string const& command, std::string const& rest) const {
    if (call(command, rest) != 0)
      throw std::runtime_error{"servers.sh " + command + " failed: see what it says"};
  }

  std::string folder_ = "/tmp/poise-postgres-XXXXXX";
  int port_ = 20'000 + ::getpid() % 10'000 * 3 % 12'000;
};

/// Waits until something holds; false after 20 s.
template <class Holds>
bool eventually(Holds const& holds) {
  auto const end = std::chrono::steady_clock::now() + std::chrono::seconds{20};
  while (!holds()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds{10});
  }
  return true;
}

}  // namespace tests
