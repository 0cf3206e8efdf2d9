// SPDX-License-Identifier: MIT
#pragma once

// Policies by name: policy_named("p2c(load=peak_ewma)"), for configuration files and command lines.
//
// Use it with Balancer<AnyPolicy> and set_policy(). A wrong name or parameter is a ConfigError that
// lists the right ones. Policies that need a type of yours (a predicate, say) have no name.
//
// It compiles every policy. Large programs include compose/policy_named.hpp instead, and link the
// CMake target poise::named, which compiles them once.

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/compose/any_policy.hpp>
#include <poise/compose/bounded.hpp>
#include <poise/compose/failover.hpp>
#include <poise/compose/filter.hpp>
#include <poise/compose/hedge.hpp>
#include <poise/compose/policy_error.hpp>
#include <poise/compose/policy_named.hpp>
#include <poise/compose/policy_parser.hpp>
#include <poise/compose/priority_router.hpp>
#include <poise/compose/rate_limited.hpp>
#include <poise/compose/retry.hpp>
#include <poise/compose/subset.hpp>
#include <poise/compose/zone_aware.hpp>
#include <poise/error.hpp>
#include <poise/fwd.hpp>
#include <poise/load.hpp>
#include <poise/load/ewma.hpp>
#include <poise/load/peak_ewma.hpp>
#include <poise/load/score.hpp>
#include <poise/outcome.hpp>
#include <poise/policy/adaptive.hpp>
#include <poise/policy/hash_ring.hpp>
#include <poise/policy/least.hpp>
#include <poise/policy/maglev.hpp>
#include <poise/policy/power_of_two.hpp>
#include <poise/policy/random.hpp>
#include <poise/policy/rendezvous.hpp>
#include <poise/policy/round_robin.hpp>
#include <poise/policy/smooth_weighted.hpp>

namespace poise::inline v0_1_0 {

namespace detail {

/// Makes policies by name. Each name has a function, found in a table.
struct NamedPolicies {
  using Make = AnyPolicy (*)(PolicyArguments&);
  struct Entry {
    KnownPolicy known;
    Make make;
  };

  [[nodiscard]] static AnyPolicy make(PolicyText const& text) {
    for (auto const& entry : entries)
      if (entry.known.name == text.name) return made(entry, text);
    std::vector<std::string_view> names;
    for (auto const& entry : entries) names.push_back(entry.known.name);
    throw PolicyError{"there is no policy " + detail::in_quotes(text.name) +
                          suggestion(text.name, names, "there are"),
                      text.at};
  }

  /// An error of options, which have no place in the text, gets that of the policy.
  static AnyPolicy made(Entry const& entry, PolicyText const& text) {
    try {
      PolicyArguments arguments{text};
      auto policy = entry.make(arguments);
      arguments.done();
      return policy;
    } catch (PolicyError const&) {
      throw;
    } catch (ConfigError const& error) {
      throw PolicyError{error.what(), text.at};
    }
  }

  template <class P>
  static AnyPolicy plain(PolicyArguments&) {
    return AnyPolicy{P{}};
  }

  template <template <class> class P>
  static AnyPolicy by_load(PolicyArguments& arguments) {
    auto const* load = arguments.find("load", true);
    if (load == nullptr) return AnyPolicy{P<Weighted<InFlight>>{}};
    return with_load(*load, [](auto const& each) {
      return AnyPolicy{P<std::remove_cvref_t<decltype(each)>>{each}};
    });
  }

  /// Calls use(load) with the load of this name; weighted(...) included.
  template <class Use>
  static AnyPolicy with_load(PolicyText const& text, Use const& use) {
    if (text.name != "weighted") return with_plain_load(text, use);
    PolicyArguments arguments{text};
    auto const* load = arguments.find("load", true);
    if (load == nullptr) throw ConfigError{"weighted() needs a load: one of " + joined(loads())};
    auto policy = with_plain_load(*load, [&](auto const& each) {
      return use(Weighted<std::remove_cvref_t<decltype(each)>>{each});
    });
    arguments.done();
    return policy;
  }

