// SPDX-License-Identifier: MIT
// The text of a scenario: what it means, and what is said of mistakes.

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

#include "simulate/scenario.hpp"
#include "support/catch.hpp"
#include "support/text.hpp"

namespace tools_simulate_scenario {

using simulate::Incident;
using simulate::read_scenario;
using tests::mentions;

namespace {

std::string const rest = "servers 3\nwork fixed mean=10ms\nutilisation 0.5\nwindow 1s\n";

std::string refusal(std::string const& text) {
  return tests::thrown<poise::ConfigError>([&] { (void)read_scenario(text); });
}

/// A file that is gone after the test.
struct File {
  explicit File(std::string const& text) { std::ofstream{path} << text; }
  File(File const&) = delete;
  File& operator=(File const&) = delete;
  ~File() { std::remove(path.c_str()); }
  std::string path = (std::filesystem::temp_directory_path() / "poise_simulate_trace.txt").string();
};

}  // namespace

TEST_CASE("the documented scenario is read as documented") {
  auto const it = read_scenario(R"(
    name        grey
    clients     10
    servers     18 cores=1 discipline=ps speed=1     # several lines add up
    servers     2  cores=2 discipline=fifo speed=0.3 weight=3
    work        lognormal mean=10ms sigma=1.3
    utilisation 0.7
    arrivals    bursty high=1.6 low=0.7 period=500ms
    network     0.25ms
    timeout     1s
    warmup      8s
    window      20s
    at 18s      server 3 speed=1
    at 8s       server 3 speed=0.1
    at 1s       servers 4-6 errors=0.5 after=0.1ms
    at 0s       servers all wander sigma=0.6 time=2s
  )");
  CHECK(it.name == "grey");
  CHECK(it.clients == 10);
  REQUIRE(it.servers.size() == 20);
  CHECK(it.servers[19].cores == 2);
  CHECK(it.servers[19].weight == 3);
  CHECK(it.servers[19].discipline == simulate::Discipline::fifo);
  CHECK(it.capacity() == Approx(18 + 2 * 2 * 0.3));
  CHECK(it.request_rate() * 1e9 == Approx(0.7 * 19.2 / 0.01));
  CHECK(it.timeout == 1e9);
  REQUIRE(it.incidents.size() == 4);
  CHECK(it.incidents[0].kind == Incident::Kind::wander);
  CHECK(it.incidents[0].last == 19);
  CHECK(it.incidents[1].first == 4);
  CHECK(it.incidents[1].last == 6);
  CHECK(it.incidents[1].time == 1e5);
  CHECK(it.incidents[2].value == 0.1);
  CHECK(it.incidents[3].at == 18e9);
}

TEST_CASE("a rate may be given instead of the utilisation") {
  auto const it = read_scenario("servers 2\nwork fixed mean=10ms\nrate 100/s\nwindow 1s\n");
  CHECK(it.load() == Approx(0.5));
}

TEST_CASE("zero needs no unit, and a file may come from elsewhere") {
  auto const it = read_scenario("\xEF\xBB\xBFname\tx\r\nnetwork 0\r\nwarmup 0\r\n" + rest +
                                "at 0 server 1 errors=1 after=0\n");
  CHECK(it.name == "x");
  CHECK(it.network == 0);
  CHECK(it.incidents.at(0).at == 0);
}

TEST_CASE("an unknown key is answered with its line and the known ones") {
  auto const message = refusal("servers 3\nspeeed 4\n");
  CHECK(mentions(message, "line 2"));
  CHECK(mentions(message, "\"speeed\""));
  CHECK(mentions(message, "utilisation, rate, arrivals"));
  CHECK(mentions(refusal("servers 3 color=red\n"), "cores, discipline, speed, weight"));
  CHECK(mentions(refusal("work gamma mean=3ms\n"), "fixed, exponential, lognormal"));
  CHECK(mentions(refusal("arrivals often\n"), "poisson, batch, bursty, recorded"));
  CHECK(mentions(refusal(rest + "at 1s server 0 explodes\n"), "wander sigma= time="));
  CHECK(mentions(refusal("servers 3 discipline=lifo\n"), "known: ps, fifo"));
}

TEST_CASE("a scenario without servers is refused with advice") {
  CHECK(mentions(refusal("clients 3\n"), "there are no servers; add a line such as: servers 10"));
  CHECK(mentions(refusal("servers 0\n"), "line 1: the number of servers is \"0\""));
}

TEST_CASE("an incident for a server that is not there is refused") {
  auto const message = refusal(rest + "at 1s server 3 down\n");
  CHECK(mentions(message, "line 5"));
  CHECK(mentions(message, "there is no server 3; the last of 3 is server 2"));
  CHECK(mentions(refusal(rest + "at 1s servers 2-1 down\n"), "empty"));
}

TEST_CASE("numbers and times that make no sense are refused") {
  for (auto const* line : {"timeout 5",
                           "timeout -5ms",
                           "timeout 0s",
                           "network fast",
                           "clients 0",
                           "clients 1.5",
                           "clients -1",
                           "utilisation 0",
                           "utilisation nan",
                           "utilisation 0x1",
                           "window 1e300s",
                           "rate inf",
                           "rate 5/m",
                           "work fixed mean=0ms",
                           "work lognormal sigma=1",
                           "work fixed",
                           "work pareto alpha=1.5 mean=2s cap=1s",
                           "arrivals batch mean=0.5",
                           "arrivals batch",
                           "arrivals bursty high=0.5",
                           "arrivals bursty high=2",
                           "arrivals poisson mean=2",
                           "at 1s server 0 errors=2",
                           "at 1s server 0 ramp speed=1",
                           "at 1s server 0 wander time=1s",
                           "servers 3 speed=-1",
                           "servers 3 speed",
                           "servers 3 weight=0",
                           "servers 3 weight=1.5",
                           "servers 3 cores=2.5",
                           "window 0",
                           "work fixed mean=0",
                           "retries 99"}) {
    CAPTURE(line);
    CHECK(mentions(refusal(std::string{line} + "\n" + rest), "line 1: "));
  }
}

TEST_CASE("missing or contradictory settings are named") {
  CHECK(mentions(refusal("servers 3\nwork fixed mean=1ms\nwindow 1s\n"), "utilisation is missing"));
  CHECK(mentions(refusal("servers 3\nutilisation 0.5\n"), "window is missing"));
  CHECK(mentions(refusal(rest + "rate 5/s\n"), "both utilisation and rate"));
  CHECK(mentions(refusal("servers 3\nwork fixed mean=1ns\nrate 1e12/s\nwindow 1000s\n"),
                 "at most 1000000000 are simulated"));
  CHECK(mentions(refusal(rest + "window 1000s\nat 0s servers all wander sigma=1 time=1ns\n"),
                 "line 6: "));
  CHECK(mentions(refusal(rest + "clients 100000\nservers 60000\n"), "clients that know 60003"));
}

TEST_CASE("a trace keeps its shape and gives the mean") {
  File const file{"1\n\n2 # two\n3\r\n"};
  auto const it =
      read_scenario("servers 1\nutilisation 0.5\nwindow 1s\nwork trace " + file.path + "\n");
  CHECK(it.work.mean == Approx(2e6));
  simulate::Dice random{1, 1};
  double sum = 0;
  for (int i = 0; i < 30'000; ++i) sum += it.work.draw(random);
  CHECK(sum / 30'000 == Approx(2e6).epsilon(0.02));
}

TEST_CASE("a trace of one value is that value") {
  File const file{"7\n"};
  auto const it =
      read_scenario("servers 1\nutilisation 0.5\nwindow 1s\nwork trace " + file.path + "\n");
  simulate::Dice random{1, 1};
  CHECK(it.work.draw(random) == Approx(7e6));
}

TEST_CASE("a trace with text or negative numbers is refused with the line") {
  for (auto const* line : {"abc", "-3", "1,2", "nan", "inf", "1e99", "0x10"}) {
    CAPTURE(line);
    File const file{"1\n" + std::string{line} + "\n"};
    auto const message =
        refusal("servers 1\nutilisation 0.5\nwindow 1s\nwork trace " + file.path + "\n");
    CHECK(mentions(message, "line 2: \"" + std::string{line} + "\" is no time"));
  }
  File const file{"# nothing\n"};
  CHECK(mentions(refusal("work trace " + file.path + "\n"), "no value above 0"));
  CHECK(mentions(refusal("work trace /no/such/file\n"), "can't read"));
}

TEST_CASE("a folder is no trace") { CHECK(mentions(refusal("work trace /tmp\n"), "can't read")); }

TEST_CASE("recorded arrivals come as they were recorded") {
  File const file{"0\n10\n20\n60\n"};
  auto const it = read_scenario("servers 1\nwork fixed mean=1ms\nwindow 1s\narrivals recorded " +
                                file.path + "\n");
  CHECK(it.request_rate() * 1e9 == Approx(50));
  simulate::ArrivalStream stream{it.arrivals, it.request_rate(), 1};
  CHECK(stream.next() == Approx(10e6));
  CHECK(stream.next() == Approx(20e6));
  CHECK(stream.next() == Approx(60e6));
  CHECK(stream.next() == Approx(70e6));
  File const backwards{"5\n4\n"};
  CHECK(mentions(refusal("arrivals recorded " + backwards.path + "\n"), "go back in time"));
}

}  // namespace tools_simulate_scenario
