// SPDX-License-Identifier: MIT
#pragma once

// The values that set_policy() carries from the old policy to the new one: retry budgets, say.

#include <any>
#include <optional>
#include <utility>
#include <vector>

namespace poise::inline v0_1_0 {

/// Values of any types that a policy hands over to its successor. The successor takes the first
/// value of the type that it asks for.
class Handover {
 public:
  template <class T>
  void hand_over(T thing) {
    things_.emplace_back(std::move(thing));
  }
  /// Empty if there is none, or if it was taken.
  template <class T>
  [[nodiscard]] std::optional<T> take() {
    for (auto& each : things_)
      if (auto const* found = std::any_cast<T>(&each); found != nullptr) {
        std::optional<T> thing{*found};
        each.reset();
        return thing;
      }
    return std::nullopt;
  }

 private:
  std::vector<std::any> things_{};
};

}  // namespace poise::inline v0_1_0
