// SPDX-License-Identifier: MIT

#include <string>
#include <string_view>

#include <support/catch.hpp>

#include <poise/analysis/pages.hpp>
#include <poise/balancer.hpp>
#include <poise/health/monitor.hpp>
#include <poise/observe/handler.hpp>
#include <poise/policy/rendezvous.hpp>

namespace unit_analysis_pages {

using namespace poise;

namespace {

struct World {
  Balancer<Rendezvous, void, health::Monitored> servers{
      endpoints({"10.0.0.1:80", "10.0.0.2:80", "a/b c"})};
  observe::Handler handler{};

  World() { analysis::add_explanations(handler, servers, servers.observer<health::Standard>()); }
  [[nodiscard]] observe::HttpResponse get(std::string_view target,
                                          std::string_view accept = {}) const {
    return handler({.method = "GET", .target = target, .host = "localhost", .accept = accept});
  }
};

}  // namespace

TEST_CASE("/explain says what a pick of this key would do") {
  World const world;
  auto const owner = world.servers.pick({.route_key = "user 7"})->id();
  for (auto const* target : {"/explain?key=user+7", "/explain?key=user%207&priority=low"}) {
    auto const page = world.get(target);
    CHECK(page.status == 200);
    CHECK(page.type == "text/plain; charset=utf-8");
    CHECK(page.body.starts_with("rendezvous picks " + owner + " for the key \"user 7\"\n"));
  }
  CHECK(world.get("/explain").body.starts_with("rendezvous picks "));
}

TEST_CASE("/why/ID says why a backend is passed over, whatever bytes its id has") {
  World world;
  CHECK(world.get("/why/10.0.0.1:80").body == "10.0.0.1:80: eligible\n");
  CHECK(world.get("/why/10.0.0.1%3a80?format=text").body == "10.0.0.1:80: eligible\n");
  world.servers.drain("a/b c");
  CHECK(world.get("/why/a%2Fb%20c").body == "a/b c: drained; ends by: undrain()\n");
  CHECK(world.get("/why/a/b%20c").status == 200);
  auto const hostile = world.get("/why/%00%0d%0aSet-Cookie:%ff\"<script>");
  CHECK(hostile.status == 404);
  CHECK(
      hostile.body ==
      "\\x00\\x0d\\x0aSet-Cookie:\xef\xbf\xbd\\\"<script>: unknown; ends by: add() or update()\n");
  CHECK(world.get("/why/").status == 404);
  CHECK(world.get("/why").status == 404);
}

TEST_CASE("both pages are JSON if asked for") {
  World const world;
  for (auto const* target : {"/explain?format=json", "/why/10.0.0.1:80?format=json"}) {
    CHECK(world.get(target).type == "application/json");
    CHECK(world.get(target).body.starts_with('{'));
  }
  CHECK(world.get("/explain", "application/json").type == "application/json");
  CHECK(world.get("/explain", "text/plain, application/json;q=0.5").type ==
        "text/plain; charset=utf-8");
  CHECK(world.get("/explain?format=text", "application/json").type == "text/plain; charset=utf-8");
}

TEST_CASE("bad queries are refused in words") {
  World const world;
  for (auto const* target : {"/explain?key=%", "/explain?key=%4", "/explain?key=%4g",
                             "/explain?key=%+4", "/why/%zz", "/why/a?x=%"}) {
    INFO(target);
    CHECK(world.get(target).status == 400);
    CHECK(world.get(target).body == "a % must be followed by two hexadecimal digits\n");
  }
  auto const unknown = world.get("/explain?kye=a");
  CHECK(unknown.status == 400);
  CHECK(unknown.body ==
        "\"kye\" = \"a\" is not known; there are key=..., priority=high, normal or low, and "
        "format=text or json\n");
  CHECK(world.get("/explain?priority=urgent").status == 400);
  CHECK(world.get("/explain?&&key=a&").status == 200);
}

TEST_CASE("a key of a megabyte is explained") {
  World const world;
  auto const page = world.get("/explain?key=%41" + std::string(1U << 20U, 'k'));
  CHECK(page.status == 200);
  CHECK(page.body.size() < 2000);
}

TEST_CASE("pages of several balancers stand below a path of each") {
  Balancer<Rendezvous> const orders{endpoints({"o:1"})};
  Balancer<Rendezvous> const users{endpoints({"u:1"})};
  observe::Handler handler;
  analysis::add_explanations(handler, orders, "/orders");
  analysis::add_explanations(handler, users, "/users");
  auto const get = [&](std::string_view target) {
    return handler({.method = "GET", .target = target, .host = "localhost"});
  };
  CHECK(get("/users/explain").body.starts_with("rendezvous picks u:1\n"));
  CHECK(get("/orders/why/o:1").body == "o:1: eligible\n");
  CHECK(get("/why/o:1").body ==
        "there is no such page; there are:\n/orders/explain\n/users/explain\n/orders/why/...\n"
        "/users/why/...\n");
}

}  // namespace unit_analysis_pages
