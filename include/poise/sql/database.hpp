// SPDX-License-Identifier: MIT
#pragma once

// Writes to the one primary, reads from replicas that are fresh enough. The caller says which is
// which; nothing parses SQL.
//
//   poise::sql::Database database{servers, dialect};
//   auto order = database.write([&](auto& c) { return insert_order(c); });    // .value and .token
//   auto list = database.read([&](auto& c) { return list_orders(c); }, {.after = order.token});
//   auto session = database.session();          // carries the token by itself
//
// Each call is one transaction. That of a read is read-only: a write that hides in a function fails
// loudly, on every server. A read that fails goes to another server; a write is tried again only if
// nothing of it can have been sent.
//
// Call look() about once a second (poise::Ticker): it asks all servers for role and position. What
// servers say in passing counts, too, and a write that finds no primary looks at once.

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <poise/backend.hpp>
#include <poise/engine/call.hpp>
#include <poise/engine/waiting.hpp>
#include <poise/error.hpp>
#include <poise/outcome.hpp>
#include <poise/pool/acquire.hpp>
#include <poise/request.hpp>
#include <poise/sql/cluster.hpp>
#include <poise/sql/fresh.hpp>
#include <poise/sql/node.hpp>
#include <poise/sql/primary_share.hpp>
#include <poise/sync/relaxed.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::sql {

/// What an exception of a connection means.
struct Fault {
  Outcome outcome{};
  bool wrong_role = false;  ///< The server said that it takes no writes.
  bool elsewhere = false;   ///< A read may succeed on another server, though this one is fine.
};

/// How a database is spoken to. `look` returns within the limit or throws; `told` is the role that
/// the connection knows without a query; `commit` returns what was reached, its timeline may be 0.
template <class D, class Connection>
concept Dialect =
    requires(D const& dialect, Connection& c, Duration limit, std::exception_ptr const& thrown) {
      { dialect.look(c, limit) } -> std::convertible_to<Observation>;
      { dialect.told(c) } -> std::convertible_to<Role>;
      dialect.begin(c, true);
      { dialect.commit(c) } -> std::convertible_to<Token>;
      { dialect.fault_of(thrown) } -> std::convertible_to<Fault>;
    };

/// What a read does if no replica is fresh enough, and none becomes so in time.
enum class Fallback : std::uint8_t {
  primary,  ///< It asks the primary.
  stale,    ///< It takes any replica.
  fail,     ///< It throws NotFresh.
};

/// How fresh a read must be, and how long it may wait for that.
struct ReadOptions {
  Token after{};
  std::optional<std::uint64_t> max_bytes{};
  std::optional<Duration> max_age{};
  /// How long a replica may take to catch up, before the fallback. Measured: half of all commits
  /// reach a replica of PostgreSQL in 0.2 ms, all in 16 ms.
  Duration wait = std::chrono::milliseconds{20};
  Fallback fallback = Fallback::primary;
  Duration timeout = std::chrono::seconds{5};  ///< For finding a server, retries included.
};

/// What holds for all reads and writes of a database.
struct Options {
  /// At most this fraction of the last second's reads go to the primary as their fallback, and
  /// `min_primary_reads` more. Further ones wait for a replica or for their turn, up to their
  /// timeout. 1: no limit.
  double max_primary_share = 1;
  std::uint32_t min_primary_reads = 10;  ///< A second.
};

/// How long a write may look for the primary.
struct WriteOptions {
  Duration timeout = std::chrono::seconds{5};  ///< For finding the primary; a failover takes time.
};

/// A value, and what a later read must have reached to see what this one saw or wrote.
template <class T>
struct At {
  T value;
  Token token{};
};
template <>
struct At<void> {
  Token token{};
};

/// No primary was found in time: nothing was written.
class NoPrimary : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};
/// No server was fresh enough in time.
class NotFresh : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};
/// The connection broke while the commit was under way: the transaction is committed or not. What
/// broke it is nested (std::rethrow_if_nested).
class CommitUnknown : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// What became of reads and writes. Totals; each is exact, together they are no snapshot.
struct Counts {
  std::uint64_t replica_reads = 0;
  std::uint64_t waited_reads = 0;  ///< Of them, those that waited for a replica to catch up.
  std::uint64_t stale_reads = 0;   ///< Of them, those that Fallback::stale let through.
  std::uint64_t primary_reads = 0;
  std::uint64_t limited_reads = 0;  ///< How often Options::max_primary_share made a read wait.
  std::uint64_t writes = 0;
  std::uint64_t looks = 0;
};

