// SPDX-License-Identifier: MIT
// A value of yours per backend: here a connection, made by a factory and found through the lease.
//
// The program needs no map from address to connection, and never closes one itself: the payload
// lives as long as its backend, and a backend lives until its last lease ends.

#include <atomic>
#include <iostream>
#include <string>

#include <poise/poise.hpp>

/// Stands for a socket, a channel or a pool. Several threads may hold leases of one backend, so
/// what a payload changes is yours to guard.
class Connection {
 public:
  explicit Connection(std::string address) : address_{std::move(address)} {
    ++open;
    std::cout << "connect to " << address_ << '\n';
  }
  ~Connection() {
    --open;
    std::cout << "close " << address_ << " after " << sent_ << " requests\n";
  }
  Connection(Connection const&) = delete;  // it need not even be movable
  Connection& operator=(Connection const&) = delete;

  void send(std::string const&) { ++sent_; }

  static inline std::atomic<int> open = 0;

 private:
  std::string address_;
  std::atomic<int> sent_ = 0;
};

int main() {
  bool as_claimed = true;
  {
    poise::Balancer<poise::RoundRobin, Connection> servers{
        poise::endpoints({"10.0.0.1:80", "10.0.0.2:80"}),
        [](poise::Endpoint const& endpoint) { return Connection{endpoint.address}; }};

    for (int i = 0; i < 4; ++i) {
      auto lease = servers.pick();
      lease->payload().send("hello");
      lease.finish();
    }

    auto last = servers.pick();
    last->payload().send("the last one");
    servers.remove(last->id());
    as_claimed = Connection::open == 2;  // removed, and open as long as we hold the lease
    last.finish();
    servers.tick();  // closes it: never the thread that ended the last request
    as_claimed = as_claimed && Connection::open == 1;
    std::cout << "one is left\n";
  }
  return as_claimed && Connection::open == 0 ? 0 : 1;
}
