// SPDX-License-Identifier: MIT

// The box where the last user of a thing leaves it: nothing is lost, nothing is taken twice, and
// after the end nothing is taken at all.

#include <cstdint>
#include <memory>
#include <thread>
#include <utility>

#include <poise/sync/drop_box.hpp>

#include "stress/team.hpp"
#include "support/catch.hpp"

namespace {

struct Item {
  explicit Item(std::int64_t value) : number{value} {}
  std::int64_t number;  // plain: the thread that takes the item must see it
  Item* next_dropped = nullptr;
};

using Box = poise::sync::DropBox<Item>;

struct Sum {
  std::int64_t items = 0;
  std::int64_t numbers = 0;

  void destroy(Item* list) {
    while (list != nullptr) {
      ++items;
      numbers += list->number;
      delete std::exchange(list, list->next_dropped);
    }
  }
};

struct Dropper {
  Dropper(Box& shared, tests::Number& lying_there) : box{shared}, lying{lying_there} {}
  void work() {
    if (lying.load() > 1000) return std::this_thread::yield();  // do not outrun who takes
    auto item = std::make_unique<Item>(++dropped);
    if (box.drop(item.get())) {
      (void)item.release();
      ++accepted.items;
      accepted.numbers += dropped;
      lying.add(1);
    }
  }
  Box& box;
  tests::Number& lying;
  std::int64_t dropped = 0;
  Sum accepted{};
};

}  // namespace

TEST_CASE("everything that is dropped is taken exactly once") {
  Box box;
  Sum taken;
  tests::Number lying{0};
  tests::Team<Dropper> droppers{2, box, lying};
  for (tests::Rounds rounds{1000}; rounds.next();) {
    auto const before = taken.items;
    taken.destroy(box.take());
    lying.add(before - taken.items);
  }
  Sum accepted;
  for (auto const& dropper : droppers.stop()) {
    accepted.items += dropper.accepted.items;
    accepted.numbers += dropper.accepted.numbers;
    CHECK(dropper.accepted.items == dropper.dropped);
  }
  taken.destroy(box.close());
  CHECK(taken.items == accepted.items);
  CHECK(taken.numbers == accepted.numbers);
}

TEST_CASE("a closed box stays closed when other threads take from it") {
  Box box;
  Item first{1};
  Item second{2};
  CHECK(box.drop(&first));
  CHECK(box.close() == &first);
  CHECK(box.take() == nullptr);
  CHECK_FALSE(box.drop(&second));
  CHECK(box.take() == nullptr);
}

TEST_CASE("a box that is closed while others drop and take loses nothing") {
  for (tests::Rounds rounds{300}; rounds.next();) {
    Box box;
    Sum taken[3];
    Sum accepted;
    tests::Number lying{0};
    tests::together(3, [&](unsigned number) {
      if (number == 0) {
        Dropper dropper{box, lying};
        for (int i = 0; i < 200; ++i) dropper.work();
        accepted = dropper.accepted;
      } else if (number == 1) {
        for (int i = 0; i < 100; ++i) taken[1].destroy(box.take());
      } else {
        taken[2].destroy(box.close());
      }
    });
    CHECK(box.take() == nullptr);
    REQUIRE(taken[1].items + taken[2].items == accepted.items);
    REQUIRE(taken[1].numbers + taken[2].numbers == accepted.numbers);
  }
}
