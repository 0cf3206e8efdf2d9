// SPDX-License-Identifier: MIT
// Probes over real sockets.

#include <atomic>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <poise/asio/coroutine_probe.hpp>
#include <poise/asio/probe.hpp>
#include <poise/asio/prober.hpp>
#include <poise/health/keeper.hpp>
#include <poise/health/monitor.hpp>
#include <poise/health/probe_threads.hpp>
#include <poise/poise.hpp>

#include "health/nodes.hpp"
#include "support/catch.hpp"

using namespace std::chrono_literals;
using namespace poise::health;
using poise::asio::HttpProbe;
using poise::asio::Prober;
using poise::asio::TcpProbe;
using tests::Loop;
using tests::Manner;
using tests::WebServer;

namespace {

using Servers = poise::Balancer<poise::P2C, void, Watched>;

/// Ten times faster than the defaults, so that tests take a second.
constexpr ProbeOptions fast{.interval = 200ms,
                            .timeout = 100ms,
                            .doubt_interval = 50ms,
                            .down_interval = 200ms,
                            .spread = 50ms};

template <class Condition>
bool eventually(Condition const& condition, std::chrono::seconds limit = 10s) {
  auto const end = std::chrono::steady_clock::now() + limit;
  while (!condition() && std::chrono::steady_clock::now() < end) std::this_thread::sleep_for(1ms);
  return condition();
}

/// One probe, by itself.
Probed probe_once(Loop& loop, poise::asio::StartProbe const& probe, std::string const& address) {
  std::promise<Probed> answer;
  std::shared_ptr<poise::asio::Attempt> attempt;
  loop.run([&] {
    attempt =
        probe(loop.executor(), address, [&](Probed const& result) { answer.set_value(result); });
  });
  auto future = answer.get_future();
  if (future.wait_for(5s) == std::future_status::ready) {
    loop.run([&] { attempt.reset(); });
    return future.get();
  }
  loop.run([&] { attempt->cancel(); });
  return {false, "hung"};
}

std::size_t threads_now() {
  return static_cast<std::size_t>(
      std::distance(std::filesystem::directory_iterator{"/proc/self/task"}, {}));
}

}  // namespace

TEST_CASE("an address is a host and a port") {
  using poise::HostPort;
  CHECK(HostPort::of("10.0.0.1:80")->port == 80);
  CHECK(HostPort::of("[::1]:8080")->host == "::1");
  CHECK(HostPort::of("db.internal:5432")->host == "db.internal");
  for (auto const* wrong :
       {"", "10.0.0.1", ":80", "a:", "a:0", "a:65536", "a:80x", "::1:80", "[]:80", "a:-1", "a: 80"})
    CHECK_FALSE(HostPort::of(wrong));
}

TEST_CASE("a TCP probe knows who listens") {
  Loop loop;
  WebServer server{loop};
  CHECK(probe_once(loop, TcpProbe{}, server.address()).passed);
  server.kill();
  auto const refused = probe_once(loop, TcpProbe{}, server.address());
  CHECK_FALSE(refused.passed);
  CHECK(refused.cause.find("refused") != std::string::npos);
  CHECK_FALSE(probe_once(loop, TcpProbe{}, "nonsense").passed);
  CHECK_FALSE(probe_once(loop, TcpProbe{}, "unix:/no/such/socket").passed);
  CHECK_FALSE(probe_once(loop, TcpProbe{}, "unix:" + std::string(1000, 'x')).passed);
  CHECK_FALSE(probe_once(loop, TcpProbe{}, "no-such-name.invalid:80").passed);
  server.revive();
  CHECK(probe_once(loop, TcpProbe{}, "localhost" + server.address().substr(9)).passed);
}

TEST_CASE("an HTTP probe tells good answers from bad ones") {
  Loop loop;
  WebServer server{loop};
  auto const ask = [&](Manner manner, HttpProbe const& probe = HttpProbe{"/up"}) {
    server.behave(manner);
    return probe_once(loop, probe, server.address());
  };
  CHECK(ask(Manner::good).passed);
  CHECK(ask(Manner::slow).passed);
  CHECK(ask(Manner::failing).cause == "http: status 500");
  CHECK_FALSE(ask(Manner::resetting).passed);
  CHECK_FALSE(ask(Manner::garbage).passed);
  CHECK(ask(Manner::endless).cause == "http: a head of more than 16 KiB");
  CHECK(ask(Manner::good, HttpProbe{"/", {.body = "ready"}}).passed);
  CHECK_FALSE(ask(Manner::good, HttpProbe{"/", {.body = "steady"}}).passed);
}

