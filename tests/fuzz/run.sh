#!/bin/sh
# run.sh PROGRAM: fuzzes for POISE_FUZZ_SECONDS (20), from what seeds/NAME.txt holds and earlier runs
# found.
#
# A seed is a line, with the escapes of printf's %b. What a run finds stays in PROGRAM.corpus; an
# input that fails is written beside it, and belongs into the seeds once it is understood. To run
# one again: PROGRAM FILE.

set -eu
program=$1
name=${program##*/fuzz_}
here=$(cd "$(dirname "$0")" && pwd)
corpus=$program.corpus

mkdir -p "$corpus"
if [ -f "$here/seeds/$name.txt" ]; then
  number=0
  while IFS= read -r line; do
    number=$((number + 1))
    printf '%b' "$line" >"$corpus/seed-$number"
  done <"$here/seeds/$name.txt"
fi
if [ "$name" = scenario ]; then cp "$here"/../../examples/scenarios/*.txt "$corpus"; fi

cd "$corpus"  # so that what an input names is not found by chance
exec "$program" -max_total_time="${POISE_FUZZ_SECONDS:-20}" -timeout=10 -rss_limit_mb=2048 \
  -max_len=4096 -print_final_stats=1 -verbosity=0 -artifact_prefix="$program-" "$corpus"
