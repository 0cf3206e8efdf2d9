// SPDX-License-Identifier: MIT

#include <chrono>
#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <poise/discovery/json/consul.hpp>
#include <poise/discovery/json/eds.hpp>
#include <poise/discovery/json/endpoints.hpp>
#include <poise/discovery/json/etcd.hpp>
#include <poise/discovery/json/http_list.hpp>
#include <poise/discovery/json/kubernetes.hpp>
#include <poise/discovery/normalize.hpp>

#include "support/catch.hpp"
#include "support/recorded_http.hpp"

namespace integration_discovery_parsers {

using namespace std::chrono_literals;
using namespace poise::discovery;
using namespace poise::discovery::json;
using poise::Endpoint;

namespace {

std::string why(Look const& look) {
  auto const* const failed = std::get_if<Failed>(&look);
  return failed == nullptr ? "found" : failed->why;
}
Found const& found(Look const& look) {
  INFO(why(look));
  REQUIRE(std::holds_alternative<Found>(look));
  return std::get<Found>(look);
}
/// "a:1=3 b:1=1": addresses and weights.
std::string list(Look const& look) {
  std::string text;
  for (auto const& each : found(look).endpoints)
    text += (text.empty() ? "" : " ") + each.address + "=" + std::to_string(each.weight);
  return text;
}

}  // namespace

TEST_CASE("poise's own JSON has texts and objects") {
  auto const look = parse_endpoints(
      R"({"endpoints": ["a:1", {"address": "[::1]:2", "id": "two", "weight": 3, "zone": "z",
          "tier": 1,
          "labels": {"disk": "ssd"}, "unknown": null}, {"address": "c:3", "weight": null}]})");
  CHECK(found(look).endpoints == std::vector<Endpoint>{{.id = "a:1", .address = "a:1"},
                                                       {.id = "two",
                                                        .address = "[::1]:2",
                                                        .weight = 3,
                                                        .zone = "z",
                                                        .tier = 1,
                                                        .labels = {{"disk", "ssd"}}},
                                                       {.id = "c:3", .address = "c:3"}});
  CHECK(list(parse_any(" [\"a:1\"]")) == "a:1=1");
  CHECK(list(parse_any("a:1 weight=2\n")) == "a:1=2");
}

TEST_CASE("an entry of JSON that is wrong is left out and named") {
  for (auto const& [entry, problem] : std::map<std::string, std::string>{
           {R"({"address": "b:1", "weight": -1})", "weight of b:1 is -1"},
           {R"({"address": "b:1", "weight": 1.5})", "weight of b:1 is 1.5"},
           {R"({"address": "b:1", "weight": 1099511627776})", "weight of b:1 is 1099511627776"},
           {R"({"address": "b:1", "weight": "x"})", "weight of b:1 is"},
           {R"({"address": "b:1", "tier": true})", "tier of b:1 is true"},
           {R"({"host": "b"})", "it needs an \"address\""},
           {"7", "an endpoint is 7"},
           {"null", "an endpoint is null"}}) {
    auto const look = parse_endpoints("[\"a:1\"," + entry + "]");
    CHECK(list(look) == "a:1=1");
    REQUIRE(found(look).problems.size() == 1);
    CHECK(found(look).problems[0].find(problem) != std::string::npos);
  }
}

