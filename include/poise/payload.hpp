// SPDX-License-Identifier: MIT
#pragma once

// A backend with a value of your own type: real services balance connection pools and channels, not
// strings.

#include <cstdint>
#include <functional>

#include <poise/backend.hpp>
#include <poise/endpoint.hpp>

namespace poise {

/// A backend together with the value of your type that the balancer made for it.
template <class Payload>
class BackendWith : public Backend {
 public:
  /// *Threads* the reference may be used while a lease is held; what it refers to is yours to
  /// guard.
  [[nodiscard]] Payload& payload() noexcept { return payload_; }
  [[nodiscard]] Payload const& payload() const noexcept { return payload_; }

 protected:
  template <class Factory>
  BackendWith(Endpoint const& endpoint, std::uint64_t serial, Factory const& make)
      : Backend{endpoint, serial}, payload_(make(endpoint)) {}
  ~BackendWith() = default;

 private:
  Payload payload_;
};

template <>
class BackendWith<void> : public Backend {
 protected:
  template <class Factory>
  BackendWith(Endpoint const& endpoint, std::uint64_t serial, Factory const&)
      : Backend{endpoint, serial} {}
  ~BackendWith() = default;
};

template <class Payload>
using Factory = std::function<Payload(Endpoint const&)>;

}  // namespace poise
