// SPDX-License-Identifier: MIT

#include <poise/base/files.hpp>

#include <sys/stat.h>

#include <string>

#include "support/catch.hpp"
#include "support/text_file.hpp"

namespace unit_base_files {

TEST_CASE("a secret is the text of its file without the end of its line, read each time") {
  tests::TextFile const file{"s3cret\n"};
  CHECK(poise::detail::secret_of(file.path) == "s3cret");
  file.write("other\r\n");
  CHECK(poise::detail::secret_of(file.path) == "other");
}

TEST_CASE("a secret that is missing, empty, too large or anybody's to write is refused") {
  using poise::detail::secret_of;
  tests::TextFile const file{""};
  CHECK_THROWS_WITH(secret_of("/no/such/secret"), Catch::Contains("/no/such/secret: No such file"));
  CHECK_THROWS_WITH(secret_of("/dev/null"), Catch::Contains("is no regular file"));
  CHECK_THROWS_WITH(secret_of(file.path), Catch::Contains("is empty: write the secret into it"));
  file.write(std::string(70'000, 'x'));
  CHECK_THROWS_WITH(secret_of(file.path), Catch::Contains("has more than 65536 bytes"));
  file.write("two\nlines");
  CHECK_THROWS_WITH(secret_of(file.path), Catch::Contains("has several lines"));
  file.write("s3cret");
  ::chmod(file.path.c_str(), 0666);
  CHECK_THROWS_WITH(secret_of(file.path), Catch::Contains("anybody may write this secret"));
}

}  // namespace unit_base_files
