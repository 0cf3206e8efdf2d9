// SPDX-License-Identifier: MIT

#include <cstdio>
#include <thread>

extern "C" int left(int picks);
extern "C" int right(int picks);

int main() {
  int picked = 0;
  std::thread other{[&] { picked = right(1000); }};
  int const here = left(1000);
  other.join();
  std::printf("%d %d\n", here, picked);
  return here == 1000 && picked == 1000 ? 0 : 1;
}