template <class Balancer, class D>
class Session;

/// *Requires* that the payload of the balancer is a sql::Server, and that the balancer outlives it.
/// *Threads* any. *Cost* on top of the transaction: begin and commit, a round trip each.
template <class Balancer, class D>
class Database {
  using Backend = typename Balancer::Backend;
  using Place = decltype(pool::acquire(std::declval<Balancer const&>()));
  using Connection = std::remove_reference_t<decltype(*std::declval<Place&>())>;
  static_assert(Dialect<D, Connection>,
                "a dialect needs look, told, begin, commit and fault_of: see sql::Dialect");
  template <class Fn>
  using ResultOf = std::invoke_result_t<Fn&, Connection&>;
  using RealClock = std::chrono::steady_clock;

 public:
  /// *Errors* ConfigError: an option is out of range.
  explicit Database(Balancer& servers, D dialect = {}, Options const& options = {})
      : servers_{servers},
        dialect_{std::move(dialect)},
        primary_share_{options.max_primary_share, options.min_primary_reads} {}
  Database(Database const&) = delete;
  Database& operator=(Database const&) = delete;

  /// Runs fn(connection) as a transaction on the primary, and waits for one if there is none now.
  /// *Errors* NoPrimary; CommitUnknown; what fn throws, and then nothing was written.
  template <class Fn>
  At<ResultOf<Fn>> write(Fn&& fn, WriteOptions const& options = {}) {
    auto const end = end_of(options.timeout);
    for (;;) {
      auto place = primary(end);
      if (!begin_write(place, end)) continue;
      writes_.add(1);
      return run(place, fn, true);
    }
  }

  /// Runs fn(connection) as a read-only transaction on a replica that is fresh enough, or what
  /// options.fallback says. If it fails by the server's fault, on another server.
  /// *Errors* NotFresh; NoBackend; what fn throws.
  template <class Fn>
  ResultOf<Fn> read(Fn&& fn, ReadOptions const& options = {}) {
    auto answer = read_at(fn, options);
    if constexpr (!std::is_void_v<ResultOf<Fn>>) return std::move(answer.value);
  }
  /// The same with the token of what it saw, for monotone reads.
  template <class Fn>
  At<ResultOf<Fn>> read_at(Fn&& fn, ReadOptions const& options = {}) {
    auto const end = end_of(options.timeout);
    primary_share_.count(servers_.now());
    std::vector<std::uint64_t> tried;
    for (;;) {
      auto place = reader(options, tried, end);
      auto const serial = place.backend().serial();
      try {
        begin(place, false);
        return run(place, fn, false);
      } catch (...) {
        auto const fault = dialect_.fault_of(std::current_exception());
        if (!(fault.elsewhere || is_failure(fault.outcome.result)) || RealClock::now() >= end)
          throw;
        tried.push_back(serial);
        if (tried.size() >= servers_.stats().backends.size()) throw;
      }
    }
  }

  /// A session of one user: reads see its own writes, and never less than reads before them.
  [[nodiscard]] auto session(Token begin = {}) { return sql::Session<Balancer, D>{*this, begin}; }

  /// Asks every server for its role and position, all at once, and returns when they have answered
  /// or `limit` is over for each. Callers that come meanwhile wait for the same answers.
  void look(Duration limit = look_limit) {
    auto const before = looks_.load();
    std::scoped_lock const lock{looking_};
    if (looks_.load() != before) return;  // another look began and ended meanwhile
    looks_.add(1);
    std::vector<typename Balancer::Handle> all;
    servers_.for_each([&](auto& backend) {
      if (auto handle = servers_.find(backend.id())) all.push_back(std::move(handle));
    });
    std::vector<std::thread> threads;
    threads.reserve(all.size());
    for (auto& handle : all) threads.emplace_back([&] { look_at(*handle, limit); });
    for (auto& thread : threads) thread.join();
  }

