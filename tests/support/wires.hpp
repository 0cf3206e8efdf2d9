// SPDX-License-Identifier: MIT
#pragma once

// A server that counts its connections, and refuses or kills them when told to: for tests of pools.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

#include <poise/pool/pool.hpp>
#include <poise/sync/relaxed.hpp>
#include <poise/time.hpp>

namespace tests {

using Count = poise::sync::Relaxed<std::int64_t>;

struct WireServer {
  Count open{0};
  Count most{0};  // open at once
  Count opened{0};
  Count attempts{0};
  Count refuses{0};  // connections, if not 0
  Count kills{0};    // those of a lower number are dead
  std::function<void()> on_open{};
};

/// A connection to it.
class Wire {
 public:
  explicit Wire(std::shared_ptr<WireServer> server) : server_{std::move(server)} {
    server_->attempts.add(1);
    if (server_->refuses.load() != 0)
      throw std::system_error{std::make_error_code(std::errc::connection_refused), "wire"};
    if (server_->on_open) server_->on_open();
    number_ = server_->opened.add(1);
    server_->most.raise(server_->open.add(1) + 1);
  }
  Wire(Wire&&) noexcept = default;
  Wire& operator=(Wire&&) = delete;
  ~Wire() {
    if (server_) server_->open.add(-1);
  }

  /// From 0, in the order of opening.
  [[nodiscard]] std::int64_t number() const { return number_; }
  [[nodiscard]] bool dead() const { return number_ < server_->kills.load(); }

  bool dirty = false;

 private:
  std::shared_ptr<WireServer> server_;
  std::int64_t number_ = 0;
};

inline poise::pool::Driver<Wire> wires_to(std::shared_ptr<WireServer> const& server) {
  return {.open = [server](poise::Duration) { return Wire{server}; },
          .check = [](Wire& wire) { return !wire.dead(); },
          .reset = [](Wire& wire) { return !wire.dirty; },
          .close = {}};
}

}  // namespace tests
