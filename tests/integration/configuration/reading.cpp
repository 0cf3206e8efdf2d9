// SPDX-License-Identifier: MIT
// What a configuration says, and what is wrong with it.

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include <poise/config/diff.hpp>
#include <poise/config/effective.hpp>
#include <poise/config/policy_text.hpp>
#include <poise/config/reference.hpp>
#include <poise/config/schema.hpp>
#include <poise/config/text.hpp>

#include "integration/configuration/full.hpp"
#include "integration/configuration/support.hpp"
#include "support/catch.hpp"

namespace integration_configuration_reading {

namespace {

using namespace poise::config;
using namespace std::chrono_literals;

std::string const one_backend = "[[backends]]\naddress = \"a:80\"\n";

/// The messages, a line each.
std::string problems(std::string const& text) {
  std::string all;
  for (auto const& each : read_text(text).problems) all += message("f", each) + '\n';
  return all;
}

void require_problem(std::string const& text, std::string const& wanted) {
  INFO(text);
  auto const all = problems(text);
  INFO(all);
  REQUIRE(all.starts_with(wanted));
  REQUIRE(all.find('\n') == all.size() - 1);  // one problem, one line
}

}  // namespace

TEST_CASE("a configuration fills every kind of field") {
  auto const document = read_text(tests::full_config);
  REQUIRE(problems(std::string{tests::full_config}).empty());
  auto const& settings = document.settings;
  REQUIRE(settings.name == "orders");
  REQUIRE(settings.backends.size() == 2);
  REQUIRE(settings.backends[0].id == "a");
  REQUIRE(settings.backends[0].weight == 2);
  REQUIRE(settings.backends[0].labels[1] == poise::Label{"rack.no", "7"});
  REQUIRE(settings.backends[1].id == "[::1]:80");
  REQUIRE(settings.backends[1].max_in_flight == 50);
  REQUIRE(settings.health.monitor.slow_start.window == 90s);
  REQUIRE(settings.health.monitor.ejection.max_ejected == 0.4);
  REQUIRE(settings.health.monitor.panic.mode == poise::health::Panic::Mode::closed);
  REQUIRE(settings.health.latency.enforcement.degrade);
  REQUIRE(settings.probe.kind == ProbeKind::http);
  REQUIRE(settings.limits.adaptive.tolerance == 2);
  REQUIRE(settings.alerts.latency == 200ms);
  REQUIRE(settings.discovery.follower.refresh == poise::discovery::FollowerOptions{}.refresh);
}

TEST_CASE("JSON says the same as TOML") {
  auto const toml = read_text("policy = \"random\"\n" + one_backend +
                              "weight = 3\n[retry]\nattempts = 2\nbudget_fraction = 0.25\n");
  auto const json = read_text(R"({"policy": "random", "$schema": "./poise.schema.json",
    "backends": [{"address": "a:80", "weight": 3}], "retry": {"attempts": 2,
    "budget_fraction": 0.25}})");
  REQUIRE(toml.valid());
  REQUIRE(json.valid());
  REQUIRE(differences(toml.settings, json.settings).empty());
}

TEST_CASE("all problems come at once, in order, with their places") {
  REQUIRE(
      problems("nam = 1\n[[backends]]\naddress = \"a\"\nwight = 1\n[probe]\nkind = \"htp\"\n"
               "interval = 2\n") ==
      "f:1:1: unknown key \"nam\"; did you mean name? There are name, policy, source, backends, "
      "health, probe, retry, limits, load_reports, discovery, metrics, alerts, gateway\n"
      "f:3:11: backends.0.address is \"a\": it is not host:port with a port from 1 to 65535 "
      "(IPv6 needs brackets: [::1]:80)\n"
      "f:4:1: unknown key \"wight\" in [backends]; did you mean weight? There are labels, id, "
      "address, weight, zone, tier, max_in_flight\n"
      "f:6:8: probe.kind is \"htp\": use one of \"none\", \"tcp\", \"http\" (did you mean "
      "\"http\"?)\n"
      "f:7:12: probe.interval is 2: use a duration with its unit, such as \"250ms\" or "
      "\"1m30s\", above 0s, at most 8760h (did you mean \"2s\" or \"2ms\"?)\n");
}

TEST_CASE("places in JSON are those of keys and values") {
  REQUIRE(
      problems("{\n \"backends\": [{\"address\": \"a:80\", \"weight\": -3}],\n"
               " \"prob\": {},\n \"retry\":\n  {\"attempts\" : 2.5, \"on\": [] }\n}") ==
      "f:2:45: backends.0.weight is -3: use a whole number from 0 to 2147483647\n"
      "f:3:2: unknown key \"prob\"; did you mean probe? There are name, policy, source, "
      "backends, health, probe, retry, limits, load_reports, discovery, metrics, alerts, gateway\n"
      "f:5:17: retry.attempts is 2.5: use a whole number from 1 to 4294967295\n"
      "f:5:28: retry.on is a list: use a text in quotes\n");
}

