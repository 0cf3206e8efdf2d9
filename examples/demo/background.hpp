// SPDX-License-Identifier: MIT
#pragma once

// An event loop on a thread of its own. Declare it last, so that it stops before the objects it
// uses are destroyed.

#include <future>
#include <thread>
#include <utility>

#include <asio/io_context.hpp>
#include <asio/post.hpp>

namespace demo {

class Background {
 public:
  explicit Background(asio::io_context& context)
      : context_{context}, thread_{[&context] { context.run(); }} {}
  Background(Background const&) = delete;
  Background& operator=(Background const&) = delete;
  ~Background() {
    context_.stop();
    wait();
  }

  /// Waits until the loop has nothing left to do.
  void wait() {
    if (thread_.joinable()) thread_.join();
  }

  /// Runs fn on the loop's thread, waits for it and passes on what it throws.
  template <class Fn>
  void call(Fn fn) {
    std::packaged_task<void()> task{std::move(fn)};
    auto done = task.get_future();
    asio::post(context_, std::move(task));
    done.get();
  }

 private:
  asio::io_context& context_;
  std::thread thread_;
};

}  // namespace demo
