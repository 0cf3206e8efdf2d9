// SPDX-License-Identifier: MIT
// libcurl behind Balancer::call, on real nginx.

#include <chrono>
#include <string>

#include <poise/poise.hpp>

#include "clients/curl.hpp"
#include "integration/clients/servers.hpp"
#include "integration/health/nodes.hpp"
#include "integration/no_descriptors.hpp"
#include "support/catch.hpp"

namespace integration_clients_curl {

using namespace std::chrono_literals;
using poise::Result;

namespace {

using Policy = poise::Retry<poise::RoundRobin>;
using Servers = poise::Balancer<Policy>;

struct Stage {
  tests::Scratch scratch{};
  tests::Three nginx{tests::nginx(scratch)};
  Servers servers{
      nginx.endpoints(),
      Policy{{.attempts = 3, .timeout = 2s, .attempt_timeout = 150ms, .budget_fraction = 0.5}}};
  clients::Curl curl{};

  /// How many calls did not end well.
  int failed(int calls, std::string const& path = "/") {
    int failures = 0;
    for (int i = 0; i < calls; ++i) {
      auto const reply = servers.call([&](auto& backend, poise::Request const& request) {
        auto const left = *request.deadline - poise::SteadyClock{}.now();
        return curl.get("http://" + backend.address() + path, left);
      });
      if (outcome_of(reply) != poise::Outcome{}) ++failures;
    }
    return failures;
  }
};

}  // namespace

TEST_CASE("what libcurl's results say of nginx") {
  Stage stage;
  auto const get = [&](std::string const& url) { return outcome_of(stage.curl.get(url, 500ms)); };
  auto const nginx = "http://" + stage.nginx.address(0);
  CHECK(get(nginx + "/") == poise::Outcome{});
  CHECK(get(nginx + "/not_there") == Result::rejected);
  CHECK(get(nginx + "/broken") == Result::error);
  CHECK(get(nginx + "/later") == poise::Outcome{Result::overloaded, true, 7s});
  CHECK(get("http://127.0.0.1:1/") == Result::refused);
  CHECK(get("http://nowhere.invalid/") == Result::refused);
  CHECK(get("gopherus://127.0.0.1/") == poise::Outcome{Result::rejected, false});
  CHECK(get("http://a b/") == poise::Outcome{Result::rejected, false});
  stage.nginx.hang(0);
  CHECK(get(nginx + "/") == Result::timeout);
  stage.nginx.go_on(0);
}

TEST_CASE("libcurl: no call fails while an nginx is killed and comes back") {
  Stage stage;
  CHECK(stage.failed(150) == 0);
  stage.nginx.kill(1);
  CHECK(stage.failed(150) == 0);
  stage.nginx.start(1);
  CHECK(stage.failed(150) == 0);
  auto const stats = stage.servers.stats();
  auto const bad = tests::broke(stats, stage.nginx.address(1));
  CHECK(bad > 0);
  CHECK(tests::extra(stats, 450) == bad);
}

TEST_CASE("libcurl: no call fails while an nginx hangs") {
  Stage stage;
  CHECK(stage.failed(30) == 0);
  stage.nginx.hang(2);
  CHECK(stage.failed(30) == 0);
  stage.nginx.go_on(2);
  auto const stats = stage.servers.stats();
  auto const timeouts = tests::ended(stats, stage.nginx.address(2), Result::timeout);
  CHECK(timeouts >= 10);
  CHECK(tests::extra(stats, 60) == timeouts);
}

TEST_CASE(
    "libcurl: an answer that is no HTTP, or has too long a body, is an error of the backend") {
  tests::Loop loop;
  tests::WebServer server{loop, tests::Manner::garbage};
  auto const url = "http://" + server.address() + "/";
  clients::Curl curl{5};
  CHECK(outcome_of(curl.get(url, 5s)) == Result::error);
  server.behave(tests::Manner::good);  // a body of six bytes
  auto const reply = curl.get(url, 5s);
  CHECK(outcome_of(reply) == Result::error);
  CHECK(reply.body.size() <= 5);
  CHECK(outcome_of(clients::Curl{6}.get(url, 5s)) == poise::Outcome{});
}

TEST_CASE("libcurl: a process without file descriptors says nothing about a backend") {
  tests::Loop loop;
  tests::WebServer server{loop};
  clients::Curl curl;
  clients::CurlReply reply;
  {
    tests::NoDescriptors const none;
    reply = curl.get("http://" + server.address() + "/", 5s);
  }
  INFO(reply.code << " " << reply.system_error);
  CHECK(outcome_of(reply) == poise::Outcome{Result::cancelled, false});
}

}  // namespace integration_clients_curl
