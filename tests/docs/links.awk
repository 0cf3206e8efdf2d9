# awk -f links.awk PAGE.md...
#
# Links of Markdown pages that lead nowhere: to a file that is not there, or to a heading that the
# page does not have. Links to other sites are not followed. Run at the top of the checkout, with
# every page that others may link to.

function complain(message) {
  printf "%s:%d: %s\n", FILENAME, FNR, message
  failed = 1
}

function exists(path) {
  if (!(path in known)) known[path] = system("test -e '" path "'") == 0
  return known[path]
}

# The name that GitHub and MkDocs give to a heading.
function anchor_of(heading) {
  heading = tolower(heading)
  gsub(/`|\[|\]\([^)]*\)/, "", heading)
  gsub(/[^a-z0-9 _-]/, "", heading)
  gsub(/ /, "-", heading)
  return heading
}

# folder/../page.md -> page.md
function normal(path) {
  while (sub(/[^\/]+\/\.\.\//, "", path)) {}
  sub(/^\.\//, "", path)
  return path
}

function check(target,    folder, path, anchor) {
  if (target ~ /^[a-z]+:/) return
  anchor = path = target
  if (!sub(/^[^#]*#/, "", anchor)) anchor = ""
  sub(/#.*/, "", path)
  folder = FILENAME
  if (!sub(/[^\/]*$/, "", folder)) folder = ""
  path = path == "" ? FILENAME : normal(folder path)
  if (!exists(path)) complain("a link to " target ", which does not exist")
  else if (anchor != "") wanted[path "#" anchor] = FILENAME ":" FNR
}

FNR == 1 { in_code = in_comment = 0 }
/^ *```/ { in_code = !in_code; next }
in_code { next }
/^<!--/ { in_comment = 1 }
in_comment { if (/-->/) in_comment = 0; next }
/^#+ / {
  heading = $0
  sub(/^#+ /, "", heading)
  there[FILENAME "#" anchor_of(heading)] = 1
}
{
  rest = $0
  gsub(/`[^`]*`/, "", rest)
  while (match(rest, /\]\([^)]*\)/)) {
    check(substr(rest, RSTART + 2, RLENGTH - 3))
    rest = substr(rest, RSTART + RLENGTH)
  }
}

END {
  for (target in wanted)
    if (target ~ /\.md#/ && !(target in there)) {
      printf "%s: a link to %s, a heading that the page does not have\n", wanted[target], target
      failed = 1
    }
  exit failed
}
