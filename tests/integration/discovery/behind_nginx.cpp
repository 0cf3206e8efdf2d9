// SPDX-License-Identifier: MIT
// Registries behind a real nginx, as many are: it buffers, answers 502 and 504 for them, cuts
// watches and long polls off at its proxy_read_timeout, and speaks TLS for them.

#include <signal.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <poise/discovery/curl/registration.hpp>
#include <poise/discovery/curl/sources.hpp>
#include <poise/discovery/watcher.hpp>
#include <poise/poise.hpp>

#include "integration/discovery/servers.hpp"
#include "integration/servers/certificates.hpp"
#include "support/catch.hpp"

namespace integration_discovery_behind_nginx {

using namespace std::chrono_literals;
using namespace poise::discovery;

namespace {

/// nginx before a registry on this port. It gives up on an answer after a second of silence.
class ProxyNginx {
 public:
  /// With a certificate it speaks TLS.
  explicit ProxyNginx(std::uint16_t registry, tests::Certificate const& certificate = {}) {
    bool const tls = !certificate.chain.empty();
    folder_.write("chain.pem", certificate.chain);
    folder_.write("key.pem", certificate.key);
    auto const path = folder_.path();
    auto const config = folder_.write(
        "nginx.conf",
        "daemon off; master_process off; pid " + path + "/pid; error_log " + path +
            "/error.log;\nevents {}\nhttp { access_log off; client_body_temp_path " + path +
            "/b; proxy_temp_path " + path + "/p;\nfastcgi_temp_path " + path +
            "/f; uwsgi_temp_path " + path + "/u; scgi_temp_path " + path +
            "/s;\nserver { listen 127.0.0.1:" + std::to_string(port) +
            (tls ? " ssl; ssl_certificate chain.pem; ssl_certificate_key key.pem" : "") +
            "; location / { proxy_pass http://127.0.0.1:" + std::to_string(registry) +
            "; proxy_http_version 1.1; proxy_set_header Connection \"\";\n"
            "proxy_buffering on; proxy_connect_timeout 1s; proxy_read_timeout 1s; } } }\n");
    program_.emplace(
        std::vector<std::string>{"/usr/sbin/nginx", "-c", config, "-e", path + "/error.log"}, port);
  }
  [[nodiscard]] std::string url(char const* scheme = "http") const {
    return std::string{scheme} + "://127.0.0.1:" + std::to_string(port);
  }

  std::uint16_t const port = tests::free_port();

 private:
  tests::Scratch folder_{};
  std::optional<tests::Program> program_{};
};

/// A balancer that follows a source, and what was said about it.
class Follows {
 public:
  explicit Follows(std::unique_ptr<Source> source) {
    FeedOptions options;
    options.follower.backoff = 100ms;
    options.follower.max_backoff = 500ms;
    options.log = [this](std::string const&, Event const& event) {
      std::scoped_lock const lock{mutex_};
      events_ += std::string{name(event.kind)} + ": " + event.text + "\n";
    };
    handle_ = watcher_.follow(std::move(source), servers_, options);
  }
  [[nodiscard]] std::size_t size() { return servers_.stats().backends.size(); }
  bool has(std::size_t count) {
    return tests::soon([&] { return size() == count; });
  }
  bool says(std::string const& part) {
    return tests::soon([&] { return log().find(part) != std::string::npos; });
  }
  std::string log() {
    std::scoped_lock const lock{mutex_};
    return events_;
  }
  Status status() { return handle_.status()[0]; }