  /// A condition for picks of your own: replicas that are fresh enough now (fresh.hpp).
  [[nodiscard]] sql::Fresh<Backend> fresh(Freshness const& freshness) const {
    return {cluster_, freshness, servers_.now()};
  }
  /// Roles, timelines and lags, as known now.
  [[nodiscard]] Cluster const& cluster() const noexcept { return cluster_; }
  [[nodiscard]] Counts counts() const noexcept {
    return {.replica_reads = replica_reads_.load(),
            .waited_reads = waited_reads_.load(),
            .stale_reads = stale_reads_.load(),
            .primary_reads = primary_reads_.load(),
            .limited_reads = limited_reads_.load(),
            .writes = writes_.load(),
            .looks = looks_.load()};
  }

 private:
  static Node& node_of(Backend& backend) { return backend.payload().node(); }
  /// In a condition: the balancer's backends all have its payload.
  static Node const& node_of(poise::Backend const& backend) {
    return sql::Fresh<Backend>::node_of(backend);
  }

  // -- one transaction ---------------------------------------------------------------------------

  /// *Requires* that the transaction has begun. Reports its outcome.
  template <class Fn>
  At<ResultOf<Fn>> run(Place& place, Fn& fn, bool writes) {
    if constexpr (std::is_void_v<ResultOf<Fn>>) {
      guarded(place, [&] { fn(*place); });
      return {.token = commit(place, writes)};
    } else {
      auto value = guarded(place, [&] { return fn(*place); });
      auto const token = commit(place, writes);
      return {.value = std::move(value), .token = token};
    }
  }
  Token commit(Place& place, bool writes) {
    Token token;
    try {
      token = guarded(place, [&] { return dialect_.commit(*place); });
    } catch (...) {
      auto const result = dialect_.fault_of(std::current_exception()).outcome.result;
      if (!writes || (result != Result::reset && result != Result::timeout)) throw;
      std::throw_with_nested(
          CommitUnknown{"the connection broke during the commit: the "
                        "transaction is committed or not"});
    }
    auto& node = node_of(place.backend());
    auto const known = node.state();
    if (token.timeline == 0) token.timeline = known.reached.timeline;
    auto const told = dialect_.told(*place);
    cluster_.observe(node, place.backend().id(), {told == Role::unknown ? known.role : told, token},
                     servers_.now());
    place.finish();
    return token;
  }
  void begin(Place& place, bool writes) {
    guarded(place, [&] { dialect_.begin(*place, writes); });
  }
  /// Calls fn; if it throws, notes what that says of the server, and ends the lease.
  template <class Fn>
  auto guarded(Place& place, Fn const& fn) {
    try {
      return fn();
    } catch (...) {
      auto const fault = dialect_.fault_of(std::current_exception());
      auto const result = fault.outcome.result;
      if (fault.wrong_role || result == Result::reset || result == Result::timeout)
        forget(place.backend());
      place.finish(fault.outcome);
      throw;
    }
  }

  // -- writes ------------------------------------------------------------------------------------

  /// False if nothing was sent that could have written, and there is time for another try.
  bool begin_write(Place& place, RealClock::time_point end) {
    try {
      begin(place, true);
      return true;
    } catch (...) {
      auto const fault = dialect_.fault_of(std::current_exception());
      if (!(fault.wrong_role || is_failure(fault.outcome.result)) || RealClock::now() >= end) throw;
      return false;
    }
  }
  Place primary(RealClock::time_point end) {
    auto const takes_writes = [this](poise::Backend const& backend) {
      return cluster_.takes_writes(node_of(backend), backend.id());
    };
    for (;;) {
      if (auto place = take(takes_writes, end)) return std::move(*place);
      if (RealClock::now() >= end)
        throw NoPrimary{cluster_.why_no_primary(servers_.now()) + trouble()};
      look_again();
    }
  }
  /// For callers that have nothing else to do.
  void look_again() {
    look();
    std::this_thread::sleep_for(std::chrono::milliseconds{10});
  }

  // -- reads -------------------------------------------------------------------------------------

