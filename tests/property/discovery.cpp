// SPDX-License-Identifier: MIT
// Ten thousand random histories of a service that shrinks and grows while its registry fails in all
// the ways that registries fail: silent, empty, partial, partial and different each time, outdated.
// Beside the guard: to obey every answer, and never to remove anything.

#include <algorithm>
#include <bitset>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <random>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <poise/discovery/follower.hpp>

#include "support/catch.hpp"

namespace property_discovery {

using namespace std::chrono_literals;
using namespace poise::discovery;
using poise::Duration;
using poise::Endpoint;
using poise::Time;

namespace {

constexpr std::size_t max_backends = 512;
using Set = std::bitset<max_backends>;

/// The numbers of those in a set.
std::vector<std::size_t> numbers(Set const& set) {
  std::vector<std::size_t> result;
  for (std::size_t i = 0; i < max_backends; ++i)
    if (set[i]) result.push_back(i);
  return result;
}

/// What the registry says instead of the truth.
enum class Fault : std::uint8_t { none, fails, empty, partial, shuffled, outdated };
constexpr std::size_t fault_count = 6;

/// Seconds from one look at the world to the next; the registry is polled as often.
constexpr int step = 5;

/// A service and its registry.
class World {
 public:
  explicit World(std::uint64_t seed) : random_{seed} {
    auto const count = 1 + draw(6);
    for (std::size_t i = 0; i < count; ++i) grow();
    outdated_ = alive_;
  }

  /// Every `step`. The last two minutes are quiet and true.
  void turn(int second, int end) {
    changed_ = false;
    if (second >= end - 120) {
      fault_ = Fault::none;
      return;
    }
    if (second >= fault_until_) {
      fault_ = draw(2) == 0 ? Fault::none : static_cast<Fault>(draw(fault_count));
      fault_until_ = second + 5 + static_cast<int>(draw(90));
      outdated_ = alive_;
      subset_ = draw(1'000'000);
    }
    if (draw(60 / step) == 0) shrink();
    else if (draw(90 / step) == 0) grow();
  }

  Look answer() {
    switch (fault_) {
      case Fault::none: return list(alive_);
      case Fault::fails: return Failed{"SERVFAIL", {}};
      case Fault::empty: return list({});
      case Fault::partial: return list(part_of(subset_));
      case Fault::shuffled: return list(part_of(draw(1'000'000)));
      case Fault::outdated: return list(outdated_);
    }
    return Failed{"?", {}};
  }

  [[nodiscard]] Set const& alive() const { return alive_; }
  [[nodiscard]] bool is_true() const { return fault_ == Fault::none; }
  [[nodiscard]] bool shrank() const { return changed_; }

 private:
  std::size_t draw(std::size_t below) {
    return std::uniform_int_distribution<std::size_t>{0, below - 1}(random_);
  }
  void grow() {
    for (auto count = 1 + draw(4); count > 0 && next_ < max_backends; --count) alive_.set(next_++);
  }
  /// To any number from 1.
  void shrink() {
    auto all = numbers(alive_);
    if (all.size() < 2) return;
    auto const left = 1 + draw(all.size() - 1);
    std::ranges::shuffle(all, random_);
    for (auto i = left; i < all.size(); ++i) alive_.reset(all[i]);
    changed_ = true;
  }
  /// A third of those alive, at least one.
  [[nodiscard]] Set part_of(std::uint64_t salt) const {
    auto all = numbers(alive_);
    std::ranges::shuffle(all, std::mt19937{static_cast<std::uint32_t>(salt)});
    Set result;
    for (std::size_t i = 0; i <= (all.size() - 1) / 3; ++i) result.set(all[i]);
    return result;
  }
  static Found list(Set const& ids) {
    Found found{.good_for = 5s};
    for (auto const each : numbers(ids)) {
      auto const id = std::to_string(each);
      found.endpoints.push_back({.id = id, .address = id + ":80"});
    }
    return found;
  }

  std::mt19937_64 random_;
  Set alive_{};
  Set outdated_{};
  std::uint64_t subset_ = 0;
  Fault fault_ = Fault::none;
  int fault_until_ = 0;
  bool changed_ = false;
  std::size_t next_ = 0;
};

struct Tally {
  std::uint64_t seconds = 0;
  std::uint64_t blackout = 0;       // seconds without one living backend in force
  std::uint64_t alive = 0;          // backend-seconds
  std::uint64_t missing = 0;        // of these, not in force
  std::uint64_t dead_in_force = 0;  // backend-seconds
  std::uint64_t lost_at_end = 0;
  std::uint64_t dead_at_end = 0;
  int longest_removal = 0;  // seconds that a dead backend stayed while the registry said the truth
};

/// How answers become the list in force.
class Contender {
 public:
  enum class Kind : std::uint8_t { guard, obey, keep };
  explicit Contender(Kind kind)
      : keeps_{kind == Kind::keep},
        follower_{
            {.floor = 1s, .guard = kind == Kind::guard ? GuardOptions{} : GuardOptions::off()}, 1} {
  }

