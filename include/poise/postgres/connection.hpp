// SPDX-License-Identifier: MIT
#pragma once

// A connection of libpq with limits in time, and pools of them.
//
//   poise::Balancer<poise::P2C, poise::postgres::Server> servers{
//       endpoints, poise::postgres::servers("dbname=shop user=shop password=...")};
//
// Needs libpq 14 or later, and target poise::postgres. Use native() for what is missing here: COPY,
// LISTEN, pipelines. A connection whose session state you change (SET, LISTEN, advisory locks) is
// yours to clean up: the pool ends an open transaction, and nothing else.

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poll.h>

#if __has_include(<libpq-fe.h>)
#include <libpq-fe.h>
#else
#include <postgresql/libpq-fe.h>
#endif

#include <poise/backend.hpp>
#include <poise/base/check.hpp>
#include <poise/endpoint.hpp>
#include <poise/error.hpp>
#include <poise/pool/pool.hpp>
#include <poise/postgres/error.hpp>
#include <poise/sql/node.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::postgres {

/// The rows of an answer.
class Rows {
 public:
  explicit Rows(PGresult* result) noexcept : result_{result} {}
  [[nodiscard]] int size() const noexcept { return PQntuples(result_.get()); }
  /// *Requires* that there is such a row and column. The text lives as long as the rows; that of a
  /// null is empty.
  [[nodiscard]] std::string_view text(int row, int column) const noexcept {
    return PQgetvalue(result_.get(), row, column);
  }
  [[nodiscard]] bool is_null(int row, int column) const noexcept {
    return PQgetisnull(result_.get(), row, column) != 0;
  }
  /// *Errors* Error: it is no integer.
  [[nodiscard]] std::int64_t number(int row, int column) const {
    auto const value = text(row, column);
    std::int64_t number = 0;
    auto const [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (error != std::errc{} || end != value.data() + value.size())
      throw Error{poise::detail::in_quotes(value) + " is no integer", Result::rejected};
    return number;
  }
  [[nodiscard]] PGresult* native() const noexcept { return result_.get(); }

 private:
  struct Clear {
    void operator()(PGresult* result) const noexcept { PQclear(result); }
  };
  std::unique_ptr<PGresult, Clear> result_;
};

/// *Threads* one at a time.
class Connection {
 public:
  /// Connects to "host:port" with the other settings of a connection string.
  /// *Errors* Error; its text is libpq's, which has no passwords.
  static Connection open(std::string const& address, std::string const& settings, Duration limit) {
    auto const colon = address.rfind(':');
    auto const host = address.substr(0, colon);
    auto const port = colon == std::string::npos ? "" : address.substr(colon + 1);
    std::array<char const*, 4> const keys{"dbname", "host", "port", nullptr};
    std::array<char const*, 4> const values{settings.c_str(), host.c_str(), port.c_str(), nullptr};
    // 1: "dbname" is a connection string.
    Connection connection{PQconnectStartParams(keys.data(), values.data(), 1)};
    connection.connect(limit);
    return connection;
  }

  /// Runs a statement; `$1` and so on stand for the parameters. Without parameters the text may
  /// have several statements, and the rows are those of the last one.
  /// *Errors* Error. After a timeout the connection is in the middle of the answer: discard it.
  Rows query(std::string const& sql, std::initializer_list<std::string> parameters = {},
             std::optional<Duration> limit = {}) {
    auto const until = end_of(limit.value_or(limit_));
    if (send(sql, parameters) != 1) fail();
    while (true) {
      auto const more = PQflush(native());
      if (more == 0) break;
      if (more < 0 || !wait(POLLOUT, until)) fail();
    }
    std::optional<Rows> last;
    while (auto result = receive(until)) {
      last = std::move(result);
      check(*last);
    }
    if (!last) fail();
    return std::move(*last);
  }

  /// The limit of queries that have none of their own: no_limit if it is not set.
  void set_limit(Duration limit) noexcept { limit_ = limit; }