TEST_CASE("what is no list in JSON is a failure that says why") {
  CHECK(why(parse_endpoints("<html><body>502</body>")).find("is no JSON at byte 1") == 0);
  CHECK(why(parse_endpoints("")) == "is empty, but JSON was expected");
  CHECK(why(parse_endpoints("[\"a:1\"")).find("is no JSON at byte") == 0);
  CHECK(why(parse_endpoints("[\"\xff\"]")).find("is no JSON") == 0);
  CHECK(why(parse_endpoints("{}")).find("use an array") != std::string::npos);
  CHECK(why(parse_endpoints(R"({"endpoints": [], "endpoints": ["a:1"]})")) ==
        "has the key \"endpoints\" twice in one object");
  CHECK(why(parse_endpoints(std::string(100'000, '['))) == "is nested deeper than 64 levels");
  std::string deep;
  for (int i = 0; i < 100'000; ++i) deep += "{\"a\":";
  CHECK(why(parse_endpoints(deep)) == "is nested deeper than 64 levels");
}

TEST_CASE("Consul: a recording of 1.8.7, passing and critical instances") {
  auto const answer = tests::recorded("consul-1.8.7/health-passing-and-critical.http");
  auto const look = parse_consul(answer.body);
  CHECK(list(look) == "127.0.0.1:9001=10");
  CHECK(found(look).endpoints[0].zone == "eu-1a");
  CHECK(list(parse_consul(tests::recorded("consul-1.8.7/health-passing.http").body)) ==
        "127.0.0.1:9001=10");
}

TEST_CASE("Consul: without a service address it is the node's, warnings have their weight") {
  CHECK(list(parse_consul(R"([{"Node": {"Address": "::1"}, "Service": {"Address": "", "Port": 80,
      "Tags": null, "Meta": null, "Weights": {"Passing": 5, "Warning": 2}},
      "Checks": [{"Status": "passing"}, {"Status": "warning"}]}])")) == "[::1]:80=2");
  CHECK(list(parse_consul(R"([{"Service": {"Address": "a", "Port": 80}, "Checks": null},
      {"Service": {"Address": "b", "Port": 80}, "Checks": [{"Status": "maintenance"}]}])")) ==
        "a:80=1");
  auto const odd = parse_consul(R"([null, 7, {"Service": null}, {"Service": {"Port": -1}}])");
  CHECK(found(odd).endpoints.empty());
  CHECK(found(odd).problems.size() == 4);
}

TEST_CASE("Consul: blocking queries go on with the index, and begin again if it goes back") {
  Consul consul{"web"};
  CHECK(consul.begin().target == "/v1/health/service/web?stale=1");
  auto const step = consul.on_answer(tests::recorded("consul-1.8.7/health-passing.http"));
  REQUIRE(step.next);
  CHECK(step.next->target == "/v1/health/service/web?stale=1&index=159&wait=55s");
  CHECK(step.next->timeout == 68s);
  CHECK(found(*step.look).watched);
  CHECK(found(*step.look).version == "159");
  // 1.8.7 says "[]" for a service that it does not know: the guard must judge that.
  auto const back = consul.on_answer(tests::recorded("consul-1.8.7/health-unknown-service.http"));
  CHECK(found(*back.look).endpoints.empty());
  CHECK(back.next->target == "/v1/health/service/web?stale=1");
  CHECK(back.next->after == 1s);  // never in a loop
  auto const bad = consul.on_answer(tests::recorded("consul-1.8.7/bad-index.http"));
  CHECK(why(*bad.look) == "HTTP status 400: Invalid index");
  CHECK_FALSE(bad.next);
}

TEST_CASE("Consul: a server without a leader has no list, whatever it sends") {
  Consul consul{"web", {.token = [] { return std::string{"secret"}; }}};
  CHECK(consul.begin().headers == std::vector<std::string>{"X-Consul-Token: secret"});
  auto answer = tests::recorded("consul-1.8.7/health-unknown-service.http");
  for (auto& [key, value] : answer.headers)
    if (key == "x-consul-knownleader") value = "false";
  CHECK(why(*consul.on_answer(answer).look).find("knows no leader") != std::string::npos);
}

TEST_CASE("etcd: a recording of 3.4.23 is read, and watched from the next revision") {
  Etcd etcd{"svc/"};
  CHECK(etcd.begin().body == R"({"key":"c3ZjLw==","range_end":"c3ZjMA=="})");
  auto const step = etcd.on_answer(tests::recorded("etcd-3.4.23/range.http"));
  CHECK(list(*step.look) == "10.0.0.1:80=1");
  REQUIRE(step.next);
  CHECK(step.next->target == "/v3/watch");
  CHECK(step.next->streams);
  CHECK(step.next->body.find(R"("start_revision":"338")") != std::string::npos);
}

TEST_CASE("etcd: events change the list, a compacted watch reads again (recording of 3.4.23)") {
  Etcd etcd{"svc/"};
  (void)etcd.begin();
  (void)etcd.on_answer(tests::recorded("etcd-3.4.23/range.http"));
  auto const put = etcd.on_line(
      R"({"result":{"header":{"revision":"340"},
          "events":[{"kv":{"key":"c3ZjL2I=","value":"MTAuMC4wLjI6ODA="}}]}})");
  CHECK(put.changed);
  CHECK(list(etcd.list()) == "10.0.0.1:80=1 10.0.0.2:80=1");
  CHECK(etcd.list().version == "340");
  auto const gone = etcd.on_line(
      R"({"result":{"header":{"revision":"341"},
          "events":[{"type":"DELETE","kv":{"key":"c3ZjL2E="}}]}})");
  CHECK(gone.changed);
  CHECK(list(etcd.list()) == "10.0.0.2:80=1");
  auto const lines = tests::recorded("etcd-3.4.23/watch-compacted.http").body;
  auto const end = lines.find('\n');
  CHECK_FALSE(etcd.on_line(lines.substr(0, end)).changed);
  auto const again = etcd.on_line(lines.substr(end + 1, lines.find('\n', end + 1) - end - 1));
  REQUIRE(again.next);
  CHECK(again.next->target == "/v3/kv/range");
  CHECK(again.next->after == 0s);  // it has shown changes
  CHECK(etcd.on_line(R"({"result":{"canceled":true,"compact_revision":"9"}})").next->after == 1s);
  auto const forbidden =
      etcd.on_line(R"({"result":{"canceled":true,"cancel_reason":"permission denied"}})");
  CHECK(why(*forbidden.look) == "the watch was cancelled: permission denied");
  auto const error = etcd.on_line(R"({"error":{"message":"etcdserver: no leader"}})");
  CHECK(why(*error.look).find("no leader") != std::string::npos);
}

TEST_CASE("etcd: values are lines, poise's JSON or that of gRPC's endpoint manager") {
  CHECK(json::detail::etcd_endpoint("a:1 weight=2").weight == 2);
  CHECK(json::detail::etcd_endpoint(R"({"Op":0,"Addr":"1.2.3.4:80","Metadata":null})").address ==
        "1.2.3.4:80");
  CHECK(json::detail::etcd_endpoint(R"({"address":"a:1","zone":"z"})").zone == "z");
  CHECK_THROWS_AS(json::detail::etcd_endpoint(""), JsonError);
  CHECK_THROWS_AS(json::detail::etcd_endpoint("{"), JsonError);
  CHECK_THROWS_AS(json::detail::etcd_endpoint("a:0"), JsonError);
  for (auto const* text : {"", "f", "fo", "foo", "\xff\xfe\xfd\x01"})
    CHECK(json::detail::from_base64(json::detail::base64(text)) == text);
  CHECK(json::detail::prefix_end(std::string{"a\xff\xff"}) == "b");
  CHECK(json::detail::prefix_end("\xff") == std::string(1, '\0'));
}

TEST_CASE("etcd: with a user it authenticates before each full look") {
  Etcd etcd{"svc/", {.user = "u", .password = [] { return std::string{"p"}; }}};
  CHECK(etcd.begin().target == "/v3/auth/authenticate");
  auto const step = etcd.on_answer({.status = 200, .body = R"({"token":"t.1"})"});
  REQUIRE(step.next);
  CHECK_FALSE(step.look);
  CHECK(step.next->headers == std::vector<std::string>{"Authorization: t.1"});
}

TEST_CASE("Kubernetes: the slices of a service are one list (recording of 1.20.2)") {
  Kubernetes kubernetes{"default", "web"};
  CHECK(kubernetes.begin().target ==
        "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices?labelSelector="
        "kubernetes.io%2Fservice-name%3Dweb");
  auto const step = kubernetes.on_answer(tests::recorded("kubernetes-1.20.2/list.http"));
  auto const all = found(*step.look);
  CHECK_FALSE(all.endpoints.empty());
  for (auto const& each : all.endpoints) CHECK(each.address.starts_with("10.1.0."));
  CHECK(all.version == "336");
  REQUIRE(step.next);
  CHECK(step.next->streams);
  CHECK(step.next->target.find("&watch=1&allowWatchBookmarks=true&resourceVersion=336") !=
        std::string::npos);
}

TEST_CASE("Kubernetes: events of a watch (recording of 1.20.2)") {
  Kubernetes kubernetes{"default", "web"};
  (void)kubernetes.begin();
  (void)kubernetes.on_answer(tests::recorded("kubernetes-1.20.2/list.http"));
  auto const events =
      tests::recorded_lines("kubernetes-1.20.2/watch-modified-deleted-bookmark.jsonl");
  auto const modified = kubernetes.on_line(events.at(0));
  CHECK(modified.changed);
  bool drained = false;
  for (auto const& each : kubernetes.list().endpoints) {
    if (each.address != "10.1.0.2:8080") continue;
    drained = each.weight == 0;  // it terminates and still serves
    CHECK(each.zone == "eu-1a");
  }
  CHECK(drained);
  auto const deleted = kubernetes.on_line(events.at(1));
  CHECK(deleted.changed);
  for (auto const& each : kubernetes.list().endpoints) CHECK(each.address != "10.1.0.3:8080");
  CHECK_FALSE(kubernetes.on_line(events.at(2)).changed);  // a bookmark is no news
}

TEST_CASE("Kubernetes: a 410, in the stream or as the status, lists again (recording of 1.20.2)") {
  Kubernetes kubernetes{"default", "web"};
  (void)kubernetes.begin();
  (void)kubernetes.on_answer(tests::recorded("kubernetes-1.20.2/list.http"));
  auto const expired = tests::recorded("kubernetes-1.20.2/watch-410-in-stream.http");
  auto const step = kubernetes.on_line(expired.body.substr(0, expired.body.find('\n')));
  CHECK_FALSE(step.look);
  REQUIRE(step.next);
  CHECK(step.next->target.find("watch=1") == std::string::npos);
  CHECK(step.next->after == 1s);  // never in a loop
  (void)kubernetes.on_answer(tests::recorded("kubernetes-1.20.2/list.http"));
  CHECK(kubernetes.on_answer({.status = 410}).next);
  (void)kubernetes.begin();
  CHECK(why(*kubernetes.on_answer(tests::recorded("kubernetes-1.20.2/401.http")).look)
            .find("HTTP status 401") == 0);
  auto const late = kubernetes.on_answer(tests::recorded("kubernetes-1.20.2/504-too-large.http"));
  CHECK(std::get<Failed>(*late.look).retry_after == 1s);
}

TEST_CASE("Kubernetes: nulls, missing ports, hints, and endpoints that terminate") {
  auto const ask = [](std::string const& endpoints, std::string const& ports,
                      KubernetesOptions const& options = {}) {
    Kubernetes kubernetes{"n", "s", options};
    (void)kubernetes.begin();
    auto const step = kubernetes.on_answer(
        {.status = 200,
         .body =
             R"({"metadata":{"resourceVersion":"1"},"items":[{"metadata":{"name":"x"},
                "endpoints":)" +
             endpoints + ",\"ports\":" + ports + "}]}"});
    return *step.look;
  };
  std::string const port = R"([{"name":"http","port":80},{"name":"admin","port":81}])";
  CHECK(list(ask("null", "null")).empty());
  CHECK(list(ask(R"([{"addresses":["10.0.0.1"]}])", port)) == "10.0.0.1:80=1");
  CHECK(list(ask(R"([{"addresses":["10.0.0.1"],"conditions":{"ready":null}}])", port,
                 {.port = "admin"})) == "10.0.0.1:81=1");
  CHECK(list(ask(R"([{"addresses":["::1"],"conditions":{"ready":false}}])", port)).empty());
  // Only terminating ones are left: they are used.
  CHECK(list(ask(
            R"([{"addresses":["::1"],
              "conditions":{"ready":false,"serving":true,"terminating":true}}])",
            port)) == "[::1]:80=1");
  CHECK(found(ask(R"([{"addresses":["10.0.0.1"]}])", "null")).problems.size() == 1);
  auto const hinted = ask(
      R"([{"addresses":["10.0.0.1"],"hints":{"forZones":[{"name":"a"}]}},
          {"addresses":["10.0.0.2"],"hints":{"forZones":[{"name":"b"}]}}])",
      port, {.zone = "a"});
  CHECK(found(hinted).endpoints[0].tier == 0);
  CHECK(found(hinted).endpoints[1].tier == 1);
}

