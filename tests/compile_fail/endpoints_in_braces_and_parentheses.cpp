// compiles
// SPDX-License-Identifier: MIT
// What is right stays unambiguous beside the overloads that only say what is wrong.
#include <poise/poise.hpp>

int main() {
  poise::Balancer<> none{{}};
  poise::Balancer<> one({{.id = "a"}});
  poise::Balancer<> two({{.id = "a"}, {.id = "b"}});
  poise::Balancer<poise::P2C> three{{{.id = "a"}, {.id = "b"}}, {}, {.seed = 1}};
  one.update({});
  one.update({{}});
  one.update({{.id = "a"}});
  two = poise::Balancer<>{poise::endpoints({"a"})};
  three.apply(poise::Changes{}.update({}));
}
