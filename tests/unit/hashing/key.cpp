// SPDX-License-Identifier: MIT
// Keys cut out of headers, cookies, targets and addresses.

#include <poise/hashing/key.hpp>

#include <string>
#include <string_view>

#include <poise/request.hpp>

#include "support/catch.hpp"

namespace unit_hashing_key {

namespace key = poise::key;
using namespace std::string_view_literals;

TEST_CASE("a header that lists values has a first and a last one") {
  CHECK(key::first_value("a") == "a");
  CHECK(key::first_value(" a , b") == "a");
  CHECK(key::first_value(", b").empty());
  CHECK(key::first_value("").empty());
  CHECK(key::last_value("a") == "a");
  CHECK(key::last_value("a, b\t") == "b");
  CHECK(key::last_value("a,").empty());
}

TEST_CASE("a cookie is found by its whole name") {
  CHECK(key::cookie("a=1; session=x=y; b=2", "session") == "x=y");
  CHECK(key::cookie("mysession=1; session=2", "session") == "2");
  CHECK(key::cookie("session=1; session=2", "session") == "1");
  CHECK(key::cookie("session", "session").empty());
  CHECK(key::cookie("session=", "session").empty());
  CHECK(key::cookie("", "session").empty());
  CHECK(key::cookie(";;;", "session").empty());
}

TEST_CASE("a target has a path and a query") {
  CHECK(key::path("/a/b?c=d") == "/a/b");
  CHECK(key::path("/a") == "/a");
  CHECK(key::query("/a?b=1&user=17&c", "user") == "17");
  CHECK(key::query("/a?user=17#part", "user") == "17");
  CHECK(key::query("/a?superuser=17", "user").empty());
  CHECK(key::query("/user=17", "user").empty());
}

TEST_CASE("addresses of one network have one key") {
  auto const of = [](std::string_view text, unsigned v4 = 24, unsigned v6 = 64) {
    return std::string{key::AddressPrefix{text, v4, v6}.view()};
  };
  CHECK(of("10.1.2.3") == "\x0a\x01\x02\0"sv);
  CHECK(of("10.1.2.3") == of("10.1.2.200"));
  CHECK(of("10.1.2.3") != of("10.1.3.3"));
  CHECK(of("10.1.2.3", 32) != of("10.1.2.4", 32));
  CHECK(of("10.1.2.3", 31) == of("10.1.2.2", 31));
  CHECK(of("10.1.2.3", 0) == of("99.0.0.1", 0));
  CHECK(of("10.1.2.3", 99) == of("10.1.2.3", 32));
  CHECK(of("2001:db8::1") == of("[2001:db8::2:0:0:1]"));
  CHECK(of("2001:db8:0:1::1") != of("2001:db8::1"));
  CHECK(of("somewhere").empty());
  CHECK(of("").empty());
  CHECK(of(std::string(1000, '1')).empty());
}

TEST_CASE("a client has one key however its address is written") {
  auto const of = [](std::string_view text) {
    return std::string{key::AddressPrefix{text, 32, 128}.view()};
  };
  for (auto const* spelling :
       {"::ffff:10.1.2.3", "::FFFF:a01:203", "[::ffff:10.1.2.3]", "0:0:0:0:0:ffff:10.1.2.3",
        "64:ff9b::10.1.2.3", "64:ff9b::a01:203", "::ffff:10.1.2.3%eth0"}) {
    CAPTURE(spelling);
    CHECK(of(spelling) == of("10.1.2.3"));
  }
  CHECK(of("::ffff:10.1.2.3") != of("::ffff:10.1.2.4"));
  CHECK(of("64:ff9b:1::10.1.2.3").size() == 16);  // a network's own prefix: another address
  CHECK(of("::10.1.2.3").size() == 16);           // deprecated, and ::1 would be 0.0.0.1
  CHECK(of("fe80::1%eth0") == of("fe80::1"));
  CHECK(of("[fe80::1%2]") == of("fe80::1"));
  CHECK(of("10.1.2.3%eth0").empty());
  CHECK(of("fe80::1%").empty());
}

TEST_CASE("a prefix is a key as it stands, and without one the client counts") {
  key::AddressPrefix const prefix{"10.1.2.3"};
  poise::Request const request{.client_id = "c", .route_key = prefix};
  CHECK(request.key().size() == 4);
  CHECK(poise::Request{.client_id = "c", .route_key = key::cookie("", "s")}.key() == "c");
}

}  // namespace unit_hashing_key
