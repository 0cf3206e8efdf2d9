// SPDX-License-Identifier: MIT
#include <poise/observe/handler.hpp>

#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>

#include <poise/poise.hpp>
#include <support/catch.hpp>
#include <support/exposition.hpp>

namespace unit_observe_handler {

namespace {

using namespace poise;
using namespace poise::observe;

constexpr std::string_view prometheus_2_42 =
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

struct World {
  Balancer<RoundRobin, void, Runtime<VirtualClock, Meter<>>> servers{endpoints({"a", "b"})};
  Handler handler{HandlerOptions{.hosts = {"metrics.example"}}};

  World() {
    add_metrics(handler, {.readers = {std::make_shared<Reader>("orders", servers)}});
    servers.pick().finish();
  }
  [[nodiscard]] HttpResponse get(std::string_view target, std::string_view accept = {}) const {
    return handler({.method = "GET", .target = target, .host = "localhost:9100", .accept = accept});
  }
};

}  // namespace

TEST_CASE("the format is what the client likes best", "[observe]") {
  CHECK(negotiate("") == TextFormat::prometheus);
  CHECK(negotiate("*/*") == TextFormat::prometheus);
  CHECK(negotiate("text/html") == TextFormat::prometheus);
  CHECK(negotiate(prometheus_2_42) == TextFormat::openmetrics);
  CHECK(negotiate("application/openmetrics-text") == TextFormat::openmetrics);
  CHECK(negotiate("Application/OpenMetrics-Text; version=1.0.0 ; q=0.9, text/plain;q=0.5") ==
        TextFormat::openmetrics);
  CHECK(negotiate("application/openmetrics-text;q=0.2,text/plain;q=0.5") == TextFormat::prometheus);
  CHECK(negotiate("application/openmetrics-text;q=0") == TextFormat::prometheus);
  CHECK(negotiate("application/openmetrics-text;q=nonsense,,;;=,") == TextFormat::prometheus);
}

TEST_CASE("pages are served under their paths, in their types", "[observe]") {
  World const world;
  auto const metrics = world.get("/metrics");
  CHECK(metrics.status == 200);
  CHECK(metrics.type == "text/plain; version=0.0.4; charset=utf-8");
  CHECK(tests::Exposition{metrics.body}.complaints().empty());
  auto const open = world.get("/metrics?x=1", prometheus_2_42);
  CHECK(open.type == "application/openmetrics-text; version=1.0.0; charset=utf-8");
  CHECK(open.body.ends_with("# EOF\n"));
  CHECK(world.get("/json").type == "application/json");
  CHECK(world.get("/json").body.starts_with(R"({"balancers":[{"name":"orders")"));
  CHECK(world.get("/text").body.starts_with("orders, policy round_robin: 2 backends"));
  CHECK(world.get("/healthz").body == "ok\n");
  CHECK(world.get("/nothing").status == 404);
  CHECK(world.get("/nothing").body.find("/metrics") != std::string::npos);
  CHECK(world.get("").status == 404);
}

TEST_CASE("only GET and HEAD are served", "[observe]") {
  World const world;
  for (std::string_view const method : {"POST", "PUT", "DELETE", "get", ""})
    CHECK(world.handler({.method = method, .target = "/metrics", .host = "localhost"}).status ==
          405);
  CHECK(world.handler({.method = "HEAD", .target = "/metrics", .host = "localhost"}).status == 200);
}

TEST_CASE("a host that was not allowed gets nothing", "[observe]") {
  World const world;
  auto const status = [&](std::string_view host) {
    return world.handler({.method = "GET", .target = "/metrics", .host = host}).status;
  };
  for (std::string_view const host : {"127.0.0.1", "127.0.0.1:9100", "LOCALHOST:1", "[::1]",
                                      "[::1]:9100", "metrics.example", "Metrics.Example:80"})
    CHECK(status(host) == 200);
  for (std::string_view const host :
       {"", "evil.example", "127.0.0.1.evil.example", "[::1", "localhost.", "metrics.example.org"})
    CHECK(status(host) == 421);
}

TEST_CASE("a page that throws is a 500, and does not say why", "[observe]") {
  World world;
  world.handler.add("/broken",
                    [](HttpRequest const&) -> HttpResponse { throw std::runtime_error{"secret"}; });
  auto const response = world.get("/broken");
  CHECK(response.status == 500);
  CHECK(response.body.find("secret") == std::string::npos);
}

TEST_CASE("a path is decoded before its route is looked for", "[observe]") {
  World world;
  world.handler.add("/a <b>/explain", [](HttpRequest const&) { return HttpResponse{}; });
  std::string const prefix = "/a <b>/why/";
  world.handler.add_below(prefix, [prefix](HttpRequest const& request) {
    return HttpResponse{.body = std::string{request.below(prefix)}};
  });
  CHECK(world.get("/a%20%3cb%3E/explain?key=1").status == 200);
  CHECK(world.get("/a%20%3Cb%3E/why/x%2Fy%zz").body == "x%2Fy%zz");
  CHECK(world.get("/a%20%3Cb%3E%2Fwhy%2Fid").body == "id");
  CHECK(world.get("/a%20b/explain").status == 404);
  CHECK(world.get("/%").status == 404);
  CHECK(percent_encoded("a/ \xff~") == "a%2F%20%FF~");
}

TEST_CASE("texts say that a balancer is gone, and do not call it well", "[observe]") {
  auto world = std::make_unique<World>();
  auto const handler = world->handler;
  CHECK(world->get("/json").body.find(R"("state":"live","gone_since":null)") != std::string::npos);
  world.reset();
  auto const get = [&](std::string_view target) {
    return handler({.method = "GET", .target = target, .host = "localhost"}).body;
  };
  auto const text = get("/text");
  CAPTURE(text);
  CHECK(text.starts_with("orders: GONE since 20"));
  CHECK(text.find("healthy") == std::string::npos);
  CHECK(get("/json").find(R"("state":"gone","gone_since":)") != std::string::npos);
}

TEST_CASE("a page is served after the balancer's end", "[observe]") {
  auto world = std::make_unique<World>();
  auto const handler = world->handler;
  world.reset();
  auto const response = handler({.method = "GET", .target = "/metrics", .host = "localhost"});
  tests::Exposition const read{response.body};
  CHECK(read.complaints().empty());
  CHECK(read.samples().at(R"(poise_requests_total{balancer="orders",outcome="success"})") == 1);
}

}  // namespace unit_observe_handler
