// SPDX-License-Identifier: MIT
// What being watched costs: no allocation, no lock and no system call in a request; so much memory.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <poise/observe/lease_watch.hpp>
#include <poise/observe/meter.hpp>
#include <poise/observe/reader.hpp>
#include <poise/poise.hpp>

#include "hooks.hpp"
#include "sandbox.hpp"
#include "support/catch.hpp"
#include "support/clock.hpp"

#if POISE_COUNTS

namespace {

using namespace poise;
using Metered = Balancer<RoundRobin, void, Runtime<tests::Clock, observe::Meter<>>>;

std::vector<Endpoint> numbered(std::size_t count) {
  std::vector<Endpoint> all;
  for (std::size_t i = 0; i < count; ++i) all.push_back({.id = std::to_string(i)});
  return all;
}

template <class Servers>
bool cycles(Servers& servers) {
  bool good = true;
  for (int i = 0; i < 1000; ++i) {
    auto lease = servers.pick();
    good = good && lease;
    lease.finish(i % 7 == 0 ? Result::error : Result::success,
                 std::chrono::microseconds{std::int64_t{1} << i % 30});
  }
  return good;
}

/// That cycles() allocate nothing, take no lock and make no system call.
template <class Servers>
void check_cycles(Servers& servers) {
  servers.pick().finish();
  auto const before = tests::counts();
  auto const good = cycles(servers);
  auto const after = tests::counts();
  CHECK(good);
  CHECK(after.allocations == before.allocations);
  CHECK(after.locks == before.locks);
  CHECK(tests::in_sandbox([&] { return cycles(servers); }) != tests::Sandbox::made_a_system_call);
}

}  // namespace

TEST_CASE("a metered request allocates nothing, takes no lock and makes no system call") {
  Metered servers{numbered(5)};
  observe::Reader const reader{"", servers};
  (void)reader.read();
  check_cycles(servers);
}

TEST_CASE("a watch for leases allocates nothing, takes no lock and makes no system call") {
  Balancer<RoundRobin, void, Runtime<tests::Clock, observe::LeaseWatch>> servers{numbered(5)};
  check_cycles(servers);
}

TEST_CASE("a meter takes 4 KiB a backend, and 4 KiB more while it is read") {
  constexpr std::size_t count = 500;
  auto const bytes_of = [](auto const& use) {
    auto const before = tests::counts().live_bytes;
    use();
    return static_cast<double>(tests::counts().live_bytes - before) / count;
  };
  using Plain = Balancer<RoundRobin, void, Runtime<tests::Clock, MeasureLatency>>;
  std::optional<Plain> plain;
  std::optional<Metered> metered;
  auto const without = bytes_of([&] { plain.emplace(numbered(count)); });
  auto const with = bytes_of([&] { metered.emplace(numbered(count)); });
  CAPTURE(without, with);
  CHECK(with - without <= 4096 + 160);  // beside the histogram: names, lists and their index
  cycles(*metered);
  observe::Reader const reader{"", *metered};
  auto const reading = bytes_of([&] { (void)reader.read(); });
  CAPTURE(reading);
  CHECK(reading <= 4096);
}

TEST_CASE("without a reader a meter does not grow as backends come and go") {
  Metered servers{numbered(5)};
  auto const replace = [&](int first, int last) {
    for (int i = first; i < last; ++i) {
      servers.update({{.id = "pod-" + std::to_string(i)}});
      servers.pick().finish();
    }
  };
  replace(0, 1000);
  auto const before = tests::counts().live_bytes;
  replace(1000, 2024);  // a multiple of how many gather
  CHECK(tests::counts().live_bytes - before < 200'000);
}

#endif
