// SPDX-License-Identifier: MIT
#pragma once

// Three real servers of a kind on loopback, one of which gets into trouble while calls go on.

#include <signal.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <poise/endpoint.hpp>
#include <poise/outcome.hpp>
#include <poise/stats.hpp>

#include "integration/servers/program.hpp"

namespace tests {

/// nginx, or Redis, on three ports that stay.
class Three {
 public:
  using Command = std::function<std::vector<std::string>(std::uint16_t port)>;

  explicit Three(Command command) : command_{std::move(command)} {
    for (std::size_t i = 0; i < ports_.size(); ++i) {
      ports_[i] = free_port();
      start(i);
    }
  }

  void start(std::size_t i) { programs_[i].emplace(command_(ports_[i]), ports_[i]); }
  void kill(std::size_t i) {
    programs_[i]->signal(SIGKILL);
    programs_[i].reset();
  }
  void hang(std::size_t i) { programs_[i]->signal(SIGSTOP); }
  void go_on(std::size_t i) { programs_[i]->signal(SIGCONT); }

  [[nodiscard]] std::uint16_t port(std::size_t i) const { return ports_[i]; }
  [[nodiscard]] std::string address(std::size_t i) const {
    return "127.0.0.1:" + std::to_string(ports_[i]);
  }
  [[nodiscard]] std::vector<poise::Endpoint> endpoints() const {
    return poise::endpoints(std::vector{address(0), address(1), address(2)});
  }

 private:
  Command command_;
  std::array<std::uint16_t, 3> ports_{};
  std::array<std::optional<Program>, 3> programs_{};
};

/// nginx: / says ready, /later 503 with a Retry-After, /broken 500, /not_there 404.
inline Three::Command nginx(Scratch const& scratch) {
  return [&scratch](std::uint16_t port) {
    auto const folder = scratch.path() + "/" + std::to_string(port);
    std::string temporary;
    for (auto const* kind : {"client_body", "proxy", "fastcgi", "uwsgi", "scgi"})
      temporary += std::string{kind} + "_temp_path " + folder + "_" + kind + ";\n";
    auto const configuration =
        scratch.write(std::to_string(port) + ".conf",
                      "daemon off; master_process off; pid " + folder +
                          ".pid; error_log /dev/null;\n"
                          "events {}\nhttp { access_log off;\n" +
                          temporary + "server { listen 127.0.0.1:" + std::to_string(port) +
                          ";\n"
                          "location = / { return 200 ready; }\n"
                          "location = /later { add_header Retry-After 7 always; return 503; }\n"
                          "location = /broken { return 500; }\n} }\n");
    return std::vector<std::string>{"nginx", "-c", configuration};
  };
}

/// Redis, without a file.
inline Three::Command redis(Scratch const& scratch) {
  return [&scratch](std::uint16_t port) {
    return std::vector<std::string>{
        "redis-server", "--port",       std::to_string(port), "--bind",   "127.0.0.1", "--save", "",
        "--dir",        scratch.path(), "--logfile",          "redis.log"};
  };
}

/// So many requests ended so on this backend.
inline std::uint64_t ended(poise::Stats const& stats, std::string const& id, poise::Result result) {
  for (auto const& backend : stats.backends)
    if (backend.id == id) return backend.ended(result);
  return 0;
}

/// The connection was refused, or broke.
inline std::uint64_t broke(poise::Stats const& stats, std::string const& id) {
  return ended(stats, id, poise::Result::refused) + ended(stats, id, poise::Result::reset);
}

/// The attempts beyond the first of each call.
inline std::uint64_t extra(poise::Stats const& stats, std::uint64_t calls) {
  std::uint64_t attempts = 0;
  for (auto const& backend : stats.backends) attempts += backend.total;
  return attempts - calls;
}

}  // namespace tests
