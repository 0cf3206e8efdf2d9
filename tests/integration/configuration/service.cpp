// SPDX-License-Identifier: MIT
// A balancer that runs as a configuration says, and reloads.

#include <chrono>
#include <cstddef>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <poise/config/service.hpp>
#include <poise/config/text.hpp>
#include <poise/discovery/credentials.hpp>
#include <poise/discovery/list.hpp>

#include "integration/configuration/support.hpp"

namespace integration_configuration_service {

namespace {

using namespace poise::config;
using tests::comes;
using tests::configuration;

std::string const two_backends =
    "[[backends]]\naddress = \"a:1\"\n[[backends]]\naddress = \"b:1\"\n";

std::vector<std::string> ids(Service<>& service) {
  std::vector<std::string> all;
  for (auto const& each : service.balancer().stats().backends) all.push_back(each.id);
  return all;
}

using Ids = std::vector<std::string>;

}  // namespace

TEST_CASE("a service has the policy, the backends and the limits of its configuration") {
  Service<> service{configuration("policy = \"random\"\n" + two_backends +
                                  "max_in_flight = 7\n[retry]\nattempts = 2\n[limits]\n"
                                  "max_in_flight = 3")};
  REQUIRE(ids(service) == Ids{"a:1", "b:1"});
  REQUIRE(service.balancer().name() == poise::policy_named("retry(random, attempts=2)").name());
  service.balancer().tick();
  for (auto const& each : service.balancer().stats().backends)
    REQUIRE(each.admission.max_in_flight == 3);
}

TEST_CASE("a reload keeps what was counted, and puts everything else in force") {
  Service<> service{configuration(two_backends)};
  service.balancer().record("a:1", poise::Result::error);
  auto const done = service.reload(configuration(
      "policy = \"round_robin\"\n[[backends]]\naddress = \"a:1\"\n[[backends]]\naddress = "
      "\"c:1\"\n[limits]\nmax_in_flight = 5\n"));
  REQUIRE(done.done());
  REQUIRE(done.changes.size() == 4);
  REQUIRE(ids(service) == Ids{"a:1", "c:1"});
  REQUIRE(service.balancer().name() == poise::policy_named("round_robin").name());
  REQUIRE(service.balancer().stats().backends[0].failed == 1);
  service.balancer().tick();
  REQUIRE(service.balancer().stats().backends[0].admission.max_in_flight == 5);
}

TEST_CASE("a reload changes the numbers of the monitor, and keeps what it knows") {
  auto const failures = [](std::string const& count) {
    return configuration(two_backends + "[health.consecutive]\nfailures = " + count +
                         "\nunreachable = 9\n[health.panic]\nthreshold = 0");
  };
  Service<> service{failures("5")};
  auto const fail = [&] { service.balancer().record("a:1", poise::Result::error); };
  service.balancer().tick();
  for (int i = 0; i < 3; ++i) fail();
  REQUIRE(service.balancer().stats().backends[0].health == poise::HealthState::healthy);
  REQUIRE(service.reload(failures("4")).done());
  fail();  // the fourth in a row: the first three still count
  service.balancer().tick();
  REQUIRE(service.balancer().stats().backends[0].health == poise::HealthState::unhealthy);
  REQUIRE(service.reload(failures("6")).done());
  service.balancer().tick();
  REQUIRE(service.balancer().stats().backends[0].health == poise::HealthState::unhealthy);
  REQUIRE(service.balancer().stats().backends[0].failed == 4);
}

TEST_CASE("weights follow load reports, if the configuration says so") {
  auto const enabled = [](char const* word) {
    return configuration(
        "policy = \"smooth_weighted\"\n" + two_backends +
        "[load_reports]\nblackout = \"0s\"\nupdate_period = \"1ns\"\nenabled = " + word);
  };
  Service<> service{enabled("false")};
  auto& balancer = service.balancer();
  auto const picks_of_a = [&] {
    for (int each = 0; each != 2; ++each) {
      balancer.report_load("a:1", {.cpu_utilization = 0.2, .rps = 60});
      balancer.report_load("b:1", {.cpu_utilization = 0.6, .rps = 60});
      balancer.tick();
    }
    int picks = 0;
    for (int each = 0; each != 400; ++each) picks += balancer.pick()->id() == "a:1" ? 1 : 0;
    return picks;
  };
  REQUIRE(picks_of_a() == 200);
  REQUIRE(service.reload(enabled("true")).done());
  REQUIRE(picks_of_a() == 300);
  REQUIRE(service.reload(enabled("false")).done());
  REQUIRE(picks_of_a() == 200);

  auto const deaf =
      read_text("policy = \"round_robin\"\n" + two_backends + "[load_reports]\nenabled = true");
  REQUIRE(message("f", deaf.problems.at(0)) ==
          "f:7:11: load_reports.enabled is true: the policy round_robin looks at no weights; use "
          "smooth_weighted");
}

TEST_CASE("a reload may shorten the silence of probes and their pauses together") {
  Parts parts;
  std::vector<poise::Duration> silences;
  parts.probes = [&](ProbeTarget const&, poise::health::Standard const& monitor,
                     ProbeSettings const&) {
    silences.push_back(monitor.probe_silence());
    return std::make_shared<int>();
  };
  Service<> service{configuration(two_backends + "[probe]\nkind = \"tcp\""), parts};
  REQUIRE(service
              .reload(configuration(two_backends + "[health]\nprobe_silence = \"20s\"\n[probe]\n"
                                                   "kind = \"tcp\"\nmax_down_interval = \"10s\""))
              .done());
  REQUIRE(silences ==
          std::vector<poise::Duration>{std::chrono::minutes{3}, std::chrono::seconds{20}});
}

TEST_CASE("a reload that is refused changes nothing, and says why and where") {
  Service<> service{configuration(two_backends)};
  auto const refuses = [&](Document const& document, std::string const& wanted) {
    auto const dry = service.dry_run(document);
    auto const done = service.reload(document);
    REQUIRE_FALSE(dry.done());
    REQUIRE(message("f", dry.problems[0]).starts_with(wanted));
    REQUIRE(message("f", done.problems.at(0)) == message("f", dry.problems[0]));
    REQUIRE(ids(service) == Ids{"a:1", "b:1"});
    REQUIRE(service.balancer().name() == poise::policy_named("adaptive").name());
  };
  refuses(read_text("policy = \"round_robin\"\nnam = 1\n" + two_backends), "f:2:1: unknown key");
  refuses(configuration("policy = \"round_robin\"\n" + two_backends + "[health]\nhistory = 5"),
          "f:7:11: health.history is 5, but runs with 16: it changes at a restart only");
  refuses(configuration("source = \"consul:http://127.0.0.1:8500/web\""),
          "f:1:10: this program has no source of the kind \"consul\"");
  refuses(configuration(two_backends + "[probe]\nkind = \"tcp\""),
          "f:6:8: this program can't probe");
  refuses(configuration(two_backends + "[metrics]\nlisten = \"127.0.0.1:9100\""),
          "f:6:10: this program has no server for pages");
}

TEST_CASE("a reload reads the secrets of the policy again") {
  tests::TextFile const file{std::string(32, 'a') + "\n"};
  auto const read = [&] {
    return configuration("policy = \"maglev(secret=file:" + file.path + ")\"\n" + two_backends);
  };
  Service<> service{read()};
  auto const backend_of = [&](int key) {
    return service.balancer().pick({.route_key = std::to_string(key)})->id();
  };
  std::vector<std::string> before;
  for (int i = 0; i < 100; ++i) before.emplace_back(backend_of(i));
  REQUIRE(service.reload(read()).changes.empty());
  file.write(std::string(32, 'b'));
  auto const done = service.reload(read());
  REQUIRE(done.done());
  REQUIRE(done.changes.size() == 1);
  REQUIRE(message(done.changes[0]) ==
          "policy.secret: the old text of " + file.path + " -> its new text");
  int moved = 0;
  for (int i = 0; i < 100; ++i)
    moved += backend_of(i) == before[static_cast<std::size_t>(i)] ? 0 : 1;
  REQUIRE(moved > 20);  // about half
}

TEST_CASE("a source gets the secrets of its files, and their new text") {
  tests::TextFile const file{"s3cret\n"};
  Parts parts;
  poise::discovery::Credentials credentials;
  parts.source = [&](std::string const&, poise::discovery::Credentials const& given) {
    credentials = given;
    return poise::discovery::from_list("a:1");
  };
  Service<> const service{
      configuration("source = \"consul:http://127.0.0.1:1/web\"\n[discovery]\ntoken = {file = \"" +
                    file.path + "\"}"),
      parts};
  REQUIRE(credentials.token() == "s3cret");
  REQUIRE(!credentials.password);
  file.write("other");
  REQUIRE(credentials.token() == "other");
}

TEST_CASE("a dry run says what a reload would change, and changes nothing") {
  Service<> service{configuration(two_backends)};
  auto const done = service.dry_run(configuration("policy = \"random\"\n" + two_backends));
  REQUIRE(done.done());
  REQUIRE(message(done.changes.at(0)) == "policy: \"adaptive\" -> \"random\"");
  REQUIRE(service.balancer().name() == poise::policy_named("adaptive").name());
}

TEST_CASE("a payload that can't be made refuses the reload, and the policy stays") {
  Service<int> service{configuration(two_backends), [](poise::Endpoint const& endpoint) {
                         if (endpoint.id == "bad:1") throw std::runtime_error{"no payload"};
                         return 1;
                       }};
  auto const refused =
      service.reload(configuration("policy = \"random\"\n[[backends]]\naddress = \"bad:1\"\n"));
  REQUIRE(refused.problems.at(0).text == "no payload");
  REQUIRE(service.balancer().name() == poise::policy_named("adaptive").name());
  REQUIRE(service.balancer().find("a:1"));
}

TEST_CASE("backends come from a source, and from the file again") {
  Service<> service{configuration("source = \"list:x:1,y:1\"")};
  REQUIRE(comes([&] { return ids(service) == Ids{"x:1", "y:1"}; }));
  REQUIRE(service.source_status().size() == 1);
  REQUIRE(service.reload(configuration(two_backends)).done());
  REQUIRE(ids(service) == Ids{"a:1", "b:1"});
  REQUIRE(service.source_status().empty());
  REQUIRE(
      service.reload(configuration("source = \"list:z:1\"\n[discovery.guard]\nmax_shrink = 1.0\n"))
          .done());
  REQUIRE(comes([&] { return ids(service) == Ids{"z:1"}; }));
}

TEST_CASE("a document with problems makes no service, and all of them are named") {
  auto const document = read_text("nam = 1\npolcy = 2");
  std::string what;
  try {
    Service<> const service{document};
  } catch (poise::ConfigError const& error) {
    what = error.what();
  }
  REQUIRE(what.find("configuration:1:1: unknown key \"nam\"") != std::string::npos);
  REQUIRE(what.find("configuration:2:1: unknown key \"polcy\"") != std::string::npos);
}

TEST_CASE("a service has the live page, its events and explanations, which follow reloads") {
  auto const named = [](std::string const& name, std::string const& rest = {}) {
    return configuration("name = \"" + name + "\"\n" + two_backends + rest);
  };
  Service<> service{named("one")};
  auto const pages = service.pages({.hosts = {"shop-7"}});
  auto const get = [&](std::string_view target, std::string_view host = "shop-7:9100") {
    return pages({.method = "GET", .target = target, .host = host});
  };
  REQUIRE(get("/", "elsewhere").status == 421);
  REQUIRE(get("/").body.find("EXPLAINED = [\"\",]") != std::string::npos);
  REQUIRE(get("/explain?key=user-1").status == 200);
  REQUIRE(get("/why/a:1").body.find("a:1") != std::string::npos);
  REQUIRE(get("/healthz").body == "ok\n");

  auto events = get("/events");
  REQUIRE(events.body.find("\"name\":\"one\"") != std::string::npos);
  REQUIRE(events.stream);
  REQUIRE(events.stream->next()->empty());  // nothing is new
  REQUIRE(pages.tasks().size() == 1);
  pages.tasks()[0].run();
  REQUIRE(events.stream->next()->find("event: tick") != std::string::npos);

  REQUIRE(service.reload(named("two")).done());
  REQUIRE_FALSE(events.stream->next());  // so that the viewer connects again
  REQUIRE(get("/events").body.find("\"name\":\"two\"") != std::string::npos);
}

TEST_CASE("the live page of a service has the alerts of its configuration") {
  auto const with = [](std::string const& rest) { return configuration(two_backends + rest); };
  Service<> service{with("[alerts]\nenabled = true\n")};
  auto const pages = service.pages();
  auto const has_alert = [&] {
    service.balancer().record("a:1", poise::Result::error);
    service.balancer().record("b:1", poise::Result::error);
    pages.tasks()[0].run();
    auto const events = pages({.method = "GET", .target = "/events", .host = "localhost"});
    return events.body.find("\"notices\":[]") == std::string::npos;
  };
  REQUIRE(comes(has_alert));
  REQUIRE(service.reload(with("")).done());
  REQUIRE_FALSE(has_alert());
}

TEST_CASE("probes and pages are made anew only when their fields change") {
  int probers = 0;
  int servers = 0;
  std::shared_ptr<int> alive;
  poise::observe::Handler served;
  Parts parts;
  parts.probes = [&](ProbeTarget const& target, auto const&, ProbeSettings const& settings) {
    ++probers;
    REQUIRE(target.stats().backends.size() == 2);
    REQUIRE(settings.path == "/up");
    return alive = std::make_shared<int>();
  };
  parts.pages = [&](poise::observe::Handler handler, MetricsSettings const& settings) {
    ++servers;
    REQUIRE(settings.listen == "10.0.0.7:9100");
    served = std::move(handler);
    return std::make_shared<int>();
  };
  std::string const rest = "[probe]\nkind = \"http\"\npath = \"/up\"\n[metrics]\n";
  std::string const listen = "listen = \"10.0.0.7:9100\"\n";
  Service<> service{configuration("name = \"one\"\n" + two_backends + rest + listen), parts};
  auto const page = [&] {
    return served({.method = "GET", .target = "/metrics", .host = "10.0.0.7:9100"});
  };
  REQUIRE(page().status == 200);
  REQUIRE(page().body.find("\"one\"") != std::string::npos);

  auto const before = alive;
  REQUIRE(service
              .reload(configuration("name = \"two\"\n" + two_backends + rest + listen +
                                    "histograms = true\n"))
              .done());
  REQUIRE(page().body.find("\"two\"") != std::string::npos);
  REQUIRE(page().body.find("\"one\"") == std::string::npos);
  REQUIRE(alive == before);
  REQUIRE(service.reload(configuration(two_backends + rest + listen + "[probe.x-a]\n")).done());
  REQUIRE(probers == 1);
  REQUIRE(servers == 1);

  REQUIRE(service
              .reload(configuration(two_backends +
                                    "[probe]\nkind = \"http\"\npath = \"/up\"\nrise = 1\n"))
              .done());
  REQUIRE(probers == 2);
  REQUIRE(before.use_count() == 1);  // the prober that held it is gone
}

TEST_CASE("a payload stays with a backend through reloads") {
  int made = 0;
  Service<int> service{configuration(two_backends), [&](poise::Endpoint const&) { return ++made; }};
  REQUIRE(service.reload(configuration(two_backends + "[[backends]]\naddress = \"c:1\"\n")).done());
  REQUIRE(made == 3);
}

TEST_CASE("an alert of a failing pool becomes a line") {
  std::vector<std::string> lines;
  AlertWatch watch{{.enabled = true}, [&](std::string const& line) { lines.push_back(line); }};
  poise::observe::Snapshot now;
  now.set.healthy = 2;
  for (int second = 0; second < 600; ++second) {
    now.at = poise::Time{} + std::chrono::seconds{second};
    now.requests.completed[static_cast<std::size_t>(poise::Result::error)] += 50;
    now.requests.completed[static_cast<std::size_t>(poise::Result::success)] += 50;
    watch.update(now, {});
  }
  REQUIRE(lines.size() >= 1);
  REQUIRE(lines[0].starts_with("alert errors: error budget"));
}

}  // namespace integration_configuration_service
