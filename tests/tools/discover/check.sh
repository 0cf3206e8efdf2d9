#!/bin/sh
# sh tests/tools/discover/check.sh <discover>
#
# The command line of examples/discover: lists, files, changes, and what it refuses.

set -eu
tool=$1
. "$(dirname "$0")/../expect.sh"

expect "a list" '"id":"a:1","address":"a:1","weight":1,"zone":"","tier":0},{"id":"b:2"' 0 list:a:1,b:2
expect "a list is applied" '"applied":true' 0 list:a:1
BACKENDS='a:1 weight=7' expect "a variable" '"weight":7' 0 env:BACKENDS
expect "a variable that is not set" 'failed: NO_SUCH is not set; 0 endpoints stay; next look in' 1 env:NO_SUCH
printf 'a:1 zone=z # one\n\nb:2 tier=3\n' >"$scratch/lines"
expect "a file of lines" '"zone":"z","tier":0},{"id":"b:2","address":"b:2","weight":1,"zone":"","tier":3' 0 "file:$scratch/lines"
echo '["a:1", {"address": "b:2", "weight": 9}]' >"$scratch/list.json"
expect "a file of JSON" '"weight":9' 0 "file:$scratch/list.json"
expect "two sources, a tier each" '"tier":1' 0 list:a:1 list:b:2 --merge tiers
expect "a fallback" '"id":"b:2"' 0 "file:$scratch/none" list:b:2 --merge first
expect "a missing file" 'No such file' 1 "file:$scratch/none"
expect "a name" '"address":"127.0.0.1:80"' 0 dns:127.0.0.1:80
expect "a registry that is down" 'failed: consul web at http://127.0.0.1:1' 1 consul:http://127.0.0.1:1/web
expect "secrets are not shown" 'at http://127.0.0.1:1: ' 1 consul:http://user:secret@127.0.0.1:1/web
if "$tool" http://user:secret@127.0.0.1:1/x?token=secret 2>&1 | grep -q secret; then
  fail "a message shows a secret"
fi
cat >"$scratch/eds.json" <<'END'
{"cluster_name": "web", "endpoints": [{"priority": 2, "lb_endpoints": [
  {"endpoint": {"address": {"socket_address": {"address": "::1", "port_value": 80}}}}]}]}
END
expect "a file of Envoy's" '"address":"\[::1\]:80","weight":1,"zone":"","tier":2' 0 "eds:$scratch/eds.json"
printf 'upstream a { server x:1 weight=4; } upstream b { server y:1; server z; }' >"$scratch/nginx.conf"
expect "an upstream of nginx's" '"id":"z","address":"z:80"' 0 "nginx:$scratch/nginx.conf#b"
expect "one of several upstreams" 'has several groups: name one of "a", "b"' 1 "nginx:$scratch/nginx.conf"
printf 'backend w\n server one x:1 weight 4\n' >"$scratch/haproxy.cfg"
expect "a backend of HAProxy's" '"id":"one","address":"x:1","weight":4' 0 "haproxy:$scratch/haproxy.cfg"
expect "a list for nginx" '"applied":true' 0 "haproxy:$scratch/haproxy.cfg" --policy least_connections \
  --write "nginx:$scratch/out.conf#web" --run "touch $scratch/ran"
grep -q 'server x:1 weight=4;' "$scratch/out.conf" && grep -q 'least_conn;' "$scratch/out.conf" &&
  [ -e "$scratch/ran" ] || fail "the file for nginx: $(cat "$scratch/out.conf")"
rm "$scratch/ran"
expect "a list that did not change" '"applied":true' 0 "haproxy:$scratch/haproxy.cfg" \
  --policy least_connections --write "nginx:$scratch/out.conf#web" --run "touch $scratch/ran"
