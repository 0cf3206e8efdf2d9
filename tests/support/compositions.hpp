// SPDX-License-Identifier: MIT
#pragma once

// Policies made of policies: a probe to put inside, and (below) a list of compositions of which
// tests hold what must be true of all.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <poise/hash.hpp>
#include <poise/policy.hpp>
#include <poise/policy/round_robin.hpp>

namespace tests {

/// Maps a key to a member by its hash.
struct Keyed {
  static constexpr bool keyed = true;
  std::size_t pick(poise::Candidates const& candidates, poise::Context& context) const {
    return poise::detail::hash_text(context.request.key()) % candidates.size();
  }
};

/// What became of a probe's hooks.
struct ProbeLog {
  int plans = 0;
  int picks = 0;
  int admits = 0;
  int ends = 0;
  int ticks = 0;
  int decisions = 0;
  int mistakes = 0;  // a state of another backend, of another probe, or a pick without time
  poise::Time last_tick{};
  poise::Ending last_ending = poise::Ending::success;
};

/// Round robin that has every hook and writes down what it hears. Copies share the log, and are one
/// policy to it. `Timed` and `Keyed`: what the types say; `admits`: whom it lets in.
template <bool Timed = true, bool Keyed = true>
struct Probe {
  static constexpr bool uses_time = Timed;
  static constexpr bool keyed = Keyed;
  struct Plan {
    std::size_t size = 0;
  };
  struct State {
    std::string id{};  // of the backend, written by the first to come
    void const* owner = nullptr;
    int picks = 0;
    int ends = 0;
  };

  std::shared_ptr<ProbeLog> log = std::make_shared<ProbeLog>();
  std::string refuses{};  // this backend is not let in
  poise::RoundRobin inner{};

  [[nodiscard]] std::string name() const { return "probe"; }

  [[nodiscard]] Plan plan(poise::Candidates const& candidates, Plan const*) const {
    ++log->plans;
    return {candidates.size()};
  }
  std::size_t pick(Plan const& plan, poise::Candidates const& candidates,
                   poise::Context& context) const {
    ++log->picks;
    if (plan.size != candidates.size()) ++log->mistakes;
    if (Timed && context.now == poise::Time{}) ++log->mistakes;
    return inner.pick(candidates, context);
  }
  bool admit(Plan const& plan, poise::Candidates const& candidates, std::size_t i, std::uint32_t,
             poise::Context&) const {
    ++log->admits;
    if (plan.size != candidates.size()) ++log->mistakes;
    if (candidates[i].id() == refuses) return false;
    auto& state = candidates.template state<State>(i);
    check(state, candidates[i]);
    ++state.picks;
    return true;
  }
  void on_finish(poise::Finish& finish) const {
    ++log->ends;
    log->last_ending = finish.outcome.ending;
    auto& state = finish.template state<State>();
    check(state, finish.backend);
    if (++state.ends > state.picks) ++log->mistakes;
  }
  void on_tick(poise::Time now) const {
    ++log->ticks;
    log->last_tick = now;
  }
  [[nodiscard]] poise::Decision decide(poise::Attempt const& attempt) const {
    ++log->decisions;
    return {.retry = attempt.request.attempt < 2, .after = {}};
  }

 private:
  void check(State& state, poise::Backend const& backend) const {
    if (state.id.empty()) {
      state.id = backend.id();
      state.owner = log.get();
    }
    if (state.id != backend.id() || state.owner != log.get()) ++log->mistakes;
  }
};

}  // namespace tests
