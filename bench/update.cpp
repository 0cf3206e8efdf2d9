// SPDX-License-Identifier: MIT

// The cost of a change under traffic. Two threads pick and finish without pause; a third thread
// drains, sets weights and replaces. Printed are the time of each change, and the readers' picks
// compared with the same readers without changes (the floor, measured in turns in the same run).

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <fmt/core.h>
#include <poise/poise.hpp>

namespace {

using namespace poise;
using Clock = std::chrono::steady_clock;
using Microseconds = std::chrono::duration<double, std::micro>;

std::vector<Endpoint> backends(std::size_t count, std::size_t generation) {
  std::vector<Endpoint> result;
  for (std::size_t i = 0; i < count; ++i)
    result.push_back({.id = fmt::format("backend-{}-{}", generation, i),
                      .address = fmt::format("10.0.0.1:{}", i),
                      .weight = static_cast<std::uint32_t>(1 + i % 3)});
  return result;
}

double percentile(std::vector<double>& values, double share) {
  auto const at =
      values.begin() + static_cast<std::ptrdiff_t>(share * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), at, values.end());
  return *at;
}

/// Two readers; counts their picks while it lives.
template <class B>
class Readers {
 public:
  explicit Readers(B& balancer) {
    for (auto& thread : threads_)
      thread = std::thread{[this, &balancer] {
        while (!stop_.load(std::memory_order_relaxed)) {
          for (int i = 0; i < 64; ++i) balancer.pick().finish();
          picks_.fetch_add(64, std::memory_order_relaxed);
        }
      }};
  }
  ~Readers() {
    stop_ = true;
    for (auto& thread : threads_) thread.join();
  }
  std::uint64_t picks() const { return picks_; }

 private:
  std::atomic<bool> stop_{false};
  std::atomic<std::uint64_t> picks_{0};
  std::thread threads_[2];
};

template <class P, class Change>
void measure(std::string_view policy, std::string_view what, std::size_t count,
             std::chrono::microseconds pause, std::chrono::milliseconds length,
             Change const& change) {
  Balancer<P> balancer{backends(count, 0)};
  Readers readers{balancer};
  std::vector<double> times;
  std::size_t most_retired = 0;
  double picks[2] = {0, 0};  // without and with changes, in turns
  constexpr int turns = 6;
  for (int turn = 0; turn < turns; ++turn) {
    bool const with_changes = turn % 2 == 1;
    auto const before = readers.picks();
    auto const end = Clock::now() + length / turns;
    while (Clock::now() < end) {
      if (with_changes) {
        auto const start = Clock::now();
        change(balancer, times.size());
        times.push_back(Microseconds{Clock::now() - start}.count());
        if (times.size() % 16 == 0)
          most_retired = std::max(most_retired, balancer.stats().retired_snapshots);
      }
      std::this_thread::sleep_for(pause);
    }
    picks[with_changes ? 1 : 0] += static_cast<double>(readers.picks() - before);
  }
  fmt::print("{:<16} {:<22} {:>5} {:>8} {:>9.1f} {:>9.1f} {:>9.1f} {:>9} {:>9.2f}\n", policy, what,
             count, times.size(), percentile(times, 0.5), percentile(times, 0.99),
             percentile(times, 1.0), most_retired, picks[1] / picks[0]);
  std::fflush(stdout);
}

template <class P>
void all(std::string_view policy, std::chrono::milliseconds length) {
  using B = Balancer<P>;
  for (std::size_t const count : {10U, 100U, 1000U}) {
    std::chrono::microseconds const pause{1000};
    measure<P>(policy, "drain / undrain one", count, pause, length, [](B& balancer, std::size_t i) {
      i % 2 == 0 ? balancer.drain("backend-0-0") : balancer.undrain("backend-0-0");
    });
    measure<P>(policy, "set_weight of one", count, pause, length, [](B& balancer, std::size_t i) {
      balancer.set_weight("backend-0-1", static_cast<std::uint32_t>(1 + i % 2));
    });
    measure<P>(policy, "replace all", count, pause, length,
               [count](B& balancer, std::size_t i) { balancer.update(backends(count, i + 1)); });
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::chrono::milliseconds length{600};
  if (argc == 2 && std::string_view{argv[1]} == "--short") length = std::chrono::milliseconds{60};
  fmt::print("{:<16} {:<22} {:>5} {:>8} {:>9} {:>9} {:>9} {:>9} {:>9}\n", "policy", "change", "n",
             "changes", "median us", "p99 us", "max us", "retired", "picks");
  fmt::print("{:<86} {:>16}\n", "(two readers; `replace all` includes making the endpoints)",
             "ratio to quiet");
  all<RoundRobin>("round_robin", length);
  all<SmoothWeighted>("smooth_weighted", length);
  all<P2C>("p2c", length);
}
