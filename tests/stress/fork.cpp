// SPDX-License-Identifier: MIT

// Processes: a child of fork goes on by itself, and a kernel that stops to offer membarrier is
// noticed.
//
// Children end by _exit with the number of the first thing that went wrong. ThreadSanitizer does
// not support a fork of a process that has threads, so that one test is left out there.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <thread>

#include <poise/balancer.hpp>
#include <poise/policy/round_robin.hpp>
#include <poise/sync/fence.hpp>

#include "stress/team.hpp"
#include "support/catch.hpp"

#ifdef __linux__

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

namespace {

using tests::Census;
using tests::Mortal;
using tests::Number;

using Servers = poise::Balancer<poise::RoundRobin, Mortal>;

poise::Endpoint host(int number) {
  auto const id = std::to_string(number);
  return {.id = id, .address = id};
}

auto payloads(Census& census) {
  return [&census](poise::Endpoint const&) { return Mortal{census}; };
}

/// Ends the child with this number unless all is well.
void expect(int number, bool well) {
  if (!well) _exit(number);
}

/// What the child of a fork answers: 0 if all was well, else the number of what was not.
template <class Child>
int answer_of(Child const& child) {
  std::fflush(nullptr);
  auto const process = fork();
  if (process == 0) {
    child();
    _exit(0);
  }
  int status = -1;
  waitpid(process, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/// From now on membarrier fails in this process. False if the kernel does not allow to say so.
bool forbid_membarrier() {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  sock_fprog const filter{sizeof program / sizeof program[0], program};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

}  // namespace

TEST_CASE("after a fork both processes pick and change, each for itself") {
  Census census;
  {
    Servers servers{{host(0), host(1)}, payloads(census)};
    auto lease = servers.pick();
    auto const answer = answer_of([&] {
      expect(1, lease->payload().alive());
      lease.finish();
      servers.add(host(2));
      servers.remove("0");
      servers.remove("1");
      expect(2, census.alive() == 1);
      for (int i = 0; i < 100; ++i) expect(3, servers.pick()->id() == "2");
      // A child may have threads of its own.
      Number picked{0};
      std::thread other{[&] {
        for (int i = 0; i < 100; ++i)
          if (servers.pick()) picked.add(1);
      }};
      for (int number = 3; number < 50; ++number) servers.add(host(number));
      other.join();
      expect(4, picked.load() == 100);
      servers.tick();
      auto const stats = servers.stats();
      expect(5, stats.retired_snapshots == 0);
      expect(6, stats.stranded_snapshots == 0);
      servers = Servers{{host(7)}, payloads(census)};
      expect(7, census.alive() == 1);
    });
    CHECK(answer == 0);
    CHECK(census.alive() == 2);
    CHECK(lease->in_flight() == 1);
    lease.finish();
    servers.remove("1");
    CHECK(servers.pick()->id() == "0");
    CHECK(census.alive() == 1);
  }
  CHECK(census.alive() == 0);
}

TEST_CASE("a child does not wait for readers that exist only in its parent") {
  if (tests::under_thread_sanitizer) return;  // see above
  struct Stop {
    Number inside{0};
    Number go{0};
  };
  struct Slow {
    Stop* stop;
    std::size_t pick(poise::Candidates const&, poise::Context&) const {
      if (stop->inside.add(1) == 0)
        while (stop->go.load() == 0) std::this_thread::yield();
      return 0;
    }
  };
  Stop stop;
  poise::Balancer<Slow> servers{{host(0)}, Slow{&stop}};
  std::thread reader{[&] { servers.pick().finish(); }};
  while (stop.inside.load() == 0) std::this_thread::yield();

  auto const answer = answer_of([&] {
    for (int number = 1; number < 50; ++number) {
      servers.add(host(number));
      expect(1, static_cast<bool>(servers.pick()));
    }
    servers.tick();
    expect(2, servers.stats().retired_snapshots == 0);
  });
  CHECK(answer == 0);

  servers.add(host(1));
  CHECK(servers.stats().retired_snapshots == 1);  // here the reader still reads
  stop.go.store(1);
  reader.join();
  servers.tick();
  CHECK(servers.stats().retired_snapshots == 0);
}

TEST_CASE("when the kernel takes membarrier back, changes go on and free nothing unsafely") {
  Census census;
  Servers servers{{host(0), host(1)}, payloads(census)};
  if (poise::sync::fence_in_use() != poise::sync::Fence::asymmetric)
    return;  // nothing to take back

  auto const answer = answer_of([&] {
    if (!forbid_membarrier()) _exit(99);
    std::size_t const changes =
        100;  // more than may be retired: stranded snapshots delay no change
    for (std::size_t change = 0; change < changes; ++change) {
      if (change % 2 == 0) servers.add(host(2));
      else servers.remove("2");
      expect(1, static_cast<bool>(servers.pick()));
    }
    auto const stats = servers.stats();
    expect(2, stats.stranded_snapshots == changes);
    expect(3, stats.retired_snapshots == 0);
    expect(4, census.alive() == 2 + static_cast<std::int64_t>(changes) / 2);
    expect(5, stats.backends.size() == 2 && stats.backends[0].in_flight == 0);
    Number picked{0};
    std::thread other{[&] {
      for (int i = 0; i < 100; ++i)
        if (servers.pick()) picked.add(1);
    }};
    servers.drain("0");
    other.join();
    expect(6, picked.load() == 100);
    for (int i = 0; i < 10; ++i) expect(7, servers.pick()->id() == "1");
    auto gone = std::move(servers);  // and its end does not hang
  });
  if (answer == 99) WARN("not tested: this kernel allows no seccomp filter");
  else CHECK(answer == 0);
  CHECK(servers.stats().stranded_snapshots == 0);
  CHECK(census.alive() == 2);
}

#endif  // __linux__
