#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Model-checks epoch.pml with spin: the protocol must hold, and every seeded mutant must break it.
# Needs spin and a C compiler. Ends with "N passed, M failed".
set -u
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0

explore() {  # explore [MACRO]: true if no assertion can be violated
  (cd "$work" && rm -f pan* ./*.trail &&
    spin ${1:+"-D$1"} -a "$here/epoch.pml" >spin.log 2>&1 && cc -O2 -DSAFETY -DCOLLAPSE -o pan pan.c &&
    ./pan -m200000 >pan.log 2>&1) || { cat "$work"/*.log; exit 2; }
  grep -E 'states, stored|errors:' "$work/pan.log" | sed 's/^/    /'
  ! grep -q 'max search depth too small' "$work/pan.log" && grep -q 'errors: 0' "$work/pan.log"
}

verdict() {  # verdict EXPECTED WORDS: count and print
  if [ "$1" = yes ]; then echo "ok      $2"; passed=$((passed + 1))
  else echo "FAILED  $2"; failed=$((failed + 1)); fi
}

command -v spin >/dev/null || { echo "spin is missing: apt-get install spin"; exit 2; }
if explore; then verdict yes "the protocol holds"; else verdict no "the protocol holds"; fi
for mutant in NO_BARRIER NO_SCAN EARLY_UNPIN LATE_CLAIM STALE_EPOCH; do
  if explore $mutant; then verdict no "$mutant is caught"; else verdict yes "$mutant is caught"; fi
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