TEST_CASE("an HTTP probe refuses what would break its request") {
  CHECK_THROWS_AS(HttpProbe{"up"}, poise::ConfigError);
  CHECK_THROWS_AS(HttpProbe{"/ HTTP/1.0\r\nX: y"}, poise::ConfigError);
  CHECK_THROWS_AS((HttpProbe{"/", {}, "a\r\nb"}), poise::ConfigError);
  CHECK_THROWS_AS((HttpProbe{"/", {.least_status = 300, .most_status = 200}}), poise::ConfigError);
  CHECK_THROWS_AS((HttpProbe{"/", {.body = "long", .most_body = 3}}), poise::ConfigError);
}

#if defined(ASIO_HAS_CO_AWAIT)
TEST_CASE("a coroutine may be a probe and may throw") {
  Loop loop;
  WebServer server{loop};
  auto const ask = [](std::string address) -> asio::awaitable<Probed> {
    if (address == "throw") throw std::runtime_error{"broken probe"};
    auto const port = poise::HostPort::of(address)->port;
    asio::ip::tcp::socket socket{co_await asio::this_coro::executor};
    co_await socket.async_connect({asio::ip::address_v4::loopback(), port}, asio::use_awaitable);
    co_return Probed{true, "connected"};
  };
  poise::asio::CoroutineProbe const probe{ask};
  CHECK(probe_once(loop, probe, server.address()).passed);
  CHECK(probe_once(loop, probe, "throw").cause == "broken probe");
  server.kill();
  CHECK_FALSE(probe_once(loop, probe, server.address()).passed);
}
#endif

TEST_CASE("probes take out what is killed, hung, failing or resetting, and bring it back") {
  Loop loop;
  WebServer good{loop};
  WebServer bad{loop};
  Standard const monitor{{.slow_start = {.window = 0s}, .seed = 1}};
  Servers servers{
      poise::endpoints(std::vector{good.address(), bad.address()}), {}, {.observers = {monitor}}};
  servers.tick();
  Prober const prober{loop.executor(), servers, monitor, HttpProbe{"/up"}, fast};
  auto const out = [&] { return monitor.phase(bad.address()) == Phase::ejected; };
  auto const back = [&] {
    servers.pick().finish();  // whoever is on probation needs a request
    return monitor.phase(bad.address()) == Phase::healthy;
  };
  for (auto const manner : {Manner::failing, Manner::hung, Manner::resetting, Manner::garbage}) {
    bad.behave(manner);
    CHECK(eventually(out));
    bad.behave(Manner::good);
    CHECK(eventually(back));
  }
  bad.kill();
  CHECK(eventually(out));
  CHECK(monitor.history(bad.address()).back().cause.find("refused") != std::string::npos);
  bad.revive();
  CHECK(eventually(back));
  CHECK(monitor.phase(good.address()) == Phase::healthy);
  CHECK(prober.failures() == 0);
}

TEST_CASE(
    "a thousand hung probes and one healthy backend that is probed on time, with two threads") {
  Loop servers_loop;
  WebServer hung{servers_loop, Manner::hung};
  WebServer good{servers_loop};
  std::vector<poise::Endpoint> endpoints;
  for (int i = 0; i < 1000; ++i)
    endpoints.push_back({.id = "hung " + std::to_string(i), .address = hung.address()});
  endpoints.push_back({.id = "good", .address = good.address()});
  Standard const monitor{{.seed = 1}};
  Servers servers{std::move(endpoints), {}, {.observers = {monitor}}};
  servers.tick();
  auto const threads = threads_now();
  std::mutex mutex;
  std::vector<std::chrono::steady_clock::time_point> probes;
  HttpProbe const http;
  {
    Loop loop;
    ProbeOptions options = fast;
    options.interval = 500ms;
    options.timeout = 400ms;
    Prober const prober{loop.executor(), servers, monitor,
                        [&](auto const& executor, std::string const& address, auto done) {
                          if (address == good.address()) {
                            std::scoped_lock const lock{mutex};
                            probes.push_back(std::chrono::steady_clock::now());
                          }
                          return http(executor, address, std::move(done));
                        },
                        options};
    std::this_thread::sleep_for(4s);
    CHECK(threads_now() - threads <= 2);
    CHECK(prober.failures() == 0);
  }
  CHECK(monitor.phase("good") == Phase::healthy);
  int down = 0;
  for (int i = 0; i < 1000; ++i)
    down += monitor.phase("hung " + std::to_string(i)) == Phase::ejected ? 1 : 0;
  CHECK(down == 1000);
  REQUIRE(probes.size() >= 5);
  for (std::size_t i = 1; i < probes.size(); ++i) CHECK(probes[i] - probes[i - 1] < 900ms);
}

