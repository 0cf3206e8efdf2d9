#!/bin/sh
# sh tests/tools/simulate/check.sh <simulate>
#
# The command line of examples/simulate: what it prints and writes, and what it refuses.

set -eu
unset COLUMNS
simulate=$(realpath "$1")
tests=$(realpath "$(dirname "$0")")
cd "$(dirname "$0")/../.." # where its scenarios are
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0

fail() {
  echo "FAILED: $*" >&2
  failed=1
}
contains() { # what, text, part
  case $2 in
    *"$3"*) ;;
    *) fail "$1: no \"$3\" in: $2" ;;
  esac
}

few='servers 4
work exponential mean=10ms
utilisation 0.6
window 20s'
printf '%s\n' "$few" >"$scratch/few.txt"

# --- the same seed, the same output, bit for bit, on any number of threads ------------------------

for threads in 1 2; do
  "$simulate" --scenario "$scratch/few.txt" --seeds 3,4 --threads $threads \
    --policies 'adaptive,least_connections,p2c(load=ewma),round_robin' \
    --csv "$scratch/$threads.csv" --picture "$scratch/$threads.html" >"$scratch/$threads.out"
done
for kind in csv html out; do
  cmp "$scratch/1.$kind" "$scratch/2.$kind" || fail "two threads give another $kind"
done
columns=scenario,policy,seed,requests,mean_ms,p50_ms,p90_ms,p99_ms,p999_ms,max_ms,error_share
columns=$columns,imbalance,bound_p99_ms,p99_over_bound
[ "$(head -n 1 "$scratch/1.csv")" = "$columns" ] || fail "columns: $(head -n 1 "$scratch/1.csv")"
[ "$(wc -l <"$scratch/1.csv")" -eq 9 ] || fail "lines of CSV: $(cat "$scratch/1.csv")"
grep -q '</svg>' "$scratch/1.html" || fail "no picture"

# --- the picture ----------------------------------------------------------------------------------

hostile='<script>alert(1)</script>&"\001\377\357\277\277'
{ printf "name $hostile\n%s\n" "$few"
  printf 'at 5s server 3 down\nat 10s server 3 up\n'
} >"$scratch/hostile.txt"
picture=$scratch/hostile.svg
advised=$("$simulate" --scenario "$scratch/hostile.txt" --seeds 1 --picture "$picture" \
  --policies 'p2c(load=ewma),round_robin,random' | sed -n 's/^Take \(.*\): its .*/\1/p')
drawn=$(cat "$picture")
LC_ALL=C awk -f "$tests/well_formed.awk" "$picture" || fail "the picture is no XML"
contains "which policy to take" "$drawn" ">● Take $advised:</text>"
contains "what happened" "$drawn" ">5 s: server 3: down</text>"
contains "to whom" "$drawn" ">share of server 3</text>"
contains "dark colours" "$drawn" "prefers-color-scheme: dark"
contains "a name is text" "$drawn" ">&lt;script&gt;alert(1)&lt;/script&gt;&amp;&quot;.��</text>"
dashes=$(grep -c 'class="line".*stroke-dasharray' "$picture")
[ "$dashes" -eq 6 ] || fail "$dashes dashed lines; of three policies two, each in three places"
for loads in '<script' 'href' 'url(' '@import' '<image'; do
  case $drawn in *"$loads"*) fail "the picture has $loads" ;; esac
done
LC_ALL=C grep -q "$(printf '[\001\377]')" "$picture" && fail "bytes that XML forbids"

# --- what it says ---------------------------------------------------------------------------------

advice() { # scenario's text, policies
  printf '%s\n' "$1" >"$scratch/advice.txt"
  "$simulate" --scenario "$scratch/advice.txt" --seeds 1,2,3 --policies "$2" | tail -n 1
}
alike='servers 1
work fixed mean=10ms
utilisation 0.5
window 20s'
contains "the order of the names decides nothing" "$(advice "$alike" adaptive,p2c,random)" \
  "Take random: "
down="$few
at 5s server 3 down"
contains "who times out less" "$(advice "$down" round_robin,least_latency)" "Take least_latency: "
contains "who fails less" "$(advice "$down" round_robin,least_connections)" "Take round_robin: "
contains "no requests" "$(advice 'servers 2
work fixed mean=1ms
rate 0.001/s
window 1s' all)" "nothing to compare"
over=$("$simulate" --scenario "$scratch/few.txt" --policies p2c --seeds 1)
case $over in *"queue would grow"*) fail "no queue grows at 60 %: $over" ;; esac
sed 's/^util.*/utilisation 1.5/' "$scratch/few.txt" >"$scratch/over.txt"
over=$("$simulate" --scenario "$scratch/over.txt" --policies p2c --seeds 1)
contains "above capacity" "$over" "The load is 150 % of what the servers can do"
contains "above capacity" "$over" "the queue would grow by 200"
contains "every policy" "$("$simulate" --list)" "  adaptive "
contains "all of them" "$("$simulate" --scenario "$scratch/few.txt" --seeds 1)" "
least_connections "
contains "a client's number" "$("$simulate" --seeds 1 --scenario "$scratch/few.txt" \
  --policies 'subset(p2c,client=#,clients=10,size=4)')" "Take subset("
contains "a pipe" "$(printf '%s\n' "$few" |
  "$simulate" --scenario /dev/stdin --policies p2c --seeds 1)" "Take p2c"
