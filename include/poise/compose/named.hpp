// SPDX-License-Identifier: MIT
#pragma once

// Policies by name: policy_named("p2c(load=peak_ewma)"), for configuration files and command lines.
//
// Use it with Balancer<AnyPolicy> and set_policy(). A wrong name or parameter is a ConfigError that
// lists the right ones. What needs a type of yours (a predicate, a payload) has no name.

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
#include <poise/compose/policy_text.hpp>
#include <poise/compose/priority_router.hpp>
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

namespace poise {

/// What can be asked for by name.
struct KnownPolicy {
  std::string_view name;
  std::string_view parameters;  ///< With their defaults; empty if there are none.
  std::string_view about;
  bool wraps = false;  ///< It stands around another policy.
};

namespace detail {

/// How each name becomes a policy. A function per name, found in a table.
struct NamedPolicies {
  using Make = AnyPolicy (*)(PolicyArguments&);
  struct Entry {
    KnownPolicy known;
    Make make;
  };

  [[nodiscard]] static AnyPolicy make(PolicyText const& text) {
    PolicyArguments arguments{text};
    for (auto const& entry : entries)
      if (entry.known.name == text.name) {
        auto policy = entry.make(arguments);
        arguments.done();
        return policy;
      }
    std::vector<std::string_view> names;
    for (auto const& entry : entries) names.push_back(entry.known.name);
    throw ConfigError{"there is no policy " + detail::in_quotes(text.name) + "; there are " +
                      PolicyArguments::list(names)};
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

  /// Calls use(load) for the load that the text names, weighted(...) included.
  template <class Use>
  static AnyPolicy with_load(PolicyText const& text, Use const& use) {
    if (text.name != "weighted") return with_plain_load(text, use);
    PolicyArguments arguments{text};
    auto const* load = arguments.find("load", true);
    if (load == nullptr) throw ConfigError{"weighted() needs a load: one of " + loads()};
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
    throw ConfigError{"there is no load " + detail::in_quotes(text.name) + "; there are " +
                      loads()};
  }
  static std::string loads() { return "in_flight, ewma, peak_ewma, score, weighted(...)"; }

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
    maglev.dialect.max_backends = arguments.count("max_backends", 655, 1);
    return AnyPolicy{maglev};
  }
  static AnyPolicy ring(PolicyArguments& arguments) {
    HashRing<> ring;
    ring.dialect.points = arguments.count("points", 1024, 1);
    return AnyPolicy{ring};
  }

  // -- policies around policies ----------------------------------------------------------------

  static AnyPolicy inner(PolicyArguments& arguments, std::string_view key = "policy") {
    auto const* policy = arguments.find(key, true);
    return policy == nullptr ? AnyPolicy{P2C{}} : make(*policy);
  }

