// SPDX-License-Identifier: MIT
#pragma once

// A connection of hiredis with limits in time, and pools of them.
//
//   poise::Balancer<poise::P2C, poise::redis::Server> servers{endpoints, poise::redis::servers()};
//
// Needs hiredis, and target poise::redis. A connection that is not clean when it comes back (MULTI
// without EXEC, SUBSCRIBE, SELECT, WATCH ...) is closed. There is no TLS: hiredis 0.14 has none.

#include <hiredis/hiredis.h>
#include <poll.h>
#include <sys/time.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <poise/backend.hpp>
#include <poise/base/address.hpp>
#include <poise/base/check.hpp>
#include <poise/endpoint.hpp>
#include <poise/error.hpp>
#include <poise/outcome.hpp>
#include <poise/pool/pool.hpp>
#include <poise/redis/error.hpp>
#include <poise/sql/node.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::redis {

/// How to log in. Messages do not show the password.
struct Settings {
  std::string user{};  ///< Empty: the default one.
  std::string password{};
  unsigned database = 0;
  /// For the answer to each command: only it ends the wait for a server that hangs.
  Duration limit = std::chrono::seconds{5};
};

/// An answer, or a part of one, which lives as long as the whole.
class Answer {
 public:
  explicit Answer(redisReply const* reply) noexcept : reply_{reply} {}
  [[nodiscard]] bool is_null() const noexcept { return reply_->type == REDIS_REPLY_NIL; }
  /// A text or a status; empty for all else.
  [[nodiscard]] std::string_view text() const noexcept {
    if (reply_->str == nullptr) return {};
    return {reply_->str, static_cast<std::size_t>(reply_->len)};
  }
  /// An integer, or a text that is one. *Errors* Error: it is none.
  [[nodiscard]] std::int64_t number() const {
    if (reply_->type == REDIS_REPLY_INTEGER) return reply_->integer;
    auto const value = text();
    std::int64_t number = 0;
    auto const [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (value.empty() || error != std::errc{} || end != value.data() + value.size())
      throw Error{poise::detail::in_quotes(value) + " is no integer", Result::rejected};
    return number;
  }
  /// The number of parts; 0 if it has none.
  [[nodiscard]] std::size_t size() const noexcept {
    return reply_->type == REDIS_REPLY_ARRAY ? reply_->elements : 0;
  }
  /// *Errors* Error: there is no such part.
  [[nodiscard]] Answer operator[](std::size_t i) const {
    if (i >= size())
      throw Error{"the answer of Redis has no part " + std::to_string(i), Result::rejected};
    return Answer{reply_->element[i]};
  }
  [[nodiscard]] redisReply const* native() const noexcept { return reply_; }

 private:
  redisReply const* reply_;
};

/// The whole answer to a command.
class Reply : public Answer {
 public:
  explicit Reply(redisReply* reply) noexcept : Answer{reply}, owned_{reply} {}

 private:
  struct Free {
    void operator()(redisReply* reply) const noexcept { freeReplyObject(reply); }
  };
  std::unique_ptr<redisReply, Free> owned_;
};

/// *Threads* one at a time.
class Connection {
 public:
  using Words = std::initializer_list<std::string_view>;

  /// Connects to "host:port", and logs in.
  /// *Errors* Error; ConfigError: it is no such address.
  static Connection open(std::string const& address, Settings const& settings, Duration limit) {
    auto const parts = HostPort::of(address);
    if (!parts)
      throw ConfigError{poise::detail::in_quotes(address) + " is not the host:port of a Redis"};
    Connection connection{
        address, redisConnectWithTimeout(parts->host.c_str(), parts->port, as_timeval(limit)),
        settings.limit};
    connection.log_in(settings, limit);
    return connection;
  }

  /// Sends a command, and returns its answer.
  /// *Errors* Error: an error reply; no answer in time, and then the connection is in the middle of
  /// one: discard it.
  Reply command(Words words) { return command(words, limit_); }
  Reply command(Words words, Duration limit) {
    note_state(*words.begin());
    std::vector<char const*> texts;
    std::vector<std::size_t> sizes;
    for (auto const& word : words) {
      texts.push_back(word.data() == nullptr ? "" : word.data());
      sizes.push_back(word.size());
    }
    redisSetTimeout(native(), as_timeval(limit));
    auto* const reply = static_cast<redisReply*>(
        redisCommandArgv(native(), static_cast<int>(texts.size()), texts.data(), sizes.data()));
    if (reply == nullptr) fail();
    Reply owned{reply};
    if (reply->type == REDIS_REPLY_ERROR) throw Error{std::string{owned.text()}};
    return owned;
  }

