#include "support/fence.hpp"

#include <cstdio>
#include <cstdlib>
#include <string_view>

#include <poise/sync/fence.hpp>

bool poise::test::fence_is_as_asked() {
  using poise::sync::Fence;
  char const* const asked = std::getenv("POISE_TEST_FENCE");
  if (asked == nullptr) return true;

  std::string_view const name{asked};
  if (name != "asymmetric" && name != "seq_cst") {
    std::fprintf(stderr, "POISE_TEST_FENCE is \"%s\"; use asymmetric or seq_cst\n", asked);
    return false;
  }
  if (poise::sync::require_fence(name == "asymmetric" ? Fence::asymmetric : Fence::seq_cst)) {
    return true;
  }
  std::fprintf(stderr,
               "POISE_TEST_FENCE is \"%s\", but this process cannot have that fence: either the "
               "kernel refuses membarrier (a seccomp filter?), or a fence was chosen before main\n",
               asked);
  return false;
}