  Place reader(ReadOptions const& options, std::vector<std::uint64_t> const& tried,
               RealClock::time_point end) {
    auto const untried = [&](poise::Backend const& backend) {
      return std::ranges::find(tried, backend.serial()) == tried.end();
    };
    for (;;) {
      auto const is_fresh = fresh(
          {.after = options.after, .max_bytes = options.max_bytes, .max_age = options.max_age});
      auto const& needed = is_fresh.needed();
      auto const fits = [&](poise::Backend const& backend) {
        return untried(backend) && is_fresh(backend);
      };
      if (auto place = take(fits, end)) return counted(std::move(*place), replica_reads_);
      if (auto place = caught_up(fits, untried, needed, options.wait, end)) {
        waited_reads_.add(1);
        return counted(std::move(*place), replica_reads_);
      }
      if (auto place = fall_back(options.fallback, untried, end)) return std::move(*place);
      if (options.fallback == Fallback::fail || RealClock::now() >= end)
        throw NotFresh{"no server has reached position " + std::to_string(needed.position) +
                       " of timeline " + std::to_string(needed.timeline) + trouble()};
      look_again();
    }
  }
  template <class Untried>
  std::optional<Place> fall_back(Fallback fallback, Untried const& untried,
                                 RealClock::time_point end) {
    auto const fits = [&](poise::Backend const& backend) {
      auto const& node = node_of(backend);
      return untried(backend) &&
             (fallback == Fallback::primary ? cluster_.takes_writes(node, backend.id())
                                            : node.state().role == Role::replica);
    };
    if (fallback == Fallback::fail) return std::nullopt;
    if (fallback == Fallback::primary && !primary_share_.take(servers_.now())) {
      limited_reads_.add(1);
      return std::nullopt;
    }
    auto place = take(fits, end);
    if (!place) return place;
    if (fallback == Fallback::primary) primary_reads_.add(1);
    else stale_reads_.add(1), replica_reads_.add(1);
    return place;
  }
  /// Waits until the replica that is ahead of all others is fresh enough, and returns it.
  template <class Fits, class Untried>
  std::optional<Place> caught_up(Fits const& fits, Untried const& untried, Token const& needed,
                                 Duration wait, RealClock::time_point end) {
    auto const until = std::min(end, end_of(wait));
    auto const best = most_advanced(untried);
    if (best == 0 || wait <= Duration::zero()) return std::nullopt;
    auto const is_best = [&](poise::Backend const& backend) { return backend.serial() == best; };
    auto place = take(is_best, until);
    // Pauses double: half of all commits arrive within the first one.
    for (auto pause = std::chrono::microseconds{200}; place; pause *= 2) {
      if (!confirm(*place)) return std::nullopt;
      if (fits(place->backend())) return place;
      if (node_of(place->backend()).state().role != Role::replica) break;  // it was promoted
      auto const left = until - RealClock::now();
      if (left <= Duration::zero() || needed.position == ~std::uint64_t{0}) break;
      std::this_thread::sleep_for(std::min<Duration>(pause, left));
    }
    if (place) place->give_back();
    return std::nullopt;
  }
  /// Its serial; 0 if there is no replica.
  template <class Untried>
  std::uint64_t most_advanced(Untried const& untried) const {
    std::uint64_t best = 0;
    Token farthest;
    servers_.for_each([&](auto& backend) {
      auto const state = backend.payload().node().state();
      if (state.role != Role::replica || !untried(backend)) return;
      if (best != 0 && state.reached <= farthest) return;
      best = backend.serial();
      farthest = state.reached;
    });
    return best;
  }
  static Place counted(Place place, sync::Relaxed<std::uint64_t>& count) {
    count.add(1);
    return place;
  }

  static RealClock::time_point end_of(Duration limit) {
    return RealClock::now() + std::clamp(limit, Duration::zero(), poise::detail::max_wait);
  }

  // -- servers -----------------------------------------------------------------------------------