  static AnyPolicy bounded(PolicyArguments& arguments) {
    BoundedOptions const options{.percent = arguments.count("percent", 125)};
    auto const* policy = arguments.find("policy", true);
    return AnyPolicy{
        Bounded<AnyPolicy>{options, policy == nullptr ? AnyPolicy{Maglev{}} : make(*policy)}};
  }
  static AnyPolicy retry(PolicyArguments& arguments) {
    RetryOptions options;
    options.attempts = arguments.count("attempts", options.attempts);
    options.base = arguments.duration("base", options.base);
    options.cap = arguments.duration("cap", options.cap);
    options.on = endings(arguments.text("on", "failures"));
    options.timeout = arguments.duration("timeout", options.timeout);
    options.try_timeout = arguments.duration("try_timeout", options.try_timeout);
    options.longest_pushback = arguments.duration("longest_pushback", options.longest_pushback);
    options.share = arguments.number("share", options.share);
    options.floor = arguments.count("floor", options.floor);
    options.hedge = hedge(arguments.find("hedge"));
    return AnyPolicy{Retry<AnyPolicy>{options, inner(arguments)}};
  }
  /// "failures", or endings with + between them and _ for each space.
  static EndingSet endings(std::string_view text) {
    if (text == "failures") return failures;
    EndingSet set;
    for (std::size_t at = 0; at <= text.size();) {
      auto const end = std::min(text.find('+', at), text.size());
      set = set.with(ending_named(text.substr(at, end - at)));
      at = end + 1;
    }
    return set;
  }
  static Ending ending_named(std::string_view text) {
    std::string known = "failures";
    for (std::size_t i = 0; i < ending_count; ++i) {
      std::string word{name(static_cast<Ending>(i))};
      std::replace(word.begin(), word.end(), ' ', '_');
      if (word == text) return static_cast<Ending>(i);
      known += ", " + word;
    }
    throw ConfigError{"retry(): on knows no " + detail::in_quotes(text) + "; it takes " + known +
                      ", and several with + between them"};
  }
  static HedgeOptions hedge(PolicyText const* text) {
    HedgeOptions options;
    if (text == nullptr || text->name == "no") return options;
    if (text->name != "at")
      throw ConfigError{"retry(): hedge is " + detail::in_quotes(text->name) +
                        ", but must be no or at(percentile=0.95, after=20ms): one of the two, or "
                        "both"};
    PolicyArguments arguments{*text};
    options.after = arguments.duration("after", options.after);
    if (auto const percentile = arguments.number("percentile", -1); percentile != -1)
      options.percentile = percentile;
    options.least = arguments.duration("least", options.least);
    options.share = arguments.number("share", options.share);
    options.floor = arguments.count("floor", options.floor);
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
    PriorityOptions const options{.fall = arguments.flag("fall", false)};
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
      Entry{{"round_robin", "", "one after the other, each thread by itself"}, &plain<RoundRobin>},
      Entry{{"exact_round_robin", "", "one after the other, all threads together"},
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
      Entry{{"adaptive", "", "by what backends did a moment ago: the best balance"},
            &plain<Adaptive>},
      Entry{{"maglev", "max_backends=655", "a key stays with its backend: even, by a table"},
            &maglev},
      Entry{{"ring", "points=1024", "a key stays with its backend: no other key ever moves"},
            &ring},
      Entry{{"rendezvous", "", "a key stays with its backend: for small sets"}, &plain<Rendezvous>},
      Entry{{"bounded", "policy=maglev, percent=125", "a keyed policy that yields to load", true},
            &bounded},
      Entry{{"retry",
             "policy=p2c, attempts=3, base=25ms, cap=250ms, on=failures, timeout=0s, "
             "try_timeout=0s, longest_pushback=10s, share=0.2, floor=10, hedge=no",
             "call() tries again on another backend", true},
            &retry},
      Entry{{"failover", "policy=p2c, mode=spill", "lower tiers take what higher ones can't carry",
             true},
            &failover},
      Entry{{"zone_aware", "policy=p2c, local=ZONE", "the client's zone, as far as it can carry it",
             true},
            &zone_aware},
      Entry{{"subset", "policy=p2c, client=0, clients=1, size=20", "each client uses some of many",
             true},
            &subset},
      Entry{{"priority", "high=p2c, normal=p2c, low=p2c, fall=no",
             "a policy for each priority of requests", true},
            &priority},
      Entry{{"filter", "policy=p2c, zone=ZONE", "only the backends of one zone", true}, &filter},
  };
};

}  // namespace detail

/// The policy that this text describes.
///
/// *Errors* ConfigError: what is wrong, where, and what would be right.
[[nodiscard]] inline AnyPolicy policy_named(std::string_view text) {
  return detail::NamedPolicies::make(detail::PolicyParser::parse(text));
}

/// Every name that policy_named() knows, for help texts.
[[nodiscard]] inline std::vector<KnownPolicy> known_policies() {
  std::vector<KnownPolicy> all;
  for (auto const& entry : detail::NamedPolicies::entries) all.push_back(entry.known);
  return all;
}

}  // namespace poise
