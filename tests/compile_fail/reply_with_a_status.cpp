// expect: this reply may report a failure.*outcome_of.*classified_by.*every_return_succeeds
// SPDX-License-Identifier: MIT
// A reply with a status has an outcome_of, or says that it needs none.
#include <poise/poise.hpp>

struct HttpReply {
  int status;
};

int main() {
  poise::Balancer<> balancer{poise::endpoints({"a"})};
  balancer.call([](auto&) { return HttpReply{500}; });
}