TEST_CASE("a name that does not resolve takes its backend out and nobody else") {
  Loop loop;
  WebServer good{loop};
  Standard const monitor{{.seed = 1}};
  Servers servers{{{.id = "lost", .address = "no-such-name.invalid:80"},
                   {.id = "good", .address = good.address()}},
                  {},
                  {.observers = {monitor}}};
  servers.tick();
  Prober const prober{loop.executor(), servers, monitor, HttpProbe{"/up"}, fast};
  CHECK(eventually([&] { return monitor.phase("lost") == Phase::ejected; }));
  auto const cause = monitor.history("lost").back().cause;
  INFO(cause);  // without a network the look-up may hang instead
  CHECK((cause.starts_with("name: ") || cause == "no answer in time"));
  CHECK(monitor.phase("good") == Phase::healthy);
  CHECK(prober.failures() == 0);
}

TEST_CASE("a prober may end before its probes, and backends may come and go") {
  Loop loop;
  WebServer hung{loop, Manner::hung};
  WebServer good{loop};
  Standard const monitor{{.seed = 1}};
  for (int i = 0; i < 20; ++i) {
    Servers servers{poise::endpoints(std::vector{hung.address(), good.address()}),
                    {},
                    {.observers = {monitor}}};
    auto prober = std::make_unique<Prober>(loop.executor(), servers, monitor, HttpProbe{},
                                           ProbeOptions{.interval = 20ms,
                                                        .timeout = 10ms,
                                                        .doubt_interval = 2ms,
                                                        .down_interval = 2ms,
                                                        .spread = 1ms});
    std::this_thread::sleep_for(std::chrono::milliseconds{i});
    servers.remove(hung.address());
    servers.add({.id = "new", .address = hung.address()});
    if (i % 2 == 0) loop.run([&] { prober.reset(); });
  }
  CHECK(good.requests() > 0);
}

TEST_CASE("a probe that throws is a failed probe, and is counted") {
  Loop loop;
  Standard const monitor{{.seed = 1}};
  Servers servers{poise::endpoints({"a", "b"}), {}, {.observers = {monitor}}};
  servers.tick();
  Prober const prober{loop.executor(), servers, monitor,
                      [](auto const&, std::string const& address,
                         auto done) -> std::shared_ptr<poise::asio::Attempt> {
                        if (address == "a") throw std::runtime_error{"no"};
                        done({true, "at once"});
                        return nullptr;
                      },
                      fast};
  CHECK(eventually([&] { return monitor.phase("a") == Phase::ejected; }));
  CHECK(prober.failures() >= 3);
  CHECK(monitor.phase("b") == Phase::healthy);
}

TEST_CASE("an event loop's timer ticks a balancer, or many, and one that throws delays none") {
  Loop loop;
  Standard const one{{.seed = 1}};
  Standard const other{{.seed = 1}};
  Servers first{poise::endpoints({"a"}), {}, {.observers = {one}}};
  Servers second{poise::endpoints({"b"}), {}, {.observers = {other}}};
  struct Broken {
    void tick() { throw std::runtime_error{"no"}; }
  } broken;
  CHECK_FALSE(one.phase("a"));
  poise::asio::Ticker const ticker{loop.executor(), 1ms, first, broken, second};
  CHECK(eventually([&] { return one.phase("a") && other.phase("b"); }));
  CHECK(eventually([&] { return ticker.failures() > 0; }));
  CHECK_THROWS_AS((poise::asio::Ticker{loop.executor(), 0ms, first}), poise::ConfigError);
}

TEST_CASE("a blocking function may be a probe, and one that hangs does not delay the others") {
  Standard const monitor{{.seed = 1}};
  Servers servers{
      poise::endpoints({"hangs", "works", "fails", "throws"}), {}, {.observers = {monitor}}};
  servers.tick();
  std::atomic<int> asked{0};
  ProbeThreads const probes{servers, monitor,
                            [&](Target const& target, poise::Time deadline) -> Probed {
                              if (target.address == "throws") throw std::runtime_error{"no"};
                              if (target.address == "works") ++asked;
                              if (target.address == "hangs") {
                                auto const late = deadline + 300ms;
                                poise::SteadyClock const clock;
                                while (clock.now() < late) std::this_thread::sleep_for(5ms);
                              }
                              return {target.address != "fails", "asked"};
                            },
                            fast};
  for (auto const* id : {"hangs", "fails", "throws"})
    CHECK(eventually([&] { return monitor.phase(id) == Phase::ejected; }));
  auto const before = asked.load();
  std::this_thread::sleep_for(2s);
  CHECK(asked - before >= 6);  // of 8 to 10
  CHECK(monitor.phase("works") == Phase::healthy);
}
