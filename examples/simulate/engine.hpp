// SPDX-License-Identifier: MIT
#pragma once

// Discrete events in virtual time: requests arrive at clients, whose dispatcher sends them to
// servers; answers, errors and timeouts come back.
//
// What always takes equally long (the network, a timeout) is a queue in order, and a server knows
// its own next departure, so a request costs a few comparisons and no search. The dispatcher is a
// parameter: real balancers (clients.hpp) or somebody who sees everything (bounds.hpp).

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <queue>
#include <span>
#include <utility>
#include <vector>

#include <poise/outcome.hpp>

#include "arrivals.hpp"
#include "scenario.hpp"
#include "server.hpp"
#include "work.hpp"

namespace simulate {

inline constexpr std::size_t nobody = std::numeric_limits<std::size_t>::max();
inline constexpr std::size_t slices = 60;  // of the window, for shares over time
inline constexpr double load_time = 100;  // mean works; clients tick and servers measure their load

/// A server and what is known of it from outside.
struct Host {
  Server server;
  double errors = 0;       // share of requests that it fails
  double error_after = 0;  // ... so quickly, without working on them
  bool up = true;
  bool listed = true;        // known to the clients
  std::size_t assigned = 0;  // sent there and not answered yet, those on their way included
};

/// One measured request.
struct Sample {
  float latency;  // ns; a failure counts as the timeout
  std::uint16_t slice;
  std::uint16_t server;
};

struct Result {
  std::vector<Sample> samples{};
  std::size_t errors = 0;
  std::vector<std::array<std::uint32_t, slices>> picks{};  // by server; tries, not requests
  std::vector<double> capacity{};                          // mean over the window, by server
  std::vector<double> in_system{};  // requests not answered yet, at the end of each tenth
  double rate = 0;                  // requests per ns that the scenario asks for
};

/// Which of many servers departs first: a tree of winners.
class Departures {
 public:
  explicit Departures(std::size_t count) {
    while (leaves_ < count) leaves_ *= 2;
    times_.assign(leaves_, Server::never);
    winners_.resize(2 * leaves_);
    for (std::size_t i = 0; i < leaves_; ++i) winners_[leaves_ + i] = static_cast<std::uint32_t>(i);
    for (auto node = leaves_ - 1; node >= 1; --node) winners_[node] = winners_[2 * node];
  }
  void set(std::size_t server, double time) noexcept {
    times_[server] = time;
    for (auto node = (leaves_ + server) / 2; node >= 1; node /= 2) {
      auto const left = winners_[2 * node];
      auto const right = winners_[2 * node + 1];
      winners_[node] = times_[right] < times_[left] ? right : left;
    }
  }
  [[nodiscard]] std::size_t first() const noexcept { return winners_[1]; }
  [[nodiscard]] double time() const noexcept { return times_[winners_[1]]; }

 private:
  std::size_t leaves_ = 1;
  std::vector<double> times_{};
  std::vector<std::uint32_t> winners_{};
};

/// A dispatcher: begin(engine's hosts), pick(client, request number, tried) -> host or nobody,
/// finish(...), listed(host), changed() after incidents, tick(). `waits` if requests may wait until
/// it finds a host.
template <class Dispatcher>
class Engine {
 public:
  using Ticket = typename Dispatcher::Ticket;

  Engine(Scenario const& scenario, std::uint64_t seed, Dispatcher& dispatcher)
      : scenario_{scenario},
        dispatcher_{dispatcher},
        arrivals_{scenario.arrivals, scenario.request_rate(), seed},
        work_{seed, 2},
        clients_{seed, 3},
        failures_{seed, 4},
        wander_{seed, 5} {
    for (auto const& kind : scenario.servers) hosts_.push_back(Host{.server = Server{kind}});
    for (auto& host : hosts_) host.server.measure_every(tick_every());
    for (auto const& kind : scenario.servers) courses_.push_back({.speed = kind.speed});
    result_.picks.resize(hosts_.size());
    result_.capacity.resize(hosts_.size());
    result_.rate = scenario.request_rate();
    for (auto const& each : scenario.incidents) script_.push({each.at, script_.size(), each});
    leave_out_joiners();
    departures_ = Departures{hosts_.size()};
    since_.assign(hosts_.size(), 0);
    dispatcher_.begin(hosts_);
  }

  Result run() {
    auto const end = scenario_.warmup + scenario_.window;
    // Whoever never answers may not hold up the end.
    auto const last = end + std::max(10 * scenario_.window, 2 * scenario_.patience());
    last_arrival_ = end + 10 * scenario_.window;
    next_arrival_ = arrivals_.next();
    next_tick_ = tick_every();
    while (now_ < end || (open_samples_ > 0 && now_ < last)) step();
    for (std::size_t i = 0; i < open_samples_; ++i) sample(last - end, 0, 0, true);
    for (std::size_t i = 0; i < hosts_.size(); ++i) account(i);
    // Whoever still waits holds a ticket that somebody has to take back.
    for (auto const& job : jobs_)
      if (job.client_waits && job.host != no_host)
        dispatcher_.finish(job.client, job.ticket, poise::Result::cancelled, {});
    return std::move(result_);
  }

