// SPDX-License-Identifier: MIT
#include <poise/observe/escape.hpp>
#include <poise/observe/json.hpp>
#include <poise/observe/prometheus.hpp>
#include <poise/observe/table.hpp>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <poise/observe/reader.hpp>
#include <poise/poise.hpp>
#include <support/catch.hpp>
#include <support/exposition.hpp>

namespace unit_observe_text {

namespace {

using namespace poise;
using namespace poise::observe;

Snapshot small() {
  Snapshot snapshot;
  snapshot.balancer = "orders";
  snapshot.facts.policy = "p2c";
  snapshot.measures_latency = true;
  snapshot.attempts.add(Scale::index(std::chrono::milliseconds{3}), 7);
  snapshot.attempts_sum_s = 0.021;
  snapshot.requests.completed[0] = 7;
  snapshot.backends.push_back({.id = "a", .address = "10.0.0.1:80", .weight = 1});
  snapshot.backends[0].requests.completed[0] = 7;
  snapshot.backends[0].latency = {7, 0.021, {}};
  return snapshot;
}

std::vector<std::string> hostile_ids() {
  return {R"(quo"te)",
          "line\nfeed",
          "back\\slash",
          "\xf0\x9f\x92\xa9 emoji",
          "<img src=x onerror=alert(1)>",
          "bad\xffutf",
          "bad\xfeutf",
          std::string(10'240, 'x'),
          std::string(10'240, 'x') + "y",
          std::string("nul\0byte", 8),
          "\x1b[31mred",
          "other",
          "\xed\xa0\x80surrogate"};
}

Snapshot hostile() {
  auto snapshot = small();
  snapshot.backends.clear();
  for (auto const& id : hostile_ids()) snapshot.backends.push_back({.id = id});
  snapshot.ejections.push_back({"cause \"\n", "enforced", 3});
  return snapshot;
}

}  // namespace

TEST_CASE("the text holds each series once, and each family in one place", "[observe]") {
  auto const one = small();
  auto two = small();
  two.balancer = "users";
  std::array<Snapshot, 2> const both{one, two};
  for (auto const format : {TextFormat::prometheus, TextFormat::openmetrics}) {
    auto const text = metrics_text(both, format);
    tests::Exposition const read{text};
    CHECK(read.complaints().empty());
    CAPTURE(text);
    CHECK(read.samples().at(R"(poise_requests_total{balancer="users",outcome="success"})") == 7);
    CHECK(read.samples().at(
              R"(poise_backend_requests_total{balancer="orders",backend="a",outcome="success"})") ==
          7);
    CHECK(read.samples().at(
              R"(poise_attempt_duration_seconds_bucket{balancer="orders",le="+Inf"})") == 7);
    CHECK(text.ends_with("# EOF\n") == (format == TextFormat::openmetrics));
  }
}

TEST_CASE("counters are there before the first event", "[observe]") {
  std::array<Snapshot, 1> const empty{};
  tests::Exposition const read{metrics_text(empty)};
  CHECK(read.complaints().empty());
  CHECK(read.samples().at(R"(poise_requests_total{outcome="connect_timeout"})") == 0);
  CHECK(read.samples().at(R"(poise_refusals_total{reason="unhealthy"})") == 0);
  CHECK(read.samples().at("poise_retries_total") == 0);
}

TEST_CASE("ids with quotes, line feeds, emoji, bad bytes or 10 KiB break no format", "[observe]") {
  std::array<Snapshot, 1> const all{hostile()};
  for (auto const format : {TextFormat::prometheus, TextFormat::openmetrics}) {
    auto const text = metrics_text(all, format);
    tests::Exposition const read{text};
    CHECK(read.complaints().empty());
    CHECK(as_utf8(text) == text);
    CHECK(text.size() < 100'000);
  }
  auto const text = json(all);
  CHECK(text.find('<') == std::string::npos);
  CHECK(text.find('\n') == text.size() - 1);
  CHECK(as_utf8(text) == text);
  auto const shown = table(all[0]);
  CHECK(shown.find('\x1b') == std::string::npos);
  CHECK(as_utf8(shown) == shown);
}

TEST_CASE("a label stands for one id only", "[observe]") {
  auto const ids = hostile_ids();
  for (std::size_t i = 0; i < ids.size(); ++i) {
    auto const label = as_label(ids[i], 128);
    CHECK(label.size() <= 128);
    CHECK(as_utf8(label) == label);
    for (std::size_t k = 0; k < i; ++k) CHECK(label != as_label(ids[k], 128));
  }
  CHECK(as_label("10.0.0.1:80", 128) == "10.0.0.1:80");
}

TEST_CASE("what is not UTF-8 is told from what is", "[observe]") {
  CHECK(utf8_length("a") == 1);
  CHECK(utf8_length("\xc3\xa4") == 2);
  CHECK(utf8_length("\xe2\x82\xac") == 3);
  CHECK(utf8_length("\xf0\x9f\x92\xa9") == 4);
  for (std::string_view const bad :
       {"\x80", "\xc0\xaf", "\xc3", "\xc3(", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80", "\xff", "\xf0\x9f\x92"})
    CHECK(utf8_length(bad) == 0);
}

TEST_CASE("counts near 2^64 are written in full", "[observe]") {
  auto snapshot = small();
  snapshot.requests.completed[0] = ~std::uint64_t{0};
  std::array<Snapshot, 1> const all{snapshot};
  CHECK(metrics_text(all).find(" 18446744073709551615\n") != std::string::npos);
  CHECK(json(all).find(R"("success":"18446744073709551615")") != std::string::npos);
}

TEST_CASE("a histogram tells as many buckets an octave as asked, and no more than it has",
          "[observe]") {
  std::array<Snapshot, 1> const all{small()};
  for (auto const& [wanted, octave] :
       {std::pair{0U, 1U}, {1U, 1U}, {4U, 4U}, {36U, 36U}, {99U, 36U}}) {
    tests::Exposition const read{
        metrics_text(all, TextFormat::prometheus, {.buckets_per_octave = wanted})};
    std::size_t buckets = 0;
    for (auto const& [series, value] : read.samples())
      if (series.starts_with("poise_attempt_duration_seconds_bucket")) ++buckets;
    CHECK(read.complaints().empty());
    CHECK(buckets == octave * Scale::octaves);  // +Inf stands for the last one
  }
}

TEST_CASE("the table has the worst backends first", "[observe]") {
  auto snapshot = small();
  snapshot.backends.push_back({.id = "sick", .health = HealthState::unhealthy});
  auto const text = table(snapshot);
  CHECK(text.find("sick") < text.find("\na "));
  CHECK(text.find("orders, policy p2c: ") == 0);
}

TEST_CASE("the table says how many ill backends have no row", "[observe]") {
  auto snapshot = small();
  snapshot.backends.push_back({.id = "sick", .health = HealthState::unhealthy});
  snapshot.set = {.unhealthy = 1, .healthy = 1};
  CHECK(table(snapshot).find("WITHOUT A ROW") == std::string::npos);
  snapshot.set = {.unhealthy = 45, .degraded = 3, .healthy = 954};
  snapshot.unlisted = 1000;
  snapshot.unlisted_ill.push_back({.id = "sick too", .health = HealthState::unhealthy});
  CHECK(table(snapshot).find("sick too") < table(snapshot).find("\na "));
  CHECK(table(snapshot).find("WITHOUT A ROW: 43 unhealthy, 3 degraded: raise ") !=
        std::string::npos);
}

TEST_CASE("no id turns the direction of the table, and JSON has it as it is", "[observe]") {
  auto snapshot = small();
  snapshot.backends[0].id = "\u202egnp.exe";
  CHECK(table(snapshot).find(R"(\u202egnp.exe)") != std::string::npos);
  CHECK(table(snapshot).find("\u202e") == std::string::npos);
  CHECK(json({&snapshot, 1}).find("\"\u202egnp.exe\"") != std::string::npos);
  CHECK(as_cell("a\u2066b", 8) == R"(a\u2066b)");
  CHECK(as_cell("a\u2066b", 7) == R"(a\u2066...)");
  CHECK(as_cell("a\u2066b", 6) == "a...");
}

TEST_CASE("a scrape of 1000 backends has at most 2500 lines, one of 100,000 300 kB", "[observe]") {
  using Counting = Meter<MeterOptions{.latency = false}>;
  auto const many = [](int count) {
    std::vector<Endpoint> all;
    for (int i = 0; i < count; ++i) all.push_back({.id = "10.1.2." + std::to_string(i) + ":8080"});
    return all;
  };
  Balancer<Random, void, Runtime<SteadyClock, Meter<>>> const thousand{many(1000)};
  std::array<Snapshot, 1> all{Reader{"orders", thousand}.read()};
  auto text = metrics_text(all);
  CHECK(tests::Exposition{text}.complaints().empty());
  CHECK(tests::Exposition{text}.lines() <= 2500);

  Balancer<Random, void, Runtime<SteadyClock, Counting>> const more{many(100'000)};
  all[0] = Reader{"orders", more}.read();
  text = metrics_text(all);
  CHECK(all[0].unlisted == 99'900);
  CHECK(text.size() <= 300'000);
}

}  // namespace unit_observe_text
