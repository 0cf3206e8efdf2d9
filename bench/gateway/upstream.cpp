// SPDX-License-Identifier: MIT

// A server for bench/gateway/run: `upstream MILLISECONDS PLACES` listens on a free port of
// loopback, which it prints, and answers each GET after a time of service with an exponential
// distribution and this mean; 0 answers at once. It serves so many requests at a time, and the
// others wait in turn. After SIGUSR1 it fails each request at once with 500.

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <random>
#include <utility>
#include <vector>

namespace {

namespace net = boost::asio;
namespace http = boost::beast::http;
using Clock = std::chrono::steady_clock;
using Socket = net::ip::tcp::socket;

/// What all connections share; one thread runs them.
class Service {
 public:
  Service(double mean_ms, std::size_t places) : mean_ms_{mean_ms}, free_at_(places) {}

  /// When a request that came now is done.
  Clock::time_point done() {
    auto const now = Clock::now();
    if (mean_ms_ <= 0 || fails) return now;
    auto const place = std::ranges::min_element(free_at_);
    std::chrono::duration<double, std::milli> const takes{mean_ms_ * time_(random_)};
    *place = std::max(*place, now) + std::chrono::duration_cast<Clock::duration>(takes);
    return *place;
  }

  bool fails = false;

 private:
  double mean_ms_;
  std::vector<Clock::time_point> free_at_;
  std::mt19937_64 random_{std::random_device{}()};
  std::exponential_distribution<> time_;
};

net::awaitable<void> serve(Socket socket, Service& service) {
  socket.set_option(net::ip::tcp::no_delay{true});
  boost::beast::flat_buffer buffer;
  net::steady_timer timer{socket.get_executor()};
  bool stays = true;
  while (stays) {
    http::request<http::empty_body> request;
    co_await http::async_read(socket, buffer, request, net::use_awaitable);
    if (auto const end = service.done(); end > Clock::now()) {
      timer.expires_at(end);
      co_await timer.async_wait(net::use_awaitable);
    }
    auto const status = service.fails ? http::status::internal_server_error : http::status::ok;
    http::response<http::string_body> response{status, request.version()};
    response.body().assign(128, 'x');
    response.keep_alive(request.keep_alive());
    response.prepare_payload();
    stays = request.keep_alive();
    co_await http::async_write(socket, response, net::use_awaitable);
  }
}

net::awaitable<void> accept(net::ip::tcp::acceptor& acceptor, Service& service) {
  for (;;) {
    auto socket = co_await acceptor.async_accept(net::use_awaitable);
    net::co_spawn(acceptor.get_executor(), serve(std::move(socket), service),
                  [](std::exception_ptr const&) {});  // a client that went away
  }
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 3) {
    std::fputs("upstream MILLISECONDS PLACES\n", stderr);
    return 2;
  }
  net::io_context context{1};
  Service service{std::atof(arguments[1]), std::strtoul(arguments[2], nullptr, 10)};
  net::ip::tcp::acceptor acceptor{context, {net::ip::address_v4::loopback(), 0}};
  net::signal_set fails{context, SIGUSR1};
  fails.async_wait([&](boost::system::error_code, int) { service.fails = true; });
  net::co_spawn(context, accept(acceptor, service), net::detached);
  std::printf("%u\n", unsigned{acceptor.local_endpoint().port()});
  std::fflush(stdout);
  context.run();
}