  /// What the server reported without a query. A server before 14 and some poolers do not: unknown.
  [[nodiscard]] sql::Role told_role() const noexcept {
    auto const standby = reported("in_hot_standby");
    if (standby == "on") return sql::Role::replica;
    return standby == "off" ? sql::Role::primary : sql::Role::unknown;
  }
  [[nodiscard]] bool is_read_only() const noexcept {
    return reported("in_hot_standby") == "on" || reported("default_transaction_read_only") == "on";
  }

  /// True if nothing has arrived since the last answer: an idle connection that is readable was
  /// closed, or has news. *Cost* a system call.
  [[nodiscard]] bool is_quiet() const noexcept {
    pollfd socket{.fd = PQsocket(native()), .events = POLLIN, .revents = 0};
    return PQstatus(native()) == CONNECTION_OK && ::poll(&socket, 1, 0) == 0;
  }
  /// Ends an open transaction. False if the connection can't be used again.
  [[nodiscard]] bool reset() {
    if (PQtransactionStatus(native()) == PQTRANS_IDLE) return PQstatus(native()) == CONNECTION_OK;
    if (PQtransactionStatus(native()) == PQTRANS_ACTIVE) return false;
    query("rollback", {}, std::chrono::seconds{1});
    return PQtransactionStatus(native()) == PQTRANS_IDLE;
  }
  [[nodiscard]] PGconn* native() const noexcept { return connection_.get(); }

  static constexpr Duration no_limit = std::chrono::hours{24 * 365};

 private:
  using Clock = std::chrono::steady_clock;
  struct Finish {
    void operator()(PGconn* connection) const noexcept { PQfinish(connection); }
  };

  explicit Connection(PGconn* connection) : connection_{connection} {
    if (connection == nullptr) throw std::bad_alloc{};
  }

  static Clock::time_point end_of(Duration limit) {
    return Clock::now() + std::min<Duration>(limit, no_limit);
  }
  [[nodiscard]] std::string_view reported(char const* name) const noexcept {
    auto const* const value = PQparameterStatus(native(), name);
    return value == nullptr ? std::string_view{} : value;
  }

  void connect(Duration limit) {
    auto const until = end_of(limit);
    auto next = PGRES_POLLING_WRITING;  // as PQconnectPoll's documentation says
    while (PQstatus(native()) != CONNECTION_BAD && next != PGRES_POLLING_OK) {
      if (next == PGRES_POLLING_FAILED) break;
      if (!is_ready(next == PGRES_POLLING_READING ? POLLIN : POLLOUT, until))
        throw Error{"no connection in " + poise::detail::in_words(limit), Result::connect_timeout};
      next = PQconnectPoll(native());
    }
    if (PQstatus(native()) != CONNECTION_OK) refuse();
    static_cast<void>(PQsetnonblocking(native(), 1));
    PQsetNoticeProcessor(native(), [](void*, char const*) {}, nullptr);
  }
  /// libpq has no code for errors while connecting: only its text tells a server that refuses the
  /// caller (a wrong password, no such database) from one that is not there or not ready.
  [[noreturn]] void refuse() const {
    std::string const text = PQerrorMessage(native());
    auto const has = [&](char const* part) { return text.find(part) != std::string::npos; };
    auto result = Result::refused;
    if (has("too many") || has("remaining connection slots")) result = Result::overloaded;
    else if (has("FATAL:") && !has("starting up") && !has("shutting down") && !has("recovery") &&
             !has("not yet accepting"))
      result = Result::rejected;
    throw Error{trimmed(text), Outcome{result, false}};
  }