TEST_CASE("a value of the wrong kind or size says what was meant") {
  auto const with = [](std::string const& table) { return one_backend + table; };
  require_problem(with("[health.ejection]\njitter = 20"),
                  "f:4:10: health.ejection.jitter is 20: use a fraction such as \"50%\" or 0.5, "
                  "from 0% to 100% (did you mean \"20%\"?)");
  require_problem(with("[health.ejection]\njitter = nan"), "f:4:10: health.ejection.jitter is nan");
  require_problem(with("[health.ejection]\njitter = \"101%\""), "f:4:10: health.ejection.jitter");
  require_problem(with("[health.slow_start]\nmin_fraction = 0"),
                  "f:4:16: health.slow_start.min_fraction is 0: use a fraction such as \"50%\" or "
                  "0.5, above 0%, at most 100%");
  require_problem(with("[health]\ninterval = \"0s\""), "f:4:12: health.interval is \"0s\"");
  require_problem(with("[health]\ninterval = \"10\""), "f:4:12: health.interval is \"10\"");
  require_problem(with("[health]\ninterval = \"-1s\""), "f:4:12: health.interval is \"-1s\"");
  require_problem(with("[health]\ninterval = \"9000h\""), "f:4:12: health.interval is \"9000h\"");
  require_problem(with("[health]\ninterval = 2026-01-01"), "f:4:12: a date or a time");
  require_problem(with("[limits]\nmax_waiting = \"7\""),
                  "f:4:15: limits.max_waiting is \"7\": use a whole number from 0 to 4294967295 "
                  "(without quotes)");
  require_problem(with("[limits]\nmax_in_flight = 0"),
                  "f:4:17: limits.max_in_flight is 0: use \"none\" or a whole number from 1 to ");
  require_problem(with("[metrics]\nlisten = \"127.0.0.1:1\"\nhistograms = \"yes\""),
                  "f:5:14: metrics.histograms is \"yes\": use true or false (without quotes)");
  require_problem(with("[metrics]\nlisten = \"9100\""),
                  "f:4:10: metrics.listen is \"9100\": use HOST:PORT with a port from 1 to 65535");
  require_problem("policy = \"p2d\"\n" + one_backend,
                  "f:1:10: policy is \"p2d\": there is no policy");
  require_problem("source = \"consl:http://a/b\"",
                  "f:1:10: source is \"consl:http://a/b\": use KIND:WHERE; did you mean consul?");
  require_problem(
      with("[retry]\nattempts = 2\non = \"timeout, attempts=9\""),
      "f:5:6: retry.on is \"timeout, attempts=9\": use failures, or results joined by +");
  require_problem(with("[probe]\nkind = \"http\"\npath = \"up\""), "f:5:8: probe.path is \"up\"");
  require_problem("name = \"\"\n" + one_backend, "f:1:8: name is \"\": use a name");
}

TEST_CASE("values that do not fit each other are refused at the one that can be changed") {
  auto const with = [](std::string const& table) { return one_backend + table; };
  require_problem("", "f:1:1: there are no backends: add [[backends]]");
  require_problem("source = \"env:X\"\n" + one_backend,
                  "f:1:10: source and [[backends]] are both given: remove one of them");
  require_problem(one_backend + one_backend,
                  "f:4:11: backends.1.address is \"a:80\": backends.0 has the same id");
  require_problem("[[backends]]\nid = \"x\"", "f:1:1: backends.0 has no address");
  require_problem(one_backend + "weight = 0", "f:3:10: backends.0.weight is 0: every weight is 0");
  require_problem(with("[health.ejection]\nbase = \"10m\""),
                  "f:3:1: health.ejection.max is 5m: use at least base and unreachable");
  require_problem(
      with("[probe]\nkind = \"tcp\"\ntimeout = \"5s\""),
      "f:5:11: probe.timeout is 5s: it must be shorter than probe.interval, which is 5s");
  require_problem(with("[probe]\nkind = \"tcp\"\nmax_down_interval = \"3m\""),
                  "f:5:21: probe.max_down_interval is 3m: with jitter and timeout that is no less");
  require_problem(with("[probe]\ninterval = \"2s\""),
                  "f:3:1: [probe] has no effect: set probe.kind, or remove the table");
  require_problem(with("[retry]\nbase_pause = \"1ms\""), "f:3:1: [retry] has no effect");
  require_problem(with("[discovery.guard]\nconfirmations = 2"), "f:3:1: [discovery");
  require_problem("policy = \"retry(p2c)\"\n" + one_backend + "[retry]\nattempts = 2",
                  "f:1:10: policy is \"retry(p2c)\": it retries by itself");
  require_problem(with("[limits.adaptive]\nenabled = true\nmin = 30"),
                  "f:3:1: limits.adaptive.initial is 20: use at least limits.adaptive.min");
}

