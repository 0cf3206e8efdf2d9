// SPDX-License-Identifier: MIT
// Sources that are followed on an event loop, without a thread.

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/thread_pool.hpp>

#include <poise/asio/watcher.hpp>
#include <poise/discovery/curl/sources.hpp>
#include <poise/discovery/file.hpp>
#include <poise/discovery/list.hpp>
#include <poise/poise.hpp>

#include "integration/discovery/servers.hpp"
#include "support/catch.hpp"

namespace integration_discovery_event_loop {

using namespace std::chrono_literals;
using namespace poise::discovery;

namespace {

using Servers = poise::Balancer<poise::RoundRobin>;

/// A file of endpoints that goes with the test.
class File {
 public:
  [[nodiscard]] std::string path() const { return folder_.path() + "/backends"; }
  void write(std::string const& text) const {
    std::filesystem::rename(folder_.write("new", text), path());
  }

 private:
  tests::Scratch folder_{};
};

/// Runs the loop until this holds; false after 10 s.
bool runs_until(asio::io_context& loop, std::function<bool()> const& holds) {
  auto const work = asio::make_work_guard(loop);
  for (auto const end = std::chrono::steady_clock::now() + 10s;
       std::chrono::steady_clock::now() < end;) {
    if (holds()) return true;
    loop.run_for(5ms);
  }
  return false;
}

std::size_t size_of(Servers const& servers) { return servers.stats().backends.size(); }

FeedOptions quick() {
  FeedOptions options;
  options.follower.refresh = 100ms;
  options.follower.floor = 10ms;
  options.follower.backoff = 10ms;
  options.follower.hint_gap = 10ms;
  return options;
}

}  // namespace

TEST_CASE("event loop: a file is followed, and its changes are seen") {
  File const file;
  file.write("a:1\n");
  asio::io_context loop;
  Servers servers{{}};
  poise::asio::Watcher const watcher{loop.get_executor()};
  auto const kept = watcher.follow(from_file(file.path(), {.reread = 1h}), servers, quick());
  CHECK(runs_until(loop, [&] { return size_of(servers) == 1; }));
  CHECK(kept.status()[0].endpoints == 1);
  file.write("a:1\nb:1\n");
  CHECK(runs_until(loop, [&] { return size_of(servers) == 2; }));
}

TEST_CASE("event loop: a registry is asked again over HTTP, and after a hint") {
  std::atomic<int> asked{0};
  tests::ScriptedServer server{[&](std::string const&) {
    return tests::http_200(++asked < 3 ? R"(["a:1"])" : R"(["a:1", "b:1"])");
  }};
  asio::io_context loop;
  Servers servers{{}};
  poise::asio::Watcher const watcher{loop.get_executor()};
  auto options = quick();
  auto const url = "http://127.0.0.1:" + std::to_string(server.port);
  auto const polled = watcher.follow(from_http_list(url, "/list"), servers, options);
  CHECK(runs_until(loop, [&] { return size_of(servers) == 2; }));

  options.follower.refresh = 1h;
  Servers others{{}};
  auto const hinted = watcher.follow(from_http_list(url, "/list"), others, options);
  CHECK(runs_until(loop, [&] { return size_of(others) == 2; }));
  auto const looks = hinted.status()[0].looks;
  CHECK(runs_until(loop, [&] {
    hinted.hint();
    return hinted.status()[0].looks > looks;
  }));
}

TEST_CASE("event loop: nothing is applied after the handle, also if a sink destroys it") {
  asio::io_context loop;
  poise::asio::Watcher const watcher{loop.get_executor()};
  int lists = 0;
  {
    auto const unused = watcher.follow(std::make_unique<Feed>(
        from_list("a:1"), [&](std::vector<poise::Endpoint> const&) { ++lists; }));
  }
  std::optional<poise::asio::Watcher::Handle> own;
  auto const alive = std::make_shared<int>(0);
  own = watcher.follow(
      std::make_unique<Feed>(from_list("a:1"), [&, alive](std::vector<poise::Endpoint> const&) {
        ++lists;
        own.reset();
      }));
  CHECK(runs_until(loop, [&] { return lists != 0; }));
  loop.run_for(50ms);
  CHECK(lists == 1);
  CHECK(alive.use_count() == 1);
}

TEST_CASE("event loop: handles come and go while several threads run the loop") {
  File const file;
  file.write("a:1\n");
  asio::thread_pool threads{2};
  poise::asio::Watcher const watcher{threads.get_executor()};
  for (int i = 0; i < 200; ++i) {
    Servers servers{{}};
    auto handle = watcher.follow(from_file(file.path()), servers, quick());
    if (i % 3 == 0) std::this_thread::sleep_for(1ms);
    handle.hint();
    if (i % 2 == 0) handle = {};
  }
  threads.join();
  SUCCEED("under the sanitizers");
}

TEST_CASE("event loop: without descriptors left the source is looked at every second") {
  CHECK(poise::asio::detail::any_of({{.fd = -1, .events = POLLIN, .revents = 0}}) == -1);
  auto const none = poise::asio::detail::any_of({});
  CHECK(none >= 0);
  ::close(none);
}

}  // namespace integration_discovery_event_loop
