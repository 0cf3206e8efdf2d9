// SPDX-License-Identifier: MIT
// What a pick does not do, for every policy: allocate, lock, call the kernel, read the clock.

#include <atomic>
#include <barrier>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <new>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <poise/poise.hpp>

#include "hooks.hpp"
#include "sandbox.hpp"
#include "support/catch.hpp"
#include "support/clock.hpp"
#include "support/policies.hpp"

using poise::HealthState;
using poise::Result;

namespace {

/// Those and one of every other kind.
std::vector<std::string_view> promised() {
  std::vector<std::string_view> names{tests::all_policies.begin(), tests::all_policies.end()};
  names.insert(names.end(),
               {"maglev", "ring", "rendezvous", "bounded(ring)", "retry(p2c)", "failover(p2c)",
                "filter(round_robin, zone=here)", "subset(p2c)", "zone_aware(p2c, local=here)",
                "priority(p2c, p2c(peak_ewma), smooth_weighted)",
                "rate_limited(p2c, per_second=1000000, burst=1000000, key_per_second=1000000, "
                "key_burst=1000000)"});
  return names;
}

/// By type, with as many hooks as there are: all of them in one wrapper.
using Router =
    poise::PriorityRouter<poise::P2C, poise::PowerOfTwo<poise::PeakEwma>, poise::SmoothWeighted>;

/// Unequal weights and one degraded backend, so that plans are built and every branch is taken.
std::vector<poise::Endpoint> unequal() {
  std::vector<poise::Endpoint> endpoints;
  for (std::uint32_t i = 0; i < 20; ++i)
    endpoints.push_back({.id = std::to_string(i),
                         .address = std::to_string(i),
                         .weight = 1 + i % 3,
                         .zone = "here"});
  return endpoints;
}

/// The full cycle in its variations: success, failure, abandoned, excluded, no backend left.
template <class Balancer>
bool cycles(Balancer& balancer, std::vector<std::uint64_t> const& excluded) {
  bool good = true;
  for (int i = 0; i < 100; ++i) {
    auto lease = balancer.pick();
    good = good && lease;
    lease.finish();
    balancer.pick({.route_key = "user"}).finish(Result::timeout);
    {
      auto const dropped = balancer.pick();
    }
    auto other = balancer.pick({.excluded = excluded});
    good = good && other;
    other.finish(Result::success, std::chrono::milliseconds{3});
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

/// Runs on a balancer of a policy, after a first pick that gave the thread its slot.
template <class P, class Use>
void with_balancer(P const& policy, Use const& use) {
  auto const name = poise::hooks::name(policy);
  CAPTURE(name);
  tests::Clock const clock;
  poise::Balancer<P, void, poise::Runtime<tests::Clock>> balancer{
      unequal(), policy, {.clock = clock}};
  balancer.report_health("3", HealthState::degraded);
  balancer.set_admission("4", {.max_in_flight = 0});
  balancer.pick().finish();
  use(balancer, clock, poise::hooks::traits(policy).uses_time);
}

/// ... of every policy by name; of some by type, since that is another way through the core.
template <class Use>
void with_each(Use const& use) {
  for (auto const name : promised()) with_balancer(tests::policy(name), use);
  with_balancer(poise::P2C{}, use);
  with_balancer(poise::PowerOfTwo<poise::PeakEwma>{}, use);
  with_balancer(Router{}, use);
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

TEST_CASE("a pick and its end allocate nothing") {
  with_each([](auto& balancer, auto const&, bool) {
    auto const excluded = some_serials(balancer);
    auto const before = tests::counts().allocations;
    auto const good = cycles(balancer, excluded);
    auto const after = tests::counts().allocations;
    CHECK(good);
    CHECK(after == before);
  });
}

namespace {

/// Runs `each` on so many threads at once, each of which begins when all are there.
template <class Each>
void on_threads(int count, Each const& each) {
  std::barrier start{count};
  std::vector<std::thread> threads;
  for (int i = 0; i < count; ++i)
    threads.emplace_back([&] {
      start.arrive_and_wait();
      each();
    });
  for (auto& thread : threads) thread.join();
}

}  // namespace

TEST_CASE("a thread's first pick allocates nothing either") {
  poise::Balancer<> balancer{unequal()};
  std::atomic<std::uint64_t> allocated{0};
  std::thread{[&] {
    auto const before = tests::counts().allocations;
    balancer.pick().finish();
    allocated = tests::counts().allocations - before;
  }}.join();
  CHECK(allocated == 0);
}

TEST_CASE("without memory every thread can pick, however many there are") {
  constexpr int threads = 300;  // more than have a slot that needs no memory
  constexpr int each = 20;
  poise::Balancer<> balancer{unequal()};
  std::atomic<int> picked{0};
  on_threads(threads, [&] {
    tests::OutOfMemory const out;
    for (int i = 0; i < each; ++i)
      if (auto lease = balancer.pick()) {
        lease.finish();
        ++picked;
      }
  });
  CHECK(picked == threads * each);
  for (auto const& backend : balancer.stats().backends) CHECK(backend.in_flight == 0);
}

TEST_CASE("a pick and its end take no lock") {
  with_each([](auto& balancer, auto const&, bool) {
    auto const excluded = some_serials(balancer);
    auto const before = tests::counts().locks;
    cycles(balancer, excluded);
    CHECK(tests::counts().locks == before);
  });
}

TEST_CASE("the sandbox notices a system call") {
  auto const result = tests::in_sandbox([] { return syscall(SYS_getppid) != 0; });
  CHECK((result == tests::Sandbox::made_a_system_call || result == tests::Sandbox::unavailable));
}

TEST_CASE("a pick and its end make no system call") {
  with_each([](auto& balancer, auto const&, bool) {
    auto const excluded = some_serials(balancer);
    auto const result = tests::in_sandbox([&] { return cycles(balancer, excluded); });
    if (result == tests::Sandbox::unavailable) WARN("no seccomp here: not tested");
    else CHECK(result == tests::Sandbox::clean);
  });
}

TEST_CASE("a pick that finds no backend allocates nothing and makes no system call") {
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

TEST_CASE("a backend takes at most 352 bytes beside its strings") {
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
  CHECK(each <= 352);
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

TEST_CASE("a pick reads no clock if time is not used") {
  with_each([](auto& balancer, auto const& clock, bool uses_time) {
    auto const excluded = some_serials(balancer);
    auto const before = clock.reads();
    cycles(balancer, excluded);
    // 400 requests; where the policy asks for time, once as each begins and once as it ends.
    CHECK(clock.reads() - before == (uses_time ? 800 : 0));
  });
}
