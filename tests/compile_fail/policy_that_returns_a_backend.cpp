// expect: a poise policy needs: std::size_t pick\(Candidates
// SPDX-License-Identifier: MIT
// A policy returns an index, not a backend.
#include <poise/poise.hpp>

struct First {
  poise::Backend const& pick(poise::Candidates const& candidates, poise::Context&) const {
    return candidates[0];
  }
};

int main() { poise::Balancer<First> balancer{poise::endpoints({"a"})}; }
