// SPDX-License-Identifier: MIT

#include <cstddef>
#include <string>

#include <poise/base/base64.hpp>

#include "support/catch.hpp"

namespace unit_base_base64 {

using poise::detail::base64;
using poise::detail::from_base64;

TEST_CASE("the examples of RFC 4648 are written and read") {
  std::string const text = "foobar";
  std::string const encoded[] = {"", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};
  for (std::size_t size = 0; size <= text.size(); ++size) {
    CHECK(base64(text.substr(0, size)) == encoded[size]);
    CHECK(from_base64(encoded[size]) == text.substr(0, size));
    CHECK(from_base64(encoded[size].substr(0, encoded[size].find('='))) == text.substr(0, size));
  }
  CHECK(base64("\xff\xfe\xfb") == "//77");
  CHECK(from_base64("//77") == "\xff\xfe\xfb");
}

TEST_CASE("what is no base64 is refused") {
  for (auto const* text : {"Z", "Zg=", "Zg===", "=", "====", "Z===", "Zm9v=", "Zm9vZ",
                           "Zh==", "Zm9=", "Zg==Zg==", "Zm 9", "Zm9v\n", "-_-_"})
    CHECK_FALSE(from_base64(text));
}

}  // namespace unit_base_base64
