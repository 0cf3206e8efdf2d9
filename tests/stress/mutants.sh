#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Seeded mistakes: does the stress suite notice when the lock-free part is wrong?
#
#   tests/stress/mutants.sh texts|short|all|NAME...    texts: only whether each place is there
#
# Every mutant below changes one place of include/poise, in a copy of the header. The stress test that it names must
# then fail (or crash, or hang) under the sanitizer that it names; before that, the same test must pass
# without the mutation. A survivor means that a test has become too weak.
#
# Which tool sees what: ThreadSanitizer sees an order that is missing (on x86 a relaxed access emits
# the same instruction, so nothing else can); it does not see a missing barrier, which shows only when
# a value is freed under a reader: that takes AddressSanitizer, or the stamps in the tests, and luck.
# So those run several times, with a reader whose slow stores make the bad order likely
# (published.cpp).
#
# Not listed, because no test on x86 can tell them from the original:
#   - the signal fence in ReadSection::enter: compilers do not move a load above a release store today;
#   - acquire and release instead of seq_cst, in Published and oldest_reader: the same instructions,
#     and the same to ThreadSanitizer;
#   - a relaxed advance of the epoch: what it would publish is published by the snapshot's pointer too;
#   - a relaxed load of the epoch on entry: the snapshot's own load acquires what the updater wrote;
#   - a relaxed store of the epoch on entry: ThreadSanitizer lets it continue the release of the leave
#     before it, as C++ did until C++20;
#   - relaxed operations of InFlight::claim and undo are relaxed already;
#   - relaxed words or stamps of LastValues: plain moves, and each of the two orders hides the other.

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
CXX=${CXX:-g++}
tries=${POISE_MUTANT_TRIES:-8}
wanted=${*:-short}
plainly=()  # addresses are not randomized where that can be had: see .ci/lanes.sh
if setarch -R true 2>/dev/null; then plainly=(setarch -R); fi
passed=0
failed=0

flags_of() {
  case $1 in
    plain) echo "-O1" ;;
    asan) echo "-O1 -g1 -fsanitize=address,undefined -fno-sanitize-recover=all" ;;
    tsan) echo "-O1 -g1 -fsanitize=thread -Wno-tsan" ;;
  esac
}

# build_support SANITIZER: what all tests link, once.
build_support() {
  local source flags objects=$scratch/$1
  [[ ! -d $objects ]] || return 0
  read -ra flags < <(flags_of "$1")
  mkdir "$objects"
  for source in "$root"/tests/support/{main,fence}.cpp; do
    "$CXX" -std=c++20 "${flags[@]}" -O0 -g0 -I"$root/include" -I"$root/tests" \
      -c "$source" -o "$objects/$(basename "$source" .cpp).o"
  done
}