 private:
  static constexpr double never = Server::never;

  struct Job {
    double start = 0;  // at the client, first try
    double work = 0;
    std::uint32_t client = 0;
    std::uint32_t host = 0;
    std::uint32_t version = 0;  // a slot is used again and again
    unsigned tries = 0;
    bool client_waits = false;
    bool server_has_it = false;
    std::array<std::uint64_t, 4> tried{};
    poise::LoadReport load{};  // of the server, with its answer
    Ticket ticket{};
  };
  struct Later {
    double at;
    std::uint32_t job;
    std::uint32_t version;
    poise::Result result = poise::Result::success;
    bool operator>(Later const& other) const noexcept { return at > other.at; }
  };
  struct Turn {
    double at;
    std::size_t order;
    Incident what;
    std::size_t course = 0;  // the ramp or walk that it is a step of
    bool operator>(Turn const& other) const noexcept {
      return std::pair{at, order} > std::pair{other.at, other.order};
    }
  };

  /// How the speed of a host changes. Of several ramps or walks it follows the last one.
  struct Course {
    double speed = 1;      // as a walk is around it
    std::size_t ramp = 0;  // 0: none
    std::size_t walk = 0;
    double log = 0;  // of what the walk multiplies
  };

  // -- the order of events -----------------------------------------------------------------------

  void step() {
    std::array const times{departures_.time(), front(outbound_),
                           front(homebound_),  failing_.empty() ? never : failing_.top().at,
                           patient_until(),    script_.empty() ? never : script_.top().at,
                           next_tick_,         next_arrival_};
    std::size_t source = 0;
    for (std::size_t i = 1; i < times.size(); ++i)
      if (times[i] < times[source]) source = i;
    advance(times[source]);
    switch (source) {
      case 0: depart(); break;
      case 1: reach_server(take(outbound_)); break;
      case 2: answer(take(homebound_)); break;
      case 3: {
        auto const failed = failing_.top();
        failing_.pop();
        go_home(failed.job, failed.result);
        break;
      }
      case 4: time_out(take(patience_)); break;
      case 5: happen(); break;
      case 6:
        dispatcher_.tick(now_);
        next_tick_ += tick_every();
        break;
      default:
        arrive();
        next_arrival_ = arrivals_.next();
        if (next_arrival_ > last_arrival_) next_arrival_ = never;
    }
  }

  [[nodiscard]] double tick_every() const noexcept { return load_time * scenario_.work.mean; }
  static double front(std::deque<Later> const& queue) noexcept {
    return queue.empty() ? never : queue.front().at;
  }
  static Later take(std::deque<Later>& queue) {
    auto const first = queue.front();
    queue.pop_front();
    return first;
  }
  /// When the next client that still waits loses patience.
  double patient_until() {
    while (!patience_.empty() && !waits(patience_.front())) patience_.pop_front();
    return front(patience_);
  }
  [[nodiscard]] bool waits(Later const& later) const noexcept {
    return jobs_[later.job].version == later.version && jobs_[later.job].client_waits;
  }

  void advance(double time) {
    auto const begin = scenario_.warmup;
    auto const part = scenario_.window / 10;
    while (result_.in_system.size() < 10 &&
           time >= begin + part * static_cast<double>(result_.in_system.size() + 1))
      result_.in_system.push_back(static_cast<double>(waiting_clients_));
    now_ = time;
    dispatcher_.advance(time);
  }

  // -- requests ----------------------------------------------------------------------------------

  void arrive() {
    auto const id = allocate();
    auto& job = jobs_[id];
    job.start = now_;
    job.work = scenario_.work.draw(work_);
    job.client =
        static_cast<std::uint32_t>(scenario_.clients == 1 ? 0 : clients_.below(scenario_.clients));
    job.tries = 0;
    job.client_waits = true;
    ++waiting_clients_;
    if (is_measured(job)) ++open_samples_;
    patience_.push_back({now_ + scenario_.patience(), id, job.version});
    send(id);
  }

