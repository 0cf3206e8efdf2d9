// SPDX-License-Identifier: MIT
#pragma once

// Notes from requests and probes to the monitor's next turn, and the identity of a monitor's
// copies.
//
// A request that finds something against its backend must not decide under the balancer's lock: it
// leaves a notice in the inbox and asks for a review. Probes only leave a notice.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <poise/health/criteria.hpp>
#include <poise/health/phase.hpp>

namespace poise::inline v0_1_0::health::detail {

/// A signal or a finding about one backend.
struct Notice {
  static constexpr std::size_t no_criterion = ~std::size_t{0};
  std::uint64_t serial = 0;  // of the backend; 0: the backend is named by its id
  std::string id{};
  Signal signal{};
  std::size_t criterion = no_criterion;
  Finding finding{};
  std::string cause{};
};

/// Holds notices until the monitor's next turn. *Threads* any.
class Inbox {
 public:
  void put(Notice notice) {
    std::scoped_lock const lock{mutex_};
    notices_.push_back(std::move(notice));
  }
  [[nodiscard]] std::vector<Notice> take() {
    std::scoped_lock const lock{mutex_};
    return std::exchange(notices_, {});
  }

 private:
  std::mutex mutex_;
  std::vector<Notice> notices_;
};

/// Tells the copies of a monitor apart: each copy has an identity of its own.
class Identity {
 public:
  Identity() = default;
  Identity(Identity const&) : Identity{} {}
  Identity& operator=(Identity const& other) {
    if (this != &other) token_ = std::make_shared<char>();
    return *this;
  }
  ~Identity() = default;

  /// Becomes the owner if there is none; false if another copy is the owner and still lives.
  [[nodiscard]] bool claims(std::weak_ptr<void const>& owner) const {
    auto const current = owner.lock();
    if (!current) owner = token_;
    return !current || current == token_;
  }

 private:
  std::shared_ptr<void const> token_ = std::make_shared<char>();
};

}  // namespace poise::inline v0_1_0::health::detail
