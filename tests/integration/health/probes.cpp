// SPDX-License-Identifier: MIT
// Probes over real sockets.

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include <poise/asio/coroutine_probe.hpp>
#include <poise/asio/probe.hpp>
#include <poise/asio/prober.hpp>
#include <poise/health/monitor.hpp>
#include <poise/poise.hpp>
#include <poise/probe/threads.hpp>
#include <poise/ticker.hpp>

#include "integration/health/nodes.hpp"
#include "integration/no_descriptors.hpp"
#include "support/catch.hpp"
#include "support/sanitized.hpp"

namespace integration_health_probes {

using namespace std::chrono_literals;
using namespace poise::health;
using poise::asio::HttpProbe;
using poise::asio::Prober;
using poise::asio::TcpProbe;
using tests::Loop;
using tests::Manner;
using tests::WebServer;

namespace {

using Servers = poise::Balancer<poise::P2C, void, Monitored>;

/// Ten times faster than the defaults, so that tests take a second.
constexpr ProbeOptions fast{.interval = 200ms,
                            .timeout = 100ms,
                            .doubt_interval = 50ms,
                            .max_down_interval = 200ms,
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

TEST_CASE("a connection of a port to itself does not pass for a server") {
  asio::io_context context;
  asio::ip::tcp::socket own{context, {asio::ip::address_v4::loopback(), 0}};
  own.connect(own.local_endpoint());  // as a port of the ephemeral range may do by chance
  CHECK(poise::asio::detail::is_connected_to_itself(own));
  Loop loop;
  WebServer server{loop};
  asio::ip::tcp::socket other{context};
  other.connect(asio::ip::tcp::endpoint{asio::ip::address_v4::loopback(),
                                        poise::HostPort::of(server.address())->port});
  CHECK_FALSE(poise::asio::detail::is_connected_to_itself(other));
}

TEST_CASE("a process without file descriptors says nothing about a backend") {
  Loop loop;
  WebServer server{loop};
  for (poise::asio::StartProbe const& probe :
       {poise::asio::StartProbe{TcpProbe{}}, poise::asio::StartProbe{HttpProbe{}}}) {
    CHECK(probe_once(loop, probe, server.address()).passed);
    tests::NoDescriptors const none;
    auto const result = probe_once(loop, probe, "127.0.0.1:1");
    CHECK_FALSE(result.passed);
    CHECK(result.inconclusive);
    INFO(result.cause);
    CHECK(result.cause.starts_with("connect: "));
  }
}

TEST_CASE("a hung resolver delays neither known names nor other names") {
  using poise::asio::detail::LookUps;
  std::promise<void> go_on;
  {
    Loop loop;
    WebServer server{loop};
    auto const at = [&](std::string const& name) { return name + server.address().substr(9); };
    std::atomic<bool> hangs{false};
    auto const released = go_on.get_future().share();
    LookUps::of(loop.executor()).resolve_by([&](std::string const& name) -> LookUps::Found {
      if (name == "hung.test" || (name == "known.test" && hangs)) released.wait();
      if (name == "gone.test") return {asio::error::host_not_found, {}};
      return {{}, {asio::ip::address_v4::loopback()}};
    });
    CHECK(probe_once(loop, TcpProbe{}, at("known.test")).passed);
    hangs = true;
    std::vector<std::shared_ptr<poise::asio::Attempt>> waiting;
    loop.run([&] {
      for (int i = 0; i < 100; ++i)
        waiting.push_back(TcpProbe{}(loop.executor(), at("hung.test"), [](auto const&) {}));
    });
    for (int i = 0; i < 3; ++i) CHECK(probe_once(loop, TcpProbe{}, at("known.test")).passed);
    CHECK(probe_once(loop, TcpProbe{}, at("new.test")).passed);
    CHECK(probe_once(loop, TcpProbe{}, at("gone.test")).cause.starts_with("name: "));
    loop.run([&] { waiting.clear(); });
    go_on.set_value();
  }
}

TEST_CASE("a name that no longer exists is forgotten, and a resolver that fails changes nothing") {
  using poise::asio::detail::LookUps;
  Loop loop;
  WebServer server{loop};
  auto const address = "name.test" + server.address().substr(9);
  std::mutex mutex;
  std::error_code error;
  std::atomic<int> look_ups{0};
  LookUps::of(loop.executor()).resolve_by([&](std::string const&) -> LookUps::Found {
    std::scoped_lock const lock{mutex};
    ++look_ups;
    if (error) return {error, {}};
    return {{}, {asio::ip::address_v4::loopback()}};
  });
  auto const answer_with = [&](std::error_code next) {
    std::scoped_lock const lock{mutex};
    error = next;
  };
  CHECK(probe_once(loop, TcpProbe{}, address).passed);
  answer_with(asio::error::host_not_found_try_again);
  for (int i = 0; i < 5; ++i) CHECK(probe_once(loop, TcpProbe{}, address).passed);
  CHECK(eventually([&] { return look_ups >= 2; }));
  answer_with(asio::error::host_not_found);
  CHECK(eventually([&] { return !probe_once(loop, TcpProbe{}, address).passed; }));
}

TEST_CASE("a TCP probe passes if a program listens") {
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

TEST_CASE("an HTTP probe distinguishes good answers from bad ones") {
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
  CHECK_THROWS_AS((HttpProbe{"/", {}, "a/b"}), poise::ConfigError);
  CHECK_THROWS_AS((HttpProbe{"/", {.min_status = 300, .max_status = 200}}), poise::ConfigError);
  CHECK_THROWS_AS((HttpProbe{"/", {.body = "long", .max_body = 3}}), poise::ConfigError);
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

TEST_CASE("probes eject servers that are killed, hung, failing or resetting, and readmit them") {
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
    servers.pick().finish();  // a backend on probation needs a request
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
  constexpr int many = tests::sanitized ? 100 : 1000;  // 2000 probes a second need a quick program
  std::vector<poise::Endpoint> endpoints;
  for (int i = 0; i < many; ++i)
    endpoints.push_back({.id = "hung " + std::to_string(i), .address = hung.address()});
  endpoints.push_back({.id = "good", .address = good.address()});
  Standard const monitor{{.seed = 1}};
  Servers servers{std::move(endpoints), {}, {.observers = {monitor}}};
  servers.tick();
  auto const threads = threads_now();
  std::atomic<int> probes{0};
  HttpProbe const http;
  {
    Loop loop;
    ProbeOptions options = fast;
    options.interval = 500ms;
    options.timeout = 400ms;
    Prober const prober{loop.executor(), servers, monitor,
                        [&](auto const& executor, std::string const& address, auto done) {
                          if (address == good.address()) ++probes;
                          return http(executor, address, std::move(done));
                        },
                        options};
    std::this_thread::sleep_for(4s);
    CHECK(threads_now() - threads <= 2);
    CHECK(prober.failures() == 0);
  }
  CHECK(monitor.phase("good") == Phase::healthy);
  int down = 0;
  for (int i = 0; i < many; ++i)
    down += monitor.phase("hung " + std::to_string(i)) == Phase::ejected ? 1 : 0;
  CHECK(down == many);
  CHECK(probes >= 5);  // of 8; behind hung ones it would wait for all of them
}

TEST_CASE("a name that does not resolve takes only its own backend out") {
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
                                                        .max_down_interval = 2ms,
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

TEST_CASE("an event loop's ticker ticks many balancers, and one that throws delays none") {
  Loop loop;
  Standard const one{{.seed = 1}};
  Standard const other{{.seed = 1}};
  Servers first{poise::endpoints({"a"}), {}, {.observers = {one}}};
  Servers second{poise::endpoints({"b"}), {}, {.observers = {other}}};
  struct Broken {
    void tick() { throw std::runtime_error{"no"}; }
  } broken;
  CHECK_FALSE(one.phase("a"));
  poise::asio::Ticker ticker{loop.executor()};
  auto const watched =
      std::array{ticker.watch(first, 1ms), ticker.watch(broken, 1ms), ticker.watch(second, 1ms)};
  CHECK(eventually([&] { return one.phase("a") && other.phase("b"); }));
  CHECK(eventually([&] { return ticker.failures() > 0; }));
  CHECK_THROWS_AS(ticker.watch(first, 0ms), poise::ConfigError);
}

TEST_CASE("a job of an event loop's ticker ends with its handle, or with the ticker") {
  Loop loop;
  std::atomic<int> handled{0};
  std::atomic<int> owned{0};
  std::atomic<int> never{0};
  poise::asio::Ticker::Handle itself;
  {
    poise::asio::Ticker ticker{loop.executor()};
    auto handle = ticker.every(1ms, [&] { ++handled; });
    auto const other = ticker.every(1ms, [&] { ++owned; });
    auto const once = ticker.every(poise::Duration::max(), [&] { ++never; });
    CHECK(eventually([&] { return handled >= 3; }));
    handle = {};
    auto const then = handled.load();
    auto const before = owned.load();
    CHECK(eventually([&] { return owned > before + 3; }));
    CHECK(handled == then);
    CHECK(never == 1);
    loop.run([&] { itself = ticker.every(1ms, [&] { itself = {}; }); });
    CHECK(eventually([&] { return owned > before + 9; }));
  }
  auto const then = owned.load();
  loop.run([] {});
  CHECK(owned == then);
}

TEST_CASE("foreign text of an address does not get into a request") {
  Loop loop;
  auto const asked = [&](std::string const& address) {
    return probe_once(loop, HttpProbe{"/up"}, address).cause;
  };
  for (std::string const address :
       {"[::1%lo\r\nX: y]:1", "a\r\nX: y:1", "a b:1", "[::1\r\nX]:1", "a%0d:1", "\x80:1"})
    CHECK(asked(address).find("can't be a Host field") != std::string::npos);
  CHECK(asked("[::1%1]:1").starts_with("connect: "));  // a zone is not sent
  HttpProbe const named{"/up", {}, "api.internal"};
  CHECK(probe_once(loop, named, "a b:1").cause.find("can't be") == std::string::npos);
}

TEST_CASE("backends that hang, in time or not, do not starve one that answers") {
  for (auto const late : {-1ms, 30ms}) {
    Standard const monitor{{.seed = 1}};
    std::vector<poise::Endpoint> endpoints{{.id = "works", .address = "works"}};
    for (int i = 0; i < 20; ++i)
      endpoints.push_back({.id = "hung " + std::to_string(i), .address = "hung"});
    Servers servers{endpoints, {}, {.observers = {monitor}}};
    servers.tick();
    std::atomic<int> asked{0};
    ProbeThreads const probes{
        servers,
        monitor,
        [&](Target const& target, poise::Time deadline) -> Probed {
          if (target.address == "works") return ++asked, Probed{true, "works"};
          std::this_thread::sleep_for(deadline + late - poise::SteadyClock{}.now());
          return {late > 0ms, "gave up"};  // an answer that comes late claims to be good
        },
        {.interval = 100ms,
         .timeout = 20ms,
         .doubt_interval = 50ms,
         .max_down_interval = 100ms,
         .spread = 1ms}};
    auto const out = [&](int i) {
      return monitor.phase("hung " + std::to_string(i)) == Phase::ejected;
    };
    for (int i = 0; i < 20; ++i) CHECK(eventually([&] { return out(i); }));
    auto const before = asked.load();
    CHECK(eventually([&] { return asked >= before + 10; }));
    CHECK(monitor.phase("works") == Phase::healthy);
    CHECK(probes.failures() == 0);
  }
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

}  // namespace integration_health_probes
