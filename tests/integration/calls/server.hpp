// SPDX-License-Identifier: MIT
#pragma once

// A server on loopback that answers a line with a line after a while, and can be made to misbehave;
// and the coroutine that asks it.

#include <atomic>
#include <cmath>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <utility>

#include <asio.hpp>

#include "integration/calls/support.hpp"
#include "integration/health/nodes.hpp"

#if defined(ASIO_HAS_CO_AWAIT)

namespace tests {

class LineServer {
 public:
  enum class Manner { good, hung, resetting };

  /// Service times are exponential, with this mean. Runs on the loop's thread.
  LineServer(Loop& loop, poise::Duration mean)
      : loop_{loop}, state_{std::make_shared<State>(loop.context())} {
    state_->mean = mean;
    loop_.run([&] { serve(state_); });
  }
  ~LineServer() { kill(); }
  LineServer(LineServer const&) = delete;
  LineServer& operator=(LineServer const&) = delete;

  [[nodiscard]] poise::Endpoint endpoint() const {
    auto const address = std::to_string(state_->port);
    return {.id = address, .address = address};
  }
  void behave(Manner manner) {
    loop_.run([&] { state_->manner = manner; });
  }
  void take(poise::Duration mean) {
    loop_.run([&] { state_->mean = mean; });
  }
  /// Closes its port and all connections.
  void kill() {
    loop_.run([&] {
      std::error_code ignored;
      state_->acceptor.close(ignored);
      for (auto* each : state_->open) each->close(ignored);
    });
  }

 private:
  using Tcp = asio::ip::tcp;

  struct State {
    explicit State(asio::io_context& context)
        : acceptor{context, Tcp::endpoint{asio::ip::address_v4::loopback(), 0}},
          port{acceptor.local_endpoint().port()} {}
    Tcp::acceptor acceptor;
    std::uint16_t port;
    Manner manner = Manner::good;
    poise::Duration mean{};
    std::set<Tcp::socket*> open{};
    std::mt19937 chance{port};
  };
  using Shared = std::shared_ptr<State>;

  static void serve(Shared const& state) {
    asio::co_spawn(state->acceptor.get_executor(), accept(state), asio::detached);
  }
  static asio::awaitable<void> accept(Shared state) {
    for (;;) {
      auto socket = co_await state->acceptor.async_accept(asio::use_awaitable);
      asio::co_spawn(state->acceptor.get_executor(), answer(state, std::move(socket)),
                     asio::detached);
    }
  }
  static asio::awaitable<void> answer(Shared state, Tcp::socket socket) {
    struct Listed {
      State& state;
      Tcp::socket* socket;
      ~Listed() { state.open.erase(socket); }
    } const listed{*state, &socket};
    state->open.insert(&socket);
    std::string line;
    co_await asio::async_read_until(socket, asio::dynamic_buffer(line), '\n', asio::use_awaitable);
    if (state->manner == Manner::hung) co_return co_await rest(1h);
    auto const mean = std::chrono::duration<double>{state->mean}.count();
    auto const time = std::exponential_distribution<double>{1 / mean}(state->chance);
    co_await rest(std::chrono::duration_cast<poise::Duration>(std::chrono::duration<double>{time}));
    if (state->manner == Manner::resetting) {
      socket.set_option(asio::socket_base::linger{true, 0});
      co_return;
    }
    co_await asio::async_write(socket, asio::buffer(line), asio::use_awaitable);
  }

  Loop& loop_;
  Shared state_;
};

/// One line there and back, over a connection of its own.
inline asio::awaitable<std::string> ask_line(std::string const& port, std::string line) {
  asio::ip::tcp::socket socket{co_await asio::this_coro::executor};
  asio::ip::tcp::endpoint const server{asio::ip::address_v4::loopback(),
                                       static_cast<std::uint16_t>(std::stoul(port))};
  co_await socket.async_connect(server, asio::use_awaitable);
  line += '\n';
  co_await asio::async_write(socket, asio::buffer(line), asio::use_awaitable);
  std::string reply;
  co_await asio::async_read_until(socket, asio::dynamic_buffer(reply), '\n', asio::use_awaitable);
  co_return reply;
}

}  // namespace tests

#endif
