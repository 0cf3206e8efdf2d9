// SPDX-License-Identifier: MIT

// The cost of an awaited call on top of its function, in time and in allocations, when the first
// attempt succeeds. One coroutine on one event loop awaits one call after the other.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <limits>
#include <new>
#include <string>

#include <fmt/core.h>
#include <asio.hpp>
#include <poise/asio/call.hpp>
#include <poise/poise.hpp>

namespace {

std::size_t allocations = 0;

void* counted(std::size_t size, std::size_t alignment) {
  ++allocations;
  auto const rounded = (size + alignment - 1) / alignment * alignment;
  if (auto* memory = std::aligned_alloc(alignment, rounded)) return memory;
  throw std::bad_alloc{};
}

}  // namespace

void* operator new(std::size_t size) { return counted(size, alignof(std::max_align_t)); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  return counted(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

namespace {

using poise::Backend;
using poise::Balancer;
using poise::endpoints;
using poise::P2C;
using poise::Retry;
using namespace std::chrono_literals;

constexpr int batch = 1000;

/// The best of many batches: on a busy machine the others contain other programs' time.
template <class Make>
void measure(char const* what, bool suspends, Make const& make) {
  double best = std::numeric_limits<double>::max();
  std::size_t allocated = 0;
  asio::io_context loop{1};
  auto const run = [&]() -> asio::awaitable<void> {
    for (int repetition = 0; repetition < 200; ++repetition) {
      allocated = allocations;
      auto const begin = std::chrono::steady_clock::now();
      for (int i = 0; i < batch; ++i) (void)co_await make(suspends);
      auto const took = std::chrono::steady_clock::now() - begin;
      allocated = allocations - allocated;
      best = std::min(best, std::chrono::duration<double, std::nano>{took}.count() / batch);
    }
  };
  asio::co_spawn(loop, run, asio::detached);
  loop.run();
  fmt::print("{:<46} {:<9} {:>8.0f} ns {:>8.2f} allocations\n", what,
             suspends ? "suspends" : "returns", best, static_cast<double>(allocated) / batch);
}

struct Reply {
  int value;
};

asio::awaitable<Reply> answer(Backend&, bool suspends) {
  if (suspends) co_await asio::post(asio::use_awaitable);
  co_return Reply{7};
}

template <class P>
void measure_call(char const* what, bool suspends, P const& policy) {
  Balancer<P> servers{endpoints({"a", "b", "c"}), policy};
  measure(what, suspends, [&](bool how) {
    return poise::asio::call(servers, [how](auto& backend) { return answer(backend, how); });
  });
}

}  // namespace

int main() {
  Balancer<> servers{endpoints({"a", "b", "c"})};
  for (bool const suspends : {false, true}) {
    measure("the function, picked for by hand", suspends, [&](bool how) -> asio::awaitable<Reply> {
      auto lease = servers.pick();
      auto reply = answer(*lease, how);
      lease.finish();
      return reply;
    });
    measure_call("call", suspends, P2C{});
    measure_call("call that may retry", suspends, Retry<P2C>{});
    measure_call("call with timeouts", suspends,
                 Retry<P2C>{{.timeout = 10s, .attempt_timeout = 1s}});
    measure_call("call that may hedge", suspends, Retry<P2C>{{.hedge = {.after = 1s}}});
  }
}