# build TEST SANITIZER PROGRAM [INCLUDE]: with the headers of INCLUDE in place of ours
build() {
  local flags objects=$scratch/$2
  read -ra flags < <(flags_of "$2")
  "$CXX" -std=c++20 -w "${flags[@]}" ${4+"-I$4"} -I"$root/include" -I"$root/tests" \
    "$root/tests/stress/$1.cpp" "$objects"/*.o -pthread -o "$3"
}

# build_mutant NAME TEST SANITIZER...: its program, and that of the original if none had it before.
build_mutant() {
  local original=
  build_support "$3"
  if [[ ! -e $scratch/$2.$3 ]]; then
    build "$2" "$3" "$scratch/$2.$3" &
    original=$!
  fi
  build "$2" "$3" "$scratch/$1/program" "$scratch/$1" || true
  wait $original || true
}

# run PROGRAM FENCE: with what a failure says in $scratch/log
run() {
  {  # the braces also catch what the shell says of a crash
    POISE_TEST_FENCE=$2 POISE_STRESS_SECONDS=${POISE_STRESS_SECONDS:-1} \
      TSAN_OPTIONS=halt_on_error=1 timeout 30 "${plainly[@]}" "$1" --abort
  } >"$scratch/log" 2>&1
}

declare -A proven  # by test, sanitizer and fence: the original passes

# prove TEST SANITIZER FENCE
prove() {
  local name=$1.$2.$3
  [[ -v proven[$name] ]] && return 0
  if ! run "$scratch/$1.$2" "$3"; then
    cat "$scratch/log"
    echo "FAILED   $name does not pass without any mutation"
    return 1
  fi
  proven[$name]=1
}

# judge NAME TEST SANITIZER FENCE: whether the test fails with the mutant and passes without it.
judge() {
  local name=$1 test=$2 sanitizer=$3 fence=$4 try
  if [[ ! -e $scratch/$name/program ]]; then
    echo "FAILED   $name does not compile"
    return 1
  fi
  prove "$test" "$sanitizer" "$fence" || return 1
  for ((try = 1; try <= tries; ++try)); do
    if ! run "$scratch/$name/program" "$fence"; then
      echo "caught   $name (stress/$test, $sanitizer, $fence, run $try): $(reason)"
      return 0
    fi
  done
  echo "SURVIVED $name (stress/$test, $sanitizer, $fence, $tries runs)"
  return 1
}

count() {
  if "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
}

chosen=()  # "NAME TEST SANITIZER FENCE"

# mutant NAME SET FILE TEST SANITIZER FENCE, and on standard input: old text, a line "=>", new text
mutant() {
  local name=$1 set=$2 file=$3 text old new
  [[ $wanted == texts || $wanted == all || $wanted == "$set" || " $wanted " == *" $name "* ]] ||
    { cat >/dev/null; return 0; }
  text=$(cat)
  old=${text%%$'\n=>'*}
  new=${text#*$'\n=>'}
  new=${new#$'\n'}

  local source rest
  source=$(cat "$root/include/poise/$file")
  rest=${source#*"$old"}
  if [[ $rest == "$source" || ${rest#*"$old"} != "$rest" ]]; then
    echo "FAILED   $name: its old text must stand in $file exactly once:"
    echo "$old"
    count false
    return 0
  fi

  if [[ $wanted == texts ]]; then
    count true
    return 0
  fi
  mkdir -p "$scratch/$name/poise/$(dirname "$file")"
  printf '%s\n' "${source%%"$old"*}$new$rest" >"$scratch/$name/poise/$file"
  chosen+=("$name $4 $5 $6")
}

# The programs of the next one are built while this one's run.
judge_all() {
  local each i
  for ((i = 0; i < ${#chosen[@]}; ++i)); do
    read -ra each <<<"${chosen[i]}"
    if ((i == 0)); then build_mutant "${each[@]}"; fi
    if ((i + 1 < ${#chosen[@]})); then build_mutant ${chosen[i + 1]} & fi
    count judge "${each[@]}"
    wait
  done
}

reason() {
  grep -m1 -aoE 'free\(\): .*|malloc.*: .*|WARNING: ThreadSanitizer: [a-z -]+|ERROR: AddressSanitizer: [a-zA-Z -]+|ERROR: LeakSanitizer: [a-z -]+|runtime error: .*|[A-Z]* - [A-Za-z ]*signal|(CHECK|REQUIRE)[A-Z_]*\(.*\)' \
    "$scratch/log" || echo "no message: it hangs or dies"
}

# -- waiting -----------------------------------------------------------------------------------------

mutant end_wakes_no_queue short engine/record.hpp waiting plain asymmetric <<'END'
    else sync::WaitingLot::wake(key);
=>
    else (void)key;
END

mutant claim_taken_back_wakes_no_queue all policy/claim.hpp waiting plain asymmetric <<'END'
    if (backend.word_.undo() && !sync::is_serving_queue) [[unlikely]]
      sync::WaitingLot::wake(backend.owner_.get());
=>
    (void)backend.word_.undo();
END

mutant change_wakes_no_queue short engine/writer.hpp waiting plain asymmetric <<'END'
  void wake_queue() noexcept { sync::WaitingLot::wake(&self()); }
=>
  void wake_queue() noexcept {}
END

mutant turn_that_forgets_who_asked short sync/turn.hpp waiting plain asymmetric <<'END'
    return !asked_.compare_exchange_strong(seen, 0, std::memory_order_acq_rel,
                                           std::memory_order_relaxed);
=>
    (void)seen;
    asked_.store(0, std::memory_order_release);
    return false;
END

# -- time --------------------------------------------------------------------------------------------

mutant line_that_begins_below_the_old_one short sync/counted_time.hpp cycle_clock plain asymmetric <<'END'
    auto const base = std::max(end, seen.time + lead);
=>
    auto const base = seen.time - fresh;
END

mutant readers_held_back_before_the_line_is_stored short sync/counted_time.hpp cycle_clock tsan asymmetric <<'END'
      if (phase(version) == storing) {
        time = std::min(time, limit + fresh);
=>
      if (phase(version) != stable) {
        time = std::min(time, limit);
END

mutant line_read_while_it_changes all sync/counted_time.hpp cycle_clock tsan asymmetric <<'END'
    if (passed < length && phase(version) == stable &&
        version == version_.load(std::memory_order_relaxed)) {
=>
    if (passed < length) {
END

# -- load reports ------------------------------------------------------------------------------------

mutant report_that_writes_what_ticks_own short weighted_by_reports.hpp load_reports tsan asymmetric <<'END'
    state.reported.store(weight);
=>
    state.reported.store(weight);
    state.smooth = weight;
END

# -- pools -------------------------------------------------------------------------------------------

mutant pool_forgets_its_waiters short pool/ledger.hpp pool plain asymmetric <<'END'
    ++total_.closed[static_cast<std::size_t>(why)];
    serve(now);
=>
    ++total_.closed[static_cast<std::size_t>(why)];
    (void)now;
END

mutant pool_gives_back_without_its_lock short pool/core.hpp pool tsan asymmetric <<'END'
      std::scoped_lock const lock{shared.mutex};
      if (shared.ledger.put_back(*slot, now)) {
=>
      if (shared.ledger.put_back(*slot, now)) {
END

mutant pool_counts_out_before_it_closes all pool/core.hpp pool plain asymmetric <<'END'
    slot.reset();
    shared->locked([&] { shared->ledger.closed(place, why, shared->clock.now()); });
=>
    shared->locked([&] { shared->ledger.closed(place, why, shared->clock.now()); });
    std::this_thread::yield();
    slot.reset();
END

# -- handles -------------------------------------------------------------------------------------------

mutant handle_without_pin short handle.hpp handles asan asymmetric <<'END'
  explicit BackendHandle(Record& record) noexcept : record_{&record} { record.join_membership(); }
=>
  explicit BackendHandle(Record& record) noexcept : record_{&record} {}
END

# -- the barrier between "I am reading" and "I load the snapshot" ------------------------------------

mutant updater_without_barrier short sync/fence.hpp published plain asymmetric <<'END'
  return detail::run_membarrier();
=>
  return true;
END

mutant reader_without_barrier all sync/epoch.hpp published plain seq_cst <<'END'
slot.epoch.exchange(epoch, std::memory_order_seq_cst);
=>
slot.epoch.store(epoch, std::memory_order_release);
END

mutant reader_does_not_show all sync/epoch.hpp published plain asymmetric <<'END'
      slot.epoch.store(epoch, std::memory_order_release);
=>

END

# -- the orders on a reader's slot -------------------------------------------------------------------

mutant relaxed_leave short sync/epoch.hpp published tsan asymmetric <<'END'
entered_->epoch.store(0, std::memory_order_release);
=>
entered_->epoch.store(0, std::memory_order_relaxed);
END

mutant relaxed_scan all sync/epoch.hpp published tsan asymmetric <<'END'
auto const epoch = slot->epoch.load(std::memory_order_seq_cst);
=>
auto const epoch = slot->epoch.load(std::memory_order_relaxed);
END

mutant relaxed_load_of_the_snapshot all sync/published.hpp published tsan asymmetric <<'END'
return current_.load(std::memory_order_seq_cst);
=>
return current_.load(std::memory_order_relaxed);
END

mutant relaxed_publication all sync/published.hpp published tsan asymmetric <<'END'
current_.exchange(next.release(), std::memory_order_seq_cst)
=>
current_.exchange(next.release(), std::memory_order_relaxed)
END

# -- the grace period --------------------------------------------------------------------------------

mutant no_wait_for_readers all sync/published.hpp published plain asymmetric <<'END'
value.epoch == unfenced || value.epoch > oldest
=>
value.epoch == unfenced
END

mutant freed_one_era_early all sync/published.hpp published plain asymmetric <<'END'
value.epoch > oldest)
=>
value.epoch > oldest + 1)
END

mutant freed_one_era_late all sync/published.hpp published plain asymmetric <<'END'
value.epoch > oldest)
=>
value.epoch >= oldest)
END

mutant epoch_advanced_before_the_swap all sync/published.hpp published plain asymmetric <<'END'
    auto const* old = current_.exchange(next.release(), std::memory_order_seq_cst);
=>
    advance_epoch();
    auto const* old = current_.exchange(next.release(), std::memory_order_seq_cst);
    if (old != nullptr) {
      retired_.push_back({std::unique_ptr<T const>{old}, detail::domain.epoch.load()});
      return;
    }
END

mutant inner_section_ends_the_outer all sync/epoch.hpp published plain asymmetric <<'END'
    if (slot->epoch.load(std::memory_order_relaxed) != 0) [[unlikely]]
=>
    if (false)
END

# -- the backend's word ------------------------------------------------------------------------------

mutant lost_carry_of_the_picks all sync/in_flight.hpp in_flight plain asymmetric <<'END'
      stretches_.fetch_add(1, std::memory_order_relaxed);
=>
      stretches_.fetch_add(0, std::memory_order_relaxed);
END

mutant count_that_leads all sync/in_flight.hpp in_flight plain asymmetric <<'END'
(stretch_of(word) - stretches + 8) % 16 - 8
=>
(stretch_of(word) - stretches) % 16
END

mutant picked_twice all sync/in_flight.hpp in_flight plain asymmetric <<'END'
word_.fetch_add(one + pick, std::memory_order_relaxed)
=>
word_.fetch_add(one + pick + pick, std::memory_order_relaxed)
END

mutant undo_forgets_the_pick all sync/in_flight.hpp in_flight plain asymmetric <<'END'
word_.fetch_sub(one + pick, std::memory_order_relaxed)
=>
word_.fetch_sub(one, std::memory_order_relaxed)
END

# -- histograms ---------------------------------------------------------------------------------------

mutant count_that_is_lost all observe/histogram.hpp histogram plain asymmetric <<'END'
    if (counts_[bucket].add(1) == 0) [[unlikely]]
=>
    auto const old = counts_[bucket].load();
    counts_[bucket].store(old + 1);
    if (old == 0) [[unlikely]]
END

# -- a shadow policy's record -------------------------------------------------------------------------

mutant sample_that_is_lost short analysis/shadow_record.hpp shadow plain asymmetric <<'END'
    live.live.add(1);
=>
    live.live.store(live.live.load() + 1);
END

mutant tally_that_takes_its_counts_along short analysis/shadow_record.hpp shadow plain asymmetric <<'END'
  ~ShadowTally() { removed->add(counts.load()); }
=>
  ~ShadowTally() = default;
END

mutant tally_forgotten_while_it_is_used all analysis/shadow_record.hpp shadow plain asymmetric <<'END'
return each.second.use_count() == 1; };
=>
return each.second != nullptr; };
END

mutant tallies_made_without_the_lock short analysis/shadow_record.hpp shadow tsan asymmetric <<'END'
    std::scoped_lock const lock{mutex_};
    auto const before = tallies_.size();
=>
    auto const before = tallies_.size();
END

# -- the drop box ------------------------------------------------------------------------------------

mutant drop_overwrites short sync/drop_box.hpp drop_box plain asymmetric <<'END'
    } while (!head_.compare_exchange_weak(head, item, std::memory_order_release,
                                          std::memory_order_relaxed));
=>
    } while (head_.store(item, std::memory_order_release), false);
END

mutant relaxed_drop_into_the_box all sync/drop_box.hpp drop_box tsan asymmetric <<'END'
compare_exchange_weak(head, item, std::memory_order_release,
=>
compare_exchange_weak(head, item, std::memory_order_relaxed,
END

mutant relaxed_take all sync/drop_box.hpp drop_box tsan asymmetric <<'END'
compare_exchange_weak(head, nullptr, std::memory_order_acquire,
=>
compare_exchange_weak(head, nullptr, std::memory_order_relaxed,
END

mutant take_opens_a_closed_box all sync/drop_box.hpp drop_box plain asymmetric <<'END'
if (head == nullptr || head == closed()) return nullptr;
=>
if (head == nullptr) return nullptr;
END

# -- a retry budget's window -------------------------------------------------------------------------

mutant additions_lost_in_a_window all sync/recent.hpp retry_budget plain asymmetric <<'END'
    while (!word.compare_exchange_weak(
        before, number_of(before) == slot ? before + 1 : (std::uint64_t{slot} << 32U) + 1,
        std::memory_order_seq_cst,  // seq_cst (1): N1
        std::memory_order_relaxed)) {
    }
=>
    word.store(number_of(before) == slot ? before + 1 : (std::uint64_t{slot} << 32U) + 1);
END

mutant checked_before_it_is_added all sync/recent.hpp retry_budget plain asymmetric <<'END'
    auto& word = words_[slot % words_.size()];
=>
    if (count(slot - window, slot + window) >= most) return false;
    most = ~std::uint64_t{0};
    auto& word = words_[slot % words_.size()];
END

mutant failed_addition_stays short sync/recent.hpp retry_budget plain asymmetric <<'END'
    take_back(word, slot);
    return false;
=>
    return false;
END

# -- slots and lanes ---------------------------------------------------------------------------------

mutant taken_slot_taken_again all sync/epoch.hpp threads plain asymmetric <<'END'
  return slot.taken.compare_exchange_strong(free, true, std::memory_order_acquire,
                                            std::memory_order_relaxed);
=>
  free = slot.taken.load(std::memory_order_relaxed);
  sched_yield();
  slot.taken.store(true, std::memory_order_relaxed);
  return !free;
END

mutant last_resort_for_two_threads all sync/epoch.hpp out_of_memory plain asymmetric <<'END'
  while (!try_take(last_resort)) sched_yield();
=>
END

mutant last_resort_not_in_the_list all sync/epoch.hpp out_of_memory asan asymmetric <<'END'
  std::atomic<ReaderSlot*> slots{&last_resort};
=>
  std::atomic<ReaderSlot*> slots{nullptr};
END

mutant last_resort_never_given_back all sync/epoch.hpp out_of_memory plain asymmetric <<'END'
slot.temporary = &slot == &detail::last_resort || detail::thread_is_ending ||
=>
slot.temporary = detail::thread_is_ending ||
END

mutant slot_given_back_while_in_use all sync/epoch.hpp threads plain asymmetric <<'END'
    detail::own_slot() = &slot;
=>
    detail::own_slot() = &slot;
    slot.taken.store(false, std::memory_order_release);
END

mutant slot_used_after_it_was_given_back all sync/epoch.hpp threads plain asymmetric <<'END'
  own_slot() = nullptr;
=>
END

mutant slot_never_given_back all sync/epoch.hpp threads plain asymmetric <<'END'
    give_back(*static_cast<ReaderSlot*>(slot));
=>
    (void)slot;
END

mutant temporary_slot_never_given_back all sync/epoch.hpp threads plain asymmetric <<'END'
    if (entered_->temporary) [[unlikely]]
      detail::give_back(*entered_);
=>
END

mutant relaxed_give_back all sync/epoch.hpp threads tsan asymmetric <<'END'
  slot.taken.store(false, std::memory_order_release);
=>
  slot.taken.store(false, std::memory_order_relaxed);
END

mutant one_lane_for_two_threads all sync/lanes.hpp evenness plain asymmetric <<'END'
Lane{thread_index + 1} : Lane::spare
=>
Lane{thread_index / 2 + 1} : Lane::spare
END

mutant shared_lane_without_atomic_add all sync/lanes.hpp evenness plain asymmetric <<'END'
    if (has_several_owners(lane)) [[unlikely]]
      return several(lane).fetch_add(1, std::memory_order_relaxed) % size;
=>
END

mutant child_keeps_its_parents_readers all sync/epoch.hpp fork plain asymmetric <<'END'
    slot->epoch.store(0, std::memory_order_relaxed);
=>
END

mutant refused_barrier_taken_for_granted all sync/fence.hpp fork plain asymmetric <<'END'
  return detail::run_membarrier();
=>
  (void)detail::run_membarrier();
  return true;
END

# -- who frees a backend, and when -------------------------------------------------------------------

mutant relaxed_release_of_a_request short sync/in_flight.hpp lifetime tsan asymmetric <<'END'
word_.fetch_sub(one, std::memory_order_acq_rel)
=>
word_.fetch_sub(one, std::memory_order_relaxed)
END

mutant relaxed_unpin all sync/in_flight.hpp lifetime tsan asymmetric <<'END'
word_.fetch_sub(pin, std::memory_order_acq_rel)
=>
word_.fetch_sub(pin, std::memory_order_relaxed)
END

mutant unpinned_before_the_readers_are_gone all engine/snapshot_builder.hpp membership plain asymmetric <<'END'
    snapshot->membership = std::move(membership);
=>
    snapshot->membership = std::shared_ptr<Membership<Record> const>{std::shared_ptr<void>{}, membership.get()};
END

mutant unpinned_by_every_membership all engine/record.hpp membership plain asymmetric <<'END'
this->memberships_.drop() && this->word_.unpin()
=>
(this->memberships_.drop(), this->word_.unpin())
END

mutant unpinned_twice all engine/record.hpp membership plain asymmetric <<'END'
memberships_.drop() && this->word_.unpin()
=>
memberships_.drop() && (this->word_.unpin() || this->word_.unpin())
END

mutant never_unpinned all engine/record.hpp membership plain asymmetric <<'END'
memberships_.drop() && this->word_.unpin()
=>
memberships_.drop() && false
END

mutant request_destroys_what_it_ends_last all engine/record.hpp lifetime plain asymmetric <<'END'
if (!owner->box().drop(this)) delete this;
=>
delete this;
END

mutant report_destroys_payloads all engine/writer.hpp lifetime plain asymmetric <<'END'
    if (reviewed) observers_.notify_of_tick();
=>
    Record::destroy(box_.take());
END

mutant destroyed_without_waiting_for_picks all engine/writer.hpp lifetime plain asymmetric <<'END'
    while (!collected_all() && !sync::is_reading())
=>
    if (!collected_all() && false)
END

mutant picks_before_it_shows all engine/core.hpp update_storm tsan asymmetric <<'END'
        return find_and_record(request, room_after);
    sync::ReadSection const section;
    auto const* snapshot = this->link_.current.load();
=>
        return find_and_record(request, room_after);
    auto const* snapshot = this->link_.current.load();
    sync::ReadSection const section;
END

# -- what changes promise ----------------------------------------------------------------------------

mutant refused_claim_stays all policy/claim.hpp evenness plain asymmetric <<'END'
      take_back(backend);
      return {nullptr, path_and_index};
=>
      return {nullptr, path_and_index};
END

mutant refused_claim_of_a_share_stays all policy/claim.hpp evenness plain asymmetric <<'END'
    }
    take_back(backend);
    if (context.trace() != nullptr) [[unlikely]]
=>
    }
    if (context.trace() != nullptr) [[unlikely]]
END

mutant drain_is_not_published all engine/draft.hpp membership plain asymmetric <<'END'
    entry.condition.drained = entry.drained_here = drained;
    changed = true;
=>
    entry.condition.drained = entry.drained_here = drained;
END

mutant retired_without_limit all engine/writer.hpp membership plain asymmetric <<'END'
max_retired = 64
=>
max_retired = 65
END

mutant policy_changes_behind_its_states all engine/policy_link.hpp ends plain asymmetric <<'END'
    if (linked_policy_.load() != policy) linked_policy_.store(nullptr);
=>
END

mutant policy_read_once all engine/policy_link.hpp ends plain asymmetric <<'END'
 || linked_policy_.load() != policy)
=>
)
END

mutant removed_backend_keeps_its_state all engine/policy_link.hpp ends plain asymmetric <<'END'
          record->link_policy_state(nullptr);  // removed
=>
          (void)record;
END

mutant closed_balancer_keeps_its_policy all engine/writer.hpp ends asan asymmetric <<'END'
      link_.unlink();
      membership_.reset();
=>
      membership_.reset();
END

mutant change_inside_a_pick all engine/writer.hpp reentry plain asymmetric <<'END'
    if (sync::is_reading())
      throw UpdateRefused{
=>
    if (false)
      throw UpdateRefused{
END

mutant change_inside_a_change all engine/writer.hpp reentry plain asymmetric <<'END'
    if (exclusive_.held_by_this_thread() || making_.held_by_this_thread())
=>
    if (false)
END

mutant value_read_without_a_second_look short sync/last_values.hpp last_values plain asymmetric <<'END'
    if (slot.stamp.load(std::memory_order_relaxed) != written) return std::nullopt;
=>
END

mutant value_written_beside_another_writer all sync/last_values.hpp last_values plain asymmetric <<'END'
before % 2 != 0 || before > writing ||
=>
before > writing ||
END

mutant value_stamped_before_it_is_there all sync/last_values.hpp last_values plain asymmetric <<'END'
    auto const* from = reinterpret_cast<std::byte const*>(&value);
=>
    slot.stamp.store(writing + 1, std::memory_order_release);
    auto const* from = reinterpret_cast<std::byte const*>(&value);
END

mutant handle_that_does_not_wait_for_its_feed all discovery/watcher.hpp watcher tsan asymmetric <<'END'
        shared_->changed.wait(lock, [&] { return shared_->running != job_; });
=>
        (void)shared_->running;
END

judge_all
echo "$passed passed, $failed failed"
[[ $failed == 0 && $passed != 0 ]] || exit 1
