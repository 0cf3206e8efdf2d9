// SPDX-License-Identifier: MIT
#pragma once

// A network between a test and a server, which can be partitioned: a forwarder on loopback. While
// it is cut, connections stay open and new ones are accepted, but no byte passes, as when packets
// are dropped. It works where network namespaces are not allowed.

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "integration/servers/program.hpp"

namespace tests {

class Wire {
 public:
  /// To a server on this port of loopback.
  explicit Wire(std::uint16_t server) : server_{server} {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    auto address = loopback(port);
    if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
        ::listen(listener_, 64) != 0)
      throw std::runtime_error{"the wire can't listen"};
    thread_ = std::thread{[this] { work(); }};
  }
  Wire(Wire const&) = delete;
  Wire& operator=(Wire const&) = delete;
  ~Wire() {
    stopping_ = true;
    thread_.join();
    ::close(listener_);
    for (auto const& each : pairs_) each.end();
  }
  void cut() { is_cut_ = true; }
  void mend() { is_cut_ = false; }
  [[nodiscard]] std::string url() const { return "http://127.0.0.1:" + std::to_string(port); }

  std::uint16_t const port = free_port();

 private:
  struct Pair {
    std::array<int, 2> ends{-1, -1};
    void end() const {
      for (int const each : ends) ::close(each);
    }
  };

  static sockaddr_in loopback(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    return address;
  }

  void work() {
    while (!stopping_) {
      if (is_cut_) {  // the kernel accepts connections, and keeps what is sent
        std::this_thread::sleep_for(std::chrono::milliseconds{10});
        continue;
      }
      std::vector<pollfd> waits{{listener_, POLLIN, 0}};
      for (auto const& each : pairs_)
        for (int const end : each.ends) waits.push_back({end, POLLIN, 0});
      if (::poll(waits.data(), waits.size(), 10) <= 0 || is_cut_) continue;
      std::vector<Pair> living;
      for (std::size_t i = 0; i < pairs_.size(); ++i)
        if (forward(pairs_[i], waits[1 + 2 * i].revents != 0, waits[2 + 2 * i].revents != 0))
          living.push_back(pairs_[i]);
      pairs_ = std::move(living);
      if (waits[0].revents != 0) accept();
    }
  }
  void accept() {
    Pair pair;
    pair.ends[0] = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    pair.ends[1] = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    auto address = loopback(server_);
    if (::connect(pair.ends[1], reinterpret_cast<sockaddr*>(&address), sizeof address) == 0)
      pairs_.push_back(pair);
    else pair.end();
  }
  /// False once one side has closed.
  static bool forward(Pair const& pair, bool first, bool second) {
    bool const lives = (!first || pass(pair.ends[0], pair.ends[1])) &&
                       (!second || pass(pair.ends[1], pair.ends[0]));
    if (!lives) pair.end();
    return lives;
  }
  static bool pass(int from, int to) {
    char part[65536];
    auto const got = ::recv(from, part, sizeof part, 0);
    if (got <= 0) return false;
    std::string_view rest{part, static_cast<std::size_t>(got)};
    while (!rest.empty()) {
      auto const sent = ::send(to, rest.data(), rest.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      rest.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }

  std::uint16_t server_;
  int listener_ = -1;
  std::atomic<bool> is_cut_{false};
  std::atomic<bool> stopping_{false};
  std::vector<Pair> pairs_{};
  std::thread thread_{};
};

}  // namespace tests
