// SPDX-License-Identifier: MIT
// Lists that poise writes for nginx and HAProxy, beside the real programs; and HAProxy's agent.

#include <sys/un.h>

#include <chrono>
#include <cstdlib>
#include <functional>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>

#include <poise/asio/agent_check.hpp>
#include <poise/balancer.hpp>
#include <poise/discovery/haproxy.hpp>
#include <poise/discovery/nginx.hpp>
#include <poise/health/monitor.hpp>
#include <poise/policy/round_robin.hpp>
#include <poise/probe/haproxy.hpp>
#include <poise/probe/threads.hpp>
#include <poise/time.hpp>

#include "integration/servers/program.hpp"
#include "support/catch.hpp"
#include "support/servers.hpp"

namespace integration_servers_lists {

using namespace std::chrono_literals;
using namespace poise::discovery;
using poise::Endpoint;

namespace {

/// Weights, limits, backups, IPv6, a socket of the file system, and one that takes nothing.
std::vector<Endpoint> mixed() {
  return {{.id = "a", .address = "127.0.0.1:8001", .weight = 5, .max_in_flight = 100},
          {.id = "b", .address = "127.0.0.1:8002"},
          {.id = "c", .address = "[::1]:8003", .weight = 3, .tier = 1},
          {.id = "d", .address = "unix:/tmp/poise-test.sock"},
          {.id = "e", .address = "127.0.0.1:8005", .weight = 0}};
}

/// The exit code of a command, without what it prints.
int run(std::string const& command) {
  return std::system((command + " >/dev/null 2>&1").c_str());  // NOLINT(cert-env33-c): fixed texts
}

bool nginx_takes(std::string const& upstream) {
  tests::Scratch const scratch;
  auto const file = scratch.write(
      "nginx.conf",
      "pid " + scratch.path() + "/pid; error_log stderr; events {} http { " + upstream + " }");
  return run("nginx -t -e stderr -c " + file) == 0;
}

/// A HAProxy with a backend and a socket for its administrator.
class Haproxy {
 public:
  explicit Haproxy(std::string const& section)
      : port_{tests::free_port()},
        program_{{"haproxy", "-q", "-db", "-f", write(section)}, port_} {}

