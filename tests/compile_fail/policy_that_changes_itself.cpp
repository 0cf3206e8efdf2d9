// expect: a poise policy needs: std::size_t pick\(Candidates
// SPDX-License-Identifier: MIT
// A plain counter is a data race: pick is const, so that many threads may call it at once.
#include <poise/poise.hpp>

struct Counter {
  std::size_t next = 0;
  std::size_t pick(poise::Candidates const& candidates, poise::Context&) {
    return next++ % candidates.size();
  }
};

int main() { poise::Balancer<Counter> balancer{poise::endpoints({"a"})}; }
