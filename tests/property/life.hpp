// SPDX-License-Identifier: MIT
#pragma once

// Runs a schedule against a reference model that knows which servers are well, and says which
// promise was broken first.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <poise/compose/any_policy.hpp>
#include <poise/compose/failover.hpp>
#include <poise/compose/filter.hpp>
#include <poise/compose/policy_parser.hpp>
#include <poise/compose/retry.hpp>
#include <poise/compose/shed.hpp>
#include <poise/compose/zone_aware.hpp>
#include <poise/health/journal.hpp>
#include <poise/health/monitor.hpp>
#include <poise/stats.hpp>

#include "property/schedule.hpp"
#include "property/world.hpp"
#include "support/policies.hpp"

namespace tests {

/// What must hold, whatever happens.
enum class Promise : std::uint8_t {
  asked_again,      // a well backend is asked again within its sentence + 10 s
  ramps,            // ... also while it warms up
  never_refused,    // no pick fails while a well backend may be picked
  back_in_service,  // no pick of a drained or removed backend
  counts,           // started = finished + in flight; nothing in flight at rest
  monotone,         // no counter ever decreases
  bound,            // a bounded policy keeps its bound
  hooks,            // no hook throws
};

struct Broken {
  Promise promise;
  std::string what;
};

/// As policy_named() reads it.
[[nodiscard]] inline std::string text_of(poise::detail::PolicyText const& policy) {
  auto text = policy.key.empty() ? policy.name : policy.key + "=" + policy.name;
  for (std::size_t i = 0; i < policy.arguments.size(); ++i)
    text += (i == 0 ? "(" : ",") + text_of(policy.arguments[i]);
  return policy.arguments.empty() ? text : text + ")";
}

/// Like tests::policy(), and knows "shed(...)", also inside of these wrappers.
[[nodiscard]] inline poise::AnyPolicy any_policy(poise::detail::PolicyText const& text,
                                                 std::string const& whole) {
  if (whole.find("shed(") == std::string::npos) return policy(whole);
  auto const& inside = text.arguments.at(0);
  auto const inner = any_policy(inside, text_of(inside));
  auto const has_name = [&](std::string_view name) { return text.name == name; };
  using poise::AnyPolicy;
  if (has_name("shed")) return AnyPolicy{poise::Shed<AnyPolicy>{{}, inner}};
  if (has_name("retry")) return AnyPolicy{poise::Retry<AnyPolicy>{{}, inner}};
  if (has_name("failover")) return AnyPolicy{poise::Failover<AnyPolicy>{{}, inner}};
  if (has_name("zone_aware")) return AnyPolicy{poise::ZoneAware<AnyPolicy>{{.local = "a"}, inner}};
  if (has_name("filter")) return AnyPolicy{poise::Filter{poise::InZone{"a"}, inner}};
  throw std::invalid_argument{"shed(...) in " + whole};
}
[[nodiscard]] inline poise::AnyPolicy any_policy(std::string const& text) {
  return any_policy(poise::detail::PolicyParser::parse(text), text);
}

/// Which backends a composition asks, as far as the model needs to know.
class Parts {
 public:
  explicit Parts(std::string const& policy) : policy_{policy} {}

  /// May it be picked at all?
  [[nodiscard]] bool reaches(poise::Endpoint const& endpoint) const {
    return !has("filter(") || endpoint.zone == "a";
  }
  /// May picks fail though a backend that it reaches is well? The others may have no token left,
  /// and a subset may lie outside of the filter.
  [[nodiscard]] bool may_refuse() const {
    return has("per_second=20,") || (has("subset(") && has("filter("));
  }
  /// True if it always gets requests while it is well; `members` is the size of the set.
  [[nodiscard]] bool wants(poise::Endpoint const& endpoint, std::size_t members) const {
    return reaches(endpoint) && (!has("subset(") || members <= 3) &&
           ((!has("failover(") || endpoint.tier == 0) &&
            (!has("zone_aware(") || endpoint.zone == "a"));
  }

 private:
  [[nodiscard]] bool has(std::string_view wrapper) const {
    return policy_.find(wrapper) != std::string::npos;
  }
  std::string policy_;
};

template <class Monitor>
class Life final : public Watcher {
  static constexpr bool monitored = !std::is_void_v<Monitor>;
  /// A probe asks a backend that is down each 30 to 36 s, and needs two good answers.
  static constexpr poise::Duration probe_patience = std::chrono::seconds{40};

