// SPDX-License-Identifier: MIT
// asio::async_call with the tokens, executors and replies that Asio's users have.

#include <exception>
#include <future>
#include <memory>
#include <string>
#include <utility>

#include "integration/calls/support.hpp"
#include "support/catch.hpp"

namespace integration_calls_tokens {

#if defined(ASIO_HAS_CO_AWAIT)

using namespace tests;

TEST_CASE("a call completes any token, on the handler's executor, with texts of its own") {
  for (auto const& limits : {poise::CallTimeouts{}, poise::CallTimeouts{.attempt_timeout = 5s}}) {
    asio::io_context loop;
    asio::io_context other;
    auto servers = called("a", trying(1, limits));
    auto const ask = [](auto&, poise::Request const& request) -> asio::awaitable<std::string> {
      co_await rest(1ms);
      co_return std::string{request.route_key};
    };
    auto key = std::make_unique<std::string>("a key too long for any small string to keep it");
    auto const expected = *key;
    auto future = poise::asio::async_call(loop.get_executor(), servers, {.route_key = *key}, ask,
                                          asio::use_future);
    std::string heard;
    auto const hear = [&](std::exception_ptr const&, std::string reply) {
      CHECK(other.get_executor().running_in_this_thread());
      heard = std::move(reply);
    };
    poise::asio::async_call(loop.get_executor(), servers, {.route_key = *key}, ask,
                            asio::bind_executor(other, hear));
    key.reset();
    loop.run();
    CHECK(heard.empty());
    other.run();
    CHECK(heard == expected);
    CHECK(future.get() == expected);
  }
}

TEST_CASE("an awaited call brings nothing, or what can only be moved") {
  for (auto const& limits : {poise::CallTimeouts{}, poise::CallTimeouts{.attempt_timeout = 5s}}) {
    asio::io_context loop;
    auto servers = called("a", trying(1, limits));
    int seen = 0;
    auto const both = [&]() -> asio::awaitable<void> {
      co_await poise::asio::call(servers, [](auto&) -> asio::awaitable<void> { return rest(1ms); });
      auto const make = [](auto&) -> asio::awaitable<std::unique_ptr<int>> {
        co_return std::make_unique<int>(7);
      };
      auto const reply = co_await poise::asio::call(servers, poise::every_return_succeeds(make));
      seen = *reply;
    };
    asio::co_spawn(loop, both, asio::detached);
    loop.run();
    CHECK(seen == 7);
    CHECK(ended(servers, poise::Result::success) == 2);
  }
}

#endif

}  // namespace integration_calls_tokens