printf 'name a,"b"\n%s\n' "$few" >"$scratch/quoted@1.txt"
"$simulate" --scenario "$scratch/quoted@1.txt" --policies p2c --seeds 1 --csv "$scratch/q.csv" \
  >"$scratch/out"
contains "a name with a comma" "$(tail -n 1 "$scratch/q.csv")" '"a,""b""",p2c,1,'

# --- its width: rows are lines in pipes, and fit where a width is known -----------------------------

wider() { # columns, file: the first line that is wider
  awk -v most="$1" 'length > most { print; exit }' "$2"
}
names='adaptive,exact_round_robin,p2c(load=peak_ewma)'
long='subset(p2c(load=peak_ewma),client=#,clients=10,size=4)'
printf '%s\nat 5s server 3 down\n' "$few" >"$scratch/down.txt"
for columns in 80 60 40; do
  COLUMNS=$columns "$simulate" --scenario "$scratch/down.txt" --seeds 1 --policies "$names" \
    >"$scratch/$columns.out"
  [ -z "$(wider "$columns" "$scratch/$columns.out")" ] ||
    fail "wider than $columns: $(wider "$columns" "$scratch/$columns.out")"
done
COLUMNS=60 "$simulate" --list >"$scratch/list.out"
[ -z "$(wider 60 "$scratch/list.out")" ] || fail "a list wider than 60: $(cat "$scratch/list.out")"
[ "$(grep -c '^exact_round_robin  *[0-9]' "$scratch/80.out")" -eq 2 ] ||
  fail "a row is no line at 80 columns: $(cat "$scratch/80.out")"
COLUMNS=80 "$simulate" --scenario "$scratch/few.txt" --seeds 1 --policies "p2c,$long" \
  >"$scratch/long.out"
grep -qxF "$long" "$scratch/long.out" || fail "no line for a long name: $(cat "$scratch/long.out")"
"$simulate" --scenario "$scratch/few.txt" --seeds 1 --policies "p2c,$long" >"$scratch/pipe.out"
grep -qF "$long  " "$scratch/pipe.out" || fail "a pipe's row is no line: $(cat "$scratch/pipe.out")"
if grep -q "$(printf '\033')" "$scratch/pipe.out"; then fail "colours in a pipe"; fi

# --- ties at the timeout --------------------------------------------------------------------------

lost="$few
timeout 1s
at 0s server 0 down"
printf '%s\n' "$lost" >"$scratch/lost.txt"
tied=$("$simulate" --scenario "$scratch/lost.txt" --policies random,round_robin --seeds 1)
contains "a tie at the timeout" "$tied" "is the timeout, 1000 ms"
untied=$("$simulate" --scenario "$scratch/few.txt" --policies random,round_robin --seeds 1)
case $untied in *"is the timeout"*) fail "no tie at 60 %: $untied" ;; esac

# --- what is wrong: one line, status 1 ------------------------------------------------------------

refuse() { # part of the message, arguments
  part=$1
  shift
  status=0
  message=$("$simulate" "$@" 2>&1 >"$scratch/out" </dev/null) || status=$?
  [ "$status" -eq 1 ] || fail "status $status, not 1, for: $*"
  [ "$(printf '%s\n' "$message" | wc -l)" -eq 1 ] || fail "more than a line for: $*"
  contains "$*" "$message" "simulate: "
  contains "$*" "$message" "$part"
}
lines() { # text of a file, part of the message
  printf '%s\n' "$1" >"$scratch/wrong.txt"
  refuse "$2" --scenario "$scratch/wrong.txt" --policies p2c
}

refuse 'there is no option "--frob"; there are --policies, ' --frob
refuse 'there is no option "--polices"; did you mean --policies? There are ' --polices
refuse '--seeds needs a value' --seeds
refuse '--seeds is "x", but must be a whole number' --seeds 1,x
refuse '--threads is "0", but must be a whole number from 1 to 1024' --threads 0
refuse 'there is no scenario or file "nosuch"; there are black_hole, ' --scenario nosuch
refuse 'there is no scenario or file "tenth_slo"; did you mean tenth_slow? There are ' --scenario tenth_slo
refuse 'there is no scenario or file "/tmp"' --scenario /tmp
refuse 'there is no policy "p3c"; did you mean p2c? There are round_robin, ' --policies p3c
refuse 'must end in .svg or .html' --picture x.png
refuse "can't write" --csv /no/such/folder/x
refuse "can't read trace" --trace /no/such/file --scenario "$scratch/few.txt"
refuse "can't read trace" --trace "$scratch" --scenario "$scratch/few.txt"
[ ! -w /dev/full ] || refuse "can't write all of" --csv /dev/full --policies p2c --seeds 1 \
  --scenario "$scratch/few.txt"
for bad in 'abc' '-1' '1,2' 'nan'; do
  printf '1\n%s\n' "$bad" >"$scratch/trace"
  refuse "line 2: \"$bad\" is no time" --trace "$scratch/trace" --scenario "$scratch/few.txt"
done
lines "$few
at 1s server 4 down" 'line 5: there is no server 4; the last of 4 is server 3'
lines 'servers 0' 'line 1: the number of servers is "0"'
lines 'clients 3' 'there are no servers'
lines "$few
speeed 3" 'line 5: unknown key "speeed"; known: name, clients, servers, '

exit $failed
