// SPDX-License-Identifier: MIT

// A shadow policy's record while threads pick, the set changes and others read it: W1 to W3 in
// analysis/shadow_record.hpp.

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

#include <poise/analysis/shadow.hpp>
#include <poise/balancer.hpp>
#include <poise/policy/hash_ring.hpp>
#include <poise/policy/power_of_two.hpp>
#include <poise/policy/round_robin.hpp>

#include "stress/team.hpp"
#include "support/catch.hpp"

namespace {

using namespace poise;
using analysis::ShadowOptions;

template <class Live, class Other>
using Whole = analysis::Shadow<Live, Other, ShadowOptions{.sampling = 0}>;

/// Picks, and counts what it got.
template <class Servers>
struct Picker {
  explicit Picker(Servers& shared) : servers{shared} {}
  void work() { servers.pick({.route_key = keys[made++ % 4]}).finish(); }
  Servers& servers;
  std::uint64_t made = 0;
  static constexpr std::string_view keys[]{"one key", "another key", "a third key", "a fourth"};
};

/// Reads reports over and over.
struct Reader {
  explicit Reader(analysis::ShadowRecord const& shared) : record{shared} {}
  void work() {
    auto const report = record.report();
    for (auto const& each : report.backends)
      if (each.counts.both > each.counts.live || each.counts.both > each.counts.shadow) ++wrong;
    if (report.agreement && report.agreement->value > 1) ++wrong;
    auto const first = report.backends.empty() ? 0 : report.backends[0].counts.live;
    if (first < last) ++wrong;
    last = first;
  }
  analysis::ShadowRecord record;
  std::uint64_t last = 0;  // of the first backend, which stays
  std::uint64_t wrong = 0;
};

}  // namespace

TEST_CASE("no sample is lost or counted twice while threads pick and the set changes") {
  using P = Whole<RoundRobin, HashRing<>>;
  P const shadow;
  Balancer<P> servers{endpoints({"a", "b", "c"}), shadow};
  std::uint64_t made = 0;
  {
    tests::Team<Reader> readers{1, shadow.shadow_record()};
    tests::Team<Picker<Balancer<P>>> pickers{2, servers};
    // More than the 1024 backends that are kept after they left; a sanitizer is too slow for that.
    for (tests::Rounds rounds{tests::under_thread_sanitizer ? 50 : 1500}; rounds.next();) {
      servers.add({.id = "d"});
      servers.pick().finish();
      ++made;
      servers.remove("d");
    }
    for (auto const& picker : pickers.stop()) made += picker.made;
    for (auto const& reader : readers.stop()) CHECK(reader.wrong == 0);
  }
  servers.tick();  // frees the last snapshots
  auto const report = shadow.report();
  auto live = report.nowhere.live;
  auto others = report.nowhere.shadow;
  for (auto const& each : report.backends) {
    live += each.counts.live;
    others += each.counts.shadow;
  }
  CHECK(report.samples == made);
  CHECK(live == made);
  CHECK(others == made);
  auto const stats = servers.stats();
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(report.backends[i].id == stats.backends[i].id);
    CHECK(report.backends[i].counts.live == stats.backends[i].total);
  }
}

TEST_CASE("of picks whose shadow throws at times each is a sample or an exception") {
  struct Moody {
    std::size_t pick(Candidates const& candidates, Context& context) const {
      if (context.random.below(3) == 0) throw std::runtime_error{std::string(300, 'x')};
      return candidates.size() - 1;
    }
  };
  using P = Whole<P2C, Moody>;
  P const shadow;
  Balancer<P> servers{endpoints({"a", "b"}), shadow};
  std::uint64_t made = 0;
  {
    tests::Team<Picker<Balancer<P>>> pickers{3, servers};
    for (tests::Rounds rounds{300}; rounds.next();) {
      auto const text = shadow.report().last_exception;
      REQUIRE(text == std::string(text.size(), 'x'));
    }
    for (auto const& picker : pickers.stop()) made += picker.made;
  }
  auto const report = shadow.report();
  CHECK(report.samples + report.exceptions == made);
  CHECK(report.exceptions > made / 4);
  for (auto const& each : servers.stats().backends) CHECK(each.in_flight == 0);
}
