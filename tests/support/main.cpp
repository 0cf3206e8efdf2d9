// The main() of every test program. It includes nothing of poise: with it comes the body of Catch,
// which takes the longest of all test files to compile, and so is compiled once.

#define CATCH_CONFIG_RUNNER  // read by Catch2 2 only
#include "support/catch.hpp"
#include "support/fence.hpp"

int main(int argc, char* argv[]) {
  if (!poise::test::fence_is_as_asked()) return 3;
  return Catch::Session().run(argc, argv);
}
