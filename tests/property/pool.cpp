// SPDX-License-Identifier: MIT
// Random histories of a pool's ledger in virtual time: callers come, wait, give up and return what
// they got, connects succeed or fail, the backend is ejected and drained. After each step the
// ledger's invariants hold, and in the end everybody was served.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <iterator>
#include <list>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <poise/pool/ledger.hpp>

#include "support/catch.hpp"

namespace property_pool {

using namespace std::chrono_literals;
using poise::Duration;
using poise::Time;
using poise::detail::PoolLedger;
using poise::detail::PoolSlot;
using poise::detail::PoolWaiter;
using poise::pool::Refusal;

namespace {

/// A caller that waits, and the order in which waiters were told.
struct Caller final : PoolWaiter {
  Caller(int number, std::vector<int>& log) : ticket{number}, told{log} {}
  int ticket;
  std::vector<int>& told;
  void wake() noexcept override { told.push_back(ticket); }
};

class World {
 public:
  explicit World(std::uint64_t seed)
      : random_{seed},
        options_{.max = 1 + draw(5),
                 .idle = 0,
                 .idle_timeout = 3s,
                 .lifetime = 20s,
                 .max_waiting = 1 + draw(12)},
        ledger_{options_, seed} {}

  void step() {
    now_ += std::chrono::milliseconds{draw(300)};
    switch (draw(12)) {
      case 0:
      case 1:
      case 2: arrive(); break;
      case 3:
      case 4:
      case 5: come_back(); break;
      case 6:
      case 7: connect(draw(3) != 0); break;
      case 8: give_up(); break;
      case 9: close_all(ledger_.take_overdue(now_)); break;
      case 10: change_backend(); break;
      default: wake_for_retry(); break;
    }
    listen();
    check();
  }

  /// No one comes any more, the backend is well, and all that is out comes back.
  void settle() {
    ledger_.readmit();
    for (int i = 0; i < 1'000 && !callers_.empty(); ++i) {
      now_ += 100ms;
      wake_for_retry();
      listen();
      while (opening_ != 0) connect(true);
      while (!out_.empty()) come_back();
      check();
    }
    check("everyone was served", callers_.empty());
  }

 private:
  std::size_t draw(std::size_t bound) {
    return std::uniform_int_distribution<std::size_t>{0, bound - 1}(random_);
  }
  static void check(char const* what, bool holds) {
    if (holds) return;
    INFO(what);
    FAIL();
  }

  void check() {
    auto const numbers = ledger_.numbers();
    check("L1: never above max", numbers.size() <= options_.max);
    check("L2: nobody waits beside an idle connection", numbers.waiting == 0 || numbers.idle == 0);
    check("L3: whoever waits will be served", numbers.waiting == 0 || numbers.size() != 0);
    check("L5: one attempt at a time after a failure", numbers.opening <= gate_);
    check("a wait ends when the next attempt is due", !can_wake_up_);
    check("the queue is bounded", numbers.waiting <= options_.max_waiting);
    check("what is out is counted", numbers.in_use == out_.size());
    check("what is opened is counted", numbers.opening == opening_);
    check("who waits is counted", numbers.waiting == callers_.size());
    check("all that were opened are closed, idle or in use",
          numbers.opened == numbers.all_closed() + numbers.idle + numbers.in_use);
  }

  void arrive() {
    auto const answer = ledger_.acquire(now_);
    switch (answer.step) {
      case PoolLedger::Step::use:
        check("nobody was overtaken", callers_.empty());
        if (ledger_.is_expired(*answer.slot, now_)) return close(*answer.slot);
        ledger_.handed_out(*answer.slot, now_, {});
        out_.insert(answer.slot);
        break;
      case PoolLedger::Step::open:
        check("nobody was overtaken", callers_.empty());
        ++opening_;
        break;
      case PoolLedger::Step::wait:
        callers_.push_back(std::make_unique<Caller>(next_ticket_++, told_));
        ledger_.wait(*callers_.back());
        break;
      case PoolLedger::Step::fail: break;
    }
  }
  void come_back() {
    if (out_.empty()) return;
    auto& slot = **std::next(out_.begin(), static_cast<std::ptrdiff_t>(draw(out_.size())));
    out_.erase(&slot);
    if (draw(5) == 0 || !ledger_.put_back(slot, now_)) close(slot);
    listen();
  }
  void connect(bool succeeds) {
    if (opening_ == 0) return;
    --opening_;
    if (!succeeds && draw(3) == 0) {
      ledger_.not_tried(now_);
    } else if (succeeds) {
      auto& slot = *slots_.emplace_back(std::make_unique<PoolSlot>());
      gate_ = std::min(gate_ * 2, options_.max);
      ledger_.opened(slot, now_);
      out_.insert(&slot);
    } else {
      gate_ = std::max<std::size_t>(opening_, 1);  // those that began before go on
      ledger_.not_opened(now_);
    }
    listen();
  }
  void give_up() {
    if (callers_.empty()) return;
    auto const chosen =
        std::next(callers_.begin(), static_cast<std::ptrdiff_t>(draw(callers_.size())));
    ledger_.give_up(**chosen, Refusal::timeout);
    told_.clear();
    callers_.erase(chosen);
  }
  void close_all(std::vector<PoolSlot*> const& slots) {
    for (auto* slot : slots) close(*slot);
  }
  void close(PoolSlot& slot) {
    out_.erase(&slot);
    ledger_.closed(slot.place, slot.closing, now_);
    std::erase_if(slots_, [&](auto const& each) { return each.get() == &slot; });
    listen();
  }
  void change_backend() {
    switch (draw(4)) {
      case 0: gate_ = std::max<std::size_t>(opening_, 1); return close_all(ledger_.eject());
      case 1: return close_all(ledger_.drain());
      case 2: return ledger_.readmit();
      default: return ledger_.undrain();
    }
  }
  /// As those that wait do when the pause after a failure is over.
  void wake_for_retry() {
    if (callers_.empty()) return;
    ledger_.serve(now_);
    listen();
    auto const numbers = ledger_.numbers();
    can_wake_up_ = numbers.waiting != 0 && !ledger_.retry_after(now_) &&
                   numbers.size() < options_.max && numbers.opening == 0;
  }
  /// Takes what callers were told; in their order, or all at once.
  void listen() {
    for (auto const ticket : std::exchange(told_, {})) {
      check("L4: first come, first served",
            !callers_.empty() && callers_.front()->ticket == ticket);
      auto const caller = std::move(callers_.front());
      callers_.pop_front();
      if (caller->state == PoolWaiter::State::given) out_.insert(caller->slot);
      else if (caller->state == PoolWaiter::State::may_open) ++opening_;
      else check("a caller that is told something is told why", caller->why != Refusal::none);
    }
  }

  std::mt19937_64 random_;
  poise::pool::Options options_;
  PoolLedger ledger_;
  Time now_{};
  std::vector<std::unique_ptr<PoolSlot>> slots_{};
  std::set<PoolSlot*> out_{};
  std::deque<std::unique_ptr<Caller>> callers_{};  // that wait
  std::vector<int> told_{};
  int next_ticket_ = 0;
  std::size_t opening_ = 0;
  std::size_t gate_ = 1;
  bool can_wake_up_ = false;
};

}  // namespace

TEST_CASE("a pool never exceeds its size, overtakes nobody and forgets nobody") {
  for (std::uint64_t seed = 1; seed <= 2'000; ++seed) {
    INFO("seed " << seed);
    World world{seed};
    for (int i = 0; i < 300; ++i) world.step();
    world.settle();
  }
}

}  // namespace property_pool