 public:
  explicit Life(Schedule const& schedule)
      : schedule_{schedule},
        setup_{schedule.setup},
        parts_{setup_.policy},
        world_{endpoints(), any_policy(setup_.policy), options(), monitor()} {
    world_.watch(this);
    for (auto const& each : endpoints()) add(each);
  }

  [[nodiscard]] std::optional<Broken> run() {
    auto const start = world_.now();
    for (auto const& step : schedule_.steps) {
      pass(start + poise::Duration{static_cast<std::int64_t>(step.at * 1e9)});
      if (broken_) return broken_;
      act(step);
    }
    recover();
    if (!broken_) rest();
    return broken_;
  }

 private:
  using World = tests::World<poise::AnyPolicy, Monitor>;

  /// What the model knows of a backend.
  struct Model {
    poise::Endpoint endpoint{};
    bool member = true;
    bool drained = false;
    poise::Time wanted_since{};  // since when it may and should be picked
    poise::Time asked{};         // last
    poise::Time sentence{};      // how long the monitor means to keep it out
    poise::Time failed{};        // the last of its failures
    poise::Time warmed{};        // the last look at which it warmed up, under a keyed policy
    std::uint64_t picks = 0;
    std::array<std::uint64_t, poise::result_count> results{};
    std::uint64_t in_flight = 0;
    bool counted = true;    // false once it was removed: its numbers may start afresh
    bool replaced = false;  // then requests of two records count, exactly at rest
  };

  std::vector<poise::Endpoint> endpoints() const {
    return endpoints_of(setup_.backends, setup_.mixed);
  }
  WorldOptions options() const {
    WorldOptions options{.rate = static_cast<double>(setup_.rate),
                         .service = std::chrono::milliseconds{setup_.service},
                         .priorities = setup_.policy.find("priority(") != std::string::npos,
                         .seed = setup_.seed};
    if (!setup_.ticks) options.tick = {};
    if (setup_.probes) options.probes.emplace();
    return options;
  }
  auto monitor() {
    if constexpr (monitored)
      return Monitor{
          {.log = [this](auto const& news) { on_transition(news); }, .seed = setup_.seed}};
    else return poise::MeasureLatency{};
  }

  /// Is Adaptive the policy at any time?
  [[nodiscard]] bool adapts() const {
    auto const is_adaptive = [](std::string const& policy) {
      return policy.find("adaptive") != std::string::npos;
    };
    return is_adaptive(setup_.policy) ||
           std::ranges::any_of(schedule_.steps, [&](Step const& step) {
             return step.what == "policy" && is_adaptive(step.argument);
           });
  }
  /// Adaptive leaves idle backends alone in calm traffic, but for one pick in 128.
  [[nodiscard]] poise::Duration patience() const {
    auto const picks = (adapts() ? 6 * 128 : 25) * setup_.backends;
    return std::chrono::seconds{10 + picks / setup_.rate};
  }
  /// Among more than four, and without a monitor, Adaptive may try one that failed minutes later.
  [[nodiscard]] bool forgets() const { return setup_.backends > 4 && !setup_.monitor && adapts(); }

  [[nodiscard]] bool maps_keys() const {
    return std::ranges::any_of(std::array{"maglev", "ring", "rendezvous"}, [&](auto const* each) {
      return setup_.policy.find(each) != std::string::npos;
    });
  }

  void fail(Promise promise, std::string what) {
    if (broken_) return;
    auto const seconds =
        std::chrono::duration<double>(world_.now() - poise::Time{std::chrono::hours{1}});
    broken_ = Broken{promise, text_of(seconds.count()) + " s: " + std::move(what)};
  }

  // -- steps -------------------------------------------------------------------------------------

