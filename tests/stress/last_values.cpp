// SPDX-License-Identifier: MIT

// Values that several threads leave in a small ring while others read: none is a mixture of two,
// none is another one's, and none is counted twice.

#include <array>
#include <cstddef>
#include <cstdint>

#include <poise/analysis/decisions.hpp>
#include <poise/balancer.hpp>
#include <poise/policy/power_of_two.hpp>
#include <poise/runtime.hpp>
#include <poise/sync/last_values.hpp>

#include "stress/team.hpp"
#include "support/catch.hpp"

namespace {

struct Value {
  std::uint64_t number = 0;
  std::array<std::uint64_t, 500> copies{};

  explicit Value(std::uint64_t of) : number{of} { copies.fill(of * 0x9e3779b97f4a7c15U); }
  Value() = default;
  [[nodiscard]] bool whole() const noexcept {
    for (auto const copy : copies)
      if (copy != number * 0x9e3779b97f4a7c15U) return false;
    return true;
  }
};

// Large and few, so that writers are held up while they write, and others meet them in their slot.
using Few = poise::sync::LastValues<Value, 2>;

struct Writer {
  explicit Writer(Few& shared) : values{shared} {}
  void work() {
    values.add(Value{++made});  // never yields: it has to be held up while it writes
  }
  Few& values;
  std::uint64_t made = 0;
};

struct Reader {
  explicit Reader(Few& shared) : values{shared} {}
  void work() {
    auto const next = values.next();
    for (std::uint64_t age = 1; age <= Few::size && age <= next; ++age) {
      auto const value = values.at(next - age);
      if (!value) continue;
      ++seen;
      if (!value->whole()) ++mixed;
    }
  }
  Few& values;
  std::uint64_t seen = 0;
  std::uint64_t mixed = 0;
};

}  // namespace

TEST_CASE("values of several threads in a small ring are read whole or not at all") {
  Few values;
  std::uint64_t made = 0;
  {
    tests::Team<Reader> readers{2, values};
    tests::Team<Writer> writers{3, values};
    Reader own{values};
    // Until it has seen one: writers that are held up while they write leave nothing to read.
    for (tests::Rounds rounds{2000}; rounds.next() || own.seen == 0;) own.work();
    for (auto const& writer : writers.stop()) made += writer.made;
    for (auto const& reader : readers.stop()) CHECK(reader.mixed == 0);
    CHECK(own.mixed == 0);
  }
  REQUIRE(values.next() == made);
  // Of the last values some may have been given up, and an earlier one stays in their place.
  std::uint64_t here = 0;
  for (std::uint64_t age = 1; age <= Few::size; ++age) here += values.at(made - age) ? 1U : 0U;
  CHECK(here + values.lost() >= Few::size);
}

TEST_CASE("decisions are read whole while threads pick and the set changes") {
  using Decisions = poise::analysis::Decisions<poise::analysis::DecisionOptions{.sampling = 2}>;
  using Servers = poise::Balancer<poise::P2C, void, poise::Runtime<poise::SteadyClock, Decisions>>;
  Servers servers{poise::endpoints({"a", "b", "c", "d"})};
  struct Picker {
    explicit Picker(Servers& shared) : servers{shared} {}
    void work() { servers.pick().finish(); }
    Servers& servers;
  };
  tests::Team<Picker> pickers{2, servers};
  std::uint64_t wrong = 0;
  std::uint64_t seen = 0;
  for (tests::Rounds rounds{30}; rounds.next() || seen == 0;) {
    servers.add({.id = "e"});
    servers.remove("e");
    for (auto const& each : servers.observer<Decisions>().last()) {
      ++seen;
      bool listed = each.ids.size() == 2 && each.pick.draws == 1 && each.winner.size() == 1;
      for (auto const& id : each.ids)
        listed = listed && id.size() == 1 && id[0] >= 'a' && id[0] <= 'e';
      wrong += listed ? 0 : 1;
    }
  }
  pickers.stop();
  CHECK(wrong == 0);
}
