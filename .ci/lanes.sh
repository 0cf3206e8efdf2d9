# Runs lanes; sourced by .ci/run and .ci/nightly.
#
# A lane is a function lane_<name> with budget[<name>] seconds. It runs in a process of its own, at
# the top of the checkout, stops at its first failing command, and installs what it needs: a fresh
# Debian 12 with bash, apt and root is enough. A failing lane does not keep the next from running.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export DEBIAN_FRONTEND=noninteractive
declare -A budget

for_check=(g++ cmake ninja-build catch2 libfmt-dev libasio-dev)  # what configuring with tests needs

# Installs those of the given packages that are missing.
need() {
  local package missing=()
  for package; do
    dpkg-query -W -f '${Status}\n' "$package" 2>/dev/null | grep -q ' installed$' ||
      missing+=("$package")
  done
  if ((${#missing[@]} > 0)); then
    apt-get -qq update
    apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null
  fi
}

# Addresses are not randomized where that can be had: g++ 12's sanitizers do not start on kernels
# that do it too well.
plainly() {
  if setarch -R true 2>/dev/null; then setarch -R "$@"; else "$@"; fi
}

# Configures, builds and tests one preset; what follows its name goes to ctest.
test_preset() {
  cmake --preset "$1"
  plainly cmake --build --preset "$1"  # runs the test programs, to list their tests
  plainly ctest --preset "$@"
}

# Runs the tests of Catch programs, forty in a process. CTest has a process for each test, and to
# start one costs a program under AddressSanitizer half a second, which is more than most tests take.
test_in_groups() {
  local program groups passed=0 failed=0 log
  groups=$(mktemp -d)
  for program; do
    "$program" --list-test-names-only "~[.]" >"$groups/listed" || true  # returns their number
    if [[ ! -s $groups/listed ]]; then
      echo "$program has no tests" >&2
      return 1
    fi
    sed 's/[\\,[]/\\&/g' "$groups/listed" >"$groups/names"
    # In turn: tests that take long stand beside each other in the list.
    split -n "r/$((($(wc -l <"$groups/names") + 39) / 40))" "$groups/names" \
      "$groups/$(basename "$program")."
  done
  rm "$groups"/{listed,names}
  export -f run_group plainly
  find "$groups" -type f | sort | xargs -P 4 -I{} bash -c 'run_group "$@"' _ "$(dirname "$1")" {}
  for log in "$groups"/*.log; do
    if [[ ! -e ${log%.log}.failed ]]; then
      ((passed += $(wc -l <"${log%.log}")))
      continue
    fi
    cat "$log"
    ((failed += $(cat "${log%.log}.failed")))
  done
  rm -r "$groups"
  echo "$passed passed, $failed failed"
  ((failed == 0))
}

# One file of test names, <program>.<part> in a folder of them: writes its log, and how many failed.
run_group() {
  local programs=$1 group=$2 program
  program=$(basename "${group%.*}")
  plainly timeout 900 "$programs/$program" --input-file "$group" >"$group.log" 2>&1 &&
    grep -q "^All tests passed .* in $(wc -l <"$group") test case" "$group.log" && return
  awk '/^test cases:/ { for (i = 1; i < NF; ++i) if ($(i + 1) == "failed") failed = $i }
    END { print (failed > 0 ? failed : 1) }' "$group.log" >"$group.failed"
}

need_for_tidy() {
  need g++ clang-tidy-19 libfmt-dev libasio-dev libssl-dev libcurl4-openssl-dev libhiredis-dev \
    nlohmann-json3-dev libc-ares-dev libboost1.81-dev libtomlplusplus-dev libpq-dev
}

# A file that includes each of poise's headers.
all_headers() { find include/poise -name '*.hpp' -printf '#include <poise/%P>\n' | sort; }

# tidy <headers> <checks> <file>...: clang-tidy over these files, and over the headers below that
# folder. The checks are added to those of .clang-tidy, or taken from them.
tidy() {
  local headers=$1 checks=$2
  shift 2
  printf '%s\0' "$@" | xargs -0 -P "$(nproc)" -I{} \
    clang-tidy-19 --quiet --header-filter="$headers" --checks="$checks" {} -- \
    -std=c++20 -Iinclude -Iexamples -DASIO_HAS_CO_AWAIT -DASIO_HAS_STD_COROUTINE
}

# The code block that follows <!-- command: $1 --> in README.md.
readme_command() {
  awk -v mark="<!-- command: $1 -->" '
    $0 == mark             { marked = 1; next }
    marked && /^```/       { if (inside) { found = 1; exit } inside = 1; next }
    inside
    END                    { exit !found }' README.md ||
    { echo "README.md has no code block after <!-- command: $1 -->" >&2; return 1; }
}

# "passed failed", counted in a lane's log: from CTest's summaries, and from lines like our own last
# one. A lane that counts nothing is one test; one that fails without a failed test has one.
count_tests() {
  awk -v status="$2" '
    /tests passed, [0-9]+ tests failed out of [0-9]+/ { failed += $4; passed += $NF - $4 }
    /^[0-9]+ passed, [0-9]+ failed$/                  { failed += $3; passed += $1 }
    END {
      if (status != 0 && failed == 0) failed = 1
      if (status == 0 && passed == 0) passed = 1
      print passed + 0, failed + 0
    }' "$1"
}

run_lanes() {
  # In the lane's own process. Told by the environment: whatever the script does with its arguments,
  # it cannot start itself without end.
  if [[ -n ${POISE_CI_LANE-} ]]; then
    "lane_$POISE_CI_LANE"
    return
  fi

  local logs lane began status passed failed all_passed=0 all_failed=0 bad=()
  logs=$(mktemp -d)
  for lane; do
    [[ -n ${budget[$lane]-} ]] && continue
    echo "no lane \"$lane\"; there are: ${!budget[*]}" >&2
    exit 2
  done
  for lane; do
    echo "=== $lane: start $(date +%T), budget ${budget[$lane]} s"
    began=$SECONDS status=0
    POISE_CI_LANE=$lane timeout --kill-after=10 "${budget[$lane]}" bash "$0" </dev/null 2>&1 |
      tee "$logs/$lane" || status=$?
    read -r passed failed <<<"$(count_tests "$logs/$lane" "$status")"
    ((all_passed += passed, all_failed += failed)) || true
    case $status in
      0) echo "=== $lane: passed in $((SECONDS - began)) s" ;;
      124 | 137) echo "=== $lane: FAILED, over its budget of ${budget[$lane]} s" ;;
      *) echo "=== $lane: FAILED in $((SECONDS - began)) s" ;;
    esac
    ((status == 0)) || bad+=("$lane")
  done
  rm -r "$logs"

  echo "=== ${#} lanes in $SECONDS s; failed: ${bad[*]:-none}"
  echo "$all_passed passed, $all_failed failed"
  ((${#bad[@]} == 0))
}
