// SPDX-License-Identifier: MIT
// Envoy clusters and gRPC service configs: what is accepted can be printed and read, and means the
// same; what is refused has a place in the file. The first character chooses the reader.

#include <algorithm>
#include <cstddef>
#include <string_view>

#include <poise/config/diff.hpp>
#include <poise/config/envoy.hpp>
#include <poise/config/grpc.hpp>
#include <poise/config/text.hpp>
#include <poise/config/translation.hpp>

#include "fuzz.hpp"

void tests::fuzz(std::string_view input) {
  using namespace poise::config;
  if (input.empty()) return;
  auto const text = input.substr(1);
  auto const result = input[0] == 'g' ? read_grpc(text, "env:X") : read_envoy(text, "env:X");
  auto const lines = static_cast<std::size_t>(std::ranges::count(text, '\n')) + 1;
  for (auto const& each : result.document.problems)
    require(each.at.line >= 1 && each.at.line <= lines, "a problem is on a line of the file");
  for (auto const& each : result.ignored)
    require(each.at.line >= 1 && each.at.line <= lines, "what is ignored is on a line of the file");
  if (!result.document.valid()) return;
  auto const again = read_text(given(result));
  require(again.valid(), "a translation is a configuration");
  require(differences(result.document.settings, again.settings).empty(), "it means the same");
  require(result.document.settings.backends == again.settings.backends, "... and in that order");
}
