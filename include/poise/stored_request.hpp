// SPDX-License-Identifier: MIT
#pragma once

// A request that owns its texts, for requests that are kept: in a queue, a struct, a callback.
//
// A Request only refers to its texts. That is right for `pick({.route_key = key(user)})`, where the
// temporary lives until pick() returns, and a dangling reference in
// `Request request{.route_key = key(user)};`, where it does not.

#include <cstdint>
#include <string>
#include <vector>

#include <poise/request.hpp>

namespace poise::inline v0_1_0 {

namespace detail {

/// Copies of what a request refers to.
class RequestTexts {
 public:
  RequestTexts() = default;
  explicit RequestTexts(Request const& request)
      : id_{request.id},
        client_id_{request.client_id},
        route_key_{request.route_key},
        preferred_{request.preferred},
        excluded_{request.excluded.begin(), request.excluded.end()} {}

  /// Points the request at these copies. *Requires* that this object is not moved afterwards.
  void lend_to(Request& request) const noexcept {
    if (!id_.empty()) request.id = id_;
    if (!client_id_.empty()) request.client_id = client_id_;
    if (!route_key_.empty()) request.route_key = route_key_;
    if (!preferred_.empty()) request.preferred = preferred_;
    if (!excluded_.empty()) request.excluded = excluded_;
  }

 private:
  std::string id_{};
  std::string client_id_{};
  std::string route_key_{};
  std::string preferred_{};
  std::vector<std::uint64_t> excluded_{};
};

}  // namespace detail

/// A request with copies of its texts and exclusions. What `condition` and `user` refer to is not
/// copied.
///
///   poise::StoredRequest const kept{{.route_key = key(user)}};   // in a queue, say
///   servers.pick(kept);
///
/// *Cost* up to five allocations to make or copy one; none to use it.
class StoredRequest {
 public:
  // NOLINTNEXTLINE(*-explicit-*): StoredRequest kept{{.route_key = key}}
  StoredRequest(Request const& request) : request_{request}, texts_{request} {}

  /// Refers to this object.
  [[nodiscard]] operator Request() const& noexcept {  // NOLINT(*-explicit-*): pick(kept)
    auto request = request_;
    texts_.lend_to(request);
    return request;
  }
  operator Request() const&& = delete;  // it would refer to an object that is gone

 private:
  Request request_;
  detail::RequestTexts texts_;
};

}  // namespace poise::inline v0_1_0