  /// True if nothing has arrived since the last answer: an idle connection that is readable was
  /// closed, or has news. *Cost* a system call.
  [[nodiscard]] bool is_quiet() const noexcept {
    pollfd socket{.fd = context_->fd, .events = POLLIN, .revents = 0};
    return context_->err == 0 && ::poll(&socket, 1, 0) == 0;
  }
  /// False if it is not as it was opened.
  [[nodiscard]] bool is_clean() const noexcept {
    return context_->err == 0 && !in_transaction_ && !changed_;
  }
  /// "host:port", as it was opened.
  [[nodiscard]] std::string const& address() const noexcept { return address_; }
  [[nodiscard]] redisContext* native() const noexcept { return context_.get(); }

 private:
  struct Free {
    void operator()(redisContext* context) const noexcept { redisFree(context); }
  };

  Connection(std::string address, redisContext* context, Duration limit)
      : address_{std::move(address)}, context_{context}, limit_{limit} {
    if (context == nullptr) throw std::bad_alloc{};
    if (context->err == 0) return;
    bool const late = context->err == REDIS_ERR_IO && is_timeout();
    throw Error{std::string{"no connection: "} + context->errstr,
                late ? Result::connect_timeout : Result::refused};
  }
  void log_in(Settings const& settings, Duration limit) {
    if (!settings.password.empty() && settings.user.empty())
      command({"AUTH", settings.password}, limit);
    else if (!settings.password.empty()) command({"AUTH", settings.user, settings.password}, limit);
    if (settings.database != 0) command({"SELECT", std::to_string(settings.database)}, limit);
    changed_ = false;
  }

  /// Which commands change what the next user of the connection would see.
  void note_state(std::string_view word) {
    std::string upper{word};
    std::ranges::transform(upper, upper.begin(), [](char letter) {
      return letter >= 'a' && letter <= 'z' ? static_cast<char>(letter - 'a' + 'A') : letter;
    });
    constexpr std::array<std::string_view, 9> changes{"SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE",
                                                      "MONITOR",   "SELECT",     "AUTH",
                                                      "HELLO",     "CLIENT",     "WATCH"};
    if (upper == "MULTI") in_transaction_ = true;
    else if (upper == "EXEC" || upper == "DISCARD") in_transaction_ = false;
    else if (std::ranges::count(changes, upper) != 0) changed_ = true;
  }
  [[noreturn]] void fail() const {
    if (context_->err == REDIS_ERR_IO && is_timeout())
      throw Error{"no answer in time", Result::timeout};
    throw Error{std::string{"the connection broke: "} + context_->errstr, Result::reset};
  }
  static bool is_timeout() noexcept {
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == ETIMEDOUT || errno == EINPROGRESS;
  }
  static timeval as_timeval(Duration limit) noexcept {
    auto const us = std::max<std::int64_t>(
        1, std::chrono::duration_cast<std::chrono::microseconds>(limit).count());
    return {.tv_sec = us / 1'000'000, .tv_usec = us % 1'000'000};
  }

  std::string address_;
  std::unique_ptr<redisContext, Free> context_;
  Duration limit_;
  bool in_transaction_ = false;
  bool changed_ = false;
};

/// A pool of connections, and what is known of their server: the payload of a backend.
using Pool = pool::Pool<Connection>;
/// The payload of a backend: its pool, and what is known of the server.
using Server = sql::Server<Pool>;

/// Makes the payloads of backends whose address is "host:port".
/// *Errors* ConfigError: the limit is not above 0.
[[nodiscard]] inline Factory<Server> servers(Settings settings = {},
                                             pool::Options const& options = {}) {
  poise::detail::check_positive("limit of redis::Settings", settings.limit);
  return [settings = std::move(settings), options](Endpoint const& endpoint) {
    return Server{Pool{
        {.open = [address = endpoint.address,
                  settings](Duration limit) { return Connection::open(address, settings, limit); },
         .check = [](Connection& c) { return c.is_quiet(); },
         .reset = [](Connection& c) { return c.is_clean(); },
         .close = {}},
        options}};
  };
}

}  // namespace poise::inline v0_1_0::redis
