// SPDX-License-Identifier: MIT

#include <cstddef>
#include <string>
#include <variant>
#include <vector>

#include <poise/discovery/lines.hpp>
#include <poise/discovery/normalize.hpp>
#include <poise/discovery/snapshot.hpp>

#include "support/catch.hpp"

namespace unit_discovery_lines {

using namespace poise::discovery;
using poise::Endpoint;

namespace {

std::string problem_of(std::string const& line) {
  auto const found = parse_lines(line);
  CHECK(found.endpoints.empty());
  REQUIRE(found.problems.size() == 1);
  return found.problems[0];
}

}  // namespace

TEST_CASE("a line has an address, and facts in any order") {
  auto const found = parse_lines(
      "\xef\xbb\xbf# a comment\r\n\r\n"
      "10.0.0.1:80\n"
      "  [::1]:80\tweight=3 zone=eu-1a tier=1 id=six label.disk=ssd label.rack=4%202 # why\n"
      "db.internal:5432 zone=a#b\n"
      "unix:/run/a.sock");
  CHECK(found.problems.empty());
  CHECK(found.endpoints ==
        std::vector<Endpoint>{
            {.id = "10.0.0.1:80", .address = "10.0.0.1:80"},
            {.id = "six",
             .address = "[::1]:80",
             .weight = 3,
             .zone = "eu-1a",
             .tier = 1,
             .labels = {{"disk", "ssd"}, {"rack", "4 2"}}},
            {.id = "db.internal:5432", .address = "db.internal:5432", .zone = "a#b"},
            {.id = "unix:/run/a.sock", .address = "unix:/run/a.sock"}});
}

TEST_CASE("a wrong line is named, and the others are used") {
  CHECK(problem_of("a:0").find("line 1: \"a:0\" is not host:port") == 0);
  CHECK(problem_of("::1:80").find("brackets") != std::string::npos);
  CHECK(problem_of("a:80 weight=-1").find("\"weight=-1\" needs a whole number") !=
        std::string::npos);
  CHECK(problem_of("a:80 weight=1.5").find("whole number") != std::string::npos);
  CHECK(problem_of("a:80 weight=1099511627776").find("4294967295") != std::string::npos);
  CHECK(problem_of("a:80 wieght=2").find("is none of weight=N") != std::string::npos);
  CHECK(problem_of("a:80 zone=").find("needs a value") != std::string::npos);
  CHECK(problem_of("a:80 zone=%4").find("hex digits") != std::string::npos);
  CHECK(problem_of("a%0a:80").find("control character") != std::string::npos);
  CHECK(parse_lines("a:1\nnonsense\nb:2").endpoints.size() == 2);
}

TEST_CASE("a thousand wrong lines are twenty-one messages") {
  std::string text;
  for (int i = 0; i < 1000; ++i) text += "wrong\n";
  CHECK(parse_lines(text).problems.size() == 21);
}

TEST_CASE("a line of a hundred megabytes is read once, and cut in the message") {
  std::string const text(100'000'000, 'x');
  CHECK(problem_of(text).size() < 300);
}

TEST_CASE("what to_line writes, parse_line reads") {
  Endpoint const odd{.id = "an id = # %",
                     .address = "h:80",
                     .weight = 0,
                     .zone = "z\xc3\xa4 \n",
                     .tier = 7,
                     .max_in_flight = 9,
                     .labels = {{"k = %", "v v"}, {"l", "\x7f"}}};
  std::string error;
  CHECK(parse_line(to_line(odd), error) == odd);
  CHECK(error.empty());
}

TEST_CASE("a list is sorted, and an id that comes twice is used once") {
  auto const look = normalize({.endpoints = {{.address = "b:1"},
                                             {.address = "a:1", .weight = 2},
                                             {.address = "b:1"},
                                             {.address = "a:1"}}});
  auto const& found = std::get<Found>(look);
  REQUIRE(found.endpoints.size() == 2);
  CHECK(found.endpoints[0].id == "a:1");
  CHECK(found.endpoints[0].weight == 2);
  REQUIRE(found.problems.size() == 1);  // equal ones are no problem
  CHECK(found.problems[0].find("\"a:1\" came twice") != std::string::npos);
}

TEST_CASE("only labels that were asked for enter an endpoint") {
  auto const look =
      normalize({.endpoints = {{.address = "a:1", .labels = {{"version", "17"}, {"disk", "ssd"}}}}},
                {.labels = {"disk"}});
  CHECK(std::get<Found>(look).endpoints[0].labels == std::vector<poise::Label>{{"disk", "ssd"}});
}

TEST_CASE("a list without one usable entry is a failure, not an empty list") {
  auto const look = normalize({.endpoints = {{.address = "a:0"}, {.address = "b:99999"}}});
  REQUIRE(std::holds_alternative<Failed>(look));
  CHECK(std::get<Failed>(look).why.find("no entry can be used: \"a:0\"") == 0);
  CHECK(std::holds_alternative<Failed>(normalize(parse_lines("<html>"))));
  CHECK(std::get<Found>(normalize({})).endpoints.empty());
}

TEST_CASE("a million endpoints are refused with both numbers") {
  Found found;
  found.endpoints.resize(1'000'000, Endpoint{.address = "a:1"});
  CHECK(std::get<Failed>(normalize(std::move(found)))
            .why.find("1000000 endpoints: the limit is 100000") == 0);
}

TEST_CASE("a snapshot comes back as it was, and a damaged one is refused") {
  std::vector<Endpoint> const list{
      {.id = "a", .address = "a:1", .weight = 3, .labels = {{"k", "v"}}},
      {.id = "b", .address = "unix:/b", .zone = "z"}};
  auto const text = to_snapshot(list);
  CHECK(std::get<Found>(from_snapshot(text)).endpoints == list);
  for (std::size_t size = 31; size < text.size() - 1; ++size)
    CHECK(std::holds_alternative<Failed>(from_snapshot(text.substr(0, size))));
  auto const edited = text.substr(text.find('\n') + 1) + "c:1\n";  // without its first line
  CHECK(std::get<Found>(from_snapshot(edited)).endpoints.size() == 3);
  CHECK(std::holds_alternative<Failed>(from_snapshot(edited + "no address\n")));
}

TEST_CASE("a snapshot keeps addresses that are no host:port, if its source gave such") {
  std::vector<Endpoint> const list{{.id = "a", .address = "queue 7"}};
  CHECK(std::get<Found>(from_snapshot(to_snapshot(list))).endpoints == list);
}

TEST_CASE("the fingerprint is that of the list, whatever its labels") {
  std::vector<Endpoint> one{{.id = "ab", .address = "c"}};
  auto other = one;
  CHECK(fingerprint(one) == fingerprint(other));
  other[0].labels = {{"k", "v"}};
  CHECK(fingerprint(one) == fingerprint(other));
  other[0] = {.id = "a", .address = "bc"};
  CHECK(fingerprint(one) != fingerprint(other));
}

}  // namespace unit_discovery_lines
