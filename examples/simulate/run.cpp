// SPDX-License-Identifier: MIT

#include "run.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <exception>
#include <limits>
#include <mutex>
#include <numeric>
#include <optional>
#include <thread>
#include <utility>

#include "bounds.hpp"
#include "clients.hpp"
#include "policies.hpp"

namespace simulate {

namespace {

/// The value that a share `q` of them doesn't exceed. Reorders them.
double quantile(std::vector<float>& values, double q) {
  if (values.empty()) return 0;
  auto const rank = static_cast<std::ptrdiff_t>(
      std::min(q * static_cast<double>(values.size()), static_cast<double>(values.size() - 1)));
  std::nth_element(values.begin(), values.begin() + rank, values.end());
  return static_cast<double>(values[static_cast<std::size_t>(rank)]);
}

double tries(std::array<std::uint32_t, slices> const& picks, std::size_t from) {
  return std::accumulate(picks.begin() + static_cast<std::ptrdiff_t>(from), picks.end(), 0.0);
}

double imbalance(Result const& result) {
  double all = 0;
  double capacity = 0;
  double most = 0;
  for (std::size_t i = 0; i < result.picks.size(); ++i) {
    all += tries(result.picks[i], 0);
    capacity += result.capacity[i];
    if (result.capacity[i] > 0)
      most = std::max(most, tries(result.picks[i], 0) / result.capacity[i]);
  }
  return all > 0 && capacity > 0 ? most / (all / capacity) : 0;
}

Monitored watch(Result const& result, std::size_t host) {
  constexpr auto quarter = slices * 3 / 4;
  Monitored watched{.host = host};
  double all = 0;
  double late = 0;
  for (auto const& each : result.picks) {
    all += tries(each, 0);
    late += tries(each, quarter);
  }
  watched.share = all > 0 ? tries(result.picks[host], 0) / all : 0;
  watched.last_quarter = late > 0 ? tries(result.picks[host], quarter) / late : 0;
  std::vector<float> latencies;
  for (auto const& each : result.samples)
    if (each.server == host) latencies.push_back(each.latency);
  watched.p99 = quantile(latencies, 0.99);
  return watched;
}

std::vector<double> share_over_time(Result const& result, std::size_t host) {
  std::vector<double> shares(slices);
  for (std::size_t slice = 0; slice < slices; ++slice) {
    double all = 0;
    for (auto const& each : result.picks) all += each[slice];
    shares[slice] = all > 0 ? result.picks[host][slice] / all : 0;
  }
  return shares;
}

std::vector<double> p99_over_time(Result const& result) {
  std::array<std::vector<float>, slices> latencies;
  for (auto const& each : result.samples)
    if (each.slice < slices) latencies[each.slice].push_back(each.latency);
  std::vector<double> p99s;
  for (auto& slice : latencies) p99s.push_back(quantile(slice, 0.99));
  return p99s;
}

Summary summarize(Scenario const& scenario, Result result) {
  Summary summary;
  std::vector<float> latencies;
  latencies.reserve(result.samples.size());
  double sum = 0;
  for (auto const& each : result.samples) {
    latencies.push_back(each.latency);
    sum += static_cast<double>(each.latency);
  }
  auto const count = static_cast<double>(std::max<std::size_t>(latencies.size(), 1));
  summary.requests = latencies.size();
  summary.mean = sum / count;
  summary.p50 = quantile(latencies, 0.5);
  summary.p90 = quantile(latencies, 0.9);
  summary.p99 = quantile(latencies, 0.99);
  summary.p999 = quantile(latencies, 0.999);
  summary.max = quantile(latencies, 1);
  summary.error_share = static_cast<double>(result.errors) / count;
  summary.imbalance = imbalance(result);
  for (auto const host : watched_hosts(scenario)) {
    summary.watched.push_back(watch(result, host));
    summary.shares.push_back(share_over_time(result, host));
  }
  summary.p99s = p99_over_time(result);
  summary.in_system = std::move(result.in_system);
  return summary;
}

template <class Dispatcher>
Summary simulate_with(Scenario const& scenario, std::uint64_t seed, Dispatcher dispatcher) {
  return summarize(scenario, Engine{scenario, seed, dispatcher}.run());
}

struct Bound {
  char const* name;
  Summary (*simulate)(Scenario const&, std::uint64_t);
};
constexpr std::array bounds{
    Bound{"(global queue)",
          [](Scenario const& scenario, std::uint64_t seed) {
            return simulate_with(scenario, seed, GlobalQueue{seed});
          }},
    Bound{"(true shortest queue)",
          [](Scenario const& scenario, std::uint64_t seed) {
            return simulate_with(scenario, seed, ShortestQueue{seed});
          }},
    Bound{"(true shortest delay)", [](Scenario const& scenario, std::uint64_t seed) {
            return simulate_with(scenario, seed, ShortestDelay{seed});
          }}};

/// Does job after job on all threads; the first exception ends it and is thrown here.
class Crew {
 public:
  explicit Crew(std::vector<std::function<void()>> jobs) : jobs_{std::move(jobs)} {}

