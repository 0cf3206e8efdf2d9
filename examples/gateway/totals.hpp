// SPDX-License-Identifier: MIT
#pragma once

// What the gateway counted since its start, beside what the balancer's meter counts.

#include <array>
#include <atomic>
#include <cstdint>

namespace gateway {

/// *Threads* any.
struct Totals {
  using Count = std::atomic<std::uint64_t>;

  Count connections{};               ///< Of clients.
  Count turned_away{};               ///< Because there were max_connections.
  std::array<Count, 6> responses{};  ///< By the first digit of the status.
  Count refused{};                   ///< Requests that were answered without a backend.
  Count retries{};                   ///< Attempts after the first of a request.
  Count stale{};                     ///< Kept connections that a backend had closed.
  Count connected{};                 ///< Connections to backends that were opened.
  Count reused{};                    ///< Requests on a kept one.
  Count cut_off{};                   ///< Responses that a backend broke off.
  Count tunnels{};                   ///< Upgraded connections.
  Count client_gone{};               ///< Requests whose client was gone before their end.
};

}  // namespace gateway
