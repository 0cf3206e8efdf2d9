// SPDX-License-Identifier: MIT

// The cost of two threads to each other if they share a balancer and only pick and finish.
//
// Each thread has a processor of its own, and both run the same number of requests at the same
// time, again and again, all subjects in turn. Only rounds in which no thread was interrupted
// count, so a busy machine gives the same results as an idle one. (A thread that waits for a mutex
// is not interrupted.) Medians and quartiles, ns per request and thread, clock reads included.

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <sched.h>
#include <ctime>

#include <poise/poise.hpp>

#include "support/subject.hpp"

namespace {

using namespace poise;

constexpr long requests = 300;  // a round: 30 us to 200 us

double seconds(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

/// How one would protect the rule without poise.
struct Locked {
  using State = Adaptive::State;
  using Plan = Adaptive::Plan;
  static constexpr Traits traits{.uses_time = true};

  [[nodiscard]] Plan plan(Candidates const& candidates, Plan const* before) const {
    return policy->plan(candidates, before);
  }
  std::size_t pick(Plan const& plan, Candidates const& candidates, Context& context) const {
    std::scoped_lock const lock{*mutex};
    return policy->pick(plan, candidates, context);
  }
  void on_finish(Finish& finish) const {
    std::scoped_lock const lock{*mutex};
    policy->on_finish(finish);
  }

  std::shared_ptr<Adaptive> policy = std::make_shared<Adaptive>();
  std::shared_ptr<std::mutex> mutex = std::make_shared<std::mutex>();
};

struct Subject {
  std::string name;
  std::function<void(std::size_t thread)> round;
  bool sleeps = false;  // threads wait for each other
  std::vector<double> times{};
};

template <class P>
Subject subject(std::string name, bool sleeps = false) {
  auto const balancer = std::make_shared<Balancer<P>>(bench::backends(100, false));
  auto const latencies = std::make_shared<std::array<bench::Latencies, 16>>();
  return {std::move(name),
          [=](std::size_t thread) {
            auto& own = (*latencies)[8 * thread];  // lines apart
            for (long i = 0; i < requests; ++i) {
              auto lease = balancer->pick();
              lease.finish(Result::success, own.next());
            }
          },
          sleeps};
}

struct Round {
  double wall = 0;
  double busy = 0;
};

/// Did both run at the same time, and undisturbed?
bool counts(std::array<Round, 2> const& rounds, bool sleeps) {
  auto const [short_one, long_one] = std::minmax(rounds[0].wall, rounds[1].wall);
  if (short_one < 0.75 * long_one) return false;
  return sleeps || std::all_of(rounds.begin(), rounds.end(),
                               [](Round const& it) { return it.busy > 0.96 * it.wall; });
}

void run(std::vector<Subject>& subjects, int repetitions) {
  std::atomic<long> arrived{0};
  std::array<Round, 2> rounds;
  auto const work = [&](std::size_t thread) {
    cpu_set_t processor;
    CPU_ZERO(&processor);
    CPU_SET(thread, &processor);
    sched_setaffinity(0, sizeof processor, &processor);
    long meetings = 0;
    auto const meet = [&] {
      ++arrived;
      for (++meetings; arrived < 2 * meetings;) {
      }
    };
    for (int i = 0; i < repetitions; ++i)
      for (auto& each : subjects) {
        each.round(thread);
        meet();
        auto const wall = seconds(CLOCK_MONOTONIC);
        auto const busy = seconds(CLOCK_THREAD_CPUTIME_ID);
        each.round(thread);
        rounds[thread] = {seconds(CLOCK_MONOTONIC) - wall, seconds(CLOCK_THREAD_CPUTIME_ID) - busy};
        meet();
        if (thread == 0 && counts(rounds, each.sleeps))
          each.times.push_back((rounds[0].wall + rounds[1].wall) / (2 * requests) * 1e9);
        meet();
      }
  };
  std::thread other{work, 1};
  work(0);
  other.join();
}

double quantile(std::vector<double>& sorted, double q) {
  return sorted.empty()
             ? 0
             : sorted[static_cast<std::size_t>(q * static_cast<double>(sorted.size() - 1))];
}

}  // namespace

int main(int argc, char** argv) {
  if (std::thread::hardware_concurrency() < 2) return fmt::print("two processors are needed\n"), 0;
  std::vector<Subject> subjects{subject<P2C>("p2c"),
                                subject<PowerOfTwo<PeakEwma>>("p2c(peak_ewma)"),
                                subject<Adaptive>("adaptive"),
                                subject<BasicAdaptive<1, 4>>("adaptive, small board"),
                                subject<WideAdaptive>("wide adaptive"),
                                subject<Locked>("adaptive behind a mutex", true)};
  run(subjects, argc > 1 ? std::atoi(argv[1]) : 2000);
  fmt::print("{:<26} {:>7} {:>7} {:>7} {:>7}\n", "two threads, ns a request", "median", "25 %",
             "75 %", "rounds");
  for (auto& each : subjects) {
    std::sort(each.times.begin(), each.times.end());
    fmt::print("{:<26} {:>7.0f} {:>7.0f} {:>7.0f} {:>7}\n", each.name, quantile(each.times, 0.5),
               quantile(each.times, 0.25), quantile(each.times, 0.75), each.times.size());
  }
}
