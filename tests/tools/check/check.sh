#!/bin/sh
# sh tests/tools/check/check.sh <check>
#
# The command line of examples/check: what it prints, where, and its status.

set -eu
tool=$1
. "$(dirname "$0")/../expect.sh"
cd "$scratch"

cat >right.toml <<'END'
policy = "p2c(load=peak_ewma)"
[[backends]]
address = "10.0.0.1:80"
[probe]
kind = "http"
interval = "2s"
END
sed 's/kind = "http"/kind = "htp"/; s/"2s"/2/' right.toml >wrong.toml
sed 's/2s/3s/' right.toml >other.toml

cat >cluster.json <<'END'
{"name": "orders", "lb_policy": "RANDOM", "alt": 1,
 "load_assignment": {"endpoints": [{"lb_endpoints": [{"endpoint": {"address":
   {"socket_address": {"address": "10.0.0.1", "port_value": 80}}}}]}]}}
END
echo '{"loadBalancingConfig": [{"round_robin": {}}]}' >service.json

expect "a right file" '^$' 0 right.toml
expect "a wrong file" '^wrong.toml:5:8: probe.kind is "htp": .*did you mean "http"' 2 wrong.toml
expect "its second problem" '^wrong.toml:6:12: probe.interval is 2: .*mean "2s"' 2 wrong.toml
expect "a file that is not there" '^none.toml:0:0: none.toml: No such file' 2 none.toml
expect "an effective file" '^interval = "2s"  # line 6$' 0 right.toml --effective
expect "its defaults" '^timeout = "1s"  # default$' 0 right.toml --effective
"$tool" right.toml --effective >full.toml
expect "an effective file is right" '^$' 0 full.toml
expect "an effective file means the same" '^$' 0 full.toml --diff right.toml
expect "a difference" '^probe.interval: "2s" -> "3s"$' 0 other.toml --diff right.toml
expect "an old file that is wrong" '^wrong.toml:5:8:' 2 right.toml --diff wrong.toml
expect "a key" '^probe.interval: Between two probes' 0 --explain probe.interval
expect "a key, here" '^  here "2s" (line 6)$' 0 right.toml --explain probe.interval
expect "a key that is not there" 'did you mean probe.interval?$' 2 --explain probe.intervl
expect "an Envoy cluster" '^policy = "random"  # line 1$' 0 cluster.json --from envoy
expect "what it ignored" '^# line 1: alt: no counterpart$' 0 cluster.json --from envoy
"$tool" cluster.json --from envoy >translated.toml
expect "a translated file is right" '^$' 0 translated.toml
expect "a service config" '^source = "dns:web:80"' 0 service.json --from grpc --source dns:web:80
expect "no source" '^service.json:1:1: a service config has no backends' 2 service.json --from grpc
expect "another program" 'use envoy or grpc' 2 cluster.json --from nginx
expect "a schema" '"\$schema": "https://json-schema.org/draft/2020-12/schema"' 0 --schema
expect "a reference" '^### `\[probe\]`$' 0 --reference
expect "help" 'usage:' 0 --help
expect "no file" 'a FILE is missing' 2
expect "two files" 'one FILE at a time' 2 right.toml wrong.toml
expect "an option that is not there" 'there is no option --efective' 2 right.toml --efective
expect "an option without its value" '--diff needs a value' 2 right.toml --diff

exit "$failed"
