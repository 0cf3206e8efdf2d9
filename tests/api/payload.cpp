// SPDX-License-Identifier: MIT
// Seam: a value of the user's type per backend; here a pool of connections.

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <poise/poise.hpp>

#include "support/catch.hpp"

namespace api_payload {

namespace {

struct Connection {
  std::string peer;
};

/// Neither copied nor moved after it was made: pools hold mutexes.
class Pool {
 public:
  explicit Pool(poise::Endpoint const& endpoint, int* open)
      : address_{endpoint.address}, open_{open} {}
  Pool(Pool const&) = delete;
  Pool& operator=(Pool const&) = delete;
  ~Pool() { *open_ -= static_cast<int>(idle_.size()); }

  std::unique_ptr<Connection> take() {
    if (idle_.empty()) {
      ++*open_;
      return std::make_unique<Connection>(Connection{address_});
    }
    auto connection = std::move(idle_.back());
    idle_.pop_back();
    return connection;
  }
  void put_back(std::unique_ptr<Connection> connection) { idle_.push_back(std::move(connection)); }

 private:
  std::string address_;
  int* open_;
  std::vector<std::unique_ptr<Connection>> idle_;
};

}  // namespace

TEST_CASE("seam payload keeps connections over updates and closes them with their backend") {
  int open = 0;
  poise::Balancer<poise::RoundRobin, Pool, poise::Runtime<poise::VirtualClock>> balancer{
      poise::endpoints({"10.0.0.1:80", "10.0.0.2:80"}),
      [&](poise::Endpoint const& endpoint) { return Pool{endpoint, &open}; },
      {},
      {.seed = 1}};
  auto const ask = [&] {
    return balancer.call(poise::every_return_succeeds([](auto& backend) {
      auto connection = backend.payload().take();
      auto const peer = connection->peer;
      backend.payload().put_back(std::move(connection));
      return peer == backend.address();
    }));
  };
  for (int i = 0; i < 10; ++i) CHECK(ask());
  CHECK(open == 2);
  balancer.update(poise::endpoints({"10.0.0.2:80", "10.0.0.3:80"}));
  CHECK(open == 1);
  for (int i = 0; i < 10; ++i) CHECK(ask());
  CHECK(open == 2);
  balancer.clear();
  CHECK(open == 0);
}

}  // namespace api_payload