  /// Chooses a host and sends the request there; without one the request has failed.
  void send(std::uint32_t id) {
    auto& job = jobs_[id];
    std::span<std::uint64_t const> const tried{job.tried.data(),
                                               std::min<std::size_t>(job.tries, job.tried.size())};
    auto const host = dispatcher_.pick(job.client, tried, job.ticket);
    if (host == nobody) {
      if constexpr (Dispatcher::waits) held_.push_back({now_, id, job.version});
      else settle(id, true);
      return;
    }
    job.host = static_cast<std::uint32_t>(host);
    ++hosts_[host].assigned;
    job.server_has_it = true;
    if (auto const slice = slice_of(now_); slice < slices) ++result_.picks[host][slice];
    if (scenario_.network > 0) outbound_.push_back({now_ + scenario_.network, id, job.version});
    else reach_server({now_, id, job.version});
  }

  void reach_server(Later const& later) {
    auto& job = jobs_[later.job];
    auto& host = hosts_[job.host];
    if (!host.up) return go_home(later.job, poise::Result::refused);
    if (host.errors > 0 && failures_.unit() <= host.errors) {
      host.server.note_failure(now_);
      failing_.push({now_ + host.error_after, later.job, job.version, poise::Result::error});
      return;
    }
    host.server.arrive(now_, later.job, job.work);
    reschedule(job.host);
  }

  void depart() {
    auto const host = departures_.first();
    auto const id = hosts_[host].server.depart();
    reschedule(host);
    go_home(id, poise::Result::success);
  }

  /// The server is done with it, one way or another.
  void go_home(std::uint32_t id, poise::Result result) {
    auto& job = jobs_[id];
    job.server_has_it = false;
    auto& host = hosts_[job.host];
    --host.assigned;
    job.load = host.up ? host.server.load(now_) : poise::LoadReport{};
    if constexpr (Dispatcher::waits) serve_held();
    if (!jobs_[id].client_waits) return free(id);
    if (scenario_.network > 0)
      homebound_.push_back({now_ + scenario_.network, id, jobs_[id].version, result});
    else answer({now_, id, jobs_[id].version, result});
  }

  void answer(Later const& later) {
    if (!waits(later)) return;  // nobody listens any more
    auto& job = jobs_[later.job];
    auto const serial = dispatcher_.finish(job.client, job.ticket, later.result, job.load);
    if (later.result != poise::Result::success && job.tries < scenario_.retries) {
      job.tried[job.tries++ % job.tried.size()] = serial;
      return send(later.job);
    }
    settle(later.job, later.result != poise::Result::success);
  }

  void time_out(Later const& later) {
    if (!waits(later)) return;
    auto& job = jobs_[later.job];
    if (job.host != no_host) dispatcher_.finish(job.client, job.ticket, poise::Result::timeout, {});
    settle(later.job, true);
  }

  /// The client has its answer, or has given up.
  void settle(std::uint32_t id, bool failed) {
    auto& job = jobs_[id];
    job.client_waits = false;
    --waiting_clients_;
    if (is_measured(job)) {
      --open_samples_;
      sample(failed ? scenario_.patience() : now_ - job.start, slice_of(job.start), job.host,
             failed);
    }
    if (!job.server_has_it) free(id);
  }

  void sample(double latency, std::size_t slice, std::uint32_t host, bool failed) {
    result_.samples.push_back({static_cast<float>(latency), static_cast<std::uint16_t>(slice),
                               static_cast<std::uint16_t>(host)});
    result_.errors += failed ? 1U : 0U;
  }

  [[nodiscard]] bool is_measured(Job const& job) const noexcept {
    return slice_of(job.start) < slices;
  }
  [[nodiscard]] std::size_t slice_of(double time) const noexcept {
    auto const part = (time - scenario_.warmup) / scenario_.window;
    return part >= 0 && part < 1 ? static_cast<std::size_t>(part * slices) : slices;
  }

  std::uint32_t allocate() {
    if (unused_.empty()) {
      jobs_.emplace_back();
      jobs_.back().host = no_host;
      return static_cast<std::uint32_t>(jobs_.size() - 1);
    }
    auto const id = unused_.back();
    unused_.pop_back();
    return id;
  }
  void free(std::uint32_t id) {
    ++jobs_[id].version;
    jobs_[id].host = no_host;
    unused_.push_back(id);
  }

  /// A host may have become free: the longest waiting request goes first.
  void serve_held() {
    while (!held_.empty()) {
      if (!waits(held_.front())) {
        held_.pop_front();
        continue;
      }
      if (!dispatcher_.can_pick()) return;
      send(take(held_).job);
    }
  }

  // -- servers -----------------------------------------------------------------------------------

  void reschedule(std::size_t host) { departures_.set(host, hosts_[host].server.next()); }

  /// Adds what the host could do since the last change to its mean capacity.
  void account(std::size_t i) {
    auto const& host = hosts_[i];
    auto const from = std::max(since_[i], scenario_.warmup);
    auto const until = std::min(now_, scenario_.warmup + scenario_.window);
    if (host.up && host.listed && until > from)
      result_.capacity[i] += host.server.capacity() * (until - from) / scenario_.window;
    since_[i] = now_;
  }