  int send(std::string const& sql, std::initializer_list<std::string> parameters) {
    if (parameters.size() == 0) return PQsendQuery(native(), sql.c_str());
    std::vector<char const*> values;
    for (auto const& each : parameters) values.push_back(each.c_str());
    return PQsendQueryParams(native(), sql.c_str(), static_cast<int>(values.size()), nullptr,
                             values.data(), nullptr, nullptr, 0);
  }
  /// The next result; none after the last.
  std::optional<Rows> receive(Clock::time_point until) {
    while (PQisBusy(native()) != 0) {
      if (!is_ready(POLLIN, until)) throw Error{"no answer in time", Result::timeout};
      if (PQconsumeInput(native()) != 1) fail();
    }
    auto* const result = PQgetResult(native());
    if (result == nullptr) return std::nullopt;
    return Rows{result};
  }
  void check(Rows const& rows) {
    auto const status = PQresultStatus(rows.native());
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK || status == PGRES_EMPTY_QUERY)
      return;
    auto const* const state = PQresultErrorField(rows.native(), PG_DIAG_SQLSTATE);
    std::string const text = trimmed(PQresultErrorMessage(rows.native()));
    if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH)
      throw Error{"query() can't COPY: use native() and PQputCopyData or PQgetCopyData",
                  Result::cancelled};
    if (PQstatus(native()) == CONNECTION_BAD || state == nullptr) throw Error{text, Result::reset};
    Error error{text, state};
    while (auto rest = PQgetResult(native())) PQclear(rest);  // the connection is usable again
    throw error;
  }
  [[noreturn]] void fail() const { throw Error{trimmed(PQerrorMessage(native())), Result::reset}; }

  [[nodiscard]] bool wait(short events, Clock::time_point until) {
    if (!is_ready(static_cast<short>(events | POLLIN), until))
      throw Error{"no answer in time", Result::timeout};
    return PQconsumeInput(native()) == 1;
  }
  /// False if the time is over.
  [[nodiscard]] bool is_ready(short events, Clock::time_point until) const noexcept {
    for (;;) {
      auto const left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
      if (left <= 0) return false;
      pollfd socket{.fd = PQsocket(native()), .events = events, .revents = 0};
      auto const ready =
          ::poll(&socket, 1, static_cast<int>(std::min<std::int64_t>(left, 1'000'000)));
      if (ready > 0) return true;
      if (ready < 0 && errno != EINTR) return true;  // the next call of libpq says what is wrong
    }
  }
  static std::string trimmed(std::string text) {
    while (!text.empty() && text.back() == '\n') text.pop_back();
    return text;
  }

  std::unique_ptr<PGconn, Finish> connection_;
  Duration limit_ = no_limit;
};

/// A pool of connections, and what is known of their server: the payload of a backend.
using Pool = pool::Pool<Connection>;
/// The payload of a backend: its pool, and what is known of the server.
using Server = sql::Server<Pool>;

/// Makes the payloads of backends whose address is "host:port". `settings` is a connection string
/// of libpq (dbname, user, password, sslmode ...) without hosts. `limit` is that of each query that
/// has none of its own: only it ends the wait for a server that hangs.
/// *Errors* ConfigError: it is no connection string, or the limit is not above 0.
[[nodiscard]] inline Factory<Server> servers(std::string settings,
                                             pool::Options const& options = {},
                                             Duration limit = Connection::no_limit) {
  poise::detail::check_positive("limit of postgres::servers", limit);
  char* text = nullptr;
  auto* const parsed = PQconninfoParse(settings.c_str(), &text);
  PQfreemem(text);  // may quote the password
  if (parsed == nullptr)
    throw ConfigError{
        "the settings of postgres::servers are no connection string of libpq (not shown: it may "
        "have a password): write \"dbname=shop user=me\", say"};
  PQconninfoFree(parsed);
  return [settings = std::move(settings), options, limit](Endpoint const& endpoint) {
    return Server{Pool{{.open =
                            [address = endpoint.address, settings, limit](Duration to_connect) {
                              auto connection = Connection::open(address, settings, to_connect);
                              connection.set_limit(limit);
                              return connection;
                            },
                        .check = [](Connection& c) { return c.is_quiet(); },
                        .reset = [](Connection& c) { return c.reset(); },
                        .close = {}},
                       options}};
  };
}

}  // namespace poise::inline v0_1_0::postgres
