// SPDX-License-Identifier: MIT
// What a pick does not do, for every policy: allocate, lock, call the kernel, read the clock.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <new>
#include <string>
#include <tuple>
#include <vector>

#include <poise/poise.hpp>
#include <poise/policy/adaptive.hpp>

#include "hooks.hpp"
#include "sandbox.hpp"
#include "support/catch.hpp"
#include "support/clock.hpp"
#include "support/policies.hpp"

using poise::Ending;
using poise::HealthState;

namespace {

/// Lets everything pass, and so must not be felt.
struct Everybody {
  bool operator()(poise::Backend const&) const { return true; }
};

struct Erased : poise::AnyPolicy {
  Erased() : AnyPolicy{poise::P2C{}} {}
};

template <class... P>
using Wrapped = std::tuple<
    P..., Erased, poise::Retry<poise::P2C>, poise::Failover<poise::P2C>,
    poise::Filter<poise::RoundRobin, Everybody>,
    poise::PriorityRouter<poise::P2C, poise::PowerOfTwo<poise::PeakEwma>, poise::SmoothWeighted>>;
template <class Tuple>
struct Also;
template <class... P>
struct Also<std::tuple<P...>> {
  using type = Wrapped<P...>;
};
using Promised = Also<tests::AllPolicies>::type;

/// Unequal weights and one degraded backend, so that plans are built and every branch is taken.
std::vector<poise::Endpoint> unequal() {
  std::vector<poise::Endpoint> endpoints;
  for (std::uint32_t i = 0; i < 20; ++i)
    endpoints.push_back(
        {.id = std::to_string(i), .address = std::to_string(i), .weight = 1 + i % 3});
  return endpoints;
}

/// The full cycle in its variations: success, failure, no word at all, excluded, nobody left.
template <class Balancer>
bool cycles(Balancer& balancer, std::vector<std::uint64_t> const& excluded) {
  bool good = true;
  for (int i = 0; i < 100; ++i) {
    auto lease = balancer.pick();
    good = good && lease;
    lease.finish();
    balancer.pick({.route_key = "user"}).finish(Ending::timeout);
    {
      auto const dropped = balancer.pick();
    }
    auto other = balancer.pick({.excluded = excluded});
    good = good && other;
    other.finish(Ending::success, std::chrono::milliseconds{3});
  }
  return good;
}

template <class Balancer>
std::vector<std::uint64_t> some_serials(Balancer& balancer) {
  std::vector<std::uint64_t> serials;
  for (auto const& each : balancer.stats().backends)
    if (serials.size() < 8) serials.push_back(each.serial);
  return serials;
}

/// Runs on a balancer of policy P, after a first pick that gave the thread its slot.
template <class P, class Use>
void with_balancer(Use const& use) {
  poise::Balancer<P, void, poise::Runtime<tests::Clock>> balancer{unequal()};
  balancer.report_health("3", HealthState::degraded);
  balancer.set_admission("4", {.max_in_flight = 0});
  balancer.pick().finish();
  use(balancer, some_serials(balancer));
}

}  // namespace

#if POISE_COUNTS

TEST_CASE("the counters count allocations and locks") {
  auto const before = tests::counts();
  auto* const memory = ::operator new(1000);  // a vector could be optimized away
  std::mutex mutex;
  {
    std::scoped_lock const lock{mutex};
  }
  auto const after = tests::counts();
  ::operator delete(memory);
  CHECK(after.allocations - before.allocations == 1);
  CHECK(after.locks - before.locks == 1);
  CHECK(after.live_bytes - before.live_bytes >= 1000);
}

TEMPLATE_LIST_TEST_CASE("a pick and its end allocate nothing", "", Promised) {
  with_balancer<TestType>([](auto& balancer, auto const& excluded) {
    auto const before = tests::counts().allocations;
    auto const good = cycles(balancer, excluded);
    auto const after = tests::counts().allocations;
    CHECK(good);
    CHECK(after == before);
  });
}

