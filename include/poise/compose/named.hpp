// SPDX-License-Identifier: MIT
#pragma once

// Policies by name: policy_named("p2c(load=peak_ewma)"), for configuration files and command lines.
//
// Use it with Balancer<AnyPolicy> and set_policy(). A wrong name or parameter is a ConfigError that
// lists the right ones. What needs a type of yours (a predicate, a payload) has no name.

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/compose/any_policy.hpp>
#include <poise/compose/policy_text.hpp>
#include <poise/error.hpp>
#include <poise/fwd.hpp>
#include <poise/load.hpp>
#include <poise/load/ewma.hpp>
#include <poise/load/peak_ewma.hpp>
#include <poise/load/score.hpp>
#include <poise/policy/least.hpp>
#include <poise/policy/power_of_two.hpp>
#include <poise/policy/random.hpp>
#include <poise/policy/round_robin.hpp>
#include <poise/policy/smooth_weighted.hpp>

namespace poise {

/// What can be asked for by name.
struct KnownPolicy {
  std::string_view name;
  std::string_view parameters;  ///< With their defaults; empty if there are none.
  std::string_view about;
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
    throw ConfigError{"there is no policy " + quoted(text.name) + "; there are " +
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
    throw ConfigError{"there is no load " + quoted(text.name) + "; there are " + loads()};
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
