// SPDX-License-Identifier: MIT
// DNS answers as they come from the network: any bytes are an answer or none.

#include <span>
#include <string_view>

#include <poise/discovery/cares/answer.hpp>

#include "fuzz.hpp"

void tests::fuzz(std::string_view input) {
  auto const* const bytes = reinterpret_cast<unsigned char const*>(input.data());
  auto const answer = poise::discovery::cares::parse_answer({bytes, input.size()});
  if (!answer) return;
  for (auto const& each : answer->services)
    require(!each.target.ends_with('.'), "names have no dot at their end");
  for (auto const& each : answer->addresses)
    require(each.ip.size == 4 || each.ip.size == 16, "addresses are IPv4 or IPv6");
  if (answer->ttl) require(*answer->ttl <= 0x7fffffffU, "a TTL above 2^31 - 1 is 0");
}
