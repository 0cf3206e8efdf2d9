// SPDX-License-Identifier: MIT
// How many of the same 100 requests each backend gets, for every policy. One request in ten fails.
//
// Time is virtual and randomness is seeded, so the same seed prints the same picture. Requests
// arrive every 4 ms at five backends; `e` is three times as slow as the others and half as big.

#include <charconv>
#include <chrono>
#include <cstdint>
#include <exception>
#include <map>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <fmt/format.h>

#include <poise/compose/policy_named.hpp>
#include <poise/poise.hpp>

namespace {

using namespace std::chrono_literals;

constexpr std::string_view help = R"(seed: how each policy spreads 100 requests, as bars

  seed                          every policy
  seed 'p2c(load=peak_ewma)'    these policies, by name and parameters
  seed --seed 7                 another seed (default 1)
  seed --requests 1000          more requests
)";

using Balancer = poise::Balancer<poise::AnyPolicy, void, poise::Runtime<poise::VirtualClock>>;

std::vector<poise::Endpoint> backends() {
  return {{.id = "a", .weight = 4},
          {.id = "b", .weight = 2},
          {.id = "c", .weight = 2},
          {.id = "d", .weight = 2},
          {.id = "e", .weight = 1}};
}

/// Sends the requests, and returns what each backend got.
std::vector<poise::BackendStats> run(std::string_view policy, std::uint64_t seed, int requests) {
  poise::VirtualClock clock;
  Balancer balancer{backends(), poise::policy_named(policy), {.clock = clock, .seed = seed}};
  poise::RandomSource source{seed, &poise::detail::mix};
  poise::Rng random{source, poise::sync::Lane::shared};

  std::multimap<poise::Time, Balancer::Lease> working;  // by the moment they answer
  auto const answer_until = [&](poise::Time time) {
    while (!working.empty() && working.begin()->first <= time) {
      auto const first = working.begin();
      clock.advance(first->first - clock.now());
      first->second.finish(random.below(10) == 0 ? poise::Result::error : poise::Result::success);
      working.erase(first);
    }
    clock.advance(time - clock.now());
  };
  for (int i = 0; i < requests; ++i) {
    answer_until(clock.now() + 4ms);
    auto lease = balancer.pick({.client_id = std::to_string(i % 40)});
    if (!lease) continue;  // a filter may leave no backend
    auto const work = lease->id() == "e" ? 30ms : 10ms;
    auto const ends = clock.now() + work * (1 + static_cast<int>(random.below(3)));
    working.emplace(ends, std::move(lease));
  }
  answer_until(clock.now() + 1h);
  return balancer.stats().backends;
}

void print(std::string_view policy, std::vector<poise::BackendStats> const& backends,
           int requests) {
  auto const all = static_cast<std::uint64_t>(requests);
  fmt::print("{}\n", policy);
  for (auto const& each : backends) {
    constexpr int width = 50;  // for half of all requests
    auto const share = static_cast<int>(each.total * 2 * width / all);
    fmt::print("  {} x{} {:>4}  {:#<{}}", each.id, each.weight, each.total, "",
               share < width ? share : width);
    fmt::print("{}\n", each.failed == 0 ? "" : fmt::format("  {} failed", each.failed));
    requests -= static_cast<int>(each.total);
  }
  if (requests > 0) fmt::print("  none   {:>2}\n", requests);
}

std::uint64_t number(std::string_view option, std::string_view text, std::uint64_t least,
                     std::uint64_t most) {
  std::uint64_t value = 0;
  auto const [rest, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc{} && rest == text.data() + text.size() && value >= least && value <= most)
    return value;
  throw poise::ConfigError{fmt::format("{} is \"{}\", but must be a whole number from {} to {}",
                                       option, text, least, most)};
}

}  // namespace

int main(int argc, char** argv) try {
  std::uint64_t seed = 1;
  int requests = 100;
  std::vector<std::string_view> policies;
  for (int i = 1; i < argc; ++i) {
    std::string_view const word{argv[i]};
    std::string_view const value{i + 1 < argc ? argv[i + 1] : ""};
    if (word == "--help" || word == "-h") return fmt::print("{}", help), 0;
    if (word == "--seed") seed = number(word, value, 0, ~std::uint64_t{0}), ++i;
    else if (word == "--requests")
      requests = static_cast<int>(number(word, value, 1, 10'000'000)), ++i;
    else policies.push_back(word);
  }
  if (policies.empty()) {
    for (auto const& each : poise::known_policies())
      if (!each.wraps) policies.push_back(each.name);
    for (auto const* loads : {"p2c(load=peak_ewma)", "p2c(load=score)", "least(load=peak_ewma)"})
      policies.emplace_back(loads);
  }
  for (auto const policy : policies) print(policy, run(policy, seed, requests), requests);
} catch (std::exception const& error) {
  fmt::print(stderr, "seed: {}\n", error.what());
  return 2;
}
