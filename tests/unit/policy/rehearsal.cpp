// SPDX-License-Identifier: MIT

// A rehearsed pick is the pick that follows, and leaves no trace: balancers with the same seed go
// through the same random events; one of them rehearses before each pick, another records each.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <support/catch.hpp>
#include <support/clock.hpp>
#include <support/policies.hpp>

#include <poise/balancer.hpp>
#include <poise/compose/any_policy.hpp>
#include <poise/compose/bounded.hpp>
#include <poise/compose/failover.hpp>
#include <poise/compose/filter.hpp>
#include <poise/compose/policy_named.hpp>
#include <poise/compose/priority_router.hpp>
#include <poise/compose/shed.hpp>
#include <poise/compose/zone_aware.hpp>
#include <poise/hashing/dialect/haproxy.hpp>
#include <poise/hashing/dialect/nginx.hpp>
#include <poise/policy/adaptive.hpp>
#include <poise/policy/hash_list.hpp>
#include <poise/policy/hash_ring.hpp>
#include <poise/policy/power_of_two.hpp>
#include <poise/policy/rehearsal.hpp>
#include <poise/policy/rendezvous.hpp>
#include <poise/policy/round_robin.hpp>
#include <poise/policy/sampled_pick.hpp>
#include <poise/policy/smooth_weighted.hpp>
#include <poise/runtime.hpp>

namespace unit_policy_rehearsal {

using namespace poise;
using namespace std::chrono_literals;

namespace {

constexpr std::uint32_t fleet_size = 9;

std::vector<Endpoint> fleet() {
  std::vector<Endpoint> result;
  for (std::uint32_t i = 0; i < fleet_size; ++i)
    result.push_back({.id = std::string(1, static_cast<char>('a' + i)),
                      .weight = 1 + i % 2,
                      .zone = i % 3 == 0   ? "a"
                              : i % 3 == 1 ? "b"
                                           : "c",
                      .tier = i / 4});
  return result;
}

/// What happens next, drawn before it happens: both balancers do the same.
struct Event {
  std::uint64_t kind;
  std::uint64_t backend;
  std::uint64_t value;
};

/// Has every pick recorded, and keeps the last one.
struct Recording {
  std::shared_ptr<SampledPick> last = std::make_shared<SampledPick>();
  bool wants_pick() const noexcept { return true; }
  void on_sampled_pick(SampledPick const& pick) const { *last = pick; }
};

/// A balancer, its clock, and its requests in flight.
template <class P, class... Observers>
class World {
  using Servers = Balancer<P, void, Runtime<tests::Clock, Observers...>>;

 public:
  explicit World(P policy, Observers... observers)
      : servers_{fleet(),
                 std::move(policy),
                 {.clock = clock_, .seed = 11, .observers = {std::move(observers)...}}} {}

  void happen(Event const& event) {
    auto const id = std::string(1, static_cast<char>('a' + event.backend % fleet_size));
    auto const value = static_cast<std::uint32_t>(event.value);
    switch (event.kind % 24) {
      case 0: return servers_.drain(id);
      case 1:
      case 2: return servers_.undrain(id);
      case 3: return servers_.set_weight(id, value % 4);
      case 4:
      case 5: return servers_.set_weight(id, std::nullopt);
      case 6: return servers_.set_health(id, HealthState::unhealthy);
      case 7: return servers_.set_health(id, HealthState::degraded);
      case 8:
      case 9:
      case 10: return servers_.set_health(id, std::nullopt);
      case 11: return servers_.set_admission(id, {.max_in_flight = 1 + value % 3});
      case 12: return servers_.set_admission(id, {.share = value});
      case 13:
      case 14: return servers_.set_admission(id, {});
      case 15: return clock_.advance(std::chrono::milliseconds{value % 400});
      case 16: return servers_.tick();
      default: finish(event);
    }
  }

