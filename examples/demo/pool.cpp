// SPDX-License-Identifier: MIT
// The client's side of HTTP, and what each way to fail is called.

#include "pool.hpp"

#include <charconv>
#include <cstdint>
#include <string_view>
#include <utility>

#include <asio/buffer.hpp>
#include <asio/error.hpp>
#include <asio/read.hpp>
#include <asio/read_until.hpp>
#include <asio/steady_timer.hpp>
#include <asio/write.hpp>

namespace demo {

namespace {

template <class Number>
Number parse(std::string_view digits) {
  Number number{};
  std::from_chars(digits.data(), digits.data() + digits.size(), number);
  return number;
}

asio::ip::tcp::endpoint resolve(std::string_view address) {
  auto const colon = address.rfind(':');
  return {asio::ip::make_address(std::string{address.substr(0, colon)}),
          parse<std::uint16_t>(address.substr(colon + 1))};
}

struct Head {
  int status;
  std::size_t length;
};

/// "HTTP/1.1 200 OK" and "Content-Length: 3" is all that this client wants to know.
Head parse_head(std::string_view head) {
  constexpr std::string_view length = "Content-Length: ";
  auto const at = head.find(length);
  return {head.starts_with("HTTP/1.1 ") ? parse<int>(head.substr(9)) : 0,
          at == head.npos ? 0 : parse<std::size_t>(head.substr(at + length.size()))};
}

poise::Outcome outcome_of_status(int status) {
  if (status == 429 || status == 503) return poise::Result::overloaded;
  if (status >= 200 && status < 400) return poise::Result::success;
  if (status >= 400 && status < 500) return poise::Result::rejected;
  return poise::Result::error;
}

}  // namespace

/// One request at a time. After an error or a timeout it is closed and never used again.
class Pool::Connection : public std::enable_shared_from_this<Connection> {
 public:
  explicit Connection(Pool& pool) : pool_{pool}, socket_{pool.context_}, deadline_{pool.context_} {}

  void get(Instant deadline, Done done) {
    done_ = std::move(done);
    deadline_.expires_at(deadline);
    deadline_.async_wait([self = shared_from_this()](asio::error_code) {
      // Cancelled too late it may still come, when the next request has set another deadline.
      if (!self->done_ || Clock::now() < self->deadline_.expiry()) return;
      self->fail(self->connected_ ? poise::Result::timeout : poise::Result::connect_timeout);
    });
    if (connected_) send();
    else connect();
  }

  /// False once the server has closed it; a request would only find that out too late.
  [[nodiscard]] bool reusable() {
    if (!connected_) return false;
    char byte = 0;
    asio::error_code error;
    socket_.receive(asio::buffer(&byte, 1), asio::socket_base::message_peek, error);
    return error == asio::error::would_block;  // nothing to read, neither bytes nor an end
  }

 private:
  /// A handler that goes on with the next step, unless this one failed or the deadline was faster.
  template <class... Args>
  auto then(void (Connection::*next)(Args...)) {
    return [self = shared_from_this(), next](asio::error_code error, Args... args) {
      if (!self->done_) return;
      if (error) self->fail(self->outcome_of(error));
      else ((*self).*next)(args...);
    };
  }

  void connect() { socket_.async_connect(pool_.server_, then(&Connection::connected)); }

  void connected() {
    // On loopback the system may choose the port of a dead server as our own port, and TCP then
    // connects us to ourselves. The server is dead all the same.
    asio::error_code ignored;
    if (socket_.local_endpoint(ignored) == pool_.server_) return fail(poise::Result::refused);
    socket_.non_blocking(true);  // for reusable()
    connected_ = true;
    send();
  }

  void send() { asio::async_write(socket_, asio::buffer(pool_.request_), then(&Connection::sent)); }

  void sent(std::size_t) {
    input_.clear();
    asio::async_read_until(socket_, asio::dynamic_buffer(input_), "\r\n\r\n",
                           then(&Connection::got_head));
  }

  void got_head(std::size_t size) {
    auto const head = parse_head(std::string_view{input_}.substr(0, size));
    outcome_ = outcome_of_status(head.status);
    auto const whole = size + head.length;
    if (input_.size() >= whole) return end(outcome_);
    asio::async_read(socket_, asio::dynamic_buffer(input_),
                     asio::transfer_exactly(whole - input_.size()), then(&Connection::got_body));
  }

  void got_body(std::size_t) { end(outcome_); }

  [[nodiscard]] poise::Outcome outcome_of(asio::error_code error) const {
    // Closed before the answer was whole.
    if (error == asio::error::eof) return poise::Result::reset;
    auto outcome = poise::outcome_of(error);
    if (!connected_) outcome.sent = false;
    return outcome;
  }

  void fail(poise::Outcome outcome) {
    socket_.close();
    connected_ = false;
    end(outcome);
  }

  void end(poise::Outcome outcome) {
    deadline_.cancel();
    auto const done = std::exchange(done_, nullptr);
    pool_.put_back(shared_from_this());
    done(outcome);  // the last thing: from here on the pool may be gone
  }

  Pool& pool_;
  asio::ip::tcp::socket socket_;
  asio::steady_timer deadline_;
  bool connected_ = false;
  std::string input_;
  poise::Outcome outcome_;
  Done done_;  // empty between requests
};

Pool::Pool(asio::io_context& context, std::string const& address)
    : context_{context},
      server_{resolve(address)},
      request_{"GET / HTTP/1.1\r\nHost: " + address + "\r\n\r\n"} {}

Pool::~Pool() = default;

void Pool::get(Instant deadline, Done done) {
  waiting_.push_back({deadline, std::move(done)});
  serve_next();
}

/// Nothing needs to watch the deadlines of waiting requests: every busy connection has an earlier
/// one, and when that passes, the connection is free.
void Pool::serve_next() {
  while (!waiting_.empty() && busy_ < most) {
    auto next = std::move(waiting_.front());
    waiting_.pop_front();
    if (next.deadline <= Clock::now()) {
      next.done({poise::Result::timeout, /*was_sent=*/false});
    } else {
      ++busy_;
      take()->get(next.deadline, std::move(next.done));
    }
  }
}

/// The connection that was used last, or a new one.
Pool::ConnectionPtr Pool::take() {
  while (!idle_.empty()) {
    auto connection = std::move(idle_.back());
    idle_.pop_back();
    if (connection->reusable()) return connection;
  }
  return std::make_shared<Connection>(*this);
}

void Pool::put_back(ConnectionPtr const& connection) {
  --busy_;
  if (connection->reusable()) idle_.push_back(connection);
  serve_next();
}

}  // namespace demo
