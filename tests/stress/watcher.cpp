// SPDX-License-Identifier: MIT

// The thread that follows sources, while feeds come and go, hint and ask. What must hold:
//
//   1. A feed is stepped by one thread, and by none once its handle is gone.
//   2. status() shows the state between two steps.

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <poise/discovery/list.hpp>
#include <poise/discovery/watcher.hpp>

#include "stress/team.hpp"
#include "support/catch.hpp"

namespace {

using namespace poise::discovery;

/// What a feed's sink writes: plain, since nobody else may look before the handle is gone (1).
struct Written {
  std::uint64_t lists = 0;
  std::string last{};
};

struct Owner {
  explicit Owner(Watcher& shared) : watcher{shared} {}
  void work() {
    auto const written = std::make_unique<Written>();
    {
      FeedOptions options;
      options.follower.refresh = options.follower.floor = std::chrono::microseconds{50};
      options.follower.debounce = std::chrono::nanoseconds{0};
      auto source = std::make_unique<ReadySource>("numbers", [number = 1]() mutable -> Look {
        number = number % 1000 + 1;
        return parse_list("a:" + std::to_string(number) + ",b:1,c:1,d:1");
      });
      auto const handle = watcher.follow(std::make_unique<Feed>(
          std::move(source),
          [&list = *written](std::vector<poise::Endpoint> const& endpoints) {
            ++list.lists;
            list.last = endpoints.front().id;
          },
          options));
      for (int i = 0; i < 20; ++i) {
        handle.hint();
        for (auto const& each : handle.status())
          if (each.changes != 0 && each.endpoints < 4) ++torn;
        std::this_thread::sleep_for(std::chrono::microseconds{50});
      }
    }
    lists += written->lists;  // a step that is still running would be a race
    written->last.clear();
  }
  Watcher& watcher;
  std::uint64_t lists = 0;
  std::uint64_t torn = 0;
};

}  // namespace

TEST_CASE("no feed is touched once its handle is gone") {
  Watcher watcher;
  tests::Team<Owner> owners{3, watcher};
  for (tests::Rounds rounds{100}; rounds.next();)
    std::this_thread::sleep_for(std::chrono::milliseconds{1});
  std::uint64_t lists = 0;
  for (auto const& each : owners.stop()) {
    CHECK(each.torn == 0);
    lists += each.lists;
  }
  CHECK(lists > 0);
}
