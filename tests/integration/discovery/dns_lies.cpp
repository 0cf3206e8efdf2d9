// SPDX-License-Identifier: MIT
// DNS answers that no server of ours can be made to give: written byte by byte, over UDP. TCP is
// refused.

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <variant>

#include <poise/discovery/cares/dns.hpp>
#include <poise/discovery/watcher.hpp>

#include "integration/discovery/servers.hpp"
#include "support/catch.hpp"

namespace integration_discovery_dns_lies {

using namespace std::chrono_literals;
using namespace poise::discovery;

namespace {

/// Answers each query over UDP with bytes of the test's choice; none if they are empty.
class LyingServer {
 public:
  using Lie = std::function<std::string(std::string query)>;

  explicit LyingServer(Lie lie) : lie_{std::move(lie)} {
    socket_ = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    timeval const patience{.tv_sec = 0, .tv_usec = 20'000};
    ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (::bind(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
      throw std::runtime_error{"the lying server can't listen"};
    thread_ = std::jthread{[this](std::stop_token const& stop) {
      while (!stop.stop_requested()) answer();
    }};
  }
  LyingServer(LyingServer const&) = delete;
  LyingServer& operator=(LyingServer const&) = delete;
  ~LyingServer() {
    thread_ = {};
    ::close(socket_);
  }
  [[nodiscard]] CaresOptions options() const {
    return {
        .servers = "127.0.0.1:" + std::to_string(port), .family = Family::ipv4, .timeout = 200ms};
  }

  std::uint16_t const port = tests::free_port();

 private:
  void answer() const {
    char query[1500];
    sockaddr_in from{};
    socklen_t size = sizeof from;
    auto const got =
        ::recvfrom(socket_, query, sizeof query, 0, reinterpret_cast<sockaddr*>(&from), &size);
    if (got < 12) return;
    auto const text = lie_({query, static_cast<std::size_t>(got)});
    if (!text.empty())
      ::sendto(socket_, text.data(), text.size(), 0, reinterpret_cast<sockaddr*>(&from), size);
  }

  Lie lie_;
  int socket_ = -1;
  std::jthread thread_{};
};

/// The query's head and question as an answer with these flags and this many records.
std::string head_of(std::string query, unsigned flags, unsigned answers) {
  std::size_t end = 12;  // of the question: labels, a zero, type and class
  while (end < query.size() && query[end] != 0) end += 1U + static_cast<unsigned char>(query[end]);
  query.resize(end + 5);
  query[2] = static_cast<char>(flags >> 8U);
  query[3] = static_cast<char>(flags & 255U);
  query[7] = static_cast<char>(answers);
  query[9] = query[11] = 0;
  return query;
}
constexpr unsigned good = 0x8180;
constexpr unsigned truncated = 0x8380;

/// An A record for the question's name, good for so many seconds.
std::string record(unsigned seconds, unsigned last_byte) {
  std::string text{"\xc0\x0c\0\x01\0\x01", 6};
  for (unsigned shift = 32; shift != 0; shift -= 8)
    text += static_cast<char>(seconds >> (shift - 8) & 255U);
  text += std::string{"\0\x04\x7f\0\0", 5};
  return text + static_cast<char>(last_byte);
}

/// Asks once, and waits for the answer.
Look ask(LyingServer const& server) {
  poise::SteadyClock const clock;
  auto const source = from_cares("web.poise.test.", 80, server.options());
  source->ask(clock.now());
  for (;;) {
    if (auto answer = source->next(clock.now())) return std::move(*answer);
    Waits waits;
    source->add_waits(waits);
    poise::discovery::detail::wait_for(waits, clock.now());
  }
}

}  // namespace

TEST_CASE("DNS lies: what the tests below change is an answer that would do") {
  LyingServer const server{[](std::string query) {
    return head_of(std::move(query), good, 2) + record(7, 1) + record(9, 2);
  }};
  auto const look = ask(server);
  REQUIRE(std::holds_alternative<Found>(look));
  CHECK(std::get<Found>(look).endpoints.size() == 2);
  CHECK(std::get<Found>(look).good_for == 7s);
}

TEST_CASE("DNS lies: an answer that is cut off or garbled is a failure, not a shorter list") {
  auto const lie = GENERATE(values<std::pair<char const*, LyingServer::Lie>>({
      {"cut off with one of two addresses, and TCP is refused",
       [](std::string query) { return head_of(std::move(query), truncated, 1) + record(60, 1); }},
      {"cut off without any",
       [](std::string query) { return head_of(std::move(query), truncated, 0); }},
      {"another id",
       [](std::string query) {
         query[0] = static_cast<char>(query[0] + 1);
         return head_of(std::move(query), good, 1) + record(60, 1);
       }},
      {"an answer to another question",
       [](std::string query) {
         query[13] = 'x';  // xeb.poise.test
         return head_of(std::move(query), good, 1) + record(60, 1);
       }},
      {"fewer records than it states",
       [](std::string query) { return head_of(std::move(query), good, 9) + record(60, 1); }},
      {"a record that ends early",
       [](std::string query) {
         return head_of(std::move(query), good, 1) + record(60, 1).substr(0, 13);
       }},
      {"a name that points at itself",
       [](std::string query) {
         auto text = head_of(std::move(query), good, 1);
         auto const at = text.size();
         auto lying = record(60, 1);
         lying[0] = static_cast<char>(0xc0U | at >> 8U);
         lying[1] = static_cast<char>(at & 255U);
         return text + lying;
       }},
      {"only its id", [](std::string const& query) { return query.substr(0, 2); }},
      {"noise", [](std::string const&) { return std::string(300, '\xff'); }},
      {"nothing", [](std::string const&) { return std::string{}; }},
  }));
  INFO(lie.first);
  LyingServer const server{lie.second};
  auto const look = ask(server);
  CHECK(std::holds_alternative<Failed>(look));
}

TEST_CASE("DNS lies: a time of 68 years or more is believed, and no time overflows") {
  for (unsigned const seconds : {0x7fffffffU, 0x80000000U, 0xffffffffU}) {
    LyingServer const server{[seconds](std::string query) {
      return head_of(std::move(query), good, 1) + record(seconds, 1);
    }};
    auto const look = ask(server);
    REQUIRE(std::holds_alternative<Found>(look));
    auto const good_for = std::get<Found>(look).good_for.value();
    CHECK(good_for >= 0s);
    Follower follower{{}, 1};
    poise::Time const now{1000s};
    CHECK(follower.next(now) == Follower::Do::ask);
    follower.take(look, now);
    CHECK(follower.wake() > now);
  }
}

}  // namespace integration_discovery_dns_lies
