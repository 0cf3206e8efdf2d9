// SPDX-License-Identifier: MIT
#pragma once

// Several changes of a balancer as one: all or nothing, and published once.
//
//   servers.apply(poise::Changes{}.set_weight("a", 3).drain("b").add({.address = "c:80"}));
//
// 10,000 changes one by one build 10,000 snapshots of 10,000 backends; as one they build one.

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/backend.hpp>
#include <poise/endpoint.hpp>
#include <poise/engine/endpoint_checks.hpp>
#include <poise/error.hpp>

namespace poise::inline v0_1_0 {

namespace detail {
template <class Core, class P, class Payload, class R>
class Writer;
}

/// A list of changes, applied in order. Each does what Balancer's function of that name does.
/// *Errors* ConfigError for endpoints that can't be backends. Unknown ids are refused by apply().
/// *Threads* a plain value; apply() only reads it.
class Changes {
 public:
  Changes& set_weight(std::string id, std::optional<std::uint32_t> weight) {
    return then({.kind = Kind::weight, .id = std::move(id), .weight = weight});
  }
  Changes& drain(std::string id) {
    return then({.kind = Kind::drained, .id = std::move(id), .drained = true});
  }
  Changes& undrain(std::string id) { return then({.kind = Kind::drained, .id = std::move(id)}); }
  Changes& set_health(std::string id, std::optional<HealthState> health) {
    return then({.kind = Kind::declared, .id = std::move(id), .health = health});
  }
  Changes& report_health(std::string id, HealthState health) {
    return then({.kind = Kind::found, .id = std::move(id), .health = health});
  }
  Changes& set_admission(std::string id, Admission admission) {
    return then({.kind = Kind::admission, .id = std::move(id), .admission = admission});
  }
  Changes& add(Endpoint endpoint) {
    std::vector<Endpoint> one;
    one.push_back(std::move(endpoint));
    detail::check(one, true);
    endpoints_.push_back(std::move(one[0]));
    return then({.kind = Kind::add, .endpoint = endpoints_.size() - 1});
  }
  Changes& remove(std::string id) { return then({.kind = Kind::remove, .id = std::move(id)}); }
  /// Replaces the set. *Requires* that it is the first change: what follows changes the new set.
  Changes& update(std::vector<Endpoint> endpoints) {
    if (!steps_.empty())
      throw ConfigError{"update() must be the first of several changes: it replaces the set"};
    detail::check(endpoints);
    endpoints_ = std::move(endpoints);
    updated_ = endpoints_.size();
    return then({.kind = Kind::update});
  }

  /// Does not compile: says what to write for addresses.
  template <std::convertible_to<std::string_view> T>
  Changes& update(std::initializer_list<T>) {
    detail::refuse_addresses<T>();
    return *this;
  }

  [[nodiscard]] bool empty() const noexcept { return steps_.empty(); }
  [[nodiscard]] std::size_t size() const noexcept { return steps_.size(); }

 private:
  template <class Core, class P, class Payload, class R>
  friend class detail::Writer;

  enum class Kind : std::uint8_t {
    weight,
    drained,
    declared,
    found,
    admission,
    add,
    remove,
    update,
  };
  struct Step {
    Kind kind;
    std::string id{};
    std::optional<std::uint32_t> weight{};
    std::optional<HealthState> health{};
    Admission admission{};
    bool drained = false;
    std::size_t endpoint = 0;  // number of the one to add
  };

  Changes& then(Step step) {
    steps_.push_back(std::move(step));
    return *this;
  }

  std::vector<Step> steps_{};
  std::vector<Endpoint> endpoints_{};  // of update(), then of each add()
  std::size_t updated_ = 0;            // how many are of update()
};

}  // namespace poise::inline v0_1_0
