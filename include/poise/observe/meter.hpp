// SPDX-License-Identifier: MIT
#pragma once

// Counts what a balancer does: an observer for the runtime, read by a Reader (reader.hpp).
//
//   using Runtime = poise::Runtime<poise::CycleClock, poise::health::Standard,
//                                  poise::observe::Meter<>>;
//   poise::Balancer<poise::P2C, void, Runtime> servers{endpoints};
//   poise::observe::Reader const reader{"orders", servers};
//   std::cout << poise::observe::table(reader.read());
//
// List it after the rules, so that it sees what they decided. It is a handle: copies share what was
// counted. Give each balancer its own; one that two balancers share is refused.
//
// Requests are counted by the backends anyway. With latencies, each completed request adds one to a
// histogram of its backend; without, a request costs nothing. All else is counted where it is rare:
// refusals, retries, changes of the set, health decisions. The last 256 of these changes and
// decisions are kept as lines, too.
//
// Without a reader nothing grows: what a removed backend counted is added to the sums of the rest.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <poise/backend.hpp>
#include <poise/base/sampler.hpp>
#include <poise/call.hpp>
#include <poise/error.hpp>
#include <poise/hash/xxhash.hpp>
#include <poise/health/journal.hpp>
#include <poise/health/notice.hpp>
#include <poise/health/phase.hpp>
#include <poise/observe/accounts.hpp>
#include <poise/observe/event_log.hpp>
#include <poise/observe/histogram.hpp>
#include <poise/observe/life.hpp>
#include <poise/observe/pools.hpp>
#include <poise/observe/snapshot.hpp>
#include <poise/observer.hpp>
#include <poise/outcome.hpp>
#include <poise/sync/relaxed.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::observe {

/// What a meter records of each request, fixed at compile time.
struct MeterOptions {
  bool latency = true;  ///< Measure latencies: two clock reads a request, if nothing else does.
  /// Record one latency of every 2^sampling that a thread sees, at random; at most 20.
  unsigned sampling = 0;
};

/// Why a pick was refused, as one word.
[[nodiscard]] constexpr Refusal refusal_of(Error const& error) noexcept {
  if (error.reason == PickError::empty) return Refusal::empty;
  if (error.reason == PickError::closed) return Refusal::closed;
  if (error.refused != 0 || error.unsuitable != 0) return Refusal::limit;
  if (error.unhealthy != 0) return Refusal::unhealthy;
  return error.drained != 0 ? Refusal::drained : Refusal::weightless;
}

namespace detail {

/// How long a call took from its first pick: its attempts and pauses. A hedge runs beside another.
[[nodiscard]] inline Duration duration_of(CallReport const& report) noexcept {
  Duration one_by_one{};
  Duration beside{};
  for (auto const& attempt : report.attempts) {
    auto const took = attempt.waited + attempt.latency.value_or(Duration::zero());
    if (attempt.hedge) beside = std::max(beside, took);
    else one_by_one += took;
  }
  return std::max(one_by_one, beside);
}

/// Counts in a fixed number of places; all but the first so many are counted together.
class EjectionCounts {
 public:
  void add(std::string_view cause, std::string_view enforcement) {
    std::scoped_lock const lock{mutex_};
    auto found = counts_.find(Key{cause, enforcement});
    if (found == counts_.end())
      found = counts_.try_emplace(Key{counts_.size() < max_kinds ? cause : "other", enforcement}, 0)
                  .first;
    ++found->second;
  }
  [[nodiscard]] std::vector<Ejections> read() const {
    std::scoped_lock const lock{mutex_};
    std::vector<Ejections> all;
    for (auto const& [key, count] : counts_) all.push_back({key.first, key.second, count});
    return all;
  }

 private:
  static constexpr std::size_t max_kinds = 32;  // causes may be what probes said
  using Key = std::pair<std::string, std::string>;
  mutable std::mutex mutex_;
  std::map<Key, std::uint64_t> counts_{};
};

/// What the copies of a meter share.
///
/// Two locks: `set_mutex_` for who is in the set, which changes take under the balancer's lock, for
/// a moment; `accounts_mutex_` for readers, which take the other one inside. A change tries the
/// readers' lock only, so it never waits for a reading.
class Ledger {
 public:
  using Lives = std::vector<std::shared_ptr<Life>>;

  // -- the balancer's changes --------------------------------------------------------------------

  /// *Errors* ConfigError: another balancer uses the meter.
  void serve_only(health::detail::Identity const& identity) {
    std::scoped_lock const lock{set_mutex_};
    if (identity.claims(owner_)) return;
    throw ConfigError{
        "an observe::Meter was given to two balancers, or twice to one: their numbers would be "
        "mixed. Make one for each"};
  }

