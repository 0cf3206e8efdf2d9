// SPDX-License-Identifier: MIT

// The cost of Adaptive, and of sharing it between threads. Pick and finish are compared with the
// two clock reads that every measurement of latency needs, and with the same rule behind a mutex,
// in the same run:
//
//   clocks    two readings of the clock
//   locked    the same policy, with one mutex around pick and on_finish
//
//   adaptive  the default short list, one for all threads
//   small     a short list of 4
//   wide      two draws and a repair a pick
//
// Requests end at once, but report 8 to 12 ms, as in bench/latency.cpp. Two threads that do nothing
// else are the worst case: their lines pass from core to core all the time. What that takes differs
// by five from one pair of cores to another: contended.cpp measures it beside.

#include <cstddef>
#include <memory>
#include <mutex>
#include <string>

#include <poise/poise.hpp>

#include "support/ratios.hpp"
#include "support/timed.hpp"

namespace {

using namespace poise;

/// How one would protect the rule without poise.
template <class P>
struct Locked {
  using State = typename P::State;
  using Plan = typename P::Plan;
  static constexpr Traits traits{.uses_time = true};

  [[nodiscard]] Plan plan(Candidates const& candidates, Plan const* before) const {
    return policy.plan(candidates, before);
  }
  std::size_t pick(Plan const& plan, Candidates const& candidates, Context& context) const {
    std::scoped_lock const lock{*mutex};
    return policy.pick(plan, candidates, context);
  }
  void on_finish(Finish& finish) const {
    std::scoped_lock const lock{*mutex};
    policy.on_finish(finish);
  }

  P policy{};
  std::shared_ptr<std::mutex> mutex = std::make_shared<std::mutex>();
};

template <class P>
void enlist(std::string const& name) {
  bench::enlist("cycle/" + name, bench::timed_cycle<P>);
  bench::enlist("locked/" + name, bench::timed_cycle<Locked<P>>);
}

}  // namespace

int main(int argc, char** argv) {
  enlist<Adaptive>("adaptive");
  enlist<BasicAdaptive<1, 4>>("small");
  enlist<WideAdaptive>("wide");
  bench::enlist("clocks", bench::clocks<>);

  using bench::Comparison;
  return bench::run(argc, argv,
                    {{"cycle/adaptive", "clocks", 80, 100, Comparison::difference},
                     {"cycle/small", "clocks", 45, 100, Comparison::difference},
                     {"cycle/wide", "clocks", 0, 0, Comparison::difference},
                     {"cycle/adaptive", "locked/adaptive", 1.0, 100}});
}
