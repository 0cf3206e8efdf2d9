// SPDX-License-Identifier: MIT
#pragma once

// Sources on one side, balancers on the other: asks the sources, merges what their followers
// believe, and hands each new list on. It never blocks, and has no thread: call step() whenever
// something that it waits for happened. discovery/watcher.hpp does that on a thread.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <poise/base/check.hpp>
#include <poise/compose/clients.hpp>
#include <poise/discovery/follower.hpp>
#include <poise/discovery/look.hpp>
#include <poise/discovery/merge.hpp>
#include <poise/discovery/snapshot.hpp>
#include <poise/discovery/source.hpp>
#include <poise/endpoint.hpp>
#include <poise/error.hpp>
#include <poise/random.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::discovery {

/// Takes a list, sorted by id. What it throws is an event, and the list is offered again.
using Sink = std::function<void(std::vector<Endpoint> const&)>;

/// A sink that updates a balancer, which must outlive it. Statistics, drains and declared health
/// follow the ids. A list without any weight clears the balancer: only a guard that obeys empty
/// lists lets one through.
template <class Balancer>
[[nodiscard]] Sink into(Balancer& balancer) {
  return [&balancer](std::vector<Endpoint> const& endpoints) {
    if (detail::serves_any(endpoints)) balancer.update(endpoints);
    else balancer.clear();
  };
}

/// A sink for the clients' own list, from a registry in which they register, too: Subset and
/// ZoneAware with these `clients` follow it. The balancers must outlive it. (`into` follows the
/// backends, with a feed of its own.)
template <class... Balancers>
[[nodiscard]] Sink clients_into(Clients clients, Balancers&... balancers) {
  return [clients = std::move(clients), due = false,
          &balancers...](std::vector<Endpoint> const& endpoints) mutable {
    due = clients.set(endpoints) || due;
    if (due) (balancers.replan(), ...);
    due = false;
  };
}

struct FeedOptions {
  FollowerOptions follower{};
  Merge merge = Merge::all;  ///< Of several sources.
  /// Where the last list of the first source is kept for a start without registry; empty: nowhere.
  /// Other sources use this name with their number: PATH.1, PATH.2.
  std::string snapshot{};
  /// Called for each event, with the name of the source. *Threads* that of step().
  std::function<void(std::string const& source, Event const& event)> log{};
  std::uint64_t seed = fresh_seed();
};

/// *Threads* one at a time.
class Feed {
 public:
  Feed(std::vector<std::unique_ptr<Source>> sources, std::vector<Sink> sinks,
       FeedOptions const& options = {})
      : options_{options} {
    if (sources.empty()) throw ConfigError{"a discovery::Feed without a source finds nothing"};
    for (auto& source : sources) {
      auto const number = lines_.size();
      lines_.push_back({std::move(source),
                        Follower{options.follower, options.seed + number * 0x9e3779b97f4a7c15U},
                        number == 0 || options.snapshot.empty()
                            ? options.snapshot
                            : options.snapshot + "." + std::to_string(number)});
    }
    for (auto& sink : sinks) outlets_.push_back({std::move(sink)});
  }
  Feed(std::unique_ptr<Source> source, Sink sink, FeedOptions const& options = {})
      : Feed{one(std::move(source)), std::vector<Sink>{std::move(sink)}, options} {}

  /// Does what can be done now.
  void step(Time now) {
    if (!std::exchange(begun_, true))
      for (auto& line : lines_) restore(line, now);
    for (auto& line : lines_) step(line, now);
    collect();
    deliver(now);
    for (auto& line : lines_) {
      save(line);
      send_events(line);
    }
  }

  /// Adds what step() waits for.
  void add_waits(Waits& waits) const {
    for (auto const& line : lines_) {
      waits.add(line.follower.wake());
      line.source->add_waits(waits);
    }
    for (auto const& outlet : outlets_)
      if (outlet.retry_at) waits.add(*outlet.retry_at);
  }

  /// See Follower::hint().
  void hint(Time now) {
    for (auto& line : lines_) line.follower.hint(now);
  }

  /// Of each source.
  [[nodiscard]] std::vector<Status> status(Time now) const {
    std::vector<Status> result;
    for (auto const& line : lines_) result.push_back(line.follower.status(now));
    return result;
  }
  /// The list in force, of all sources together.
  [[nodiscard]] std::vector<Endpoint> const& endpoints() const noexcept { return list_; }
  /// Another number for each list; 0 as long as there is none.
  [[nodiscard]] std::uint64_t revision() const noexcept { return revision_; }

