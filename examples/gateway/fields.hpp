// SPDX-License-Identifier: MIT
#pragma once

// The heads that the gateway writes: what is passed on, what belongs to one connection only, and
// what is added.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <poise/config/settings.hpp>

#include "message.hpp"

namespace gateway {

[[nodiscard]] bool equal_ignoring_case(std::string_view a, std::string_view b) noexcept;

/// "X_Forwarded_For": with - for _, is it a field that backends trust the gateway for?
[[nodiscard]] bool is_like_a_set_field(std::string_view name);

/// How a body is delimited.
struct Framing {
  enum class Kind : std::uint8_t { none, length, chunked, until_close };
  Kind kind = Kind::none;
  std::uint64_t length = 0;
};

/// What is known of the client.
struct Client {
  std::string address{};  ///< Without port.
  bool is_v6 = false;
};

/// The head of a request for a backend, which is the host of requests that name none. `upgrade`: as
/// it is, or empty.
[[nodiscard]] std::string request_head(Head const& head, Framing framing, Client const& client,
                                       std::string_view backend,
                                       poise::config::GatewaySettings const& settings,
                                       std::string_view via, std::string_view upgrade);

/// How the client's connection goes on after a response.
enum class Persistence : std::uint8_t { keep_alive, close, upgrade };

/// The head of a response for a client that speaks HTTP/1.`minor`.
[[nodiscard]] std::string response_head(Head const& head, Framing framing, Persistence persistence,
                                        unsigned client_version);

/// A response of the gateway itself; only its head if `head_only`. `retry_after` in seconds, 0:
/// none.
[[nodiscard]] std::string own_response(unsigned status, std::string_view text, bool keep_alive,
                                       bool head_only, long retry_after = 0);

/// The protocol that a request asks to change to, if the gateway passes it on: WebSocket only.
[[nodiscard]] std::string_view upgrade_of(Head const& head);

}  // namespace gateway
