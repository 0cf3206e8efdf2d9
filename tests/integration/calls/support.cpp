// SPDX-License-Identifier: MIT

#include "integration/calls/support.hpp"

#if defined(ASIO_HAS_CO_AWAIT)

namespace tests {

namespace {

asio::awaitable<Answer> await(Called& servers, Ask ask, poise::Request const& request,
                              poise::CallOptions const& options) {
  co_return co_await poise::asio::call(servers, request, std::move(ask), options);
}

}  // namespace

Answer call(asio::io_context& loop, Called& servers, Ask const& ask, poise::Request const& request,
            poise::CallOptions const& options) {
  bool over = false;
  std::exception_ptr thrown;
  Answer answer;
  asio::co_spawn(loop, await(servers, ask, request, options),
                 [&](std::exception_ptr error, Answer reply) {
                   over = true;
                   thrown = std::move(error);
                   answer = std::move(reply);
                 });
  loop.restart();
  while (!over) loop.run_one();
  if (thrown) std::rethrow_exception(thrown);
  return answer;
}

void start(asio::any_io_executor const& executor, Called& servers, Ask const& ask, Hear const& hear,
           poise::Request const& request, poise::CallOptions const& options,
           asio::cancellation_slot slot) {
  poise::asio::async_call(executor, servers, request, ask, asio::bind_cancellation_slot(slot, hear),
                          options);
}

}  // namespace tests

#endif
