// SPDX-License-Identifier: MIT
#pragma once

// A Redis client over hiredis that poise can balance: a pool of connections per backend, and what
// hiredis' errors and Redis' error replies say of it.
//
//   outcome                 hiredis
//   refused                 could not connect: nothing was sent
//   connect timeout         timed out while connecting
//   timeout                 no reply in time (a hung server, CLIENT PAUSE)
//   reset                   the connection broke
//   overloaded              -LOADING, -BUSY, -OOM, -TRYAGAIN, -MASTERDOWN: later, or elsewhere
//   error                   -READONLY, -CLUSTERDOWN and other states of the server; protocol errors
//   rejected                -ERR, -WRONGTYPE, -NOAUTH, -NOPERM: the command's own fault

#include <hiredis/hiredis.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/base/address.hpp>
#include <poise/endpoint.hpp>
#include <poise/outcome.hpp>
#include <poise/time.hpp>

namespace clients {

struct RedisReply {
  poise::Outcome outcome{};
  std::optional<std::string> value{};  ///< Nothing if Redis has none, or there was an error.
  std::string error{};
};

inline poise::Outcome outcome_of(RedisReply const& reply) { return reply.outcome; }

/// What an error reply says; it begins with a code in capitals.
inline poise::Outcome outcome_of_redis_error(std::string_view text) {
  auto const code = text.substr(0, text.find(' '));
  auto const one_of = [&](auto const& codes) { return std::ranges::count(codes, code) != 0; };
  static constexpr std::array<std::string_view, 5> later{"LOADING", "BUSY", "OOM", "TRYAGAIN",
                                                         "MASTERDOWN"};
  static constexpr std::array<std::string_view, 5> caller{"ERR", "WRONGTYPE", "NOAUTH", "NOPERM",
                                                          "EXECABORT"};
  if (one_of(later)) return poise::Result::overloaded;
  if (one_of(caller)) return poise::Result::rejected;
  return poise::Result::error;
}

/// Connections to one Redis. *Threads* any.
class RedisPool {
 public:
  explicit RedisPool(poise::Endpoint const& endpoint) {
    auto parts = poise::HostPort::of(endpoint.address);
    if (!parts)
      throw std::invalid_argument{"\"" + endpoint.address + "\" is not host:port of a Redis"};
    host_ = std::move(parts->host);
    port_ = parts->port;
  }

  /// Runs a command and gives up when `timeout` is over.
  RedisReply run(std::vector<std::string> const& command, poise::Duration timeout) {
    auto connection = take();
    if (!connection) {
      connection.reset(redisConnectWithTimeout(host_.c_str(), port_, timeval_of(timeout)));
      if (!connection || connection->err != 0) return failed_to_connect(connection.get());
    }
    redisSetTimeout(connection.get(), timeval_of(timeout));
    std::vector<char const*> words;
    std::vector<std::size_t> sizes;
    for (auto const& word : command) {
      words.push_back(word.data());
      sizes.push_back(word.size());
    }
    std::unique_ptr<redisReply, void (*)(void*)> const reply{
        static_cast<redisReply*>(redisCommandArgv(connection.get(), static_cast<int>(words.size()),
                                                  words.data(), sizes.data())),
        &freeReplyObject};
    // A broken connection goes; one that timed out too: its reply may still come.
    if (!reply) return failed(*connection);
    give_back(std::move(connection));
    return reply_of(*reply);
  }

 private:
  using Connection = std::unique_ptr<redisContext, void (*)(redisContext*)>;

  Connection take() {
    std::scoped_lock const lock{mutex_};
    if (idle_.empty()) return {nullptr, &redisFree};
    auto connection = std::move(idle_.back());
    idle_.pop_back();
    return connection;
  }
  void give_back(Connection connection) {
    std::scoped_lock const lock{mutex_};
    idle_.push_back(std::move(connection));
  }

  static timeval timeval_of(poise::Duration time) {
    auto const whole =
        std::max(std::chrono::ceil<std::chrono::microseconds>(time), std::chrono::microseconds{1});
    auto const seconds = std::chrono::floor<std::chrono::seconds>(whole);
    return {.tv_sec = seconds.count(), .tv_usec = (whole - seconds).count()};
  }

  static RedisReply failed_to_connect(redisContext const* connection) {
    if (connection == nullptr) return {{poise::Result::error, false}, {}, "out of memory"};
    bool const late = connection->err == REDIS_ERR_IO && errno == ETIMEDOUT;
    return {late ? poise::Result::connect_timeout : poise::Result::refused, {}, connection->errstr};
  }
  static RedisReply failed(redisContext const& connection) {
    using poise::Result;
    auto const timed_out = connection.err == REDIS_ERR_IO && errno == EAGAIN;
    auto const broke = connection.err == REDIS_ERR_EOF || connection.err == REDIS_ERR_IO;
    return {timed_out ? Result::timeout
            : broke   ? Result::reset
                      : Result::error,
            {},
            connection.errstr};
  }
  static RedisReply reply_of(redisReply const& reply) {
    std::string text = reply.str != nullptr ? std::string{reply.str, reply.len} : std::string{};
    if (reply.type == REDIS_REPLY_ERROR) {
      auto const outcome = outcome_of_redis_error(text);
      return {outcome, {}, std::move(text)};
    }
    if (reply.type == REDIS_REPLY_NIL) return {};
    if (reply.type == REDIS_REPLY_INTEGER) text = std::to_string(reply.integer);
    return {{}, std::move(text), {}};
  }

  std::string host_;
  int port_ = 0;
  std::mutex mutex_;
  std::vector<Connection> idle_;
};

}  // namespace clients
