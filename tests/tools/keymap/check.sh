#!/bin/sh
# sh tests/tools/keymap/check.sh <keymap>
#
# The command line of examples/keymap: every recording in tests/vectors/, and what it refuses.

set -eu
keymap=$1
vectors=$(dirname "$0")/../../vectors
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0

fail() {
  echo "FAILED: $*" >&2
  failed=1
}

# --- recordings: the backend of each key, by name -------------------------------------------------

compare() { # file
  file=$1
  sed -n 's/^server \(.*\)/\1/p' "$file" | sed 's/ down$//' >"$scratch/backends"
  down=$(sed -n 's/^server \([^ ]*\) .* down$/\1/p' "$file" | paste -sd, -)
  awk '
    /^server / { names[servers++] = $2; next }
    /^expect/ { expecting = 1; next }
    !expecting { next }
    servers > 36 { for (i = 1; i <= NF; ++i) print names[$i]; next }
    {
      for (i = 1; i <= length($0); ++i)
        print names[index("0123456789abcdefghijklmnopqrstuvwxyz", substr($0, i, 1)) - 1]
    }' "$file" >"$scratch/expected"
  "$keymap" --dialect "$(sed -n 's/^dialect //p' "$file")" --backends "$scratch/backends" \
    ${down:+--down "$down"} <"$vectors/keys.txt" >"$scratch/mapped"
  cmp -s "$scratch/expected" "$scratch/mapped" ||
    fail "$file: $(diff "$scratch/expected" "$scratch/mapped" | grep -c '^>') keys differ"
}

compared=0
for file in "$vectors"/*.txt; do
  grep -q '^expect' "$file" || continue
  grep -q '^input' "$file" && continue
  compare "$file"
  compared=$((compared + 1))
done
[ "$compared" -ge 20 ] || fail "only $compared recordings were compared"

# --- questions ------------------------------------------------------------------------------------

expect() { # what, expected output, arguments
  what=$1
  expected=$2
  shift 2
  actual=$("$keymap" "$@" </dev/null) || fail "$what: status $?"
  [ "$actual" = "$expected" ] || fail "$what: got
$actual
wanted
$expected"
}

printf 'a 1\nb 2\n\n# and the last one\nc 1 id=7 guid=g addr=10.0.0.3:80\n' >"$scratch/three"
printf 'a 1\nc 1\n' >"$scratch/two"
expect "rendezvous is exact" "a 25.0000 %
b 50.0000 %
c 25.0000 %" --dialect rendezvous --backends "$scratch/three" --balance
expect "one that is down has nothing" "a 50.0000 %
b 0.0000 %
c 50.0000 %" --dialect rendezvous --backends "$scratch/three" --balance --down b
expect "no keys, no answers" "" --dialect nginx --backends "$scratch/three"
expect "no keys, nothing moves" "0 of 0 keys move: 0.00 %" --moved "$scratch/three" "$scratch/two"

sums=$("$keymap" --dialect ring --backends "$scratch/three" --moved "$scratch/three" \
  "$scratch/two" <"$vectors/keys.txt")
echo "$sums" | head -n 1 | grep -q '^12[0-9][0-9] of 2534 keys move: [45][0-9]\.' ||
  fail "moved: $sums"
echo "$sums" | tail -n +2 | grep -v '^b -> [ac] ' && fail "a ring moved keys of others: $sums"

# Every dialect answers for the same backends; their addresses suit all of them.
printf '10.0.0.1:80 1 guid=x\n10.0.0.2:80 2 guid=y\n[::1]:80 3 guid=z\n' >"$scratch/backends"
"$keymap" --help | sed -n '/^--dialect is/,/^Examples/s/^  \([a-z][^ ]*\) .*/\1/p' >"$scratch/dialects"
[ "$(wc -l <"$scratch/dialects")" -eq 19 ] || fail "--help lists $(wc -l <"$scratch/dialects") dialects"
while read -r dialect; do
  lines=$("$keymap" --dialect "$dialect" --backends "$scratch/backends" <"$vectors/keys.txt" |
    sort | uniq -c | wc -l)
  [ "$lines" -eq 3 ] || [ "$dialect" = nginx-ip-hash ] || fail "$dialect uses $lines of 3 backends"
  sum=$("$keymap" --dialect "$dialect" --backends "$scratch/backends" --balance |
    awk '{ sum += $2 } END { printf "%.2f", sum }')
  [ "$sum" = 100.00 ] || fail "the shares of $dialect sum up to $sum"