  void act(Step const& step) {
    auto& balancer = world_.balancer;
    if (step.what == "stream") return world_.stream(milliseconds(step));
    if (step.what == "clock") return world_.set_clock_back(milliseconds(step));
    if (step.what == "policy") {
      balancer.set_policy(any_policy(step.argument));
      parts_ = Parts{step.argument};
      for (auto& [id, model] : models_) want(model);
      return;
    }
    if (step.what == "clear") {
      auto const all = members();
      balancer.clear();
      balancer.update(all);
      for (auto& [id, model] : models_) {
        model.drained = false;
        forget(model);
      }
      return;
    }
    if (step.what == "add") {
      if (members().size() < 400 && !is_member(step.id)) {
        auto const endpoint = endpoint_of(step.id, setup_.mixed);
        balancer.add(endpoint);
        add(endpoint);
      }
      return;
    }
    if (!is_member(step.id)) return;  // an earlier step was left out
    auto& model = models_[step.id];
    if (step.what == "remove") {
      if (members().size() == 1) return;
      balancer.remove(step.id);
      model.member = false;
      forget(model);
    } else if (step.what == "drain" || step.what == "undrain") {
      model.drained = step.what == "drain";
      if (model.drained) balancer.drain(step.id);
      else balancer.undrain(step.id);
    } else if (step.what == "weight") {
      model.endpoint.weight = static_cast<std::uint32_t>(std::stoul(step.argument));
      balancer.set_weight(step.id, model.endpoint.weight);
    } else if (step.what == "replace") {
      model.endpoint.address += "'";
      model.replaced = true;
      balancer.update(members());
      world_.set(step.id, Condition::well);
    } else if (step.what == "move") {
      model.replaced = true;
      model.endpoint.zone = model.endpoint.zone == "a" ? "b" : "a";
      balancer.update(members());
    } else {
      auto const found = std::ranges::find(condition_names, step.what);
      if (found == condition_names.end())
        throw std::invalid_argument{"there is no step \"" + step.what + "\""};
      bool const was_well = is_well(world_.condition(step.id));
      auto const condition = static_cast<Condition>(found - condition_names.begin());
      world_.set(step.id, condition);
      if (was_well && is_well(condition)) return;
    }
    want(model);
  }

  static poise::Duration milliseconds(Step const& step) {
    return std::chrono::milliseconds{std::stoll(step.argument)};
  }
  void add(poise::Endpoint const& endpoint) {
    auto& model = models_[endpoint.id];
    bool const before = !model.endpoint.id.empty();
    model.endpoint = endpoint;
    model.member = true;
    model.drained = false;
    model.counted = !before;
    world_.set(endpoint.id, Condition::well);
    want(model);
  }
  void forget(Model& model) {
    model.counted = false;
    model.sentence = {};
    last_.erase(model.endpoint.id);
    want(model);
  }
  void want(Model& model) { model.wanted_since = world_.now(); }

  [[nodiscard]] bool is_member(std::string const& id) const {
    auto const found = models_.find(id);
    return found != models_.end() && found->second.member;
  }
  [[nodiscard]] std::vector<poise::Endpoint> members() const {
    std::vector<poise::Endpoint> all;
    for (auto const& [id, model] : models_)
      if (model.member) all.push_back(model.endpoint);
    return all;
  }
  /// May it be picked, as far as operators and the composition are concerned?
  [[nodiscard]] static bool selectable(Model const& model) {
    return model.member && !model.drained && model.endpoint.weight != 0;
  }
  [[nodiscard]] bool serves(Model const& model) const {
    return selectable(model) && is_well(world_.condition(model.endpoint.id));
  }

  // -- time ---------------------------------------------------------------------------------------

  void pass(poise::Time until) {
    while (!broken_ && world_.now() < until) {
      world_.run_until(std::min(until, world_.now() + std::chrono::seconds{1}));
      look();
    }
  }

  /// Everything is well again, and has the time that it may take.
  void recover() {
    for (auto& [id, model] : models_) {
      if (!model.member) continue;
      if (model.drained) act({.id = id, .what = "undrain"});
      if (!is_well(world_.condition(id))) act({.id = id, .what = "well"});
    }
    auto const least = world_.now() + std::chrono::seconds{15};
    auto const most =
        world_.now() + std::max<poise::Duration>(std::chrono::seconds{700}, 2 * patience_);
    while (!broken_ && (world_.now() < least || !all_asked())) {
      pass(world_.now() + std::chrono::seconds{1});
      if (world_.now() > most) fail(Promise::asked_again, "not all are asked within 700 s");
    }
  }
  [[nodiscard]] bool all_asked() const {
    return std::ranges::all_of(models_, [&](auto const& each) {
      auto const& model = each.second;
      return !wanted(model) || (model.asked > model.wanted_since && model.asked > model.sentence);
    });
  }
  [[nodiscard]] bool wanted(Model const& model) const {
    return !forgets() && serves(model) && parts_.wants(model.endpoint, models_.size());
  }

