// SPDX-License-Identifier: MIT
#include <asio.hpp>

#include <poise/asio/call.hpp>
#include <poise/balancer.hpp>

struct Reply {
  int value;
};

asio::awaitable<void> ask(poise::Balancer<>& servers) {
  co_await poise::asio::call(servers, [](auto&) -> asio::awaitable<Reply> { co_return Reply{}; });
}

int main() {
  poise::Balancer<> servers{poise::endpoints({"10.0.0.1:80", "10.0.0.2:80"})};
  asio::io_context context;
  asio::co_spawn(context, ask(servers), asio::detached);
  context.run();
}