TEST_CASE("EDS: priorities are tiers, localities zones, and weights are multiplied") {
  std::string const text = R"({"version_info":"7","resources":[
    {"@type":"x","cluster_name":"other"},
    {"cluster_name":"web","endpoints":[
      {"locality":{"zone":"z1"},"load_balancing_weight":2,"lb_endpoints":[
        {"endpoint":{"address":{"socket_address":{"address":"10.0.0.1","port_value":80}}},
         "load_balancing_weight":{"bad":1}},
        {"endpoint":{"address":{"socket_address":{"address":"10.0.0.2","port_value":80}}},
         "load_balancing_weight":3},
        {"endpoint":{"address":{"socket_address":{"address":"10.0.0.3","port_value":80}}},
         "health_status":"UNHEALTHY"},
        {"endpoint":{"address":{"socket_address":{"address":"10.0.0.4","port_value":80}}},
         "health_status":"DRAINING"}]},
      {"priority":1,"lbEndpoints":[
        {"endpoint":{"address":{"socketAddress":{"address":"::1","portValue":81}}}}]}]}]})";
  auto const look = parse_eds(text, "web");
  CHECK(list(look) == "10.0.0.2:80=6 10.0.0.4:80=0 [::1]:81=1");
  CHECK(found(look).endpoints[0].zone == "z1");
  CHECK(found(look).endpoints[2].tier == 1);
  CHECK(found(look).problems.size() == 1);
  CHECK(found(look).version == "7");
  CHECK(found(parse_eds(text, "other")).endpoints.empty());
  CHECK(
      why(parse_eds(text, "none")).find("there is no ClusterLoadAssignment for cluster \"none\"") ==
      0);
  CHECK(why(parse_eds("{}", "web")).find("there is no ClusterLoadAssignment") == 0);
}

TEST_CASE("a list over HTTP: 304 means the last one, and a redirect is not followed") {
  HttpList http{"/list"};
  (void)http.begin();
  auto const first =
      http.on_answer({.status = 200, .headers = {{"etag", "\"1\""}}, .body = "[\"a:1\"]"});
  CHECK(list(*first.look) == "a:1=1");
  CHECK(http.begin().headers == std::vector<std::string>{"If-None-Match: \"1\""});
  CHECK(list(*http.on_answer({.status = 304}).look) == "a:1=1");
  CHECK(why(*http.on_answer({.status = 302}).look).find("redirects are not followed") !=
        std::string::npos);
  CHECK(std::get<Failed>(*http.on_answer({.status = 503, .headers = {{"retry-after", "7"}}}).look)
            .retry_after == 7s);
  auto const html = http.on_answer({.status = 200, .body = "<html>\n<h1>welcome</h1>\n"});
  CHECK(std::holds_alternative<Failed>(normalize(found(*html.look))));
}

}  // namespace integration_discovery_parsers
