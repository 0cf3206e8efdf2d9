// SPDX-License-Identifier: MIT
#pragma once

// What tests of running services share.

#include <chrono>
#include <string>
#include <thread>

#include <poise/config/text.hpp>

#include "support/catch.hpp"
#include "support/text_file.hpp"

namespace tests {

/// *Requires* that the text has no problems.
inline poise::config::Document configuration(std::string const& text) {
  auto document = poise::config::read_text(text);
  for (auto const& each : document.problems) UNSCOPED_INFO(message("f", each));
  REQUIRE(document.valid());
  return document;
}

/// Waits for what another thread does; gives up after ten seconds.
template <class Condition>
bool comes(Condition const& condition) {
  for (int i = 0; i < 1000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds{10});
  }
  return false;
}

}  // namespace tests
