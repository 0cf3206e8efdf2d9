// SPDX-License-Identifier: MIT
#pragma once

// DNS servers for a test, on loopback: knot, which has a zone, and unbound, which caches before it.

#include <signal.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <poise/discovery/cares/dns.hpp>

#include "integration/servers/program.hpp"

namespace tests {

/// knot with a zone poise.test, and one, missing.test, that it can't load.
class Knot {
 public:
  /// With more records, in the form of a zone file.
  explicit Knot(std::string const& more = {}) {
    std::string zone =
        "$ORIGIN poise.test.\n$TTL 60\n@ SOA ns. admin. 1 60 60 60 3\n@ NS ns.\n"
        "web A 127.0.0.1\nweb A 127.0.0.2\nweb AAAA ::1\nshort 1 A 127.0.0.1\n"
        "zero 0 A 127.0.0.1\nalias 9 CNAME web\nloop1 CNAME loop2\nloop2 CNAME loop1\n"
        "only4 A 127.0.0.9\n"
        "_http._tcp SRV 10 30 80 one\n_http._tcp SRV 10 0 81 two\n_http._tcp SRV 20 0 82 one\n"
        "_http._tcp SRV 20 5 83 nowhere\none A 127.0.0.1\ntwo A 127.0.0.2\n"
        "_gone._tcp SRV 0 0 0 .\n"
        "six AAAA ::1\n_mixed._tcp SRV 0 1 80 one\n_mixed._tcp SRV 0 1 80 six\n"
        "_mixed._tcp SRV 0 1 81 web\n";
    for (int i = 1; i <= 100; ++i) zone += "many A 127.0.1." + std::to_string(i) + "\n";
    folder_.write("poise.test.zone", zone + more);
    auto const path = folder_.path();
    std::string config = "server:\n  rundir: " + path + "\n  listen: 127.0.0.1@" +
                         std::to_string(port) +
                         "\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n"
                         "database:\n  storage: " +
                         path + "/db\ncontrol:\n  listen: " + path + "/ctl\nzone:\n";
    for (auto const* each : {"poise.test", "missing.test"})
      config += std::string{"  - domain: "} + each + "\n    storage: " + path +
                "\n    zonefile-sync: -1\n    journal-content: none\n";
    config_ = folder_.write("knot.conf", config);
    program_.emplace(std::vector<std::string>{"/usr/sbin/knotd", "-c", config_}, port);
  }
  void change(std::vector<std::string> const& commands) const {
    for (auto const& each : commands)
      if (std::system(("knotc -c " + config_ + " " + each + " > /dev/null").c_str()) != 0)
        throw std::runtime_error{"knotc " + each + " failed"};
  }
  void signal(int number) const { program_->signal(number); }
  void kill() {
    signal(SIGKILL);
    program_.reset();
  }
  [[nodiscard]] poise::discovery::CaresOptions options(
      poise::discovery::Family family = poise::discovery::Family::either) const {
    return {.servers = "127.0.0.1:" + std::to_string(port), .family = family};
  }

  std::uint16_t const port = free_port();

 private:
  Scratch folder_{};
  std::string config_{};
  std::optional<Program> program_{};
};

/// unbound: a resolver that caches, with a knot behind it.
class Unbound {
 public:
  explicit Unbound(Knot const& knot) {
    auto const path = folder_.path();
    std::string config = "server:\n interface: 127.0.0.1@" + std::to_string(port) +
                         "\n do-daemonize: no\n chroot: \"\"\n username: \"\"\n use-syslog: no"
                         "\n num-threads: 1\n do-ip6: no\n do-not-query-localhost: no"
                         "\n module-config: \"iterator\"\n directory: \"" +
                         path + "\"\n pidfile: \"" + path + "/pid\"\n logfile: \"" + path +
                         "/log\"\n local-zone: \"test.\" nodefault\nremote-control:\n"
                         " control-enable: no\n";
    for (auto const* zone : {"poise.test", "missing.test"})
      config += std::string{"stub-zone:\n name: \""} + zone + "\"\n stub-addr: 127.0.0.1@" +
                std::to_string(knot.port) + "\n";
    program_.emplace(std::vector<std::string>{"/usr/sbin/unbound", "-d", "-c",
                                              folder_.write("unbound.conf", config)},
                     port);
  }
  [[nodiscard]] poise::discovery::CaresOptions options() const {
    return {.servers = "127.0.0.1:" + std::to_string(port), .timeout = std::chrono::seconds{2}};
  }

  std::uint16_t const port = free_port();

 private:
  Scratch folder_{};
  std::optional<Program> program_{};
};

}  // namespace tests
