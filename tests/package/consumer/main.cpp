#include <poise/poise.hpp>

#include <cstdio>
#include <string>

int main() {
  poise::Balancer<> balancer{poise::endpoints({"10.0.0.1:80", "10.0.0.2:80"})};
  auto lease = balancer.pick();
  std::puts(std::string(lease->address()).c_str());
}