  /// Once a second.
  void look() {
    for (auto& [id, model] : models_) {
      if (!wanted(model)) continue;
      // An idle neighbour is better than a backend with a long request.
      if (model.in_flight > 0 && (model.sentence == poise::Time{} || is_healthy(id))) {
        model.asked = world_.now();
        continue;
      }
      auto since = std::max({model.wanted_since, model.asked, model.sentence});
      // Each failure renews the time for which it is degraded.
      if (is_degraded(id)) since = std::max(since, model.failed + poise::health::Ejection{}.base);
      if (setup_.probes) since = std::max(since, model.wanted_since + probe_patience);
      // Of few keys none may draw a small part, so it may take the whole ramp.
      if (maps_keys() && warms(id)) model.warmed = world_.now();
      since = std::max(since, model.warmed);
      if (world_.now() - since > patience_)
        fail(warms(id) ? Promise::ramps : Promise::asked_again,
             id + " is well and was not asked for more than 10 s" + history_of(id));
    }
    if (setup_.backends < 100 || ++looks_ % 10 == 0) compare();
  }
  [[nodiscard]] std::string history_of([[maybe_unused]] std::string const& id) const {
    std::string text;
    if constexpr (monitored)
      for (auto const& each : world_.monitor.history(id)) text += "\n    " + message(each);
    return text;
  }

  [[nodiscard]] bool is_in([[maybe_unused]] poise::health::Phase phase,
                           [[maybe_unused]] std::string const& id) const {
    if constexpr (monitored) return world_.monitor.phase(id) == phase;
    else return false;
  }
  [[nodiscard]] bool is_healthy(std::string const& id) const {
    return is_in(poise::health::Phase::healthy, id);
  }
  [[nodiscard]] bool is_degraded(std::string const& id) const {
    return is_in(poise::health::Phase::degraded, id);
  }
  [[nodiscard]] bool warms(std::string const& id) const {
    return is_in(poise::health::Phase::slow_start, id);
  }

  /// Snapshots against each other and against what the model counted.
  void compare() {
    auto const stats = world_.balancer.stats();
    for (auto const& now : stats.backends) {
      auto const& model = models_[now.id];
      if (auto const found = last_.find(now.id); found != last_.end()) {
        auto const& before = found->second;
        auto const fell = [&](std::uint64_t from, std::uint64_t to, std::string_view what) {
          if (to < from)
            fail(Promise::monotone, now.id + ": " + std::string{what} + " went from " +
                                        std::to_string(from) + " to " + std::to_string(to));
        };
        fell(before.total, now.total, "total");
        fell(before.failed, now.failed, "failed");
        for (std::size_t i = 0; i < poise::result_count; ++i) {
          auto const result = static_cast<poise::Result>(i);
          fell(before.ended(result), now.ended(result), name(result));
        }
      }
      last_[now.id] = now;
      if (model.counted && (!model.replaced || world_.calls_in_progress() == 0))
        compare(model, now);
    }
    if (stats.observer_failures != 0) fail(Promise::hooks, "a hook threw");
  }
  void compare(Model const& model, poise::BackendStats const& now) {
    auto const same = [&](std::uint64_t expected, std::uint64_t found, std::string_view what) {
      if (found != expected)
        fail(Promise::counts, now.id + ": " + std::string{what} + " is " + std::to_string(found) +
                                  ", should be " + std::to_string(expected));
    };
    same(model.picks, now.total, "total");
    same(model.in_flight, now.in_flight, "in flight");
    std::uint64_t failed = 0;
    for (std::size_t i = 0; i < poise::result_count; ++i) {
      auto const result = static_cast<poise::Result>(i);
      same(model.results[i], now.ended(result), name(result));
      if (is_failure(result)) failed += model.results[i];
    }
    same(failed, now.failed, "failed");
  }

