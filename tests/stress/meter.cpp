// SPDX-License-Identifier: MIT

// A meter while everything happens at once: two threads pick and finish, another one replaces,
// removes and adds backends, and the test scrapes. No counter of any series ever falls, and in the
// end every request is counted once.

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <poise/observe/meter.hpp>
#include <poise/observe/prometheus.hpp>
#include <poise/observe/reader.hpp>
#include <poise/poise.hpp>

#include "stress/team.hpp"
#include "support/catch.hpp"
#include "support/exposition.hpp"

namespace {

using namespace poise;
using Servers = Balancer<P2C, void, Runtime<SteadyClock, observe::Meter<>>>;

std::vector<Endpoint> set_of(unsigned round) {
  std::vector<Endpoint> all;
  for (unsigned i = 0; i < 8; ++i) {
    if ((round + i) % 5 == 0) continue;  // leaves, and comes back
    all.push_back({.id = std::to_string(i), .zone = std::to_string(i < 3 ? round % 7 : 0)});
  }
  return all;
}

/// Holds some leases beyond updates and removals.
struct Client {
  explicit Client(Servers& shared) : servers{shared} {}
  void work() {
    auto lease = servers.pick();
    if (!lease) return;
    ++started;
    auto& place = held[started % held.size()];
    if (place) ++finished;
    place.finish(started % 3 == 0 ? Result::error : Result::success);
    place = std::move(lease);
  }
  Servers& servers;
  std::vector<Servers::Lease> held = std::vector<Servers::Lease>(5);
  std::uint64_t started = 0;
  std::uint64_t finished = 0;
};

/// Changes the set as fast as it can: backends come and go within one reading.
struct Hasty {
  explicit Hasty(Servers& shared) : servers{shared} {}
  void work() { servers.update(set_of(++round)); }
  Servers& servers;
  unsigned round = 0;
};

struct Operator {
  explicit Operator(Servers& shared) : servers{shared} {}
  void work() {
    servers.update(set_of(++round));
    if (round % 16 == 0) servers.tick();
    std::this_thread::sleep_for(std::chrono::milliseconds{1});
  }
  Servers& servers;
  unsigned round = 0;
};

class Watch {
 public:
  void look(observe::Reader const& reader) {
    auto const snapshot = reader.read();
    tests::Exposition const read{observe::metrics_text(std::span{&snapshot, 1})};
    complaints_ += read.complaints();
    for (auto const& [series, value] : read.samples()) {
      if (!read.only_rises(series)) continue;
      auto& highest = highest_[series];
      if (value < highest) complaints_ += series + " fell\n";
      highest = value;
    }
    if (complaints_.size() > 4000) complaints_.resize(4000);
  }
  [[nodiscard]] std::string const& complaints() const { return complaints_; }

 private:
  std::map<std::string, double> highest_;
  std::string complaints_;
};

}  // namespace

TEST_CASE("no series falls, and every request is counted once") {
  Servers servers{set_of(0)};
  observe::Reader const reader{"", servers, {.cap = 5}};
  Watch watch;
  std::uint64_t started = 0;
  std::uint64_t finished = 0;
  {
    tests::Team<Client> clients{2, servers};
    tests::Team<Operator> operators{1, servers};
    for (tests::Rounds rounds{50}; rounds.next();) watch.look(reader);
    for (auto& client : clients.stop()) {
      started += client.started;
      finished += client.finished;
    }
    auto const at_rest = reader.read();
    CHECK(at_rest.requests.all_completed() == finished);
    CHECK(at_rest.requests.in_flight == started - finished);
  }
  servers.tick();
  watch.look(reader);
  CHECK(watch.complaints().empty());
  auto const last = reader.read();
  CHECK(last.requests.all_completed() == started);
  CHECK(last.requests.in_flight == 0);
  CHECK(last.attempts.total() == finished);  // the rest was abandoned
}

TEST_CASE("a reading misses no request of a backend that comes and goes meanwhile") {
  Servers servers{set_of(0)};
  observe::Reader const reader{"", servers, {.cap = 5}};
  Client client{servers};  // on this thread: no request begins or ends during a reading
  tests::Team<Hasty> operators{1, servers};
  std::uint64_t wrong = 0;
  for (tests::Rounds rounds{500}; rounds.next();) {
    for (int i = 0; i < 7; ++i) client.work();
    auto const read = reader.read().requests;
    if (read.all_completed() != client.finished) ++wrong;
    if (read.in_flight != client.started - client.finished) ++wrong;
  }
  operators.stop();
  CHECK(wrong == 0);
}
