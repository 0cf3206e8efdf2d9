// SPDX-License-Identifier: MIT
#pragma once

// How what runs on an event loop ends: its handle ends it, and handlers that come later find that.

#include <memory>
#include <mutex>
#include <utility>

namespace poise::inline v0_1_0::asio::detail {

/// Guards an object against handlers that run after its end: end() waits for the handler in
/// progress. The mutex is recursive, since a handler may end the object that called it.
class Guarded {
 public:
  /// Runs `use` unless the object has ended.
  template <class Use>
  void use(Use const& use) {
    std::scoped_lock const lock{mutex_};
    if (!ended_) use();
  }
  void end() {
    std::scoped_lock const lock{mutex_};
    ended_ = true;
  }

 private:
  std::recursive_mutex mutex_;
  bool ended_ = false;
};

/// Holds something until it ends it. Can be moved.
template <class T>
class Ending {
 public:
  Ending() = default;
  explicit Ending(std::shared_ptr<T> held) noexcept : held_{std::move(held)} {}
  Ending(Ending&&) noexcept = default;
  Ending& operator=(Ending&& other) noexcept {
    if (this != &other) {
      end();
      held_ = std::move(other.held_);
    }
    return *this;
  }
  Ending(Ending const&) = delete;
  Ending& operator=(Ending const&) = delete;
  ~Ending() { end(); }
  T* operator->() const noexcept { return held_.get(); }

 private:
  void end() noexcept {
    if (held_) held_->end();
    held_.reset();
  }
  std::shared_ptr<T> held_{};
};

}  // namespace poise::inline v0_1_0::asio::detail
