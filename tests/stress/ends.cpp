// SPDX-License-Identifier: MIT

// How requests end while everything that hears of it is exchanged: a policy must be told with its
// own state of the backend, never with one that its predecessor or successor made.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <poise/balancer.hpp>
#include <poise/compose/any_policy.hpp>

#include "stress/team.hpp"
#include "support/catch.hpp"

namespace {

using poise::Candidates;
using poise::Context;
using tests::Number;

/// Marks each state with its own number, and looks at the mark when a request ends.
struct Marking {
  struct Mark {
    std::int64_t value;
    std::int64_t end = 1;  // 0 in memory that was freed, if a sanitizer does not say so first
    explicit Mark(std::int64_t of) : value{of} {}
    ~Mark() { end = 0; }
    Mark(Mark const&) = delete;
    Mark& operator=(Mark const&) = delete;
  };
  std::int64_t number = 0;
  std::shared_ptr<Number> heard = std::make_shared<Number>(0);
  std::shared_ptr<Number> wrong = std::make_shared<Number>(0);

  [[nodiscard]] std::shared_ptr<void> make_state() const { return std::make_shared<Mark>(number); }
  std::size_t pick(Candidates const& candidates, Context& context) const {
    return context.random.below(candidates.size());
  }
  void on_finish(poise::Finish& finish) const {
    auto const& mark = finish.state<Mark>();
    if (mark.value != number || mark.end != 1) wrong->add(1);
    heard->add(1);
  }
};

/// One of another size, without a state of its own.
struct Stateless {
  std::shared_ptr<Number> heard;
  std::size_t pick(Candidates const& candidates, Context& context) const {
    return context.random.below(candidates.size());
  }
  void on_finish(poise::Finish&) const { heard->add(1); }
};

template <class P>
struct Caller {
  explicit Caller(poise::Balancer<P>& balancer) : servers{balancer} {}
  void work() {
    servers.pick().finish();
    ++picks;
  }
  poise::Balancer<P>& servers;
  std::int64_t picks = 0;
};

/// So many that linking their states takes a while.
std::vector<poise::Endpoint> hundreds() {
  std::vector<poise::Endpoint> all;
  for (int i = 0; i < 300; ++i) all.push_back({.id = std::to_string(i)});
  return all;
}

template <class Team>
std::int64_t picks_of(Team& team) {
  std::int64_t picks = 0;
  for (auto const& caller : team.stop()) picks += caller.picks;
  return picks;
}

}  // namespace

TEST_CASE("a policy that replaces another never gets the other's state") {
  Marking policy;
  poise::Balancer<Marking> servers{hundreds(), policy};
  tests::Team<Caller<Marking>> callers{2, servers};
  for (tests::Rounds rounds{200}; rounds.next();) {
    policy.number = rounds.made();
    servers.set_policy(policy);
  }
  auto const picks = picks_of(callers);
  CHECK(picks > 0);
  CHECK(policy.wrong->load() == 0);
  CHECK(policy.heard->load() == picks);
}

TEST_CASE("the same holds for policies of any type, with states and without") {
  Marking marking;
  Stateless const stateless{marking.heard};
  poise::Balancer<poise::AnyPolicy> servers{hundreds(), poise::AnyPolicy{marking}};
  tests::Team<Caller<poise::AnyPolicy>> callers{2, servers};
  for (tests::Rounds rounds{200}; rounds.next();) {
    marking.number = rounds.made();
    servers.set_policy(rounds.made() % 2 == 0 ? poise::AnyPolicy{stateless}
                                              : poise::AnyPolicy{marking});
  }
  auto const picks = picks_of(callers);
  CHECK(picks > 0);
  CHECK(marking.wrong->load() == 0);
  CHECK(marking.heard->load() == picks);
}

TEST_CASE("no policy is notified of a removed backend, and its state is not touched") {
  Marking const policy;
  poise::Balancer<Marking> servers{poise::endpoints({"a", "b"}), policy};
  auto early = servers.pick();
  auto late = servers.pick();
  early.finish();
  CHECK(policy.heard->load() == 1);
  std::string const id{late->id()};
  servers.remove(id);
  servers.tick();  // frees what the removed one had
  late.finish();
  CHECK(policy.heard->load() == 1);
  servers.add({.id = id});
  for (int i = 0; i < 100; ++i) servers.pick().finish();
  CHECK(policy.heard->load() == 101);
}

TEST_CASE("states are destroyed with the balancer, and its leases still finish") {
  Marking const policy;
  std::vector<poise::Balancer<Marking>::Lease> leases;
  {
    poise::Balancer<Marking> servers{poise::endpoints({"a", "b"}), policy};
    for (int i = 0; i < 10; ++i) leases.push_back(servers.pick());
  }
  leases.clear();
  CHECK(policy.heard->load() == 0);
}

namespace {

/// Picks that end while their backends come and go.
struct Comer {
  explicit Comer(poise::Balancer<Marking>& balancer) : servers{balancer} {}
  void work() {
    auto first = servers.pick();
    servers.pick().finish();
    first.finish();
    picks += 2;
  }
  poise::Balancer<Marking>& servers;
  std::int64_t picks = 0;
};

}  // namespace

TEST_CASE("while backends and policies come and go every state is its policy's and alive") {
  Marking policy;
  poise::Balancer<Marking> servers{poise::endpoints({"a", "b", "c"}), policy};
  tests::Team<Comer> callers{2, servers};
  for (tests::Rounds rounds{200}; rounds.next();) {
    servers.remove("b");
    policy.number = rounds.made();
    servers.set_policy(policy);
    servers.add({.id = "b"});
    servers.tick();
  }
  CHECK(picks_of(callers) > 0);
  CHECK(policy.wrong->load() == 0);
}