 private:
  std::mutex mutex_;
  std::string events_{};
  poise::Balancer<> servers_{{}};
  Watcher watcher_{};
  Watcher::Handle handle_{};
};

}  // namespace

TEST_CASE("nginx before etcd: a watch that is cut off each second still shows each change") {
  tests::EtcdServer const server;
  ProxyNginx const nginx{server.port};
  server.put("web/1", "127.0.0.1:1001");
  Follows follows{from_etcd(nginx.url(), "web/")};
  REQUIRE(follows.has(1));
  for (int i = 2; i <= 5; ++i) {
    server.put("web/" + std::to_string(i), "127.0.0.1:100" + std::to_string(i));
    INFO(follows.log());
    CHECK(follows.has(static_cast<std::size_t>(i)));
    std::this_thread::sleep_for(700ms);
  }
  CHECK(follows.says("failed: etcd web/ at http://127.0.0.1:"));  // the cut
  CHECK(follows.says("recovered"));
  CHECK(follows.status().held == 0);
}

TEST_CASE("nginx before etcd: its 502 and 504 are failures, and the list stays") {
  tests::EtcdServer server;
  ProxyNginx const nginx{server.port};
  server.put("web/1", "127.0.0.1:1001");
  server.put("web/2", "127.0.0.1:1002");
  Follows follows{from_etcd(nginx.url(), "web/")};
  REQUIRE(follows.has(2));
  server.stop();
  INFO(follows.log());
  CHECK(follows.says("HTTP status 504"));
  server.go_on();
  CHECK(tests::soon([&] { return follows.status().last_error.empty(); }));
  server.kill();
  CHECK(follows.says("HTTP status 502"));
  CHECK(follows.size() == 2);
  server.start();
  server.put("web/3", "127.0.0.1:1003");
  CHECK(follows.has(3));
}

TEST_CASE("nginx before Consul, scripted: a long poll that it cuts off is asked again from 0") {
  std::atomic<int> lists{0};
  tests::ScriptedServer const server{[&](std::string const& request) -> std::string {
    if (request.find("index=") != std::string::npos) return "\f";  // nothing changes
    std::string list = "[";
    for (int i = 0; i < ++lists && i < 3; ++i)
      list += std::string{i == 0 ? "" : ","} + R"({"Service":{"Address":"127.0.0.1","Port":100)" +
              std::to_string(i) + "}}";
    return tests::http_200(list + "]", "X-Consul-Index: 7\r\n");
  }};
  ProxyNginx const nginx{server.port};
  Follows follows{from_consul(nginx.url(), "web")};
  CHECK(follows.says("HTTP status 504"));
  INFO(follows.log());
  CHECK(follows.has(3));
  CHECK(follows.says("recovered"));
}

TEST_CASE("nginx before etcd: an entry is registered and renewed through it, and outlives a 502") {
  tests::EtcdServer server;
  ProxyNginx const nginx{server.port};
  Watcher watcher;
  Registration registration{
      watcher, nginx.url(),
      std::make_unique<json::EtcdEntry>(
          json::Entry{.service = "web/", .endpoint = {.address = "127.0.0.1:1001"}, .ttl = 3s})};
  REQUIRE(registration.wait(10s));
  server.kill();
  CHECK(tests::soon([&] {
    return registration.status().last_error.find("HTTP status 502") != std::string::npos;
  }));
  server.forget();
  server.start();
  auto const stored = [&] {
    return tests::ask(server.port, "POST", "/v3/kv/range",
                      R"({"key":"d2ViLw==","range_end":"d2ViMA=="})")
               .find("\"kvs\"") != std::string::npos;
  };
  CHECK(tests::soon(stored));
  CHECK(registration.leave(5s));
}

TEST_CASE("nginx with TLS before etcd: a certificate counts if its authority and name are right") {
  tests::EtcdServer const server;
  server.put("web/1", "127.0.0.1:1001");
  tests::Authority const authority{"registries"};
  tests::Authority const other{"others"};
  tests::Scratch const folder;
  HttpOptions const trusts{.ca_file = folder.write("ca.pem", authority.pem())};
  ProxyNginx const right{server.port, authority.issue("IP:127.0.0.1")};
  Follows follows{from_etcd(right.url("https"), "web/", {}, trusts)};
  CHECK(follows.has(1));
  ProxyNginx const foreign{server.port, other.issue("IP:127.0.0.1")};
  ProxyNginx const elsewhere{server.port, authority.issue("DNS:elsewhere.test")};
  for (auto const* each : {&foreign, &elsewhere}) {
    Follows refuses{from_etcd(each->url("https"), "web/", {}, trusts)};
    CHECK(refuses.says("failed: etcd web/ at https://127.0.0.1:"));
    CHECK(refuses.size() == 0);
  }
}

}  // namespace integration_discovery_behind_nginx
