// SPDX-License-Identifier: MIT
#pragma once

// What a policy may know of a request. Everything is optional, and nothing is copied: the texts,
// the list of exclusions, the condition and the user data must live until pick() returns.

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include <poise/condition.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0 {

/// How much a request matters, for PriorityRouter and Shed.
enum class Priority : std::uint8_t { high, normal, low };

/// A value of yours, by reference, for policies of your own: `{.user = tenant}`, and in the policy
/// `context.request.user.get<Tenant>()`.
class UserData {
 public:
  constexpr UserData() noexcept = default;
  template <class T>
    requires(!std::same_as<T, UserData>)
  // NOLINTNEXTLINE(*-explicit-*): {.user = tenant}
  constexpr UserData(T const& value) noexcept : value_{&value}, type_{&type_of<T>} {}

  /// Null if there is none, or one of another type.
  template <class T>
  [[nodiscard]] constexpr T const* get() const noexcept {
    return type_ == &type_of<T> ? static_cast<T const*>(value_) : nullptr;
  }

 private:
  template <class T>
  static constexpr char type_of = 0;  // its address names the type

  void const* value_ = nullptr;
  char const* type_ = nullptr;
};

struct Request {
  std::string_view id{};
  std::string_view client_id{};
  std::string_view route_key{};  ///< What keyed policies hash; see key().
  Priority priority = Priority::normal;
  std::uint32_t attempt = 1;  ///< 1 for the first try.
  bool idempotent = true;     ///< False: tried again only if nothing was sent.
  /// By the balancer's clock; Balancer::time_of makes it from the time of any clock.
  std::optional<Time> deadline{};
  /// Backends already tried, by serial (Lease::serial): picked again only when no other is left.
  /// *Cost* O(its size) per backend that a pick looks at.
  std::span<std::uint64_t const> excluded{};
  /// What its backend must fulfil: no other is ever picked (condition.hpp).
  Condition condition{};
  /// A position that its backend must have reached (Backend::reached), for reads of one's own
  /// writes; 0 for none.
  std::uint64_t after = 0;
  /// The id of the backend to take if it takes requests, for sticky sessions (sticky.hpp). If it
  /// does not, or is excluded, the policy chooses.
  std::string_view preferred{};
  UserData user{};

  /// The route key, else the client, else the request itself.
  [[nodiscard]] std::string_view key() const noexcept {
    return !route_key.empty() ? route_key : !client_id.empty() ? client_id : id;
  }
  /// True if some backends may not be picked for it: by exclusion, condition or position.
  [[nodiscard]] bool restricted() const noexcept {
    return !excluded.empty() || condition || after != 0;
  }
  /// Does the backend fulfil the condition and the position?
  [[nodiscard]] bool allows(Backend const& backend) const noexcept {
    return (after == 0 || backend.reached() >= after) && (!condition || condition(backend));
  }
  /// The time left until the deadline, not below 0; empty without a deadline. `now` is
  /// Balancer::now().
  [[nodiscard]] std::optional<Duration> remaining(Time now) const noexcept {
    if (!deadline) return std::nullopt;
    return *deadline > now ? *deadline - now : Duration::zero();
  }
};

/// A request of which nothing is known; a constant, so that picking for it writes nothing.
inline constexpr Request any_request{};

/// Does the request exclude the backend with this serial?
[[nodiscard]] constexpr bool excludes(Request const& request, std::uint64_t serial) noexcept {
  return std::ranges::find(request.excluded, serial) != request.excluded.end();
}

}  // namespace poise::inline v0_1_0
