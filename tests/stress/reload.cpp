// SPDX-License-Identifier: MIT

// Threads that pick, while another one reloads the configuration, rightly and wrongly. What must
// hold:
//
//   1. Every pick finds a backend: at each moment one of the configurations is in force, and whole.
//   2. A reload that is refused changes nothing.
//   3. Backends that stay keep what was counted.

#include <cstdint>
#include <string>

#include <poise/config/service.hpp>

#include "stress/team.hpp"
#include "support/catch.hpp"

namespace {

using poise::config::Document;
using poise::config::Service;

/// Number 0 to 3: other backends, policies, limits and numbers of the monitor; "stays" is in all of
/// them.
Document configuration(int number) {
  Document document;
  auto& settings = document.settings;
  settings.policy = number % 2 == 0 ? "p2c" : "retry(least, attempts=2)";
  settings.backends = {{.id = "stays", .address = "a:1"}};
  for (int i = 0; i <= number; ++i) {
    auto const id = "b:" + std::to_string(10 * number + i + 1);
    settings.backends.push_back({.id = id, .address = id});
  }
  settings.limits.max_waiting = static_cast<std::uint32_t>(number);
  settings.limits.adapts = number == 2;
  settings.health.consecutive.failures = static_cast<std::uint32_t>(5 + number);
  return document;
}

/// One that is refused: by its document, by a field that can't change, or by what it builds.
Document refused(int number) {
  auto document = configuration(number);
  switch (number % 3) {
    case 0: document.problems.push_back({{1, 1}, "wrong"}); break;
    case 1: document.settings.health.monitor.history = 77; break;
    default: document.settings.probe.kind = poise::config::ProbeKind::tcp;  // there are no probes
  }
  return document;
}

struct Picker {
  explicit Picker(Service<>& shared) : service{shared} {}
  void work() {
    auto lease = service.balancer().pick();
    if (!lease) ++failed;
    ++picks;
    lease.finish();
  }
  Service<>& service;
  std::uint64_t picks = 0;
  std::uint64_t failed = 0;
};

}  // namespace

TEST_CASE("no pick fails while a configuration is reloaded a hundred times") {
  Service<> service{configuration(0)};
  tests::Team<Picker> pickers{2, service};
  std::uint64_t counted = 0;
  for (tests::Rounds rounds{100}; rounds.next();) {
    auto const number = rounds.made();
    auto const before = service.document();
    if (number % 2 == 0) {
      REQUIRE_FALSE(service.reload(refused(number / 2)).done());
      REQUIRE(differences(before.settings, service.document().settings).empty());  // (2)
    } else {
      REQUIRE(service.reload(configuration(number % 4)).done());
    }
    auto const stays = service.balancer().find("stays");
    REQUIRE(stays->total() >= counted);  // (3)
    counted = stays->total();
  }
  std::uint64_t picks = 0;
  for (auto const& each : pickers.stop()) {
    CHECK(each.failed == 0);  // (1)
    picks += each.picks;
  }
  CHECK(picks > 0);
}
