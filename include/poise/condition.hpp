// SPDX-License-Identifier: MIT
#pragma once

// A request's own condition on its backend: labels, or any other test.
//
//   poise::RequiredLabels const fast{{"disk", "ssd"}, {"region", "eu"}};   // once
//   auto lease = servers.pick({.condition = fast});                        // never another backend
//
// For a class of requests that is known in advance, PriorityRouter and Filter are faster and more
// even: they partition the backends once per change. A condition is tested in every pick.

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <poise/backend.hpp>
#include <poise/endpoint.hpp>

namespace poise::inline v0_1_0 {

/// Labels that a backend must have, all of them. Prepare it once, and use it for many requests.
/// Without labels every backend passes.
/// *Threads* any. *Cost* a backend that lacks a label is rejected after one load, nearly always.
class RequiredLabels {
 public:
  RequiredLabels(std::initializer_list<Label> labels)
      : RequiredLabels{std::vector<Label>{labels}} {}
  explicit RequiredLabels(std::vector<Label> labels) : labels_{std::move(labels)} {
    for (auto const& label : labels_) mark_ |= detail::mark_of(label);
  }

  [[nodiscard]] bool operator()(Backend const& backend) const noexcept {
    if ((backend.label_marks() & mark_) != mark_) return false;
    for (auto const& label : labels_)
      if (!has(backend, label)) return false;
    return true;
  }
  /// The bits that Backend::label_marks() has for these labels.
  [[nodiscard]] std::uint64_t marks() const noexcept { return mark_; }

 private:
  static bool has(Backend const& backend, Label const& label) noexcept {
    for (auto const& each : backend.labels())
      if (each.value == label.value && each.key == label.key) return true;
    return false;
  }

  std::vector<Label> labels_;
  std::uint64_t mark_ = 0;
};

/// A test of a backend by reference: it must live until pick() returns, and must not throw, block
/// or use the balancer. Empty by default. A test that has `std::string why_not(Backend const&)`
/// tells analysis::explain() and why() what is wrong with a backend.
///
/// *Threads* a pick calls it on its own thread; pick_for() on other threads, too.
class Condition {
 public:
  constexpr Condition() noexcept = default;
  // NOLINTNEXTLINE(*-explicit-*): {.condition = fast}
  Condition(RequiredLabels const& labels) noexcept
      : test_{&labels}, call_{&call<RequiredLabels>}, marks_{labels.marks()} {}
  template <class Test>
    requires(!std::same_as<Test, Condition> && std::predicate<Test const&, Backend const&>)
  // NOLINTNEXTLINE(*-explicit-*): {.condition = [](auto const& backend) { ... }}
  constexpr Condition(Test const& test) noexcept : test_{&test}, call_{&call<Test>} {}

  [[nodiscard]] constexpr explicit operator bool() const noexcept { return call_ != nullptr; }
  /// *Requires* a condition that is not empty.
  [[nodiscard]] bool operator()(Backend const& backend) const noexcept {
    return (backend.label_marks() & marks_) == marks_ && call_(test_, backend, nullptr);
  }
  /// What the test says of a backend that it rejects; empty if it says nothing. *Requires* as
  /// above. *Cost* allocates.
  [[nodiscard]] std::string why_not(Backend const& backend) const {
    std::string why;
    call_(test_, backend, &why);
    return why;
  }

 private:
  template <class Test>
  static bool call(void const* test, Backend const& backend, [[maybe_unused]] std::string* why) {
    auto const& itself = *static_cast<Test const*>(test);
    if constexpr (requires {
                    { itself.why_not(backend) } -> std::convertible_to<std::string>;
                  })
      if (why != nullptr) *why = itself.why_not(backend);
    return itself(backend);
  }

  void const* test_ = nullptr;
  bool (*call_)(void const*, Backend const&, std::string* why) = nullptr;
  std::uint64_t marks_ = 0;  // the test is called only for backends that have all of these
};

}  // namespace poise::inline v0_1_0
