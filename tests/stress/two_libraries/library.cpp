// SPDX-License-Identifier: MIT

// Compiled twice, as two shared libraries: POISE_TEST_SIDE names the namespace, left or right.

#include "stress/two_libraries/library.hpp"

#include <poise/sync/epoch.hpp>

namespace POISE_TEST_SIDE {

void const* domain() { return &poise::sync::detail::domain; }

std::uint32_t thread_index() { return poise::sync::ReadSection{}.thread_index(); }

std::unique_ptr<Servers> make(tests::Census& census) {
  return std::make_unique<Servers>(poise::endpoints({"a", "b"}), [&census](poise::Endpoint const&) {
    return tests::Mortal{census};
  });
}

bool pick(Servers& servers) {
  auto lease = servers.pick();
  return lease && lease->payload().alive();
}

void change(Servers& servers) {
  servers.add({.id = "c", .address = "c"});
  servers.remove("c");
}

}  // namespace POISE_TEST_SIDE