  /// "" if there is none.
  std::string pick(Request const& request) {
    auto lease = servers_.pick(request);
    if (!lease) return "";
    auto id = lease->id();
    in_flight_.push_back(std::move(lease));
    return id;
  }
  Rehearsed rehearse(Request const& request) { return servers_.rehearse(request); }
  std::string stats() {
    std::string text;
    for (auto const& each : servers_.stats().backends)
      text += each.id + ' ' + std::to_string(each.total) + ' ' + std::to_string(each.in_flight) +
              ' ' + std::to_string(each.latency.value_or(Duration{}).count()) + '\n';
    return text;
  }
  /// The serial of the backend that was picked last, if it is still in flight.
  std::vector<std::uint64_t> last_serials(std::size_t count) {
    std::vector<std::uint64_t> serials;
    for (auto each = in_flight_.rbegin(); each != in_flight_.rend() && serials.size() < count;
         ++each)
      serials.push_back(each->serial());
    return serials;
  }

 private:
  void finish(Event const& event) {
    if (in_flight_.empty()) return;
    clock_.advance(std::chrono::microseconds{event.value % 3000});
    constexpr Result results[]{Result::success, Result::success, Result::success,
                               Result::error,   Result::refused, Result::rejected};
    in_flight_.front().finish(results[event.backend % 6]);
    in_flight_.pop_front();
  }

  tests::Clock clock_{};
  Servers servers_;
  std::deque<typename Servers::Lease> in_flight_{};
};

/// A random request. The condition and the keys stay where they are.
class Requests {
 public:
  explicit Requests(std::uint64_t seed) : random_{seed} {}

  struct Draw {
    Request request{};
    std::size_t excluded = 0;  // so many of the last backends
  };
  Draw next() {
    Draw draw;
    key_ = "key " + std::to_string(random_() % 50);
    if (random_() % 4 != 0) draw.request.route_key = key_;
    draw.request.priority = static_cast<Priority>(random_() % 3);
    if (random_() % 6 == 0) draw.excluded = 1 + random_() % 3;
    if (random_() % 8 == 0) draw.request.condition = not_c_;
    preferred_ = std::string(1, static_cast<char>('a' + random_() % (fleet_size + 1)));
    if (random_() % 8 == 0) draw.request.preferred = preferred_;
    return draw;
  }
  std::uint64_t operator()() { return random_(); }