  /// Nothing is in flight any more.
  void rest() {
    world_.finish();
    compare();
    for (auto const& each : world_.balancer.stats().backends)
      if (each.in_flight != 0)
        fail(Promise::counts,
             each.id + " has " + std::to_string(each.in_flight) + " in flight at rest");
    if constexpr (!monitored)
      if (setup_.policy.starts_with("bounded(") || setup_.policy.starts_with("retry(bounded("))
        check_bound();
  }
  /// Many requests with one key at once.
  void check_bound() {
    std::vector<typename World::Balancer::Lease> leases;
    auto const all = members();
    auto const most = 4 * all.size();
    for (std::size_t i = 0; i < most; ++i)
      leases.push_back(world_.balancer.pick({.route_key = "hot"}));
    std::uint64_t weights = 0;
    for (auto const& each : all) weights += each.weight;
    for (auto const& each : world_.balancer.stats().backends) {
      auto const limit = 1 + 5 * most * each.weight / (4 * weights);
      if (each.in_flight > limit)
        fail(Promise::bound, each.id + " has " + std::to_string(each.in_flight) + " of " +
                                 std::to_string(most) + ", should have at most " +
                                 std::to_string(limit));
    }
  }

  // -- what the world tells -----------------------------------------------------------------------

  void picked(Pick const& pick) override {
    auto& model = models_[std::string{pick.id}];
    ++model.picks;
    ++model.in_flight;
    model.asked = world_.now();
    if (!selectable(model) || !parts_.reaches(model.endpoint))
      fail(Promise::back_in_service, std::string{pick.id} + " was picked");
  }
  void finished(std::string_view id, poise::Result result) override {
    auto& model = models_[std::string{id}];
    --model.in_flight;
    if (is_failure(result)) model.failed = world_.now();
    ++model.results[static_cast<std::size_t>(result)];
  }
  void refused(poise::Error const& error) override {
    if (parts_.may_refuse()) return;
    for (auto const& [id, model] : models_)
      if (serves(model) && parts_.reaches(model.endpoint))
        return fail(Promise::never_refused,
                    "a pick failed, though " + id + " is well: " + message(error) + history_of(id));
  }
  void on_transition([[maybe_unused]] poise::health::Transition const& news) {
    using poise::health::Phase;
    using Note = poise::health::Transition::Note;
    if (news.id.empty() || (news.to != Phase::ejected && news.to != Phase::degraded)) return;
    auto const found = models_.find(news.id);
    if (found == models_.end()) return;
    auto lasts = news.lasts.value_or(poise::Duration{});
    if (news.note == Note::capped) lasts = poise::health::Ejection{}.base;
    found->second.sentence = std::max(found->second.sentence, world_.now() + lasts);
  }

  Schedule const& schedule_;
  Setup const& setup_;
  Parts parts_;
  poise::Duration const patience_ = patience();
  std::map<std::string, Model> models_{};
  std::map<std::string, poise::BackendStats> last_{};
  std::optional<Broken> broken_{};
  std::uint64_t looks_ = 0;
  World world_;
};

/// What breaks first, if anything does.
[[nodiscard]] inline std::optional<Broken> run(Schedule const& schedule) {
  if (schedule.setup.monitor) return Life<poise::health::Standard>{schedule}.run();
  return Life<void>{schedule}.run();
}

/// A schedule that breaks the same promise with as few steps and as little setup as possible.
[[nodiscard]] inline Schedule shrunk(Schedule schedule, Promise promise) {
  int runs = 0;
  auto const still = [&](Schedule const& smaller) {
    auto const broken = runs++ < 400 ? run(smaller) : std::nullopt;
    return broken && broken->promise == promise;
  };
  for (bool smaller = true; smaller;) {
    smaller = false;
    for (std::size_t i = schedule.steps.size(); i-- > 0;) {
      auto without = schedule;
      without.steps.erase(without.steps.begin() + static_cast<std::ptrdiff_t>(i));
      if (!still(without)) continue;
      schedule = std::move(without);
      smaller = true;
    }
    auto const attempt = [&](auto const& change) {
      auto other = schedule;
      change(other.setup);
      if (text_of(other) == text_of(schedule) || !still(other)) return;
      schedule = std::move(other);
      smaller = true;
    };
    attempt([](Setup& setup) { setup.probes = false; });
    attempt([](Setup& setup) { setup.probes = setup.monitor = false; });
    attempt([](Setup& setup) { setup.mixed = false; });
    attempt([](Setup& setup) {
      if (setup.policy.starts_with("retry("))
        setup.policy = setup.policy.substr(6, setup.policy.size() - 7);
    });
    attempt([](Setup& setup) { setup.policy = "round_robin"; });
    attempt([](Setup& setup) { setup.backends = std::max<std::size_t>(1, setup.backends - 1); });
  }
  return schedule;
}

}  // namespace tests
