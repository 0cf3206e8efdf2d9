// SPDX-License-Identifier: MIT
// A balancer under load that tells how it is doing: see --help, or options.cpp.
//
//   g++ -std=c++20 -O2 -Iinclude -Iexamples examples/status/*.cpp examples/demo/{server,pool}.cpp
//       include/poise/compose/policy_named.cpp -lfmt -pthread -o status && ./status
//
// What it takes to have this in a program of your own stands in run() and handler_for(): a Meter in
// the runtime, a Reader, a Handler, a Server.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <poise/analysis/alert_watch.hpp>
#include <poise/analysis/decisions.hpp>
#include <poise/analysis/pages.hpp>
#include <poise/compose/policy_named.hpp>
#include <poise/health/monitor.hpp>
#include <poise/observe/handler.hpp>
#include <poise/observe/meter.hpp>
#include <poise/observe/page.hpp>
#include <poise/observe/reader.hpp>
#include <poise/poise.hpp>
#include <poise/status/server.hpp>
#include <poise/ticker.hpp>

#include "demo/background.hpp"
#include "demo/load.hpp"
#include "demo/pool.hpp"
#include "demo/server.hpp"
#include "options.hpp"

namespace {

using demo::Clock;
using Decisions = poise::analysis::Decisions<>;
using Runtime =
    poise::Runtime<poise::CycleClock, poise::health::Standard, poise::observe::Meter<>, Decisions>;
using Balancer = poise::Balancer<poise::AnyPolicy, demo::Pool, Runtime>;

/// Servers on a thread of their own.
class Fleet {
 public:
  explicit Fleet(status::Options const& options) {
    for (std::size_t i = 0; i < options.backends; ++i)
      servers_.push_back(std::make_unique<demo::Server>(
          context_, demo::Seconds{0.004 + 0.002 * static_cast<double>(i % 3)}, options.seed + i));
    thread_.emplace(context_);
  }
  [[nodiscard]] std::vector<poise::Endpoint> endpoints() const {
    std::vector<poise::Endpoint> all;
    for (auto const& server : servers_) {
      auto const address = "127.0.0.1:" + std::to_string(server->port());
      all.push_back({.id = fmt::format("server-{}", all.size() + 1), .address = address});
    }
    return all;
  }
  void make(std::size_t number, demo::Mood mood) {
    thread_->call([&] { servers_[number]->become(mood); });
  }

 private:
  asio::io_context context_;
  asio::executor_work_guard<asio::io_context::executor_type> keep_running_{context_.get_executor()};
  std::vector<std::unique_ptr<demo::Server>> servers_;
  std::optional<demo::Background> thread_;  // last: stopped before the servers go
};

/// Sends one request, without waiting for its answer.
void send(Balancer& balancer) {
  auto lease = std::make_shared<Balancer::Lease>(balancer.pick());
  if (!*lease) return;
  auto& pool = (*lease)->payload();
  pool.get(Clock::now() + demo::request_timeout,
           [lease](poise::Outcome outcome) { lease->finish(outcome); });
}

/// What the program tells about its balancer.
poise::observe::Handler handler_for(Balancer const& balancer, status::Options const& options) {
  poise::observe::Handler handler;
  auto reader = std::make_shared<poise::observe::Reader>(
      "demo", balancer,
      poise::observe::ReaderOptions{.cap = options.cap, .histograms = options.histograms});
  poise::observe::Metrics const metrics{.readers = {std::move(reader)}};
  poise::observe::add_metrics(handler, metrics);
  poise::observe::add_page(handler, metrics, {.notices = poise::analysis::alert_notices()});
  poise::analysis::add_explanations(handler, balancer,
                                    balancer.observer<poise::health::Standard>());
  poise::analysis::add_decisions(handler, balancer, balancer.observer<Decisions>());
  return handler;
}

/// Until the time is over, or for ever. The second server has its bad moments.
void wait(Fleet& fleet, status::Options const& options) {
  using std::chrono::seconds;
  bool failing = false;
  for (seconds at{0}; options.length == seconds{0} || at < options.length; at += seconds{1}) {
    bool const fails =
        !options.calm && options.backends > 1 && at.count() % 20 >= 5 && at.count() % 20 < 10;
    if (fails != failing) fleet.make(1, fails ? demo::Mood::failing : demo::Mood::well);
    failing = fails;
    std::this_thread::sleep_for(seconds{1});
  }
}

void run(status::Options const& options) {
  Fleet fleet{options};
  asio::io_context client{1};  // outlives the pools
  Balancer balancer{fleet.endpoints(),
                    [&](poise::Endpoint const& each) { return demo::Pool{client, each.address}; },
                    poise::policy_named(options.policy)};
  poise::status::Server const server{handler_for(balancer, options), {.port = options.port}};
  fmt::print("{}\n", server.url());
  std::fflush(stdout);
  poise::Ticker ticker;
  auto const ticking = ticker.watch(balancer);
  demo::Load const load{client,
                        {.rate = options.rate, .seed = options.seed},
                        Clock::now(),
                        demo::Instant::max(),
                        [&](demo::Instant) { send(balancer); }};
  demo::Background const sender{client};
  wait(fleet, options);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    auto const options = status::parse({argv + 1, argv + argc});
    if (options.help) fmt::print("{}", status::help());
    else run(options);
    return 0;
  } catch (status::BadOption const& error) {
    fmt::print(stderr, "status: {}\n", error.what());
    return 2;
  } catch (std::exception const& error) {
    fmt::print(stderr, "status: {}\n", error.what());
    return 1;
  }
}
