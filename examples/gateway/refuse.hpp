// SPDX-License-Identifier: MIT
#pragma once

// Which requests are refused. What two servers may read differently is how requests are smuggled:
// the gateway reads it in no way at all.

#include <optional>
#include <string_view>

#include "message.hpp"
#include "net.hpp"

namespace gateway {

/// A status, and why, in one line for the client.
struct Refusal {
  unsigned status;
  std::string_view why;
};

/// What is wrong with a parsed head; empty if nothing is. A refused request's connection is closed.
[[nodiscard]] std::optional<Refusal> refusal_of(Head const& head);
/// The answer to a head or body that could not be read. Empty if the client is gone.
[[nodiscard]] std::optional<Refusal> refusal_of(Error error);

}  // namespace gateway