 private:
  struct NotC {
    bool operator()(Backend const& backend) const noexcept { return backend.id() != "c"; }
  };
  std::mt19937_64 random_;
  std::string key_{};
  std::string preferred_{};
  NotC not_c_{};
};

std::string id_of(Rehearsed const& rehearsed) {
  return rehearsed.winner == nullptr ? "" : rehearsed.winner->id();
}

/// The first difference; empty if there is none. Each balancer has a policy of its own making:
/// copies may share what they count.
template <class Make>
  requires requires(Make const& make) { make(); }
std::string difference(Make const& make, int states, std::uint64_t seed) {
  World<decltype(make())> rehearsing{make()};
  World<decltype(make())> plain{make()};
  Recording const record;
  World<decltype(make()), Recording> recorded{make(), record};
  Requests random{seed};
  for (int state = 0; state < states; ++state) {
    auto draw = random.next();
    auto const here = rehearsing.last_serials(draw.excluded);
    auto const there = plain.last_serials(draw.excluded);
    auto const elsewhere = recorded.last_serials(draw.excluded);
    draw.request.excluded = here;
    auto const before = rehearsing.stats();
    auto const first = id_of(rehearsing.rehearse(draw.request));
    auto const again = id_of(rehearsing.rehearse(draw.request));
    auto const at = "state " + std::to_string(state) + ": ";
    if (rehearsing.stats() != before) return at + "a rehearsal changed the statistics";
    if (first != again) return at + "two rehearsals: " + first + ", " + again;
    auto const picked = rehearsing.pick(draw.request);
    if (picked != first) return at + "rehearsed " + first + ", picked " + picked;
    draw.request.excluded = there;
    if (auto const other = plain.pick(draw.request); other != picked)
      return at + "picked " + picked + ", without rehearsals " + other;
    draw.request.excluded = elsewhere;
    if (auto const other = recorded.pick(draw.request); other != picked)
      return at + "picked " + picked + ", with a record " + other;
    if (record.last->winner != (picked.empty() ? 0 : recorded.last_serials(1).front()))
      return at + "the record has another winner";
    for (auto events = random() % 4; events != 0; --events) {
      Event const event{random(), random(), random()};
      rehearsing.happen(event);
      plain.happen(event);
      recorded.happen(event);
    }
  }
  return "";
}

template <Policy P>
std::string difference(P const& policy, int states, std::uint64_t seed) {
  return difference([&] { return policy; }, states, seed);
}

/// "bounded(X)" and so on, with the parameters that some wrappers need.
std::string around(std::string_view wrapper, std::string const& inner) {
  auto const parameters =
      wrapper == "zone_aware" ? ", local=a"
      : wrapper == "filter"   ? ", zone=a"
      : wrapper == "subset"   ? ", client=1, clients=3, size=4"
      : wrapper == "rate_limited"
          ? ", per_second=100, burst=2, key_per_second=50, key_burst=2, places=64"
      : wrapper == "priority" ? ", random, round_robin, fallback=yes"
                              : "";
  return std::string{wrapper} + '(' + inner + parameters + ')';
}

struct Names {
  // Tables that are as small as this fleet needs.
  std::vector<std::string> leaves{"p2c(peak_ewma)", "p2c(score)", "least(peak_ewma)",
                                  "maglev(max_backends=9)", "ring(points=20)"};
  std::vector<std::string> wrappers{};
  Names() {
    for (auto const& each : known_policies())
      if (each.name != "maglev" && each.name != "ring")
        (each.wraps ? wrappers : leaves).emplace_back(each.name);
  }
};

void check_named(std::string const& text, int states) {
  INFO(text);
  CHECK(difference([&] { return tests::policy(text); }, states, 3) == "");
}

/// Each wrapper around this policy that can be around it.
std::vector<std::string> each_around(Names const& names, std::string const& inner) {
  std::vector<std::string> result;
  for (auto const& wrapper : names.wrappers)
    if (wrapper != "bounded" || tests::policy(inner).traits().keyed)
      result.push_back(around(wrapper, inner));
  return result;
}

}  // namespace

TEST_CASE("a rehearsed pick is the one that follows, by name and in every wrapper") {
  Names const names;
  for (auto const& leaf : names.leaves) {
    check_named(leaf, 500);
    for (auto const& text : each_around(names, leaf)) check_named(text, 60);
  }
}

TEST_CASE("a rehearsed pick is the one that follows in every wrapper in every wrapper") {
  Names const names;
  for (auto const* leaf : {"adaptive", "smooth_weighted", "rendezvous", "p2c"})
    for (auto const& inner : each_around(names, leaf))
      for (auto const& text : each_around(names, inner)) check_named(text, 20);
}

TEST_CASE("10,000 states each: the rehearsed pick is the one that follows", "[.][nightly]") {
  Names const names;
  for (auto const& leaf : names.leaves) {
    check_named(leaf, 10'000);
    for (auto const& inner : each_around(names, leaf)) {
      check_named(inner, 10'000);
      for (auto const& text : each_around(names, inner)) check_named(text, 10'000);
    }
  }
}

TEST_CASE("a rehearsed pick is the one that follows, for policies by type") {
  CHECK(difference(Adaptive{}, 300, 5) == "");
  CHECK(difference(P2C{}, 300, 5) == "");
  CHECK(difference(Bounded<Rendezvous>{{.percent = 110}}, 300, 5) == "");
  CHECK(difference(ZoneAware<Failover<SmoothWeighted>>{{.local = "a"}}, 300, 5) == "");
  CHECK(difference(
            PriorityRouter<Bounded<P2C>, AnyPolicy, Failover<P2C, RoundRobin>>{
                {.fallback = true}, {}, AnyPolicy{Shed<RoundRobin>{}}, {}},
            300, 5) == "");
}

TEST_CASE("a rehearsed pick is the one that follows, for policies without a name") {
  CHECK(difference(AnyPolicy{WideAdaptive{}}, 300, 5) == "");
  CHECK(difference(AnyPolicy{Shed<P2C>{}}, 300, 5) == "");
  CHECK(difference(AnyPolicy{Filter{InZone{"a"}, Adaptive{}}}, 300, 5) == "");
}

TEST_CASE("rotations of requests without a key do not move in a rehearsal") {
  CHECK(difference(AnyPolicy{HashRing<dialect::Nginx>{}}, 300, 7) == "");
  CHECK(difference(AnyPolicy{HashRing<dialect::Haproxy>{}}, 300, 7) == "");
  CHECK(difference(AnyPolicy{HashList<dialect::HaproxyMap>{}}, 300, 7) == "");
}

TEST_CASE("a rehearsal of threads with rotations of their own") {
  Balancer<AnyPolicy, void, Runtime<tests::Clock>> servers{fleet(), AnyPolicy{RoundRobin{}}};
  for (int i = 0; i < 100; ++i) {
    auto const expected = servers.rehearse();
    REQUIRE(expected.winner != nullptr);
    CHECK(servers.pick()->id() == expected.winner->id());
  }
}

TEST_CASE("a rehearsal says why there is no backend") {
  Balancer<P2C, void, Runtime<tests::Clock>> servers{{}};
  CHECK(servers.rehearse().winner == nullptr);
  CHECK(servers.rehearse().error.reason == PickError::empty);
  servers.add({.id = "a"});
  servers.drain("a");
  auto const rehearsed = servers.rehearse();
  CHECK(rehearsed.winner == nullptr);
  CHECK(rehearsed.error.drained == 1);
  REQUIRE(rehearsed.backends.size() == 1);
  servers.remove("a");
  CHECK(rehearsed.backends[0]->id() == "a");  // kept alive
}

TEST_CASE("a rehearsal says when a rate limit has room, as the pick does") {
  auto const policy = tests::policy("rate_limited(p2c, per_second=1, burst=1)");
  Balancer<AnyPolicy, void, Runtime<tests::Clock>> servers{{{.id = "a"}}, policy, {.seed = 1}};
  servers.pick().finish();
  auto const rehearsed = servers.rehearse();
  CHECK(rehearsed.winner == nullptr);
  CHECK(rehearsed.error.retry_after > 0ms);
  CHECK(rehearsed.error == servers.pick().error());
}

TEST_CASE("a rehearsal knows scores, and who was compared") {
  Balancer<P2C, void, Runtime<tests::Clock>> servers{fleet(), {}, {.seed = 1}};
  auto const rehearsed = servers.rehearse();
  std::size_t compared = 0;
  for (auto const* backend : rehearsed.backends) {
    auto const note = rehearsed.rehearsal.note(*backend);
    CHECK(note.score == 0.0);
    compared += note.compared ? 1 : 0;
  }
  CHECK(compared == 2);
  CHECK(rehearsed.rehearsal.compares());
  CHECK(rehearsed.rehearsal.note(*rehearsed.winner).compared);
}

TEST_CASE("a rehearsal knows which wrapper left a backend out") {
  using Policy = Filter<ZoneAware<Failover<P2C>>, InTier>;
  AnyPolicy const policy{Policy{InTier{0}, ZoneAware<Failover<P2C>>{{.local = "a"}}}};
  Balancer<AnyPolicy, void, Runtime<tests::Clock>> servers{fleet(), policy, {.seed = 1}};
  auto const rehearsed = servers.rehearse();
  std::size_t filtered = 0;
  std::size_t elsewhere = 0;
  for (auto const* backend : rehearsed.backends) {
    auto const reason = rehearsed.rehearsal.note(*backend).left_out_by;
    filtered += reason == LeftOutBy::filter ? 1 : 0;
    elsewhere += reason == LeftOutBy::zone ? 1 : 0;
  }
  CHECK(filtered == 5);  // of tiers 1 and 2
  CHECK(elsewhere == 4U - (rehearsed.winner->zone() == "a" ? 2U : 1U));
}

}  // namespace unit_policy_rehearsal
