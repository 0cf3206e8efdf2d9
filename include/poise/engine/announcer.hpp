// SPDX-License-Identifier: MIT
#pragma once

// News that are told without a lock, in the order in which they happened.

#include <list>
#include <mutex>

namespace poise::inline v0_1_0::detail {

/// *Threads* any.
template <class News>
class Announcer {
 public:
  /// To be told next: `news` is empty afterwards.
  void add(std::list<News>& news) noexcept {
    std::scoped_lock const lock{mutex_};
    to_tell_.splice(to_tell_.end(), news);
  }
  /// Calls fn(news) for all of them, on one thread at a time: a thread that finds another one at it
  /// leaves its news to that one.
  template <class Fn>
  void tell(Fn const& fn) noexcept {
    for (bool begins = true;; begins = false) {
      std::list<News> next;
      {
        std::scoped_lock const lock{mutex_};
        if (begins && telling_) return;
        telling_ = !to_tell_.empty();
        if (!telling_) return;
        next.splice(next.end(), to_tell_, to_tell_.begin());
      }
      fn(next.front());
    }
  }

 private:
  std::mutex mutex_;
  std::list<News> to_tell_{};
  bool telling_ = false;
};

}  // namespace poise::inline v0_1_0::detail
