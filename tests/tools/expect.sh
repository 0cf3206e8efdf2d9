# For the checks of command lines, which read this file: . "$(dirname "$0")/../expect.sh"
#
# Needs $tool, the program to run. Makes a folder, $scratch, which goes with the check, and $failed,
# its status at the end.

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0

fail() {
  echo "FAILED: $*" >&2
  failed=1
}

expect() { # what, pattern of a line of the output, status, arguments
  what=$1
  pattern=$2
  wanted=$3
  shift 3
  status=0
  output=$("$tool" "$@" 2>&1 </dev/null) || status=$?
  [ "$status" = "$wanted" ] || fail "$what: status $status, wanted $wanted: $output"
  echo "$output" | grep -q -e "$pattern" || fail "$what: got
$output
wanted $pattern"
}