TEMPLATE_LIST_TEST_CASE("a pick and its end take no lock", "", Promised) {
  with_balancer<TestType>([](auto& balancer, auto const& excluded) {
    auto const before = tests::counts().locks;
    cycles(balancer, excluded);
    CHECK(tests::counts().locks == before);
  });
}

TEST_CASE("the sandbox notices a system call") {
  auto const result = tests::in_sandbox([] { return syscall(SYS_getppid) != 0; });
  CHECK((result == tests::Sandbox::made_a_system_call || result == tests::Sandbox::unavailable));
}

TEMPLATE_LIST_TEST_CASE("a pick and its end make no system call", "", Promised) {
  with_balancer<TestType>([](auto& balancer, auto const& excluded) {
    auto const result = tests::in_sandbox([&] { return cycles(balancer, excluded); });
    if (result == tests::Sandbox::unavailable) WARN("no seccomp here: not tested");
    else CHECK(result == tests::Sandbox::clean);
  });
}

TEST_CASE("a pick that finds nobody allocates nothing and makes no system call") {
  poise::Balancer<> balancer{unequal()};
  balancer.pick().finish();
  for (auto const& each : balancer.stats().backends) balancer.drain(each.id);
  auto const before = tests::counts();
  bool found = false;
  for (int i = 0; i < 100; ++i) found = found || balancer.pick();
  auto const after = tests::counts();
  CHECK_FALSE(found);
  CHECK(after.allocations == before.allocations);
  CHECK(after.locks == before.locks);
  CHECK(tests::in_sandbox([&] { return !balancer.pick(); }) != tests::Sandbox::made_a_system_call);
}

TEST_CASE("the end of a removed backend's last request allocates nothing") {
  poise::Balancer<> balancer{unequal()};
  auto lease = balancer.pick();
  balancer.clear();
  auto const before = tests::counts();
  lease.finish();
  auto const after = tests::counts();
  CHECK(after.allocations == before.allocations);
  CHECK(after.live_bytes == before.live_bytes);
}

TEST_CASE("a backend takes at most 256 bytes beside its strings") {
  // 10 000 backends with ids and addresses short enough to lie inside the strings. What is
  // subtracted is the text that each holds: three strings, and the list of labels.
  constexpr std::size_t count = 10'000;
  std::vector<poise::Endpoint> endpoints;
  for (std::size_t i = 0; i < count; ++i)
    endpoints.push_back({.id = std::to_string(i), .address = std::to_string(i)});
  auto const before = tests::counts().live_bytes;
  poise::Balancer<poise::RoundRobin> balancer{std::vector<poise::Endpoint>{endpoints}};
  balancer.drain("5");
  auto const bytes = tests::counts().live_bytes - before;
  constexpr auto text = 3 * sizeof(std::string) + sizeof(std::vector<poise::Label>);
  auto const each = static_cast<double>(bytes) / count - text;
  CAPTURE(each);
  CHECK(each <= 256);
}

TEST_CASE("nothing is left allocated when a balancer is gone") {
  {
    poise::Balancer<> first{unequal()};
    first.pick().finish();  // the thread's slot stays for the next reader
  }
  auto const before = tests::counts().live_bytes;
  {
    poise::Balancer<> balancer{unequal()};
    auto lease = balancer.pick();
    balancer.update({{.id = "x"}});
    balancer.set_weight("x", 3);
    balancer.clear();
  }
  CHECK(tests::counts().live_bytes == before);
}

#endif

TEMPLATE_LIST_TEST_CASE("a pick reads no clock if nobody asks for time", "", Promised) {
  tests::Clock const clock;
  poise::Balancer<TestType, void, poise::Runtime<tests::Clock>> balancer{
      unequal(), {}, {.clock = clock}};
  auto const serials = some_serials(balancer);
  auto const before = clock.reads();
  cycles(balancer, serials);
  // 400 requests; where the policy asks for time, once as each begins and once as it ends.
  constexpr bool timed = poise::hooks::time_use<TestType> == poise::hooks::UsesTime::always;
  CHECK(clock.reads() - before == (timed ? 800 : 0));
}
