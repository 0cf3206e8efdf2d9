#!/usr/bin/env bash
# first_hour.sh ROOT SCRATCH COMPILER [FLAG...]
#
# The ```cpp blocks of docs/README.md are one program, which prints its ```text blocks.

set -euo pipefail
export LC_ALL=C
root=$1 scratch=$2
shift 2
cd "$root"
mkdir -p "$scratch"

{
  awk -v unit=core -f tests/docs/snippets.awk docs/README.md
  echo 'int main() { docs::snippet_1::run(); }'
} >"$scratch/first_hour.cpp"
awk '/^```text/ { inside = 1; next } /^```/ { inside = 0 } inside' docs/README.md >"$scratch/expected"

"$@" -std=c++20 -w -Iinclude -Itests "$scratch/first_hour.cpp" -pthread -o "$scratch/first_hour"
"$scratch/first_hour" | diff "$scratch/expected" - ||
  { echo "docs/README.md does not show what its program prints"; exit 1; }
