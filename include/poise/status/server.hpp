// SPDX-License-Identifier: MIT
#pragma once

// A small server for an observe::Handler, on Boost.Beast: it only reads, on 127.0.0.1 unless told
// otherwise, and is bounded in connections, header size and time.
//
//   poise::status::Server const server{handler, {.port = 9100}};
//   std::cout << server.url() << '\n';                      // until it is destroyed
//
// One thread of its own does everything; a request for a page waits for the one before. It is not
// for the open network: it speaks no TLS and knows no users.
//
// Where Boost.Beast is not installed, this header is empty.

#if __has_include(<boost/beast/http.hpp>)

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/socket_base.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>

#include <poise/error.hpp>
#include <poise/observe/handler.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::status {

/// Where to listen, and what to put up with.
struct ServerOptions {
  std::string address = "127.0.0.1";
  std::uint16_t port = 0;  ///< 0: a free one, see Server::url().
  /// With so many the one that has waited for a request for the longest is closed for the next;
  /// if none does, the next is answered with 503.
  std::size_t max_connections = 64;
  std::size_t max_streams = 48;                 ///< Of these; more are answered with 503.
  std::uint32_t max_header = 16'384;            ///< Bytes; a longer one is answered with 431.
  Duration timeout = std::chrono::seconds{10};  ///< To send a whole request, or take a response.
};

namespace detail {

namespace beast = boost::beast;
namespace http = boost::beast::http;
using boost::asio::ip::tcp;

class Session;

/// What connections share. *Threads* the server's own.
struct Shared {
  observe::Handler handler;
  ServerOptions options;
  std::size_t connections = 0;
  std::size_t streams = 0;
  std::list<Session*> waiting{};  // for a request, the longest first
};

/// One connection, request after request.
class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(tcp::socket socket, Shared& shared) : stream_{std::move(socket)}, shared_{shared} {
    ++shared_.connections;
  }
  Session(Session const&) = delete;
  Session& operator=(Session const&) = delete;
  ~Session() {
    stop_waiting();
    --shared_.connections;
    if (stream_source_) --shared_.streams;
  }

  void read() {
    place_ = shared_.waiting.insert(shared_.waiting.end(), this);
    parser_.emplace();
    parser_->header_limit(shared_.options.max_header);
    parser_->body_limit(0);
    expire();
    http::async_read(stream_, buffer_, *parser_,
                     [self = shared_from_this()](auto error, std::size_t) {
                       self->stop_waiting();
                       self->on_read(error);
                     });
  }
  /// Ends the wait for a request.
  void give_up() {
    stop_waiting();
    stream_.close();
  }

 private:
  void stop_waiting() noexcept {
    if (place_) shared_.waiting.erase(*place_);
    place_.reset();
  }
  void expire() { stream_.expires_after(shared_.options.timeout); }

  void on_read(beast::error_code error) {
    if (error == http::error::header_limit)
      return write({.status = 431, .body = "the header is too long\n"}, false);
    if (error == http::error::body_limit)
      return write({.status = 413, .body = "a request here has no body\n"}, false);
    if (error.category() == make_error_code(http::error::bad_method).category() &&
        error != http::error::end_of_stream && error != http::error::partial_message)
      return write({.status = 400, .body = "this is no request of HTTP\n"}, false);
    if (error) return close();
    auto const& request = parser_->get();
    if (request.count(http::field::host) > 1)
      return write({.status = 400, .body = "a request has one Host\n"}, false);
    write(shared_.handler(asked()), request.keep_alive());
  }

  [[nodiscard]] observe::HttpRequest asked() const {
    auto const& request = parser_->get();
    auto const text = [](auto part) { return std::string_view{part.data(), part.size()}; };
    observe::HttpRequest asked{.method = text(request.method_string()),
                               .target = text(request.target()),
                               .host = text(request[http::field::host]),
                               .accept = text(request[http::field::accept])};
    // Checkers of HTTP/1.0 need not name a host; a browser, which could be misled, does.
    if (request.version() < 11 && asked.host.empty()) asked.host = "localhost";
    constexpr std::string_view scheme = "http://";
    if (asked.target.starts_with(scheme)) {  // the absolute form, whose host is the one that counts
      asked.target.remove_prefix(scheme.size());
      asked.host = asked.target.substr(0, asked.target.find_first_of("/?"));
      asked.target.remove_prefix(asked.host.size());
      if (asked.target.empty()) asked.target = "/";
    }
    return asked;
  }