  void happen() {
    auto turn = script_.top();
    script_.pop();
    using Kind = Incident::Kind;
    auto& what = turn.what;
    for (auto i = what.first; i <= what.last; ++i) {
      auto& host = hosts_[i];
      account(i);
      switch (what.kind) {
        case Kind::speed:
          if (turn.course != courses_[i].ramp && turn.course != 0) break;
          courses_[i].ramp = turn.course;
          set_speed(i, courses_[i].speed = what.value);
          break;
        case Kind::errors:
          host.errors = what.value;
          host.error_after = what.time;
          break;
        case Kind::down:
          host.up = false;
          for (auto const job : host.server.crash(now_)) go_home(job, poise::Result::reset);
          reschedule(i);
          break;
        case Kind::up: host.up = true; break;
        case Kind::leave:
        case Kind::join: list(i, what.kind == Kind::join); break;
        case Kind::ramp: break;
        case Kind::wander: break;
      }
    }
    if (what.kind == Kind::ramp) ramp(turn);
    if (what.kind == Kind::wander) wander(turn);
    dispatcher_.changed();
    if constexpr (Dispatcher::waits) serve_held();
  }

  /// A hundred equal steps from the speed that it had. The first turn becomes one per host.
  void ramp(Turn const& turn) {
    constexpr int steps = 100;
    auto const course = ++turns_;
    for (auto i = turn.what.first; i <= turn.what.last; ++i) {
      courses_[i].ramp = course;
      auto const from = courses_[i].speed;
      for (int step = 1; step <= steps; ++step) {
        auto const part = static_cast<double>(step) / steps;
        script_.push({now_ + part * turn.what.time, ++turns_,
                      Incident{.kind = Incident::Kind::speed,
                               .first = i,
                               .last = i,
                               .value = from + (turn.what.value - from) * part},
                      course});
      }
    }
  }

  /// The logarithm of each speed is pulled to its mean and pushed by chance, 20 times in `time`.
  void wander(Turn turn) {
    constexpr double steps = 20;
    auto const keep = std::exp(-1 / steps);
    auto const sigma = turn.what.value;
    bool const begins = turn.course == 0;
    if (begins) turn.course = ++turns_;
    for (auto i = turn.what.first; i <= turn.what.last; ++i) {
      auto& course = courses_[i];
      if (begins) course.walk = turn.course;
      if (course.walk != turn.course) continue;
      auto const push = sigma * wander_.normal();
      course.log = begins ? push : course.log * keep + push * std::sqrt(1 - keep * keep);
      // The mean of a log-normal is e^(sigma^2/2) times its median: without it the load would fall.
      set_speed(i, course.speed * std::exp(course.log - sigma * sigma / 2));
    }
    turn.at = now_ + turn.what.time / steps;
    turn.order = ++turns_;
    script_.push(turn);
  }

  void set_speed(std::size_t i, double speed) {
    account(i);
    hosts_[i].server.set_speed(now_, speed);
    reschedule(i);
  }

  /// Who joins before it ever left was not there before.
  void leave_out_joiners() {
    std::vector<bool> decided(hosts_.size());
    for (auto const& each : scenario_.incidents) {
      bool const joins = each.kind == Incident::Kind::join;
      if (!joins && each.kind != Incident::Kind::leave) continue;
      for (auto i = each.first; i <= each.last; ++i) {
        if (joins && each.at > 0 && !decided[i]) hosts_[i].listed = false;
        decided[i] = true;
      }
    }
  }
  void list(std::size_t i, bool listed) {
    if (hosts_[i].listed == listed) return;
    hosts_[i].listed = listed;
    dispatcher_.listed(i, listed);
  }

  static constexpr auto no_host = std::numeric_limits<std::uint32_t>::max();

  Scenario const& scenario_;
  Dispatcher& dispatcher_;
  ArrivalStream arrivals_;
  Dice work_;
  Dice clients_;
  Dice failures_;
  Dice wander_;
  Result result_{};
  std::vector<Host> hosts_{};
  Departures departures_{0};
  std::vector<double> since_{};
  std::vector<Job> jobs_{};
  std::vector<std::uint32_t> unused_{};
  std::deque<Later> outbound_{};
  std::deque<Later> homebound_{};
  std::deque<Later> patience_{};
  std::deque<Later> held_{};
  std::priority_queue<Later, std::vector<Later>, std::greater<>> failing_{};
  std::priority_queue<Turn, std::vector<Turn>, std::greater<>> script_{};
  std::vector<Course> courses_{};
  std::size_t turns_ = 1'000'000;
  double now_ = 0;
  double next_arrival_ = never;
  double last_arrival_ = never;
  double next_tick_ = never;
  std::size_t waiting_clients_ = 0;
  std::size_t open_samples_ = 0;
};

}  // namespace simulate