TEST_CASE("a policy's table means the same as its text") {
  auto const text_of_policy = [](std::string const& table) {
    auto const document = read_text(one_backend + table);
    INFO(table << problems(one_backend + table));
    REQUIRE(document.valid());
    return document.settings.policy;
  };
  REQUIRE(text_of_policy("[policy]\nname = \"p2c\"") == "p2c");
  REQUIRE(text_of_policy("[policy]\nname = \"retry\"\nattempts = 3\nx-why = [1]\n"
                         "[policy.policy]\nname = \"p2c\"\nload = \"ewma(window=2)\"") ==
          "retry(attempts=3, policy=p2c(load=ewma(window=2)))");
  REQUIRE(text_of_policy("[policy]\nname = \"zone_aware\"\nlocal = \"eu 1\"") ==
          "zone_aware(local=\"eu 1\")");
  REQUIRE(text_of_policy("[policy]\nname = \"rate_limited\"\nper_second = 0.25\n"
                         "policy = {name = \"priority\", fallback = true}") ==
          "rate_limited(per_second=0.25, policy=priority(fallback=yes))");
  auto const json = read_text(
      R"({"policy": {"name": "retry", "hedge": {"name": "at", "percentile": 0.9}},
    "backends": [{"address": "a:80"}]})");
  REQUIRE(json.settings.policy == "retry(hedge=at(percentile=0.9))");
}

TEST_CASE("a registry that is none is found before the gateway starts") {
  for (std::string const wrong :
       {"consul:", "consul", "consul:web", "consul:http://a:1", "etcd:http://a:1/", "file:/x"})
    require_problem(one_backend + "[gateway]\nregistry = \"" + wrong + "\"\n",
                    "f:4:12: gateway.registry is \"" + wrong + "\": use consul:http://");
  for (std::string const right : {"", "consul:http://a:1/web", "etcd:http://a:1,http://b:1/web/"})
    REQUIRE(read_text(one_backend + "[gateway]\nregistry = \"" + right + "\"\n").valid());
}

TEST_CASE("a mistake in a policy's table is found where it stands") {
  auto const with = [](std::string const& table) { return one_backend + "[policy]\n" + table; };
  require_problem(with("nam = \"p2c\""), "f:3:1: policy has no name: add the policy's name");
  require_problem(with("name = 7"), "f:4:8: policy.name is 7: use a text in quotes");
  require_problem(with("name = \"p2d\""),
                  "f:4:8: policy: there is no policy \"p2d\"; did you mean p2c?");
  require_problem(with("name = \"retry\"\nattemps = 3"),
                  "f:5:1: policy: retry() does not know \"attemps\"; did you mean attempts?");
  require_problem(with("name = \"retry\"\nattempts = \"x\""),
                  "f:5:12: policy: retry(): attempts is \"x\", but must be a whole number");
  require_problem(with("name = \"retry\"\nattempts = -1"), "f:5:12: policy: retry(): attempts");
  require_problem(with("name = \"ring\"\npoints = 1e300"), "f:5:10: policy: ring(): points is");
  require_problem(with("name = \"rate_limited\"\nper_second = nan"), "f:5:14: policy: rate_");
  require_problem(with("name = \"retry\"\non = [\"timeout\"]"),
                  "f:5:6: policy.on is a list: use a text, a number, true, false, or a table");
  require_problem(with("name = \"retry\"\npolicy = \"p2c(\""),
                  "f:5:10: policy.policy: policy \"p2c(\", character 5: expected a name");
  require_problem(with("name = \"retry\"\npolicy = {name = \"p2c\", load = \"ewm\"}"),
                  "f:5:32: policy: there is no load \"ewm\"; did you mean ewma?");
  require_problem(with("name = \"retry\"\npolicy = {load = \"ewma\"}"),
                  "f:5:10: policy.policy has no name");
  require_problem(with("name = \"subset\"\npolicy = {name = \"subset\", size = 0}"),
                  "f:5:18: policy: size of Subset is 0");
  require_problem(with("name = \"zone_aware\"\nlocal = 'a\"b'"),
                  "f:5:9: policy.local is \"a\\\"b\": remove the quotes inside of it");
  require_problem(with("name = \"retry\"\n\"\" = 1"), "f:5:1: policy has an empty key");
  require_problem(with("name = \"retry\"\n[retry]\nattempts = 2"),
                  "f:3:1: policy is \"retry\": it retries by itself");
}

