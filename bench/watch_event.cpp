// SPDX-License-Identifier: MIT
// What one event of a watch costs in a list of this length, from the line that the registry sent to
// the list that a follower has in force; and each of a burst of a hundred events.

#include <benchmark/benchmark.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include <poise/discovery/follower.hpp>
#include <poise/discovery/json/etcd.hpp>
#include <poise/discovery/json/kubernetes.hpp>

namespace {

using namespace poise::discovery;

std::string address(std::size_t number) {
  return "10.0." + std::to_string(number / 250) + "." + std::to_string(number % 250) + ":8080";
}

/// Key and value of etcd's.
std::string etcd_pair(std::size_t number, std::string const& facts) {
  using json::detail::base64;
  auto const key = address(number);
  return R"("kv":{"key":")" + base64("web/" + key) + R"(","value":")" +
         base64(key + " zone=eu-1a" + facts) + "\"}";
}
std::string etcd_event(std::size_t number, std::size_t round) {
  return R"({"result":{"header":{"revision":")" + std::to_string(round + 2) + R"("},"events":[{)" +
         etcd_pair(number, " weight=" + std::to_string(2 + round)) + "}]}}";
}
std::string etcd_list(std::size_t count) {
  std::string text = R"({"header":{"revision":"1"},"kvs":[)";
  for (std::size_t i = 0; i < count; ++i) {
    auto const pair = etcd_pair(i, "");
    text += (i == 0 ? "" : ",") + pair.substr(pair.find('{'));
  }
  return text + "]}";
}

constexpr std::size_t per_slice = 100;
std::string slice(std::size_t number, std::size_t round) {
  auto text = R"({"metadata":{"name":"web-)" + std::to_string(number) + R"(","resourceVersion":")" +
              std::to_string(round) + R"("},"ports":[{"port":8080}],"endpoints":[)";
  for (std::size_t i = 0; i < per_slice; ++i) {
    auto const name = address(number * per_slice + i);
    bool const ready = i != 0 || round % 2 == 0;
    text += (i == 0 ? "" : ",") + (R"({"addresses":[")" + name.substr(0, name.find(':'))) +
            R"("],"conditions":{"ready":)" + (ready ? "true" : "false") +
            R"(,"serving":true,"terminating":)" + (ready ? "false" : "true") + "}}";
  }
  return text + "]}";
}
std::string kubernetes_event(std::size_t number, std::size_t round) {
  return R"({"type":"MODIFIED","object":)" + slice(number, round) + "}";
}
std::string kubernetes_list(std::size_t count) {
  std::string text = R"({"metadata":{"resourceVersion":"1"},"items":[)";
  for (std::size_t i = 0; i < count / per_slice; ++i) text += (i == 0 ? "" : ",") + slice(i, 0);
  return text + "]}";
}

/// A conversation that is watching, and the follower behind it.
template <class Registry>
class Watch {
 public:
  Watch(benchmark::State& state, Registry& registry, std::string const& list)
      : state_{&state}, registry_{&registry} {
    (void)registry.begin();
    auto step = registry.on_answer({.status = 200, .body = list});
    if (!step.look) state.SkipWithError("there is no list");
    else follower_.take(std::move(*step.look), now_);
  }
  void hand_on(std::string const& line) {
    if (!registry_->on_line(line).changed) state_->SkipWithError("the event changed nothing");
  }
  void apply() {
    now_ += std::chrono::seconds{1};
    auto const before = follower_.revision();
    follower_.take(registry_->list(), now_);
    (void)follower_.take_events();
    if (follower_.revision() == before) state_->SkipWithError("nothing was published");
  }

 private:
  benchmark::State* state_;
  Registry* registry_;
  Follower follower_{{}, 1};
  poise::Time now_{std::chrono::hours{1}};
};

template <class Registry, class Event>
void one_event(benchmark::State& state, Registry&& registry, std::string const& list,
               Event const& event) {
  Watch<Registry> watch{state, registry, list};
  std::size_t round = 0;
  for (auto each : state) {
    watch.hand_on(event(++round));
    watch.apply();
  }
}

void etcd(benchmark::State& state) {
  auto const count = static_cast<std::size_t>(state.range(0));
  one_event(state, json::Etcd{"web/"}, etcd_list(count),
            [&](std::size_t round) { return etcd_event(round % count, round); });
}
void kubernetes(benchmark::State& state) {
  auto const count = static_cast<std::size_t>(state.range(0));
  one_event(state, json::Kubernetes{"default", "web"}, kubernetes_list(count),
            [](std::size_t round) { return kubernetes_event(0, round); });
}
void etcd_burst(benchmark::State& state) {
  auto const count = static_cast<std::size_t>(state.range(0));
  constexpr std::size_t burst = 100;
  json::Etcd registry{"web/"};
  Watch<json::Etcd> watch{state, registry, etcd_list(count)};
  std::size_t round = 0;
  for (auto each : state) {
    for (std::size_t i = 0; i < burst; ++i, ++round)
      watch.hand_on(etcd_event(round % count, round));
    watch.apply();
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(round));
}

BENCHMARK(etcd)->Arg(100)->Arg(10'000)->Unit(benchmark::kMicrosecond);
BENCHMARK(kubernetes)->Arg(100)->Arg(10'000)->Unit(benchmark::kMicrosecond);
BENCHMARK(etcd_burst)->Arg(10'000)->Unit(benchmark::kMicrosecond);

}  // namespace

BENCHMARK_MAIN();