[ ! -e "$scratch/ran" ] || fail "the command ran although nothing changed"
expect "a list for HAProxy" '"applied":true' 0 list:a:1 --write "haproxy:$scratch/out.cfg#web"
grep -q 'server a:1 a:1 weight 1 check' "$scratch/out.cfg" || fail "for HAProxy: $(cat "$scratch/out.cfg")"
expect "a command that fails" '"exit 3" failed' 1 list:a:1 --write "nginx:$scratch/o#web" --run 'exit 3'
expect "a file that can't be written" 'No such file' 1 list:a:1 --write "nginx:/nowhere/o#web"
expect "a target without a name" '--write is nginx:PATH#NAME or' 2 list:a:1 --write "nginx:$scratch/o"
expect "a command without a file" '--run and --policy belong to --write' 2 list:a:1 --run true
expect "help" 'usage:' 0 --help
expect "no source" 'a SOURCE is missing' 2
expect "an unknown source" 'there is no kind of source "nfs"' 2 nfs:x
expect "what a balancer does with weights and tiers" \
  '"balancer":{"joined":\["a:1","b:1","c:1"\],"left":\[\],"backends":\[{"id":"a:1","weight":3,"tier":0,"share":0.75},{"id":"b:1","weight":1,"tier":0,"share":0.25},{"id":"c:1","weight":1,"tier":1,"share":0.0}\]}' \
  0 'list:a:1 weight=3,b:1,c:1 tier=1' --balancer
expect "an option that takes no value" '--watch takes no value' 2 --watch=3 list:a:1
expect "an unknown option" 'there is no option --wach' 2 --wach list:a:1
expect "a wrong guard" '--guard is on, off or obey-empty, not "maybe"' 2 --guard maybe list:a:1
expect "a wrong list" '"a:0" is not host:port' 2 list:a:0
expect "a wrong URL" 'is no URL followed by' 2 consul:localhost/web

expect "register without an address" 'the address to register, ""' 2 register etcd:http://127.0.0.1:1/web/
expect "register with a file" 'with consul: and etcd:, not with' 2 register file:x --address a:1
expect "a wrong TTL" '--ttl is "0", but must be a whole number from 1 to 86400' 2 register --ttl 0 etcd:http://127.0.0.1:1/web/

# Changes: a replaced file is a line, an emptied one is held, and a large loss is.
printf 'a:1\nb:1\nc:1\nd:1\n' >"$scratch/f"
"$tool" "file:$scratch/f" --watch --balancer --snapshot "$scratch/snapshot" >"$scratch/out" 2>"$scratch/err" &
watching=$!
lines() { # how many, at least
  for _ in $(seq 500); do
    if [ "$(wc -l <"$scratch/out")" -ge "$1" ]; then return; fi
    sleep 0.02
  done
  fail "no line number $1: $(cat "$scratch/out" "$scratch/err")"
}
replace() {
  printf "$1" >"$scratch/f.tmp"
  mv "$scratch/f.tmp" "$scratch/f"
}
lines 1
replace 'a:1\nb:1\nc:1\ne:1\n'
lines 2
sed -n 2p "$scratch/out" | grep -q '"id":"e:1"' || fail "line 2: $(sed -n 2p "$scratch/out")"
sed -n 2p "$scratch/out" | grep -q '"joined":\["e:1"\],"left":\["d:1"\]' ||
  fail "the balancer in line 2: $(sed -n 2p "$scratch/out")"
replace ''
lines 3
sed -n 3p "$scratch/out" | grep -q '"applied":false,"held":"the source names no backend: the last 4 stay' ||
  fail "line 3: $(sed -n 3p "$scratch/out")"
replace 'a:1\n'
lines 4
sed -n 4p "$scratch/out" | grep -q 'more than 50 % went missing: 3 stay' ||
  fail "line 4: $(sed -n 4p "$scratch/out")"
kill "$watching"
wait "$watching" || fail "status $? after SIGTERM"
grep -q 'held: the source names no backend' "$scratch/err" || fail "stderr: $(cat "$scratch/err")"

# The snapshot serves a start without the file.
rm "$scratch/f"
expect "a start without the source" '"id":"e:1"' 0 "file:$scratch/f" --snapshot "$scratch/snapshot"

exit "$failed"
