// SPDX-License-Identifier: MIT
// Outcomes of requests: poise gets them from your reply type, or from a callback on another thread.
//
// Report what happened to the backend, not to your user: a bad query is the caller's fault
// (rejected), a timeout is the backend's.

#include <future>
#include <iostream>
#include <string>

#include <poise/poise.hpp>

namespace shop {

struct Reply {
  int status;
  std::string body;
};

// Beside the type it speaks for: poise finds it by argument-dependent lookup.
poise::Outcome outcome_of(Reply const& reply) {
  if (reply.status == 503) return poise::Result::overloaded;
  if (reply.status >= 500) return poise::Result::error;
  if (reply.status >= 400) return poise::Result::rejected;
  return poise::Result::success;
}

}  // namespace shop

int main() {
  poise::Balancer<> shops{poise::endpoints({"10.0.0.1:80"})};

  // 1. While you wait: call() picks, runs your function and classifies what it returns or throws.
  for (int const status : {200, 404, 500, 503})
    shops.call([&](auto&) { return shop::Reply{status, "..."}; });

  // 2. Later, elsewhere: move the lease to where the request ends. It is in flight until then.
  auto lease = shops.pick();
  auto done = std::async(std::launch::async, [lease = std::move(lease)]() mutable {
    lease.finish(poise::Result::timeout);
  });
  done.get();

  // 3. Forgotten: a lease that was not finished counts itself out, and blames no backend.
  {
    auto const forgotten = shops.pick();
  }

  auto const shop = shops.stats().backends.at(0);
  for (auto const ending :
       {poise::Result::success, poise::Result::rejected, poise::Result::error,
        poise::Result::overloaded, poise::Result::timeout, poise::Result::abandoned})
    std::cout << poise::name(ending) << ": " << shop.ended(ending) << '\n';
  std::cout << shop.failed << " of " << shop.total << " were the backend's fault, "
            << shop.in_flight << " are in flight\n";
  return shop.failed == 3 && shop.total == 6 && shop.in_flight == 0 ? 0 : 1;
}
