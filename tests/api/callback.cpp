// SPDX-License-Identifier: MIT
// Seam: a lease passes through a C interface that knows only a function and a void pointer.

#include <memory>
#include <vector>

#include <poise/poise.hpp>

#include "support/catch.hpp"

namespace api_callback {

namespace {

using Servers = poise::Balancer<poise::RoundRobin, void, poise::Runtime<poise::VirtualClock>>;

/// An event loop as C libraries have it.
struct Loop {
  using Callback = void (*)(void* tag, int status);
  struct Job {
    Callback callback;
    void* tag;
  };
  std::vector<Job> jobs;
  void send(Callback callback, void* tag) { jobs.push_back({callback, tag}); }
  void run(int status) {
    for (auto const& job : jobs) job.callback(job.tag, status);
    jobs.clear();
  }
};

extern "C" void on_reply(void* tag, int status) {
  std::unique_ptr<Servers::Lease::Token> const token{static_cast<Servers::Lease::Token*>(tag)};
  Servers::Lease::adopt(*token).finish(status == 0 ? poise::Result::success : poise::Result::reset);
}

}  // namespace

TEST_CASE("seam callback carries a lease through a void pointer") {
  Servers servers{poise::endpoints({"a"}), {}, {.seed = 1}};
  Loop loop;
  loop.send(&on_reply, new Servers::Lease::Token{servers.pick().release()});
  CHECK(servers.stats().backends[0].in_flight == 1);
  loop.run(1);
  CHECK(servers.stats().backends[0].in_flight == 0);
  CHECK(servers.stats().backends[0].ended(poise::Result::reset) == 1);
}

TEST_CASE("seam callback may come after the balancer is gone") {
  Loop loop;
  {
    Servers servers{poise::endpoints({"a"}), {}, {.seed = 1}};
    loop.send(&on_reply, new Servers::Lease::Token{servers.pick().release()});
  }
  loop.run(0);
  CHECK(loop.jobs.empty());
}

}  // namespace api_callback
