/* SPDX-License-Identifier: MIT
 *
 * Picks, changes and reclamation with the asymmetric fence, on a machine with store buffers (x86 TSO).
 *
 * A reader's stores to its slot wait in a buffer and reach memory at any later moment, in order; its
 * atomic adds drain the buffer first, as locked instructions do. The updater swaps the snapshot (a
 * locked instruction), runs membarrier (every reader's buffer is drained, one after the other), begins a
 * new epoch, scans the slots, and frees the snapshots that no reader can hold.
 *
 * Snapshot i lists record i; update i replaces snapshot i by i + 1 and so removes record i. Checked, for
 * every interleaving: no snapshot is read and no record is used after it was freed, a record is freed
 * at most once, and at the end everything that was removed is freed.
 *
 * Each macro seeds one mutant, which must violate an assertion:
 *   NO_BARRIER     the updater does not run membarrier
 *   NO_SCAN        the updater frees without looking at the slots
 *   EARLY_UNPIN    the record loses its pin when it is unlinked, before the grace period
 *   LATE_CLAIM     the reader leaves its section before it claims the record
 *   STALE_EPOCH    the epoch is advanced before the snapshot is swapped
 */

#define READERS 2
#define UPDATES 2
#define SECTIONS 2

byte current = 0;               /* the published snapshot */
byte epoch = 1;
byte slot[READERS] = 0;         /* what memory says of each reader: 0, or the epoch it entered in */
bool snapshot_freed[UPDATES + 1] = false;

byte in_flight[UPDATES + 1] = 0;
bool pinned[UPDATES + 1] = true;
bool record_freed[UPDATES + 1] = false;

/* The store buffer of a reader: at most two stores to its slot wait at a time. */
chan buffer[READERS] = [2] of { byte };
byte finished = 0;

inline drain(r) {
  do
  :: atomic { nempty(buffer[r]) -> buffer[r]?slot[r] }
  :: empty(buffer[r]) -> break
  od
}

/* Memory takes a waiting store whenever it likes. */
active [READERS] proctype memory() {
  byte mine = _pid % READERS;
end:
  do
  :: atomic { nempty(buffer[mine]) -> buffer[mine]?slot[mine] }
  od
}

inline free_record(i) {
  assert(!record_freed[i]);
  record_freed[i] = true
}

/* One locked instruction: the reader's own buffer is empty when it takes effect. */
inline claim(i) {
  atomic {
    empty(buffer[me]);
    assert(!record_freed[i]);
    in_flight[i]++
  }
}

inline release(i) {
  atomic {
    empty(buffer[me]);
    assert(!record_freed[i]);
    in_flight[i]--;
    if
    :: in_flight[i] == 0 && !pinned[i] -> free_record(i)
    :: else
    fi
  }
}

proctype reader(byte me) {
  byte seen, s, n = 0;
  do
  :: n < SECTIONS ->
    seen = epoch;
    buffer[me]!seen;             /* slot.store(epoch); no fence */
    s = current;
    assert(!snapshot_freed[s]);  /* reads the snapshot ... */
#ifdef LATE_CLAIM
    buffer[me]!0;
    claim(s);
#else
    claim(s);                    /* ... and claims what it lists */
    assert(!snapshot_freed[s]);
    buffer[me]!0;                /* slot.store(0) */
#endif
    assert(!record_freed[s]);    /* the request is in progress */
    release(s);
    n++
  :: else -> break
  od;
  atomic { finished++ }
}

byte retired_at[UPDATES] = 0;   /* 0: not retired, or freed already */

inline unpin(i) {
  atomic {
    pinned[i] = false;
    if
    :: in_flight[i] == 0 -> free_record(i)
    :: else
    fi
  }
}

inline collect() {
  oldest = 255;
  k = 0;
  do
  :: k < READERS ->
    atomic {
      if
      :: slot[k] != 0 && slot[k] < oldest -> oldest = slot[k]
      :: else
      fi
    };
    k++
  :: else -> break
  od;
#ifdef NO_SCAN
  oldest = 255;
#endif
  k = 0;
  do
  :: k < UPDATES ->
    if
    :: retired_at[k] != 0 && retired_at[k] <= oldest ->
      retired_at[k] = 0;
      snapshot_freed[k] = true;
#ifndef EARLY_UNPIN
      unpin(k);
#endif
    :: else
    fi;
    k++
  :: else -> break
  od
}

proctype updater() {
  byte i = 0, k, oldest, begun;
  do
  :: i < UPDATES ->
#ifdef STALE_EPOCH
    epoch++;
    begun = epoch;
#endif
    current = i + 1;             /* exchange */
#ifdef EARLY_UNPIN
    unpin(i);
#endif
#ifndef NO_BARRIER
    k = 0;
    do
    :: k < READERS -> drain(k); k++
    :: else -> break
    od;
#endif
#ifndef STALE_EPOCH
    epoch++;
    begun = epoch;
#endif
    retired_at[i] = begun;
    collect();
    i++
  :: else -> break
  od;
  /* After the readers' end a last tick frees the rest. */
  finished == READERS;
  drain(0);
  drain(1);
  collect();
  i = 0;
  do
  :: i < UPDATES ->
    assert(snapshot_freed[i]);
    assert(record_freed[i]);
    i++
  :: else -> break
  od;
  assert(!record_freed[UPDATES])
}

init {
  atomic {
    run reader(0);
    run reader(1);
    run updater()
  }
}
