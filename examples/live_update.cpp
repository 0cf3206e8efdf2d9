// SPDX-License-Identifier: MIT
// Backends are added, removed and changed while other threads pick. No pick waits, and no request
// is lost.

#include <atomic>
#include <future>
#include <iostream>
#include <map>
#include <string>

#include <poise/poise.hpp>

using Servers = poise::Balancer<poise::SmoothWeighted>;

/// The number of requests of each backend, out of twelve: "a 6, b 6".
std::string shares(Servers& servers) {
  std::map<std::string, int> counts;
  for (int i = 0; i < 12; ++i) {
    auto lease = servers.pick();
    ++counts[lease->id()];
    lease.finish();
  }
  std::string text;
  for (auto const& [id, count] : counts)
    text += (text.empty() ? "" : ", ") + id + ' ' + std::to_string(count);
  return text;
}

int main() {
  Servers servers{{{.id = "a", .address = "10.0.0.1:80"}, {.id = "b", .address = "10.0.0.2:80"}}};
  bool as_claimed = true;
  auto const show = [&](char const* what, std::string const& expected) {
    auto const found = shares(servers);
    std::cout << what << ": " << found << '\n';
    as_claimed = as_claimed && found == expected;
  };

  // Two busy threads, so that everything below happens under traffic.
  std::atomic<bool> stop = false;
  auto const work = [&] {
    int failed = 0;
    while (!stop) {
      auto lease = servers.pick();
      if (!lease) ++failed;
      lease.finish();
    }
    return failed;
  };
  auto one = std::async(std::launch::async, work);
  auto two = std::async(std::launch::async, work);

  show("two backends", "a 6, b 6");
  servers.add({.id = "c", .address = "10.0.0.3:80"});
  show("one more", "a 4, b 4, c 4");
  servers.set_weight("c", 2);
  show("c is twice as big", "a 3, b 3, c 6");
  servers.drain("a");  // before maintenance: what it has it finishes, new requests go elsewhere
  show("a is drained", "b 4, c 8");
  servers.undrain("a");
  show("a is back", "a 3, b 3, c 6");

  // A removed backend still finishes its requests: every lease on it stays usable.
  auto held = servers.pick({.preferred = "b"});
  servers.remove("b");
  std::cout << "removed b, which still works on " << held->in_flight() << " request(s)\n";
  as_claimed = as_claimed && held->in_flight() >= 1;
  held.finish();

  // The whole set at once, as discovery brings it. Ids that stay keep their statistics, and the
  // weight that was set by hand.
  servers.update({{.id = "c", .address = "10.0.0.3:80"}, {.id = "d", .address = "10.0.0.4:80"}});
  show("replaced", "c 8, d 4");

  stop = true;
  auto const failed = one.get() + two.get();
  std::cout << "picks that failed meanwhile: " << failed << '\n';
  return as_claimed && failed == 0 ? 0 : 1;
}
