#!/usr/bin/env bash
# run.sh SOURCE SCRATCH COMPILER [FLAG...]: two libraries with two releases of poise in one process.
#
# The second release is a copy of the headers with another version, in which what is kept for each
# thread and each cursor has another size. Neither library may use a symbol of the other one.

set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
source=$1 scratch=$2
shift 2
rm -rf "$scratch"
mkdir -p "$scratch"
cp -r "$source/include" "$scratch/next"
"$source/.ci/set_version" 99.0.0 "$scratch/next/poise"
sed -i 's/lane_count = 64;/lane_count = 8;/' "$scratch/next/poise/sync/lanes.hpp"
sed -i 's/^struct alignas(64) ReaderSlot {/&\n  char added[100]{};/' "$scratch/next/poise/sync/epoch.hpp"

version=$(sed -nE 's/.*Version version(\{.*\});/\1/p' "$source/include/poise/version.hpp")
compile=("$@" -std=c++20 -O0 -pthread)
"${compile[@]}" -fPIC -shared -I "$source/include" -D SIDE=left -D "EXPECTED=$version" \
  "$here/library.cpp" -o "$scratch/libleft.so"
"${compile[@]}" -fPIC -shared -I "$scratch/next" -D SIDE=right -D "EXPECTED={99, 0, 0}" \
  "$here/library.cpp" -o "$scratch/libright.so"
"${compile[@]}" "$here/program.cpp" -L "$scratch" -lleft -lright -Wl,-rpath,"$scratch" -o "$scratch/program"

names() { nm --defined-only --dynamic "$scratch/lib$1.so" | awk '{ print $NF }' | grep 5poise | sort; }
shared=$(comm -12 <(names left) <(names right))
if [[ -n $shared ]]; then
  echo "both releases define:"
  c++filt <<<"$shared" | head -n 5
  exit 1
fi
[[ -n $(names left) ]]  # poise's names are visible at all
"$scratch/program"