  template <class Use>
  static AnyPolicy with_plain_load(PolicyText const& text, Use const& use) {
    PolicyArguments arguments{text};
    auto const with = [&](auto const& load) {
      arguments.done();
      return use(load);
    };
    if (text.name == "in_flight") return with(InFlight{});
    if (text.name == "ewma") return with(Ewma{latency_options(arguments)});
    if (text.name == "peak_ewma") return with(PeakEwma{latency_options(arguments)});
    if (text.name == "score") return with(Score{score_options(arguments)});
    throw PolicyError{"there is no load " + detail::in_quotes(text.name) +
                          suggestion(text.name, loads(), "there are"),
                      text.at};
  }
  static std::vector<std::string_view> loads() {
    return {"in_flight", "ewma", "peak_ewma", "score", "weighted(...)"};
  }

  static LatencyOptions latency_options(PolicyArguments& arguments) {
    LatencyOptions options;
    options.window = arguments.number("window", options.window);
    options.timeout = arguments.duration("timeout", options.timeout);
    return options;
  }
  static ScoreOptions score_options(PolicyArguments& arguments) {
    ScoreOptions options;
    options.per_request = arguments.number("per_request", options.per_request);
    options.per_millisecond = arguments.number("per_millisecond", options.per_millisecond);
    options.per_error_percent = arguments.number("per_error_percent", options.per_error_percent);
    options.estimates = latency_options(arguments);
    return options;
  }
  static AnyPolicy least_latency(PolicyArguments& arguments) {
    return AnyPolicy{LeastLatency{Ewma{latency_options(arguments)}}};
  }

