# awk -f well_formed.awk FILE.svg: fails, and says where, unless all elements are closed in order,
# attributes are quoted, and no text has a bare & or ". That is XML as the pictures use it.

BEGIN { RS = "<"; name = "[a-zA-Z][a-zA-Z0-9]*" }

function refuse(what) {
  print FILENAME ": " what ": <" $0
  failed = 1
  exit 1
}

NR == 1 { if ($0 != "") refuse("text before the first element"); next }
{
  end = index($0, ">")
  if (end == 0) refuse("no end of the tag")
  tag = substr($0, 1, end - 1)
  text = tag substr($0, end + 1)
  gsub(/&(lt|gt|amp|quot);/, "", text)
  if (text ~ /&/) refuse("a bare &")
  if (depth == 0 && NR > 2) refuse("a second root")
}
tag ~ /^\// {
  if (depth == 0 || open[depth] != substr(tag, 2)) refuse("closes what is not open")
  --depth
  next
}
{
  empty = sub(/\/$/, "", tag)
  attributes = tag
  if (!sub("^" name, "", attributes)) refuse("no name")
  while (sub(/^ [a-zA-Z-]+="[^"]*"/, "", attributes)) {}
  if (attributes != "") refuse("attributes")
  split(tag, words, " ")
  if (!empty) open[++depth] = words[1]
}
END { if (!failed && depth != 0) { print FILENAME ": <" open[depth] "> is not closed"; exit 1 } }