  void run(World& world, int second) {
    Time const now{std::chrono::seconds{1000 + second}};
    while (follower_.next(now) == Follower::Do::ask) {
      auto look = world.answer();
      if (auto const* const found = std::get_if<Found>(&look))
        for (auto const& each : found->endpoints) named_.set(std::stoul(each.id));
      follower_.take(std::move(look), now);
    }
    if (!keeps_) in_force_.reset();
    for (auto const& each : follower_.endpoints()) in_force_.set(std::stoul(each.id));
    count(world);
  }
  void end(World const& world) {
    tally.dead_at_end += dead(world);
    tally.lost_at_end += lost(world);
  }

  Tally tally{};

 private:
  [[nodiscard]] std::size_t dead(World const& world) const {
    return (in_force_ & ~world.alive()).count();
  }
  /// Living backends that the registry has named at some time: it can't be blamed on a contender if
  /// it knows no others.
  [[nodiscard]] Set known(World const& world) const { return named_ & world.alive(); }
  [[nodiscard]] std::size_t lost(World const& world) const {
    return (known(world) & ~in_force_).count();
  }
  void count(World const& world) {
    auto const alive = known(world).count();
    tally.seconds += step;
    tally.alive += alive;
    tally.missing += lost(world);
    tally.dead_in_force += dead(world);
    tally.blackout += alive != 0 && lost(world) == alive ? std::uint64_t{step} : 0;
    bool const removing = world.is_true() && !world.shrank() && dead(world) != 0;
    removing_ = removing ? removing_ + step : 0;
    tally.longest_removal = std::max(tally.longest_removal, removing_);
  }

  bool keeps_;
  Follower follower_;
  Set in_force_{};
  Set named_{};
  int removing_ = 0;
};

Tally sum_of(Contender::Kind kind, std::uint64_t histories) {
  constexpr int length = 300;
  Tally all;
  for (std::uint64_t seed = 0; seed < histories; ++seed) {
    World world{seed};
    Contender contender{kind};
    for (int second = 0; second < length; second += step) {
      world.turn(second, length);
      contender.run(world, second);
    }
    contender.end(world);
    auto const& one = contender.tally;
    all.seconds += one.seconds;
    all.blackout += one.blackout;
    all.alive += one.alive;
    all.missing += one.missing;
    all.dead_in_force += one.dead_in_force;
    all.lost_at_end += one.lost_at_end;
    all.dead_at_end += one.dead_at_end;
    all.longest_removal = std::max(all.longest_removal, one.longest_removal);
  }
  return all;
}

double percent(std::uint64_t part, std::uint64_t whole) {
  return 100 * static_cast<double>(part) / static_cast<double>(whole);
}

}  // namespace

TEST_CASE("no history of outages ends with a living backend lost or a dead one in force") {
  auto const guard = sum_of(Contender::Kind::guard, 10'000);
  CHECK(guard.lost_at_end == 0);
  CHECK(guard.dead_at_end == 0);
  // Confirmed for a minute, and answers are up to half a minute apart after a failure.
  CHECK(guard.longest_removal <= 95);
}

TEST_CASE("the guard is worth it: to obey loses all backends, to keep always keeps dead ones") {
  auto const guard = sum_of(Contender::Kind::guard, 500);
  auto const obey = sum_of(Contender::Kind::obey, 500);
  auto const keep = sum_of(Contender::Kind::keep, 500);
  CHECK(guard.blackout * 20 < obey.blackout);
  CHECK(guard.missing * 3 < obey.missing);
  CHECK(keep.dead_at_end > 500);
  CHECK(guard.dead_in_force * 2 < keep.dead_in_force);
}

TEST_CASE("the table in docs/design/discovery.md", "[.][table]") {
  for (auto const& [name, kind] :
       {std::pair{"guard", Contender::Kind::guard}, std::pair{"obey", Contender::Kind::obey},
        std::pair{"keep always", Contender::Kind::keep}}) {
    auto const all = sum_of(kind, 10'000);
    std::printf("| %s | %.3f %% | %.2f %% | %.1f %% | %llu | %llu | %d s |\n", name,
                percent(all.blackout, all.seconds), percent(all.missing, all.alive),
                percent(all.dead_in_force, all.alive),
                static_cast<unsigned long long>(all.lost_at_end),
                static_cast<unsigned long long>(all.dead_at_end), all.longest_removal);
  }
}

}  // namespace property_discovery
