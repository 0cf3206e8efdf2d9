// expect: this reply may report a failure.*outcome_of.*classified_by.*every_return_succeeds
// SPDX-License-Identifier: MIT
// outcome_of stands beside the type of the reply: elsewhere it is not found.
#include <poise/poise.hpp>

namespace http {
struct Reply {
  int status;
};
}  // namespace http

poise::Outcome outcome_of(http::Reply const& reply) { return poise::outcome_of_http(reply.status); }

int main() {
  poise::Balancer<> balancer{poise::endpoints({"a"})};
  balancer.call([](auto&) { return http::Reply{500}; });
}