  static AnyPolicy maglev(PolicyArguments& arguments) {
    Maglev maglev;
    maglev.dialect.max_backends = arguments.count("max_backends", 655, 1, 100'000);
    maglev.dialect.secret = arguments.secret("secret");
    return AnyPolicy{maglev};
  }
  static AnyPolicy rendezvous(PolicyArguments& arguments) {
    Rendezvous rendezvous;
    rendezvous.secret = arguments.secret("secret");
    return AnyPolicy{rendezvous};
  }
  /// 1.5 MB per backend of weight 1. With so many points the heaviest of a hundred backends gets
  /// only 1 % more than its due, so a larger number is a mistake.
  static constexpr std::uint32_t max_points = 65'536;
  static AnyPolicy ring(PolicyArguments& arguments) {
    HashRing<> ring;
    ring.dialect.points = arguments.count("points", 1024, 1, max_points);
    ring.dialect.secret = arguments.secret("secret");
    return AnyPolicy{ring};
  }

  // -- policies around policies ----------------------------------------------------------------

  static AnyPolicy inner(PolicyArguments& arguments, std::string_view key = "policy") {
    auto const* policy = arguments.find(key, true);
    return policy == nullptr ? AnyPolicy{P2C{}} : make(*policy);
  }

  static AnyPolicy bounded(PolicyArguments& arguments) {
    BoundedOptions const options{.percent = arguments.count("percent", 125)};
    auto const* given = arguments.find("policy", true);
    auto policy = given == nullptr ? AnyPolicy{Maglev{}} : make(*given);
    if (!hooks::traits(policy).keyed)
      throw ConfigError{"bounded() needs a policy with keys, such as maglev, ring or rendezvous; " +
                        policy.name() + " has none, so there is no load of hot keys to bound"};
    return AnyPolicy{Bounded<AnyPolicy>{options, std::move(policy)}};
  }
  static AnyPolicy rate_limited(PolicyArguments& arguments) {
    RateLimitOptions options;
    options.backend.per_second = arguments.number("per_second", 1000);
    options.backend.burst = arguments.count("burst", 1000);
    options.key.per_second = arguments.number("key_per_second", 0);
    options.key.burst = arguments.count("key_burst", options.key.burst);
    options.places = arguments.count("places", options.places);
    return AnyPolicy{RateLimited<AnyPolicy>{options, inner(arguments)}};
  }
  static AnyPolicy retry(PolicyArguments& arguments) {
    RetryOptions options;
    options.attempts = arguments.count("attempts", options.attempts);
    options.base_pause = arguments.duration("base_pause", options.base_pause);
    options.max_pause = arguments.duration("max_pause", options.max_pause);
    options.on = results(arguments.text("on", "failures"));
    options.timeout = arguments.duration("timeout", options.timeout);
    options.attempt_timeout = arguments.duration("attempt_timeout", options.attempt_timeout);
    options.max_pushback = arguments.duration("max_pushback", options.max_pushback);
    options.budget_fraction = arguments.number("budget_fraction", options.budget_fraction);
    options.min_retries_per_second =
        arguments.count("min_retries_per_second", options.min_retries_per_second);
    options.hedge = hedge(arguments.find("hedge"));
    return AnyPolicy{Retry<AnyPolicy>{options, inner(arguments)}};
  }
  /// "failures", or names of results joined by +, with _ instead of spaces.
  static ResultSet results(std::string_view text) {
    if (text == "failures") return failures;
    ResultSet set;
    for (std::size_t at = 0; at <= text.size();) {
      auto const end = std::min(text.find('+', at), text.size());
      set = set.with(result_named(text.substr(at, end - at)));
      at = end + 1;
    }
    return set;
  }
  static Result result_named(std::string_view text) {
    std::string known = "failures";
    for (std::size_t i = 0; i < result_count; ++i) {
      std::string word{name(static_cast<Result>(i))};
      std::replace(word.begin(), word.end(), ' ', '_');
      if (word == text) return static_cast<Result>(i);
      known += ", " + word;
    }
    throw ConfigError{"retry(): on has no " + detail::in_quotes(text) + "; use one of " + known +
                      ", or several joined by +"};
  }
  static HedgeOptions hedge(PolicyText const* text) {
    HedgeOptions options;
    if (text == nullptr || text->name == "no") return options;
    if (text->name != "at")
      throw PolicyError{"retry(): hedge is " + detail::in_quotes(text->name) +
                            ", but must be no, or at() with percentile=0.95, after=20ms or both",
                        text->at};
    PolicyArguments arguments{*text};
    options.after = arguments.duration("after", options.after);
    if (auto const percentile = arguments.number("percentile", -1); percentile != -1)
      options.percentile = percentile;
    options.min_delay = arguments.duration("min_delay", options.min_delay);
    options.budget_fraction = arguments.number("budget_fraction", options.budget_fraction);
    options.min_hedges_per_second =
        arguments.count("min_hedges_per_second", options.min_hedges_per_second);
    arguments.done();
    return options;
  }
  static AnyPolicy failover(PolicyArguments& arguments) {
    using Mode = FailoverOptions::Mode;
    auto const mode = arguments.word("mode", {"spill", "all_or_nothing"}, 0);
    return AnyPolicy{
        Failover<AnyPolicy>{{mode == 0 ? Mode::spill : Mode::all_or_nothing}, inner(arguments)}};
  }
  static AnyPolicy zone_aware(PolicyArguments& arguments) {
    ZoneOptions options{.local = arguments.text("local", {})};
    return AnyPolicy{ZoneAware<AnyPolicy>{std::move(options), inner(arguments)}};
  }
  static AnyPolicy subset(PolicyArguments& arguments) {
    SubsetOptions options;
    options.client = arguments.count("client", options.client);
    options.clients = arguments.count("clients", options.clients);
    options.size = arguments.count("size", options.size);
    return AnyPolicy{Subset<AnyPolicy>{options, inner(arguments)}};
  }
  static AnyPolicy priority(PolicyArguments& arguments) {
    PriorityOptions const options{.fallback = arguments.flag("fallback", false)};
    auto high = inner(arguments, "high");
    auto normal = inner(arguments, "normal");
    return AnyPolicy{PriorityRouter<AnyPolicy, AnyPolicy, AnyPolicy>{
        options, std::move(high), std::move(normal), inner(arguments, "low")}};
  }
  static AnyPolicy filter(PolicyArguments& arguments) {
    InZone const zone{arguments.text("zone", {})};
    if (zone.zone.empty()) throw ConfigError{"filter() needs a zone: filter(p2c, zone=eu-1a)"};
    return AnyPolicy{Filter{zone, inner(arguments)}};
  }

  static constexpr std::array entries{
      Entry{{"round_robin", "", "one after the other, one rotation per thread"},
            &plain<RoundRobin>},
      Entry{{"exact_round_robin", "", "one after the other, one rotation for all threads"},
            &plain<ExactRoundRobin>},
      Entry{{"smooth_weighted", "", "by weight, in nginx's order, without bursts"},
            &plain<SmoothWeighted>},
      Entry{{"random", "", "at random, weights ignored"}, &plain<Random>},
      Entry{{"weighted_random", "", "at random in proportion to weight"}, &plain<WeightedRandom>},
      Entry{{"p2c", "load=weighted(in_flight)", "the less loaded of two drawn at random"},
            &by_load<PowerOfTwo>},
      Entry{{"least", "load=weighted(in_flight)", "the least loaded of all"}, &by_load<Least>},
      Entry{{"least_connections", "", "the fewest requests in flight per weight"},
            &plain<LeastConnections>},
      Entry{{"least_latency", "window=10, timeout=0s", "the shortest expected latency of all"},
            &least_latency},
      Entry{{"adaptive", "", "by measured latency and requests in flight: the best balance"},
            &plain<Adaptive>},
      Entry{{"maglev", "max_backends=655, secret=no",
             "a key stays with its backend: even shares, by a table"},
            &maglev},
      Entry{{"ring", "points=1024, secret=no",
             "a key stays with its backend: no other key ever moves"},
            &ring},
      Entry{{"rendezvous", "secret=no", "a key stays with its backend: for small sets"},
            &rendezvous},
      Entry{{"bounded", "policy=maglev, percent=125", "a keyed policy with bounded loads", true},
            &bounded},
      Entry{{"rate_limited",
             "policy=p2c, per_second=1000, burst=1000, key_per_second=0, key_burst=1, places=65536",
             "so many requests per second and backend, or key", true},
            &rate_limited},
      Entry{{"retry",
             "policy=p2c, attempts=3, base_pause=25ms, max_pause=250ms, on=failures, timeout=0s, "
             "attempt_timeout=0s, max_pushback=10s, budget_fraction=0.2, "
             "min_retries_per_second=10, hedge=no",
             "call() tries again on another backend", true},
            &retry},
      Entry{{"failover", "policy=p2c, mode=spill", "lower tiers take what higher ones can't carry",
             true},
            &failover},
      Entry{{"zone_aware", "policy=p2c, local=ZONE", "the client's zone, as far as it has capacity",
             true},
            &zone_aware},
      Entry{{"subset", "policy=p2c, client=0, clients=1, size=20", "each client uses some of many",
             true},
            &subset},
      Entry{{"priority", "high=p2c, normal=p2c, low=p2c, fallback=no",
             "a policy for each priority of requests", true},
            &priority},
      Entry{{"filter", "policy=p2c, zone=ZONE", "only the backends of one zone", true}, &filter},
  };
};

template <class Any>
Any PolicyCatalogue<Any>::make(std::string_view text) {
  return NamedPolicies::make(PolicyParser::parse(text));
}
template <class Any>
std::vector<KnownPolicy> PolicyCatalogue<Any>::list() {
  std::vector<KnownPolicy> all;
  for (auto const& entry : NamedPolicies::entries) all.push_back(entry.known);
  return all;
}

}  // namespace detail

}  // namespace poise::inline v0_1_0