  using Make = std::shared_ptr<Life> (*)(Backend const&);
  void arrange(std::span<BackendView> all, Make make) {
    {
      std::scoped_lock const lock{set_mutex_};
      bool same = all.size() == set_.size();
      for (std::size_t i = 0; i < all.size(); ++i) {
        auto& part = all[i].state<Part>();
        if (!part.life()) {  // of a new id, or with another address
          part.belong_to(join(all[i].backend, make), all[i].backend);
          same = false;
        }
        same = same && set_[i] == part.life();
        part.life()->arrange(all[i]);
      }
      if (same) return;
      replace_set(all);
      if (departed_.size() < max_departed) return;
    }
    if (std::unique_lock const lock{accounts_mutex_, std::try_to_lock}) settle();
  }

  // -- rare events: any thread -------------------------------------------------------------------

  void refused(Error const& error) noexcept {
    refusals_[static_cast<std::size_t>(refusal_of(error))].add(1);
  }
  void called(CallReport const& report) noexcept {
    auto const why = static_cast<std::size_t>(report.why);
    if (why < stopped_.size()) stopped_[why].add(1);
    if (report.attempts.empty()) return;
    std::uint64_t hedges = 0;
    for (auto const& attempt : report.attempts) {
      hedges += attempt.hedge ? 1 : 0;
      if (attempt.hedge && attempt.outcome.result == Result::success) hedges_won_.add(1);
    }
    hedges_.add(hedges);
    retries_.add(report.attempts.size() - 1 - std::min(report.attempts.size() - 1, hedges));
    calls_.add(duration_of(report));
  }
  void moved(health::Transition const& transition) {
    using Note = health::Transition::Note;
    events_.add(transition);
    if (transition.id.empty()) return;
    if (transition.to != transition.from) move(transition);
    bool const left = transition.to == health::Phase::ejected && transition.from != transition.to;
    auto const note = transition.note;
    if (note == Note::watched) ejections_.add(transition.cause, "watched");
    else if (note == Note::capped) ejections_.add(transition.cause, "capped");
    else if (note == Note::together) ejections_.add(transition.cause, "together");
    else if (left) ejections_.add(transition.cause, "enforced");
  }

  void changed(Event const& event) {
    if (event.kind == Event::Kind::added && is_first_set()) return;
    events_.add(event);
  }

  // -- readers -----------------------------------------------------------------------------------

  [[nodiscard]] std::vector<LogEntry> events(std::uint64_t after, Time now) {
    return events_.after(after, now);
  }
  void set_options(ReaderOptions const& options) {
    std::scoped_lock const lock{accounts_mutex_};
    accounts_.set_options(options);
    std::scoped_lock const set_lock{set_mutex_};
    followed_changes_.reset();  // the cap may name other backends
  }
  void read(Snapshot& into, Time now, Pools const& pools) {
    std::scoped_lock const lock{accounts_mutex_};
    catch_up();
    accounts_.read(into, now);
    pools_.read(into, pools, accounts_.options().remembered);
    {
      std::scoped_lock const set_lock{set_mutex_};
      into.set_changes = set_changes_;
      into.fingerprint = fingerprint_;
    }
    for (std::size_t i = 0; i < refusal_count; ++i) into.refusals[i] = refusals_[i].load();
    for (std::size_t i = 0; i < stopped_.size(); ++i) into.stopped_calls[i] = stopped_[i].load();
    into.retries = retries_.load();
    into.hedges = hedges_.load();
    into.hedges_won = hedges_won_.load();
    into.calls.add(calls_);
    into.calls_sum_s = into.calls.sum_s();
    into.ejections = ejections_.read();
  }

 private:
  [[nodiscard]] std::shared_ptr<Life> join(Backend const& backend, Make make) {
    auto const found = by_id_.find(backend.id());
    if (found == by_id_.end() || !found->second->join(backend)) return make(backend);
    return found->second;
  }

  void replace_set(std::span<BackendView> all) {
    auto const old = std::exchange(set_, {});
    set_.reserve(all.size());
    by_id_.clear();
    std::uint64_t sum = 0;
    for (auto& view : all) {
      auto const& life = view.state<Part>().life();
      set_.push_back(life);
      by_id_.emplace(life->id, life);
      sum += hash::xxh64(view.backend.address(), hash::xxh64(life->id));
    }
    fingerprint_ = sum >> (64U - 53U);  // what a double holds exactly
    for (auto const& life : old) {
      auto const stays = by_id_.find(life->id);
      if (stays == by_id_.end() || stays->second != life) departed_.push_back(life);
    }
    ++set_changes_;
  }

