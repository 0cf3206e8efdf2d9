// SPDX-License-Identifier: MIT
// docs/configuration.md has the reference as the fields have it.

#include <fstream>
#include <iterator>
#include <string>

#include <poise/config/reference.hpp>

#include "support/catch.hpp"

namespace integration_configuration_reference {

TEST_CASE("the reference in docs is that of the fields (write it with check --reference)") {
  std::ifstream file{POISE_TEST_SOURCE "/docs/configuration.md"};
  std::string const page{std::istreambuf_iterator<char>{file}, {}};
  auto const begin = page.find("<!-- reference -->\n\n");
  auto const end = page.find("<!-- end of reference -->");
  REQUIRE(begin != std::string::npos);
  REQUIRE(end != std::string::npos);
  auto const first = page.find("\n\n", begin) + 2;
  REQUIRE(page.substr(first, end - first) == poise::config::reference() + "\n");
}

}  // namespace integration_configuration_reference