done <"$scratch/dialects"

printf 'key without newline' | "$keymap" --backends "$scratch/two" | grep -qx '[ac]' ||
  fail "a last line without newline"
head -c 1000000 /dev/zero | tr '\0' x | "$keymap" --backends "$scratch/two" | grep -qx '[ac]' ||
  fail "a key of a megabyte"

# --- what is wrong: one line, status 2 ------------------------------------------------------------

refuse() { # part of the message, arguments
  part=$1
  shift
  status=0
  message=$("$keymap" "$@" 2>&1 </dev/null) || status=$?
  [ "$status" -eq 2 ] || fail "status $status, not 2, for: $*"
  [ "$(printf '%s\n' "$message" | wc -l)" -eq 1 ] || fail "more than a line for: $*"
  case $message in
    "keymap: "*"$part"*) ;;
    *) fail "no \"$part\" in: $message" ;;
  esac
}

: >"$scratch/empty"
printf 'a 1\nb x\n' >"$scratch/letters"
printf 'a 1\nb -1\n' >"$scratch/negative"
printf 'a 1\nb 4294967296\n' >"$scratch/large"
printf 'a\n' >"$scratch/bare"
printf 'a 1\n\na 1\n' >"$scratch/twice"
printf 'a 0\n' >"$scratch/nothing"
printf 'a 1 colour=red\n' >"$scratch/colour"
printf 'a 300\n' >"$scratch/heavy"
printf 'host 1\n' >"$scratch/host"
refuse "there is no option --frob" --frob
refuse "--backends FILE is missing" --dialect nginx
refuse "--dialect needs a value" --dialect
refuse '"apache" is not known; there are maglev, ' --dialect apache --backends "$scratch/two"
refuse 'nginx has no option "x"; it has none' --dialect nginx:x=1 --backends "$scratch/two"
refuse 'has no option "x"; it has points' --dialect ring:x=1 --backends "$scratch/two"
refuse "function=md5 is not known; there are sdbm, djb2" --dialect haproxy:function=md5 \
  --backends "$scratch/two"
refuse "points=many is no number" --dialect ring:points=many --backends "$scratch/two"
refuse '"points" is no option=value' --dialect ring:points --backends "$scratch/two"
refuse "points is given twice" --dialect ring:points=1,points=2 --backends "$scratch/two"
refuse "$scratch/none: can't be read" --backends "$scratch/none"
refuse "$scratch/empty: there is no backend in it" --backends "$scratch/empty"
refuse "$scratch/letters:2: the weight \"x\"" --backends "$scratch/letters"
refuse "$scratch/negative:2: the weight \"-1\"" --backends "$scratch/negative"
refuse "$scratch/large:2: the weight \"4294967296\"" --backends "$scratch/large"
refuse "$scratch/bare:1: the weight is missing" --backends "$scratch/bare"
refuse "$scratch/twice:3: \"a\" stands in line 1 already" --backends "$scratch/twice"
refuse "$scratch: is a folder, not a file" --backends "$scratch"
refuse "every weight is 0" --backends "$scratch/nothing"
refuse "$scratch/colour:1: \"colour=red\" is none of" --backends "$scratch/colour"
refuse "$scratch/heavy: weight of \"a\" is 300" --dialect haproxy --backends "$scratch/heavy"
refuse 'the address "host" is not IP:PORT' --dialect pingora --backends "$scratch/host"
refuse "a maglev table of 100 slots: a prime" --dialect envoy-maglev:table=100 \
  --backends "$scratch/two"
refuse 'there is no backend "d"' --backends "$scratch/two" --down d
refuse "nothing is left" --backends "$scratch/two" --down a,c
refuse "are two questions" --moved "$scratch/two" "$scratch/two" --balance

exit $failed
