// SPDX-License-Identifier: MIT
// Calls on an event loop that several threads run, cancelled from others: for ThreadSanitizer, and
// for what must hold at the end.

#include <atomic>
#include <exception>
#include <thread>
#include <vector>

#include "integration/calls/support.hpp"
#include "support/catch.hpp"

namespace integration_calls_threads {

#if defined(ASIO_HAS_CO_AWAIT) && defined(__cpp_lib_jthread)

using namespace tests;
using poise::Result;

TEST_CASE("calls on many threads with timeouts, hedges and stops leave nothing in flight") {
  auto servers = called("abcdef", trying(3, {.attempt_timeout = 3ms, .hedge_after = 1ms}, 1ms));
  std::atomic<int> over{0};
  constexpr int calls = 2000;
  {
    asio::thread_pool pool{3};
    std::vector<std::stop_source> sources(calls);
    auto const ask = [](auto& backend, auto& request) -> asio::awaitable<Answer> {
      co_await rest(backend.id() == "a" ? 10ms : request.attempt * 500us);
      co_return Answer{backend.id() == "b" ? Result::reset : Result::success};
    };
    for (int i = 0; i < calls; ++i) {
      auto const stop =
          i % 2 == 0 ? sources[static_cast<std::size_t>(i)].get_token() : std::stop_token{};
      start(pool.get_executor(), servers, ask, [&](auto const&, auto const&) { ++over; }, {},
            {.stop = stop});
      if (i % 7 == 0) sources[static_cast<std::size_t>(i / 2)].request_stop();
      if (i % 100 == 0) servers.update(letters(i % 200 == 0 ? "abcdef" : "abcxyz"));
      if (i % 50 == 0) std::this_thread::sleep_for(1ms);
    }
    pool.join();
  }
  CHECK(over == calls);
  CHECK(in_flight(servers) == 0);
}

#endif

}  // namespace integration_calls_threads