  void write(observe::HttpResponse made, bool keep_alive) {
    bool const streams = made.stream.has_value();
    if (streams && shared_.streams >= shared_.options.max_streams)
      return write({.status = 503, .body = "as many streams as there may be are open\n"}, false);
    if (streams) ++shared_.streams;
    stream_source_ = std::move(made.stream);
    bool const head = parser_->get().method() == http::verb::head;
    response_.emplace();
    response_->version(11);
    response_->result(static_cast<unsigned>(made.status));
    response_->set(http::field::content_type, made.type);
    for (auto const& [name, value] : made.headers) response_->set(name, value);
    response_->keep_alive(keep_alive && !streams);
    if (streams) return begin_stream(std::move(made.body), head);
    response_->body() = std::move(made.body);
    response_->prepare_payload();
    serializer_.emplace(*response_);
    expire();
    auto const done = [self = shared_from_this()](auto error, std::size_t) {
      self->on_written(error);
    };
    if (head) http::async_write_header(stream_, *serializer_, done);
    else http::async_write(stream_, *serializer_, done);
  }

  void on_written(beast::error_code error) {
    if (error || !response_->keep_alive()) return close();
    read();
  }

  /// The client must see that it is over; what it still sends is not read.
  void close() {
    beast::error_code ignored;
    // NOLINTNEXTLINE(bugprone-unused-return-value): it is in `ignored`, too
    stream_.socket().shutdown(tcp::socket::shutdown_send, ignored);
  }

  // -- streams -----------------------------------------------------------------------------------

  void begin_stream(std::string first, bool head) {
    in_chunks_ = parser_->get().version() >= 11;
    if (in_chunks_) response_->chunked(true);
    // A client that does not read is noticed when these are full, after some events.
    constexpr int buffer_size = 128 * 1024;
    beast::error_code ignored;
    // NOLINTNEXTLINE(bugprone-unused-return-value): it is in `ignored`, too
    stream_.socket().set_option(boost::asio::socket_base::send_buffer_size{buffer_size}, ignored);
    serializer_.emplace(*response_);
    part_ = std::move(first);
    expire();
    http::async_write_header(stream_, *serializer_,
                             [self = shared_from_this(), head](auto error, std::size_t) {
                               if (error) return;
                               if (head) self->close();
                               else self->write_part();
                             });
  }
  void write_part() {
    if (part_.empty()) return wait();
    expire();
    auto const done = [self = shared_from_this()](auto error, std::size_t) {
      if (!error) self->wait();
    };
    auto const part = boost::asio::buffer(part_);
    if (in_chunks_) boost::asio::async_write(stream_, http::make_chunk(part), done);
    else boost::asio::async_write(stream_, part, done);
  }
  /// Streams of one period take their turns together: twenty viewers cost one wake-up, not twenty.
  static std::chrono::steady_clock::time_point next_turn(Duration every) {
    auto const period = std::max<Duration>(every, std::chrono::milliseconds{1});
    auto const now = std::chrono::steady_clock::now();
    return now + (period - now.time_since_epoch() % period);
  }
  void wait() {
    timer_.emplace(stream_.get_executor(), next_turn(stream_source_->every));
    timer_->async_wait([self = shared_from_this()](auto error) {
      if (error) return;
      auto next = self->stream_source_->next();
      if (!next) return self->end_stream();
      self->part_ = std::move(*next);
      self->write_part();
    });
  }

  void end_stream() {
    if (!in_chunks_) return close();
    expire();
    boost::asio::async_write(stream_, http::make_chunk_last(),
                             [self = shared_from_this()](auto, std::size_t) { self->close(); });
  }

  beast::tcp_stream stream_;
  Shared& shared_;
  beast::flat_buffer buffer_{};
  std::optional<http::request_parser<http::empty_body>> parser_{};
  std::optional<http::response<http::string_body>> response_{};
  std::optional<http::response_serializer<http::string_body>> serializer_{};
  std::optional<observe::Stream> stream_source_{};
  std::optional<boost::asio::steady_timer> timer_{};
  std::string part_{};
  bool in_chunks_ = true;
  std::optional<std::list<Session*>::iterator> place_{};  // in Shared::waiting
};

}  // namespace detail