  /// *Requires* accounts_mutex_. Takes what lives counted that left.
  void settle() {
    Lives departed;
    {
      std::scoped_lock const lock{set_mutex_};
      departed = std::exchange(departed_, {});
    }
    accounts_.settle(departed);
  }
  /// *Requires* accounts_mutex_. Brings the accounts up to date with the set and with what left it.
  /// Both are of one moment: else a life could leave the set between them, and be in neither.
  void catch_up() {
    Lives departed;
    Lives set;
    bool changed = false;
    {
      std::scoped_lock const lock{set_mutex_};
      departed = std::exchange(departed_, {});
      changed = std::exchange(followed_changes_, set_changes_) != set_changes_;
      if (changed) set = set_;
    }
    accounts_.settle(departed);
    if (changed) accounts_.follow(set);
  }

  [[nodiscard]] bool is_first_set() {
    std::scoped_lock const lock{set_mutex_};
    return set_changes_ <= 1;
  }
  void move(health::Transition const& transition) {
    auto kept = std::make_shared<health::Transition const>(transition);
    std::scoped_lock const lock{set_mutex_};
    if (auto const found = by_id_.find(transition.id); found != by_id_.end())
      found->second->move(std::move(kept));
  }

  static constexpr std::size_t max_departed = 256;

  std::mutex accounts_mutex_;
  Accounts accounts_{};
  PoolAccounts pools_{};

  std::mutex set_mutex_;  // taken inside the other one, never the other way round
  std::weak_ptr<void const> owner_{};
  Lives set_{};
  Lives departed_{};
  std::unordered_map<std::string_view, std::shared_ptr<Life>> by_id_{};
  std::uint64_t set_changes_ = 0;
  std::optional<std::uint64_t> followed_changes_{};  // as of set_changes_; empty: follow again
  std::uint64_t fingerprint_ = 0;

  std::array<sync::Relaxed<std::uint64_t>, refusal_count> refusals_{};
  std::array<sync::Relaxed<std::uint64_t>, stop_reason_count> stopped_{};
  sync::Relaxed<std::uint64_t> retries_{};
  sync::Relaxed<std::uint64_t> hedges_{};
  sync::Relaxed<std::uint64_t> hedges_won_{};
  Histogram calls_{};
  EjectionCounts ejections_{};
  EventLog events_{};
};

}  // namespace detail

/// *Cost* of a completed request: with latencies one atomic add beside the clock, without nothing;
/// of a change: O(n). Memory: 4 KiB a backend with latencies, 0.3 KiB without, and twice that while
/// it is read.
template <MeterOptions O = MeterOptions{}>
class Meter {
  static_assert(O.sampling <= 20, "MeterOptions::sampling is a power: 20 records one in a million");

 public:
  static constexpr MeterOptions options = O;
  static constexpr bool uses_time = O.latency;

  using State = detail::Part;  ///< Per backend.

  // -- hooks -------------------------------------------------------------------------------------

  [[gnu::always_inline]] void on_finish(Finished const& event, State& state) const noexcept
    requires(O.latency)
  {
    if (!event.latency || !is_verdict(event.outcome.result)) [[unlikely]]
      return;
    if (!poise::detail::Sampler<O.sampling, Meter>::of_this_thread().next()) return;
    state.latencies().add(*event.latency);
  }
  void on_refused(Refused const& event) const noexcept { ledger_->refused(event.error); }
  void on_call(Called const& called) const noexcept { ledger_->called(called.report); }
  void on_transition(health::Transition const& transition) const { ledger_->moved(transition); }
  void on_event(Event const& event) const { ledger_->changed(event); }

  void arrange(std::span<BackendView> all) const {
    ledger_->serve_only(identity_);
    ledger_->arrange(all, [](Backend const& backend) -> std::shared_ptr<detail::Life> {
      if constexpr (O.latency) return std::make_shared<detail::TimedLife>(backend);
      else return std::make_shared<detail::Life>(backend);
    });
  }

  /// For a Reader: what was counted, which outlives the balancer.
  [[nodiscard]] std::shared_ptr<detail::Ledger> const& ledger() const noexcept { return ledger_; }

 private:
  std::shared_ptr<detail::Ledger> ledger_ = std::make_shared<detail::Ledger>();
  health::detail::Identity identity_{};
};

}  // namespace poise::inline v0_1_0::observe