TEST_CASE("a secret is named by its file, and never repeated") {
  tests::TextFile const file{"0123456789abcdef0123456789abcdef\n"};
  auto const table = "[policy]\nname = \"ring\"\nsecret = {file = \"" + file.path + "\"}\n";
  auto const source = "source = \"k8s:https://a/b/c\"\n[discovery]\ntoken = ";
  for (auto const& text : {one_backend + table, source + ("{file = \"" + file.path + "\"}\n")}) {
    auto const document = read_text(text);
    INFO(problems(text));
    REQUIRE(document.valid());
    auto const full = effective(document);
    INFO(full);
    REQUIRE(full.find(file.path) != std::string::npos);
    REQUIRE(full.find("89ab") == std::string::npos);
    auto const again = read_text(full);
    REQUIRE(problems(full).empty());
    REQUIRE(differences(document.settings, again.settings).empty());
  }
  require_problem(source + std::string{"\"0123\""},
                  "f:3:9: discovery.token is a text: use {file = \"PATH\"}, a file that holds it,");
  require_problem(source + std::string{"{file = \"/no/such\"}"},
                  "f:3:9: discovery.token is a table: /no/such: No such file");
  require_problem(source + std::string{"{fil = \"/no/such\"}"},
                  "f:3:9: discovery.token is a table: use {file = \"PATH\"}");
  require_problem("source = \"etcd:http://a/b\"\n[discovery]\nuser = \"me\"",
                  "f:3:8: discovery.user is given: user and password go together");
  require_problem("source = \"env:X\"\n[discovery]\ntoken = {file = \"" + file.path + "\"}",
                  "f:3:9: discovery.token is given: only the sources consul and k8s take a token");
  require_problem(one_backend + "[policy]\nname = \"ring\"\nsecret = {file = \"/no/such\"}",
                  "f:5:10: policy: /no/such: No such file");
  file.write("s3cret");
  auto const all = problems(one_backend + table);
  REQUIRE(all.starts_with("f:5:10: policy: ring(): secret must be no, 32 hexadecimal digits"));
  REQUIRE(all.find("s3cret") == std::string::npos);
}