/// *Threads* url() and port(): any. *Cost* a thread.
class Server {
 public:
  /// Serves as soon as it is made. Its own address is added to the handler's hosts.
  /// *Errors* ConfigError: not an address, or one that can't be listened on.
  explicit Server(observe::Handler handler, ServerOptions options = {})
      : shared_{std::move(handler), std::move(options)} {
    listen();
    shared_.handler.allow_host(host());
    for (auto const& task : shared_.handler.tasks()) {
      timers_.emplace_back(context_);
      repeat(task, timers_.back());
    }
    accept();
    thread_ = std::thread{[this] { serve(); }};
  }
  Server(Server const&) = delete;
  Server& operator=(Server const&) = delete;
  /// Cuts off requests in progress.
  ~Server() {
    context_.stop();
    thread_.join();
  }

  [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
  /// "http://127.0.0.1:9100/"
  [[nodiscard]] std::string url() const {
    return "http://" + host() + ':' + std::to_string(port_) + '/';
  }

 private:
  using Tcp = detail::tcp;

  [[nodiscard]] std::string host() const {
    auto const& address = shared_.options.address;
    return address.find(':') == std::string::npos ? address : '[' + address + ']';
  }

  void listen() {
    boost::system::error_code error;
    auto const& options = shared_.options;
    auto const address = boost::asio::ip::make_address(options.address, error);
    if (error)
      poise::detail::reject_option("address of status::ServerOptions",
                                   poise::detail::in_quotes(options.address),
                                   "use an IP address, such as 127.0.0.1");
    Tcp::endpoint const endpoint{address, options.port};
    // NOLINTBEGIN(bugprone-unused-return-value): it is in `error`, too
    acceptor_.open(endpoint.protocol(), error);
    if (!error) acceptor_.set_option(Tcp::acceptor::reuse_address{true}, error);
    if (!error) acceptor_.bind(endpoint, error);
    if (!error) acceptor_.listen(Tcp::acceptor::max_listen_connections, error);
    // NOLINTEND(bugprone-unused-return-value)
    if (error)
      throw ConfigError{"can't listen on " + host() + ':' + std::to_string(options.port) + ": " +
                        error.message()};
    port_ = acceptor_.local_endpoint().port();
  }

  void repeat(observe::Task const& task, boost::asio::steady_timer& timer) {
    timer.expires_after(task.period);
    timer.async_wait([this, &task, &timer](boost::system::error_code stopped) {
      if (stopped) return;
      repeat(task, timer);  // first: what follows may throw
      task.run();
    });
  }

  void serve() noexcept {
    while (!context_.stopped()) try {
        context_.run();
        // NOLINTNEXTLINE(bugprone-empty-catch): memory ran out, or a stream or a task threw
      } catch (...) {  // a connection ends, a task is called again
      }
  }

  void accept() {
    acceptor_.async_accept([this](boost::system::error_code error, Tcp::socket socket) {
      if (!error) {
        accept();  // first: what follows may throw
        admit(std::move(socket));
        return;
      }
      // Out of descriptors, say: try again a little later.
      pause_.expires_after(std::chrono::milliseconds{100});
      pause_.async_wait([this](boost::system::error_code stopped) {
        if (!stopped) accept();
      });
    });
  }

  void admit(Tcp::socket socket) {
    if (shared_.connections >= shared_.options.max_connections) {
      if (shared_.waiting.empty()) return turn_away(socket);
      shared_.waiting.front()->give_up();
    }
    std::make_shared<detail::Session>(std::move(socket), shared_)->read();
  }
  /// What it says fits into a socket's empty buffer.
  static void turn_away(Tcp::socket& socket) {
    constexpr std::string_view text =
        "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\n"
        "Content-Length: 27\r\n\r\nno connection is left here\n";
    boost::system::error_code ignored;
    socket.write_some(boost::asio::buffer(text), ignored);
  }

  detail::Shared shared_;  // outlives the sessions, which the context holds
  boost::asio::io_context context_{1};
  Tcp::acceptor acceptor_{context_};
  boost::asio::steady_timer pause_{context_};
  std::deque<boost::asio::steady_timer> timers_{};  // of the handler's tasks
  std::uint16_t port_ = 0;
  std::thread thread_{};
};

}  // namespace poise::inline v0_1_0::status

#endif
