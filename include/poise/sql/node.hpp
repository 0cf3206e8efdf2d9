// SPDX-License-Identifier: MIT
#pragma once

// What is known of one database server: its role, and how far it has come.
//
// The role is what the server said last, not what configuration says. A position is a number that
// grows with the log that all servers share: a WAL position of PostgreSQL, the number of a GTID.
// After a failover the log goes on as a new timeline, with a higher number.

#include <algorithm>
#include <array>
#include <compare>
#include <cstdint>
#include <mutex>
#include <string_view>
#include <utility>

#include <poise/backend.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::sql {

/// What a server does.
enum class Role : std::uint8_t { unknown, primary, replica };

[[nodiscard]] constexpr std::string_view name(Role role) noexcept {
  constexpr std::array<std::string_view, 3> names{"unknown", "primary", "replica"};
  auto const index = static_cast<std::size_t>(role);
  return index < names.size() ? names[index] : "unknown role";
}

/// A point in the history of a database: what a commit returns, and what a later read must have
/// reached. The default one is reached by every server.
struct Token {
  std::uint64_t timeline = 0;
  std::uint64_t position = 0;
  friend auto operator<=>(Token const&, Token const&) = default;
};

/// What a server said of itself.
struct Observation {
  Role role = Role::unknown;
  Token reached{};  ///< A timeline of 0 is not known: that of before counts.
};

/// The state of one server, as a part of its backend's payload.
/// *Threads* any. *Cost* a lock that is held for a copy.
class Node {
 public:
  Node() = default;
  Node(Node&& other) noexcept : state_{other.state()} {}
  Node& operator=(Node&&) = delete;

  struct State {
    Role role = Role::unknown;
    Token reached{};
    Time at{};  ///< When it was observed.
  };
  [[nodiscard]] State state() const noexcept {
    std::scoped_lock const lock{mutex_};
    return state_;
  }
  /// Its connections and looks report here what they see.
  void observe(Observation const& seen, Time now) noexcept {
    std::scoped_lock const lock{mutex_};
    auto const timeline = seen.reached.timeline;
    // Looks overlap: an older one must not take a position back. A server that begins again, as a
    // replica of another timeline, may have a lower one.
    bool const same = timeline == 0 || timeline == state_.reached.timeline;
    if (same) state_.reached.position = std::max(state_.reached.position, seen.reached.position);
    else state_.reached = seen.reached;
    state_.role = seen.role;
    state_.at = now;
  }
  /// It does not answer, or did not do what its role promised.
  void forget_role() noexcept {
    std::scoped_lock const lock{mutex_};
    state_.role = Role::unknown;
  }

 private:
  mutable std::mutex mutex_{};
  State state_{};
};

/// A pool and what is known of its server: the payload of a database's backends.
template <class Pool>
class Server : public Pool {
 public:
  explicit Server(Pool pool) : Pool{std::move(pool)} {}
  [[nodiscard]] Node& node() noexcept { return node_; }
  [[nodiscard]] Node const& node() const noexcept { return node_; }

 private:
  Node node_{};
};

}  // namespace poise::inline v0_1_0::sql