 private:
  struct Line {
    std::unique_ptr<Source> source;
    Follower follower;
    std::string snapshot;
    bool watching = false;
    std::uint64_t saved = 0;
  };
  struct Outlet {
    Sink sink;
    std::uint64_t revision = 0;
    std::optional<Time> retry_at{};
  };

  static std::vector<std::unique_ptr<Source>> one(std::unique_ptr<Source> source) {
    std::vector<std::unique_ptr<Source>> result;
    result.push_back(std::move(source));
    return result;
  }

  /// What a source throws (its token's function, say) is a failure.
  static void step(Line& line, Time now) {
    try {
      advance(line, now);
    } catch (std::exception const& error) {
      fail(line, error.what(), now);
    } catch (...) {
      fail(line, "an exception of an unknown type", now);
    }
  }
  static void fail(Line& line, char const* why, Time now) {
    line.source->drop();
    line.watching = false;
    line.follower.take(Failed{why, {}}, now);
  }
  static void advance(Line& line, Time now) {
    for (auto todo = line.follower.next(now); todo != Follower::Do::nothing;
         todo = line.follower.next(now)) {
      if (todo == Follower::Do::ask) line.source->ask(now);
      else line.source->drop();
      take(line, now);
    }
    take(line, now);
    bool const was_watching = std::exchange(line.watching, line.source->busy());
    if (was_watching && !line.watching) line.follower.ended(now);
  }
  static void take(Line& line, Time now) {
    while (auto look = line.source->next(now)) line.follower.take(std::move(*look), now);
  }

  void collect() {
    std::uint64_t revisions = 0;
    for (auto const& line : lines_) revisions += line.follower.revision();
    if (revisions == revision_) return;
    revision_ = revisions;
    if (lines_.size() == 1) {
      list_ = lines_[0].follower.endpoints();
      return;
    }
    std::vector<std::vector<Endpoint>> lists;
    for (auto const& line : lines_) lists.push_back(line.follower.endpoints());
    list_ = merge(options_.merge, lists);
  }

  void deliver(Time now) {
    if (revision_ == 0) return;
    for (auto& outlet : outlets_) {
      bool const again = outlet.retry_at && now >= *outlet.retry_at;
      if (outlet.revision == revision_ && !again) continue;
      outlet.revision = revision_;
      outlet.retry_at.reset();
      try {
        outlet.sink(list_);
      } catch (std::exception const& error) {
        refuse(outlet, error.what(), now);
      } catch (...) {
        refuse(outlet, "an exception of an unknown type", now);
      }
    }
  }
  void refuse(Outlet& outlet, std::string const& why, Time now) {
    outlet.retry_at = now + std::chrono::seconds{1};
    log(lines_[0], {Event::Kind::refused, now,
                    "a list of " + std::to_string(list_.size()) +
                        " was not taken, and is offered again in 1 s: " + why});
  }

  void restore(Line& line, Time now) {
    if (line.snapshot.empty()) return;
    auto look = read_snapshot(line.snapshot);
    if (auto* const found = std::get_if<Found>(&look))
      line.follower.restore(std::move(found->endpoints), now);
    else log(line, {Event::Kind::problem, now, "no snapshot: " + std::get<Failed>(look).why});
    line.saved = line.follower.revision();
  }
  /// A list of which something is held is not saved: it is neither the old one nor the new one.
  void save(Line& line) {
    if (line.snapshot.empty() || line.saved == line.follower.revision() || line.follower.holds())
      return;
    line.saved = line.follower.revision();
    auto const error = write_snapshot(line.snapshot, line.follower.endpoints());
    if (!error.empty()) log(line, {Event::Kind::problem, {}, "snapshot: " + error});
  }
  void send_events(Line& line) {
    for (auto const& each : line.follower.take_events()) log(line, each);
  }
  /// A log that throws loses its line, and nothing else.
  void log(Line const& line, Event const& event) noexcept {
    if (!options_.log) return;
    try {
      options_.log(line.source->name(), event);
    } catch (...) {  // NOLINT(bugprone-empty-catch): there is nowhere to report it
    }
  }

  FeedOptions options_;
  std::vector<Line> lines_{};
  std::vector<Outlet> outlets_{};
  std::vector<Endpoint> list_{};
  std::uint64_t revision_ = 0;
  bool begun_ = false;
};

}  // namespace poise::inline v0_1_0::discovery
