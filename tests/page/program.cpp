// SPDX-License-Identifier: MIT
// program BACKENDS PORT [ID]: a balancer in front of backends that do not exist, its live page, and
// incidents on demand, for check.py. The second backend is named ID. Prints the page's address,
// then obeys lines of its input: "kill ID", "fail ID", "slow ID", "heal ID", "drain ID"; ends with
// the input.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <queue>
#include <random>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <poise/analysis/alert_watch.hpp>
#include <poise/analysis/pages.hpp>
#include <poise/health/monitor.hpp>
#include <poise/observe/handler.hpp>
#include <poise/observe/meter.hpp>
#include <poise/observe/page.hpp>
#include <poise/observe/reader.hpp>
#include <poise/poise.hpp>
#include <poise/status/server.hpp>
#include <poise/ticker.hpp>

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using Runtime = poise::Runtime<poise::CycleClock, poise::health::Standard, poise::observe::Meter<>>;
using Balancer = poise::Balancer<poise::RoundRobin, void, Runtime>;

std::vector<poise::Endpoint> backends(std::size_t count, std::string const& second) {
  std::vector<poise::Endpoint> all;
  for (std::size_t i = 1; i <= count; ++i)
    all.push_back({.id = i == 2 ? second : "server-" + std::to_string(i),
                   .address = "10.0.0." + std::to_string(i) + ":80"});
  return all;
}

Runtime runtime() {
  poise::health::Standard monitor{{.ejection = {.unreachable = 2s}, .slow_start = {.window = 4s}}};
  return {.observers = {std::move(monitor), poise::observe::Meter<>{}}};
}

/// Ten requests a second for each backend, which take some milliseconds.
class Traffic {
 public:
  explicit Traffic(Balancer& balancer) : balancer_{balancer} {}
  enum class Fault { dead, failing, slow };

  void harm(std::string const& id, Fault fault) {
    std::scoped_lock const lock{mutex_};
    faults_.insert_or_assign(id, fault);
  }
  void heal(std::string const& id) {
    std::scoped_lock const lock{mutex_};
    faults_.erase(id);
  }

  void run(std::stop_token const& stop, std::size_t count) {
    std::mt19937 random{1};
    std::exponential_distribution<double> takes{1 / 0.005};
    auto const pause = std::chrono::duration_cast<Clock::duration>(100ms) / count;
    for (auto next = Clock::now(); !stop.stop_requested(); next += pause) {
      if (Clock::now() - next > 1s) next = Clock::now();  // it was stopped
      std::this_thread::sleep_until(next);
      begin(std::chrono::duration_cast<Clock::duration>(
                std::chrono::duration<double>{0.002 + takes(random)}),
            random() % 4 == 0);
      while (!pending_.empty() && pending_.top().first <= Clock::now()) {
        pending_.top().second->finish();
        pending_.pop();
      }
    }
  }

 private:
  using Lease = std::shared_ptr<Balancer::Lease>;
  using Pending = std::pair<Clock::time_point, Lease>;
  struct Later {
    bool operator()(Pending const& a, Pending const& b) const { return a.first > b.first; }
  };

  void begin(Clock::duration takes, bool has_bad_luck) {
    auto lease = std::make_shared<Balancer::Lease>(balancer_.pick());
    if (!*lease) return;
    auto const fault = fault_of((*lease)->id());
    if (fault == Fault::dead) return lease->finish(poise::Result::refused);
    if (fault == Fault::failing && has_bad_luck) return lease->finish(poise::Result::error);
    pending_.emplace(Clock::now() + (fault == Fault::slow ? 20 * takes : takes), std::move(lease));
  }
  std::optional<Fault> fault_of(std::string_view id) {
    std::scoped_lock const lock{mutex_};
    auto const found = faults_.find(id);
    if (found == faults_.end()) return std::nullopt;
    return found->second;
  }

  Balancer& balancer_;
  std::mutex mutex_;
  std::map<std::string, Fault, std::less<>> faults_{};
  std::priority_queue<Pending, std::vector<Pending>, Later> pending_{};
};

void obey(Balancer& balancer, Traffic& traffic) {
  for (std::string word, id; std::cin >> word && std::getline(std::cin >> std::ws, id);) {
    if (word == "kill") traffic.harm(id, Traffic::Fault::dead);
    else if (word == "fail") traffic.harm(id, Traffic::Fault::failing);
    else if (word == "slow") traffic.harm(id, Traffic::Fault::slow);
    else if (word == "heal") traffic.heal(id);
    else balancer.drain(id);
  }
}

void serve(std::size_t count, std::uint16_t port, std::string const& second) {
  Balancer balancer{backends(count, second), {}, runtime()};
  poise::observe::Metrics const metrics{
      .readers = {std::make_shared<poise::observe::Reader>(
          "orders", balancer, poise::observe::ReaderOptions{.cap = 1000})}};
  poise::observe::Handler handler;
  add_metrics(handler, metrics);
  add_page(handler, metrics, {.notices = poise::analysis::alert_notices()});
  poise::analysis::add_explanations(handler, balancer,
                                    balancer.observer<poise::health::Standard>());
  poise::status::Server const server{std::move(handler), {.port = port}};
  poise::Ticker ticker;
  auto const ticking = ticker.watch(balancer);
  Traffic traffic{balancer};
  std::jthread const sender{[&](std::stop_token const& stop) { traffic.run(stop, count); }};
  std::cout << server.url() << std::endl;
  obey(balancer, traffic);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc != 3 && argc != 4) throw std::runtime_error{"program BACKENDS PORT [ID]"};
    serve(std::stoul(argv[1]), static_cast<std::uint16_t>(std::stoul(argv[2])),
          argc == 4 ? argv[3] : "server-2");
    return 0;
  } catch (std::exception const& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