  /// A connection to a server that fits, and says so itself. None if there is none now.
  template <class Fits>
  std::optional<Place> take(Fits const& fits, RealClock::time_point end) {
    for (;;) {
      auto const left = end - RealClock::now();
      if (left <= Duration::zero()) return std::nullopt;
      try {
        auto place = pool::acquire(servers_, {.condition = fits}, {.wait = left});
        // A new connection may lead to a server that was replaced since.
        bool const answers = place.waited() ? confirm(place) : still_has_role(place);
        if (answers && fits(place.backend())) return place;
        place.give_back();
      } catch (NoBackend const&) {
        return std::nullopt;
      } catch (pool::NoConnection const&) {
        return std::nullopt;
      } catch (...) {
        if (dialect_.fault_of(std::current_exception()).outcome.result == Result::rejected) throw;
        return std::nullopt;
      }
    }
  }
  bool still_has_role(Place& place) {
    auto const told = dialect_.told(*place);
    if (told == Role::unknown || told == node_of(place.backend()).state().role) return true;
    forget(place.backend());
    return false;
  }
  void forget(Backend& backend) { cluster_.forget(node_of(backend), backend.id()); }
  /// Asks the server what it is. False if it does not answer; then the lease has ended. The limit
  /// is not what is left of a read's wait: to be cut short by that is no failure of the server.
  bool confirm(Place& place) {
    try {
      guarded(place, [&] { note(place.backend(), *place, look_limit); });
      return true;
    } catch (...) {
      return false;
    }
  }
  void note(Backend& backend, Connection& connection, Duration limit) {
    auto const seen = dialect_.look(connection, limit);
    cluster_.observe(node_of(backend), backend.id(), seen, servers_.now());
  }
  void look_at(Backend& backend, Duration limit) noexcept {
    try {
      auto held = backend.payload().acquire(limit);
      try {
        note(backend, *held, limit);
      } catch (...) {
        held.discard();
        throw;
      }
    } catch (pool::NoConnection const& none) {
      if (none.why() == pool::Refusal::unreachable) forget(backend);
    } catch (std::exception const& error) {
      forget(backend);
      std::scoped_lock const lock{trouble_mutex_};
      trouble_ = "; " + poise::detail::in_quotes(backend.id()) + " said: " + error.what();
    } catch (...) {
      forget(backend);
    }
  }
  /// What the server said that failed last, in a look.
  [[nodiscard]] std::string trouble() const {
    std::scoped_lock const lock{trouble_mutex_};
    return trouble_;
  }

  /// A server that takes longer to say what it is does not answer.
  static constexpr Duration look_limit = std::chrono::milliseconds{500};

  Balancer& servers_;
  D dialect_;
  Cluster cluster_{};
  detail::PrimaryShare primary_share_;
  mutable std::mutex trouble_mutex_{};
  std::string trouble_{};
  std::mutex looking_{};
  sync::Relaxed<std::uint64_t> looks_{0};
  sync::Relaxed<std::uint64_t> replica_reads_{0};
  sync::Relaxed<std::uint64_t> waited_reads_{0};
  sync::Relaxed<std::uint64_t> stale_reads_{0};
  sync::Relaxed<std::uint64_t> primary_reads_{0};
  sync::Relaxed<std::uint64_t> limited_reads_{0};
  sync::Relaxed<std::uint64_t> writes_{0};
};

template <class Balancer, class D>
Database(Balancer&, D) -> Database<Balancer, D>;
template <class Balancer, class D>
Database(Balancer&, D, Options) -> Database<Balancer, D>;

/// What one user sees of a database. token() may travel with the user, in a cookie say.
/// *Threads* one at a time. *Requires* that the database outlives it.
template <class Balancer, class D>
class Session {
 public:
  Session(Database<Balancer, D>& database, Token begin) : database_{&database}, token_{begin} {}

  /// As Database::write.
  template <class Fn>
  auto write(Fn&& fn, WriteOptions const& options = {}) {
    return seen(database_->write(fn, options));
  }
  /// As Database::read, of what has reached token().
  template <class Fn>
  auto read(Fn&& fn, ReadOptions options = {}) {
    options.after = std::max(options.after, token_);
    return seen(database_->read_at(fn, options));
  }
  [[nodiscard]] Token const& token() const noexcept { return token_; }

 private:
  template <class T>
  T seen(At<T> answer) {
    token_ = std::max(token_, answer.token);
    if constexpr (!std::is_void_v<T>) return std::move(answer.value);
  }

  Database<Balancer, D>* database_;
  Token token_;
};

}  // namespace poise::inline v0_1_0::sql
