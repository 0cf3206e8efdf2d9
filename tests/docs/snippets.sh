#!/usr/bin/env bash
# snippets.sh ROOT SCRATCH COMPILER [FLAG...]
#
# Compiles every ```cpp block of README.md and docs/, as the two units that snippets.awk makes of
# them. The compiler names page and line of a block that is wrong. Blocks that need Asio and OpenSSL
# are left out where those are not installed.

set -euo pipefail
export LC_ALL=C
root=$1 scratch=$2
shift 2
cd "$root"
mkdir -p "$scratch"
compile=("$@" -std=c++20 -w -Iinclude -Itests -fsyntax-only -x c++)
# docs/README.md is first_hour.sh's.
mapfile -t pages < <(find README.md docs -name '*.md' ! -path docs/README.md | sort)

units=(core)
if echo '#include <asio.hpp>
#include <openssl/ssl.h>' | "${compile[@]}" -E - >/dev/null 2>&1; then
  units+=(asio)
else
  echo "Asio or OpenSSL is missing: blocks that need them are not compiled"
fi

for unit in "${units[@]}"; do
  awk -v unit="$unit" -f tests/docs/snippets.awk "${pages[@]}" >"$scratch/$unit.cpp"
done
head -1 "$scratch/core.cpp"

jobs=()
for unit in "${units[@]}"; do
  "${compile[@]}" "$scratch/$unit.cpp" >"$scratch/$unit.log" 2>&1 &
  jobs+=($!)
done
failed=0
for job in "${jobs[@]}"; do wait "$job" || failed=1; done
for unit in "${units[@]}"; do cat "$scratch/$unit.log"; done
exit "$failed"
