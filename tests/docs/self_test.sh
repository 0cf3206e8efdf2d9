#!/usr/bin/env bash
# self_test.sh SCRATCH COMPILER [FLAG...]: the checks of this folder find what they are there for.

set -euo pipefail
export LC_ALL=C
here=$(cd "$(dirname "$0")" && pwd) scratch=$1/self_test
shift
rm -rf "$scratch"
mkdir -p "$scratch/tests" "$scratch/docs"
ln -s "$here" "$scratch/tests/docs"
: >"$scratch/docs/given.hpp"
cd "$scratch"
failed=0

# want TEXT COMMAND...: the command fails, and says so.
want() {
  local text=$1 output
  shift
  if output=$("$@" 2>&1); then
    echo "passes, but should say \"$text\": $*"
    failed=1
  elif [[ $output != *"$text"* ]]; then
    printf 'should say "%s", but says:\n%s\n' "$text" "$output"
    failed=1
  fi
}

units() { awk -v unit=core -f tests/docs/snippets.awk README.md; }
links() { awk -f tests/docs/links.awk README.md docs/page.md; }

printf 'A page.\n\n```cpp\n#include <cstdio>\nint n = 1;\nint m = "text";\n```\n' >README.md
units >core.cpp
want 'README.md:6:' "$@" -std=c++20 -I. -fsyntax-only core.cpp

printf '<!-- snippet: not compiled: a sketch -->\n```cpp\nthis is no C++\n```\n' >README.md
[[ $(units 2>&1) == *"README.md:2: not compiled: a sketch"* ]]
[[ $(units 2>&1) == *"// 0 blocks are compiled, in two units; 1 are not"* ]]
printf '<!-- snippet: unheard of -->\n```cpp\nint n;\n```\n' >README.md
want 'README.md:2: no such kind of snippet' units
printf '<!-- given: int n = 1; -->\nWords between.\n' >README.md
want 'README.md:2: a snippet'"'"'s comment must stand right above' units
printf 'A page.\n```cpp\nint n;\n' >README.md
want 'README.md:3: this block does not end' units

printf '```text\n<!-- given: int n; -->\n```\n' >README.md
units >/dev/null

printf '# A page\n\n## Two words, `code`\n' >docs/page.md
printf '[a](docs/page.md) [b](docs/page.md#two-words-code) [c](https://example.com) `[](x)`\n' >README.md
links
printf '\n[a](docs/page.md) and [b](docs/pages.md)\n' >README.md
want 'README.md:2: a link to docs/pages.md' links
printf '\n[a](docs/page.md#three-words)\n' >README.md
want 'README.md:2: a link to docs/page.md#three-words' links

exit "$failed"