  /// One command, and what it says.
  std::string ask(std::string const& command) const {
    int const socket = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    admin().copy(address.sun_path, sizeof address.sun_path - 1);
    REQUIRE(::connect(socket, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    auto const line = command + "\n";
    REQUIRE(::send(socket, line.data(), line.size(), MSG_NOSIGNAL) > 0);
    std::string all;
    char part[4096];
    for (auto got = ::recv(socket, part, sizeof part, 0); got > 0;
         got = ::recv(socket, part, sizeof part, 0))
      all.append(part, static_cast<std::size_t>(got));
    ::close(socket);
    return all;
  }
  /// A column of `show stat` for a server.
  std::string stat(std::string const& server, std::string const& column) const {
    std::istringstream lines{ask("show stat")};
    std::vector<std::string> names;
    for (std::string line; std::getline(lines, line);) {
      std::vector<std::string> cells;
      std::istringstream words{line};
      for (std::string cell; std::getline(words, cell, ',');) cells.push_back(cell);
      if (names.empty()) names = cells;
      if (cells.size() < 2 || cells[1] != server) continue;
      for (std::size_t i = 0; i < names.size(); ++i)
        if (names[i] == column) return cells[i];
    }
    return "no such server or column";
  }

  [[nodiscard]] std::string admin() const { return scratch_.path() + "/admin"; }

 private:
  std::string write(std::string const& section) {
    return scratch_.write("haproxy.cfg",
                          "global\n stats socket " + admin() +
                              " level admin\ndefaults\n mode http\n timeout client 5s\n timeout "
                              "server 5s\n timeout connect 1s\n timeout check 1s\nfrontend in\n "
                              "bind 127.0.0.1:" +
                              std::to_string(port_) + "\n default_backend web\n" + section);
  }

  tests::Scratch scratch_{};
  std::uint16_t port_;
  tests::Program program_;
};

/// Waits until a column has this value.
bool becomes(Haproxy const& haproxy, std::string const& server, std::string const& column,
             std::string const& value) {
  for (int tries = 0; tries < 100; ++tries) {
    if (haproxy.stat(server, column) == value) return true;
    std::this_thread::sleep_for(50ms);
  }
  UNSCOPED_INFO(server << " " << column << ": " << haproxy.stat(server, column));
  return false;
}

}  // namespace

TEST_CASE("nginx takes the lists that poise writes, with every policy") {
  for (std::string const policy : {"least_connections", "random", "p2c", "adaptive"}) {
    CAPTURE(policy);
    CHECK(nginx_takes(to_nginx("web", mixed(), policy)));
    auto without_backup = mixed();
    without_backup.erase(without_backup.begin() + 2);
    CHECK(nginx_takes(to_nginx("web", without_backup, policy)));
    CHECK(nginx_takes(to_nginx("web", {}, policy)));
    CHECK(nginx_takes(to_nginx("web", {mixed()[4]}, policy)));  // none in service
  }
  CHECK_FALSE(nginx_takes("upstream web { server 127.0.0.1:0x; }"));  // it can refuse
}

TEST_CASE("HAProxy takes the lists that poise writes, and sees what they say") {
  auto list = mixed();
  list[0].weight = 1000;
  for (std::string const policy : {"least_connections", "random", "p2c", "adaptive"}) {
    CAPTURE(policy);
    Haproxy const haproxy{to_haproxy("web", list, policy, "")};
    CHECK(haproxy.stat("a", "weight") == "256");
    CHECK(haproxy.stat("a", "slim") == "100");
    CHECK(haproxy.stat("b", "weight") == "1");
    CHECK(haproxy.stat("c", "bck") == "1");
    CHECK(haproxy.stat("d", "bck") == "0");
    CHECK(haproxy.stat("e", "weight") == "0");
  }
}

TEST_CASE("HAProxy learns from the agent who is drained, down and warming up") {
  asio::io_context loop;
  poise::Balancer<poise::RoundRobin> servers{tests::letters("abc")};
  poise::asio::AgentCheck agent{
      loop.get_executor(), {asio::ip::address_v4::loopback(), 0}, servers};
  auto const work = asio::make_work_guard(loop);
  std::thread runs{[&] { loop.run(); }};
  auto const port = std::to_string(agent.port());
  std::string section = "backend web\n balance roundrobin\n";
  for (std::string const id : {"a", "b", "c", "x"})
    section += " server " + id +
               " 127.0.0.1:1 weight 200 agent-check agent-inter 50ms agent-addr " +
               "127.0.0.1 agent-port " + port + " agent-send \"" + id + "\\n\"\n";
  {
    Haproxy const haproxy{section};
    CHECK(becomes(haproxy, "a", "agent_status", "L7OK"));
    CHECK(becomes(haproxy, "a", "weight", "200"));
    servers.set_admission("a", {.share = 1U << 30U});
    CHECK(becomes(haproxy, "a", "weight", "50"));
    servers.set_admission("a", {.share = 2});
    CHECK(becomes(haproxy, "a", "weight", "2"));  // never 0 while it is in service
    servers.set_admission("a", {});
    servers.set_health("a", poise::HealthState::degraded);
    CHECK(becomes(haproxy, "a", "weight", "100"));
    servers.drain("b");
    CHECK(becomes(haproxy, "b", "status", "DRAIN (agent)"));
    servers.undrain("b");
    CHECK(becomes(haproxy, "b", "status", "no check"));
    servers.set_health("c", poise::HealthState::unhealthy);
    CHECK(becomes(haproxy, "c", "status", "DOWN (agent)"));
    servers.set_health("c", poise::HealthState::healthy);
    CHECK(becomes(haproxy, "c", "agent_status", "L7OK"));
    CHECK(haproxy.stat("x", "status") == "no check");  // unknown: nothing was said of it
    CHECK(agent.unanswered() > 0);
  }
  loop.stop();
  runs.join();
}

TEST_CASE("a probe asks HAProxy's runtime socket") {
  using poise::health::HaproxyProbe;
  Haproxy const haproxy{
      "backend web\n server a 127.0.0.1:1\n server b_1 127.0.0.1:1 check inter 20ms fall 1\n"
      " server c 127.0.0.1:1 disabled\n server d 127.0.0.1:1\n"};
  REQUIRE(becomes(haproxy, "b_1", "status", "DOWN"));
  HaproxyProbe const probe{haproxy.admin(), "web"};
  auto const asked = [&](std::string const& id) {
    return probe({.id = id}, poise::SteadyClock{}.now() + 2s);
  };
  CHECK(asked("a").passed);
  CHECK_FALSE(asked("b/1").passed);
  CHECK(asked("b/1").cause == "HAProxy says DOWN");
  CHECK_FALSE(asked("c").passed);
  CHECK(asked("c").cause == "HAProxy says MAINT");
  haproxy.ask("set server web/d state drain");
  CHECK_FALSE(asked("d").passed);
  CHECK(asked("nobody").inconclusive);
  CHECK(asked("nobody").cause == "HAProxy has no server web/nobody");
  CHECK(HaproxyProbe{haproxy.admin(), "other"}({.id = "a"}, poise::SteadyClock{}.now() + 2s)
            .inconclusive);
  auto const gone = HaproxyProbe{"/nowhere", "web"}({.id = "a"}, poise::SteadyClock{}.now() + 2s);
  CHECK(gone.inconclusive);
  CHECK(gone.cause == "HAProxy at /nowhere: No such file or directory");
  CHECK(probe({.id = "a"}, poise::SteadyClock{}.now()).inconclusive);
  CHECK_THROWS_AS((HaproxyProbe{std::string(108, 'x'), "web"}), poise::ConfigError);
  CHECK_THROWS_AS((HaproxyProbe{"/x", "web 4 -1; shutdown"}), poise::ConfigError);
}

TEST_CASE("HAProxy's verdicts keep a backend out, and let it in again") {
  Haproxy const haproxy{"backend web\n server a 127.0.0.1:1\n server b 127.0.0.1:1\n"};
  poise::health::Standard monitor;
  poise::Balancer<poise::RoundRobin, void, poise::health::Monitored> servers{
      tests::letters("ab"), {}, {.clock = {}, .observers = {monitor}}};
  poise::health::ProbeThreads probes{servers,
                                     monitor,
                                     poise::health::HaproxyProbe{haproxy.admin(), "web"},
                                     {.interval = 50ms, .timeout = 40ms, .rise = 1, .fall = 1}};
  auto const is = [&](poise::HealthState health) {
    for (int tries = 0; tries < 200; ++tries) {
      if (servers.find("b")->health() == health) return true;
      std::this_thread::sleep_for(20ms);
      servers.tick();
    }
    return false;
  };
  haproxy.ask("disable server web/b");
  CHECK(is(poise::HealthState::unhealthy));
  CHECK(servers.find("a")->health() == poise::HealthState::healthy);
  haproxy.ask("enable server web/b");
  CHECK(is(poise::HealthState::healthy));
}

TEST_CASE("a mistyped backend of HAProxy is heard of") {
  Haproxy const haproxy{"backend web\n server a 127.0.0.1:1\n server b 127.0.0.1:1\n"};
  poise::health::Standard monitor;
  poise::Balancer<poise::RoundRobin, void, poise::health::Monitored> servers{
      tests::letters("ab"), {}, {.clock = {}, .observers = {monitor}}};
  {
    poise::health::ProbeThreads probes{
        servers,
        monitor,
        poise::health::HaproxyProbe{haproxy.admin(), "wbe"},
        {.interval = 50ms, .timeout = 40ms, .doubt_interval = 50ms, .spread = 1ms}};
    for (int tries = 0; tries < 300 && servers.stats().warnings.empty(); ++tries)
      std::this_thread::sleep_for(20ms);
    servers.tick();
    auto const warnings = servers.stats().warnings;
    REQUIRE(warnings.size() == 1);
    CHECK(warnings[0] ==
          "no probe of 2 of 2 backends can be made, so that only requests judge them; the last of "
          "\"b\": HAProxy has no server wbe/b");
  }
  servers.tick();
  CHECK(servers.stats().warnings.empty());
}

TEST_CASE("the agent answers peers that send nothing, too much, or too slowly") {
  asio::io_context loop;
  std::string asked = "?";
  poise::asio::AgentCheck agent{loop.get_executor(),
                                {asio::ip::address_v4::loopback(), 0},
                                [&](std::string const& text) -> std::string {
                                  asked = text;
                                  if (text == "throw") throw 42;
                                  return "up ready 100%\r";
                                }};
  auto const work = asio::make_work_guard(loop);
  std::thread runs{[&] { loop.run(); }};
  auto const answer = [&](std::string const& text) {
    tests::Connection connection{agent.port()};
    connection.send(text);
    return connection.line();
  };
  CHECK(answer("") == "up ready 100%");
  CHECK(asked.empty());
  CHECK(answer("a\n") == "up ready 100%");
  CHECK(asked == "a");
  CHECK(answer("half") == "up ready 100%");
  CHECK(asked == "half");
  CHECK(answer(std::string(1024, 'x')) == "up ready 100%");
  CHECK(asked.size() == 1024);
  CHECK_THROWS(answer("throw\n"));
  CHECK(agent.unanswered() == 1);
  {
    std::vector<std::unique_ptr<tests::Connection>> silent;
    for (int i = 0; i < 300; ++i)
      silent.push_back(std::make_unique<tests::Connection>(agent.port()));
    std::this_thread::sleep_for(300ms);
    CHECK(answer("a\n") == "up ready 100%");
  }
  loop.stop();
  runs.join();
}

}  // namespace integration_servers_lists
