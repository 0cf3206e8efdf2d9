// SPDX-License-Identifier: MIT

#include <cstddef>
#include <string>

#include <poise/sticky.hpp>

#include "support/catch.hpp"

namespace unit_sticky {

using poise::StickyCookie;

namespace {

poise::hash::Secret const secret{0x0706050403020100, 0x0f0e0d0c0b0a0908};
StickyCookie const sticky{secret};

}  // namespace

TEST_CASE("a cookie brings back the id that was written, whatever bytes it has") {
  std::string every_byte;
  for (int byte = 0; byte < 256; ++byte) every_byte += static_cast<char>(byte);
  for (std::string const& id : {std::string{"10.0.0.1:80"}, std::string{"[::1]:80"},
                                std::string{"a~b%c"}, std::string{"x"}, every_byte})
    CHECK(sticky.read(sticky.write(id)) == id);
}

TEST_CASE("a cookie has only letters that cookies may have") {
  for (char const letter : sticky.write("a b;c,d\"e\\f\x01\xff~%"))
    CHECK(std::string_view{" ;,\"\\"}.find(letter) == std::string_view::npos);
  CHECK(sticky.write("a:80") == "a:80" + sticky.write("a:80").substr(4));
}

TEST_CASE("the signature is that of SipHash's authors") {
  // Their vector: bytes 00 to 0e under the key 00 to 0f give a129ca6149be45e5.
  std::string id;
  for (int byte = 0; byte < 15; ++byte) id += static_cast<char>(byte);
  CHECK(sticky.write(id).ends_with("~a129ca6149be45e5"));
}

TEST_CASE("a cookie that was changed anywhere is not ours") {
  auto const value = sticky.write("server-1");
  for (std::size_t i = 0; i < value.size(); ++i) {
    auto changed = value;
    changed[i] = changed[i] == '0' ? '1' : '0';
    CAPTURE(changed);
    CHECK_FALSE(sticky.read(changed));
    CHECK_FALSE(sticky.read(value.substr(0, i)));
  }
  CHECK_FALSE(sticky.read(value + "0"));
  CHECK_FALSE(sticky.read(""));
  CHECK_FALSE(sticky.read("~"));
  CHECK_FALSE(sticky.read("%~0000000000000000"));
  CHECK_FALSE(sticky.read("%zz~0000000000000000"));
}

TEST_CASE("no id is no session") { CHECK_FALSE(sticky.read(sticky.write(""))); }

TEST_CASE("an earlier secret is still accepted, and no longer used") {
  StickyCookie const next{{1, 2}, {secret}};
  CHECK(next.read(sticky.write("a")) == "a");
  CHECK(next.write("a") != sticky.write("a"));
  CHECK_FALSE(sticky.read(next.write("a")));
}

}  // namespace unit_sticky