TEST_CASE("what is no TOML or JSON is refused with its place, however deep") {
  require_problem("name = ", "f:1:8: this is no TOML: ");
  require_problem("{\"name\": }", "f:1:10: this is no JSON: ");
  require_problem("{", "f:1:2: this is no JSON: ");
  for (auto const* const header : {"[:x]", " [ [", "[[\xc3\xa4]]", "[\n]", "["})
    require_problem(one_backend + header, "f:3:");  // toml++ 3.3 itself would abort
  require_problem(one_backend + "x-y = " + std::string(100, '[') + std::string(100, ']'), "f:3:");
  std::string key = "a";
  for (int i = 0; i < 20'000; ++i) key += ".a";
  require_problem(key + " = 1", "f:1:2002: this is no TOML: a line with more than 1000 dots");
  require_problem("name = \xc3\xa4", "f:1:8: this is no TOML: put what is beyond ASCII in quotes");
  require_problem("x-a = [ #\n }", "f:2:2: this is no TOML: a value is missing before }");
  require_problem("x-a = 1'\xc3\xa4'", "f:1:8: this is no TOML: a quote or bracket inside");
  require_problem("x-a = 1.'\xc3\xa4'", "f:1:9: this is no TOML: a quote or bracket inside");
  REQUIRE(problems("x-a.'b.c' = [[1], [[2, 3]]]\n" + one_backend + "[x-b.'c']\n[[x-d.'e'.'f']]\n")
              .empty());
  for (auto const* const time : {"1111-06-06 0 ", "1112-06-\x11 6", "12:30", "1979-05-27"})
    require_problem("x-a = [1, " + std::string{time}, "f:1:11: a date or a time, which no field");
  require_problem("x-a = -['\xc3\xa4'", "f:1:8: this is no TOML: a quote or bracket inside");
  require_problem("x-a = 1='\xc3\xa4'", "f:1:8: this is no TOML: a key has one =");
  require_problem("x-a = [1,\n2='\xc3\xa4'", "f:2:2: this is no TOML: a key has one =");
  require_problem("x-a = {b = {}='\xc3\xa4'}", "f:1:14: this is no TOML: a key has one =");
  REQUIRE(problems("x-a = {b = 1, c = [2, {d = '='}], e = \"=\"}  # = =\n" + one_backend).empty());
  require_problem("\"\"\"\"a\n\xc3\xa4", "f:1:1: this is no TOML: three quotes begin a value");
  require_problem("name = \"a\\\xc3\xa4\"",
                  "f:1:11: this is no TOML: only ASCII may follow a backslash");
  require_problem("name = \"\"\"a\\\n \xc3\xa4\"\"\"", "f:1:13: this is no TOML: only ASCII");
  REQUIRE(
      problems("name = '\xc3\xa4'  # \xc3\xa4\nx-a = \"\"\"\n[:\"\n\xc3\xa4\"\"\"\n" + one_backend)
          .empty());
  auto const nested = "{\"x-a\": " + std::string(100'000, '[');
  require_problem(nested, "f:1:40: more than 32 tables and lists inside each other");
}

TEST_CASE("a key that begins with x- is the user's own") {
  REQUIRE(
      problems("x-note = {a = [1, 2]}\n" + one_backend + "x-rack = 7\n[health]\nx-y = 1").empty());
}

TEST_CASE("an effective configuration can be read again, and means the same") {
  for (auto const& text :
       {std::string{tests::full_config}, one_backend,
        std::string{"source = \"env:BACKENDS\"\n[discovery]\nrefresh = \"7ms\""}}) {
    auto const document = read_text(text);
    auto const full = effective(document);
    INFO(full);
    auto const again = read_text(full);
    REQUIRE(problems(full).empty());
    REQUIRE(differences(document.settings, again.settings).empty());
    REQUIRE(again.settings.backends == document.settings.backends);
  }
}

TEST_CASE("an effective configuration says where each value came from") {
  auto const text = effective(read_text("policy = \"random\"\n" + one_backend));
  REQUIRE(text.starts_with("name = \"poise\"  # default\npolicy = \"random\"  # line 1\n"));
}

TEST_CASE("a difference names the field, both values, and when it counts") {
  auto const before = read_text(one_backend + "weight = 1\nlabels = {a = \"1\"}\n");
  auto const after = read_text(one_backend + "weight = 2\n[[backends]]\naddress = \"b:80\"\n" +
                               "[health]\nhistory = 5\n");
  std::vector<std::string> lines;
  for (auto const& each : differences(before.settings, after.settings))
    lines.push_back(message(each));
  REQUIRE(lines == std::vector<std::string>{"health.history: 16 -> 5 (at restart)",
                                            "backends.a:80.weight: 1 -> 2",
                                            "backends.a:80.labels: {\"a\" = \"1\"} -> {}",
                                            "backends.b:80: - -> \"b:80\""});
}

TEST_CASE("the table [retry] becomes a policy around the policy") {
  auto const document = read_text(
      one_backend + "[retry]\nattempts = 2\nhedge_percentile = 0.9\nhedge_after = \"5ms\"");
  REQUIRE(poise::policy_named(policy_text(document.settings)).name() ==
          poise::policy_named("retry(adaptive, attempts=2, hedge=at(percentile=0.9, after=5ms))")
              .name());
}

TEST_CASE("the schema knows every field, and its defaults are of the right kind") {
  auto const root = nlohmann::json::parse(schema());
  for (auto const& section : sections())
    for (auto const& each : section.fields) {
      auto const path = path_of(section.name, each.key);
      INFO(path);
      std::string pointer{"/properties/"};
      for (char const letter : path)
        pointer += letter == '.' ? std::string{"/properties/"} : std::string{letter};
      auto const& field = root.at(nlohmann::json::json_pointer{pointer});
      REQUIRE(field.at("description") == std::string{each.doc});
      REQUIRE(field.contains("default"));
    }
  auto const& policies = root.at("$defs").at("policy").at("anyOf");
  REQUIRE(policies.size() == 1 + poise::known_policies().size());
  for (auto const& each : policies)
    if (each.contains("properties") && each.at("properties").at("name").at("const") == "retry")
      REQUIRE(each.at("properties").contains("min_retries_per_second"));
  REQUIRE(root.at("properties").at("backends").at("items").at("required").at(0) == "address");
}

TEST_CASE("a field is explained, and a misspelled one is not") {
  REQUIRE(explanation("probe.interval").starts_with("probe.interval: Between two probes"));
  REQUIRE(explanation("backends.weight").find("default 1\n") != std::string::npos);
  REQUIRE_THROWS_WITH(explanation("probe.intervl"),
                      "there is no field \"probe.intervl\"; did you mean probe.interval?");
}

}  // namespace integration_configuration_reading
