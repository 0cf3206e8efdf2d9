// SPDX-License-Identifier: MIT
// Probes against nginx: hung (stopped by a signal), killed, failing, resetting, flapping, and back.

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>
#include <memory>
#include <string>
#include <thread>

#include <poise/asio/prober.hpp>
#include <poise/health/monitor.hpp>
#include <poise/poise.hpp>

#include "integration/health/nodes.hpp"
#include "support/catch.hpp"

namespace integration_servers_probed_nginx {

using namespace std::chrono_literals;
using namespace poise::health;

namespace {

constexpr char const* program = "/usr/sbin/nginx";

/// One nginx of one process, in a folder of its own.
class Nginx {
 public:
  Nginx() {
    std::string pattern = (std::filesystem::temp_directory_path() / "poise-nginx-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
    asio::io_context context;
    asio::ip::tcp::acceptor const free{context, {asio::ip::address_v4::loopback(), 0}};
    port_ = free.local_endpoint().port();
  }
  /// Runs it with this answer to /up: "return 200 'ready'", "return 444" (it closes) ...
  void start(std::string const& answer = "return 200 'ready'") {
    std::ofstream{folder_ / "nginx.conf"}
        << "daemon off; master_process off; pid nginx.pid; error_log error.log;\n"
        << "events {}\nhttp { access_log off; client_body_temp_path b; proxy_temp_path p;\n"
        << "fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;\n"
        << "server { listen 127.0.0.1:" << port_ << "; listen unix:" << folder_.string()
        << "/socket; location /up { " << answer << "; }\n"
        << "location /chunked { alias " << folder_.string()
        << "/page; ssi on; ssi_types *; } } }\n";
    std::ofstream{folder_ / "page"} << "<!--# set var=\"x\" value=\"is rea\" -->it "
                                    << "<!--# echo var=\"x\" -->dy\n";
    std::filesystem::remove(folder_ / "socket");  // left by a killed one
    run();
  }
  ~Nginx() {
    stop();
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  Nginx(Nginx const&) = delete;
  Nginx& operator=(Nginx const&) = delete;

  void stop() {
    if (process_ <= 0) return;
    ::kill(process_, SIGKILL);
    ::waitpid(process_, nullptr, 0);
    process_ = 0;
  }
  void signal(int number) const { ::kill(process_, number); }
  [[nodiscard]] std::string local_address() const {
    return "unix:" + (folder_ / "socket").string();
  }
  [[nodiscard]] std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

 private:
  void run() {
    auto const folder = folder_.string();
    auto const config = (folder_ / "nginx.conf").string();
    process_ = ::fork();
    if (process_ != 0) return;
    int const nowhere = ::open("/dev/null", O_WRONLY);
    ::dup2(nowhere, STDERR_FILENO);
    std::array<char const*, 6> const arguments{program, "-p",           folder.c_str(),
                                               "-c",    config.c_str(), nullptr};
    ::execv(program, const_cast<char* const*>(arguments.data()));
    ::_exit(127);
  }

  std::filesystem::path folder_;
  std::uint16_t port_ = 0;
  pid_t process_ = 0;
};

}  // namespace

TEST_CASE("nginx that hangs, flaps, is killed, fails or closes is taken out and comes back") {
  REQUIRE(std::filesystem::exists(program));
  Nginx good;
  Nginx bad;
  good.start();
  bad.start();
  tests::Loop loop;
  Standard const monitor{{.slow_start = {.window = 0s}, .seed = 1}};
  poise::Balancer<poise::RoundRobin, void, Monitored> servers{
      poise::endpoints(std::vector{good.address(), bad.address()}), {}, {.observers = {monitor}}};
  servers.tick();
  std::this_thread::sleep_for(300ms);  // both listen
  ProbeOptions const fast{.interval = 200ms,
                          .timeout = 150ms,
                          .doubt_interval = 50ms,
                          .max_down_interval = 200ms,
                          .spread = 50ms};
  poise::asio::Prober const prober{loop.executor(), servers, monitor,
                                   poise::asio::HttpProbe{"/up", {.body = "ready"}}, fast};
  auto const reaches = [&](Phase wanted) {
    for (int i = 0; i < 10'000; ++i) {
      if (monitor.phase(bad.address()) == wanted) return true;
      std::this_thread::sleep_for(1ms);
      if (wanted == Phase::healthy) servers.pick().finish();
    }
    return false;
  };
  bad.signal(SIGSTOP);
  CHECK(reaches(Phase::ejected));
  CHECK(monitor.history(bad.address()).back().cause == "no answer in time");
  bad.signal(SIGCONT);
  CHECK(reaches(Phase::healthy));
  bad.stop();
  CHECK(reaches(Phase::ejected));
  bad.start();
  CHECK(reaches(Phase::healthy));
  for (auto const* answer : {"return 503", "return 444", "return 302 /login", "return 200 'red'"}) {
    INFO(answer);
    bad.stop();
    bad.start(answer);
    CHECK(reaches(Phase::ejected));
    bad.stop();
    bad.start();
    CHECK(reaches(Phase::healthy));
  }
  for (int i = 0; i < 6; ++i) {
    bad.signal(i % 2 == 0 ? SIGSTOP : SIGCONT);
    std::this_thread::sleep_for(400ms);
  }
  CHECK(reaches(Phase::healthy));
  CHECK(monitor.phase(good.address()) == Phase::healthy);
  CHECK_FALSE(monitor.panicking());
}

TEST_CASE("an HTTP probe asks nginx at a unix socket, and reads chunked bodies") {
  REQUIRE(std::filesystem::exists(program));
  Nginx nginx;
  nginx.start();
  tests::Loop loop;
  auto const ask = [&](poise::asio::HttpProbe const& probe, std::string const& address) {
    std::promise<Probed> answer;
    std::shared_ptr<poise::asio::Attempt> attempt;
    loop.run([&] {
      attempt = probe(loop.executor(), address, [&](Probed const& it) { answer.set_value(it); });
    });
    auto const result = answer.get_future().get();
    loop.run([&] { attempt.reset(); });
    return result;
  };
  poise::asio::HttpProbe const up{"/up", {.body = "ready"}};
  for (int i = 0; i < 1000 && !ask(up, nginx.address()).passed; ++i)
    std::this_thread::sleep_for(10ms);  // until it listens
  CHECK(ask(up, nginx.local_address()).cause == "http: status 200 and the expected text");
  for (auto const& address : {nginx.address(), nginx.local_address()})
    CHECK(ask(poise::asio::HttpProbe{"/chunked", {.body = "it is ready"}}, address).cause ==
          "http: status 200 and the expected text");
}

}  // namespace integration_servers_probed_nginx