  void work(unsigned threads, std::function<void(std::size_t, std::size_t)> const& progress) {
    std::vector<std::thread> crew;
    for (unsigned i = 0; i < threads; ++i) crew.emplace_back([this] { work(); });
    while (done_ < jobs_.size() && !failed_) {
      progress(done_, jobs_.size());
      std::this_thread::sleep_for(std::chrono::milliseconds{50});
    }
    for (auto& each : crew) each.join();
    progress(done_, jobs_.size());
    if (error_) std::rethrow_exception(error_);
  }

 private:
  void work() {
    try {
      for (;;) {
        auto const job = next_++;
        if (job >= jobs_.size() || failed_) return;
        jobs_[job]();
        ++done_;
      }
    } catch (...) {
      std::scoped_lock const lock{mutex_};
      if (!error_) error_ = std::current_exception();
      failed_ = true;
    }
  }

  std::vector<std::function<void()>> jobs_;
  std::atomic<std::size_t> next_{0};
  std::atomic<std::size_t> done_{0};
  std::atomic<bool> failed_{false};
  std::mutex mutex_{};
  std::exception_ptr error_{};
};

/// Of work that takes no time 0 is as good as 0.
double ratio(double p99, double best) {
  if (best > 0) return p99 / best;
  return p99 > 0 ? std::numeric_limits<double>::infinity() : 1;
}

void compare_with_bound(Table& table, std::size_t seeds) {
  for (std::size_t seed = 0; seed < seeds; ++seed) {
    auto best = table.bounds[0].seeds[seed].p99;
    for (auto const& each : table.bounds) best = std::min(best, each.seeds[seed].p99);
    table.bound_p99.push_back(best);
    for (auto* lines : {&table.bounds, &table.policies})
      for (auto& line : *lines) line.over_bound.push_back(ratio(line.seeds[seed].p99, best));
  }
}

}  // namespace

std::vector<std::size_t> watched_hosts(Scenario const& scenario) {
  constexpr std::size_t few = 3;
  std::vector<std::size_t> hosts;
  for (auto const& each : scenario.incidents) {
    if (each.last - each.first >= few) continue;
    for (auto i = each.first; i <= each.last; ++i)
      if (std::find(hosts.begin(), hosts.end(), i) == hosts.end()) hosts.push_back(i);
  }
  std::sort(hosts.begin(), hosts.end());
  if (hosts.size() > few) hosts.resize(few);
  return hosts;
}

Summary simulate_policy(Scenario const& scenario, std::string const& policy, std::uint64_t seed) {
  return simulate_with(
      scenario, seed,
      Clients{scenario.clients, [&](auto client) { return make_policy(policy, client); }, seed,
              takes_reports(policy) ? reports_of(scenario) : Reports{}});
}

std::vector<Table> run(Plan const& plan,
                       std::function<void(std::size_t, std::size_t)> const& progress) {
  std::vector<Table> tables(plan.cases.size());
  std::vector<std::function<void()>> jobs;
  for (std::size_t i = 0; i < tables.size(); ++i) {
    auto& table = tables[i];
    table.its_case = &plan.cases[i];
    auto const& scenario = plan.cases[i].scenario;
    for (auto const& bound : bounds) table.bounds.push_back({.policy = bound.name});
    for (auto const& policy : plan.policies) table.policies.push_back({.policy = policy});
    for (auto* lines : {&table.bounds, &table.policies})
      for (auto& line : *lines) line.seeds.resize(plan.seeds.size());
    for (std::size_t k = 0; k < plan.seeds.size(); ++k) {
      auto const seed = plan.seeds[k];
      for (std::size_t j = 0; j < bounds.size(); ++j)
        jobs.emplace_back([&table, &scenario, seed, k, j] {
          table.bounds[j].seeds[k] = bounds[j].simulate(scenario, seed);
        });
      for (auto& line : table.policies)
        jobs.emplace_back([&line, &scenario, seed, k] {
          line.seeds[k] = simulate_policy(scenario, line.policy, seed);
        });
    }
  }
  auto const threads = plan.threads > 0 ? plan.threads : std::thread::hardware_concurrency();
  Crew{std::move(jobs)}.work(std::max(threads, 1U), progress);
  for (auto& table : tables) compare_with_bound(table, plan.seeds.size());
  return tables;
}

double median_over_bound(Line const& line) {
  auto values = line.over_bound;
  auto const middle = values.begin() + static_cast<std::ptrdiff_t>((values.size() - 1) / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace simulate
