# awk -v unit=core|asio -f snippets.awk PAGE.md... >unit.cpp
#
# Makes one C++ file of all ```cpp blocks: the blocks that need Asio, or the others. #line leads the
# compiler's messages back to the page. A block is taken for statements, which stand in a function of
# their own, unless a comment above it says otherwise:
#
#   <!-- snippet: namespace scope -->     types and functions, not statements
#   <!-- snippet: coroutine -->           statements with co_await
#   <!-- snippet: continued -->           sees what the block before it declares
#   <!-- snippet: not compiled: why -->   is counted, and named with its reason
#   <!-- given: code -->                  declarations that the reader can imagine; may take several
#                                         lines, and comes in addition to one of the above
#
# What most blocks take for given (endpoints, user, fetch, log ...) is in given.hpp.

function trim(text) {
  gsub(/^[ \t\n]+|[ \t\n]+$/, "", text)
  return text
}

function complain(line, message) {
  printf "%s:%d: %s\n", FILENAME, line, message >"/dev/stderr"
  failed = 1
}

function keep_include() {
  includes = includes "#line " FNR " \"" FILENAME "\"\n" $0 "\n"
}

function close_function() {
  if (in_function) body[in_part] = body[in_part] "}\n"
  in_function = 0
}

function close_block() {
  close_function()
  if (in_block) body[in_part] = body[in_part] "}\n"
  in_block = 0
}

function take_block(    part) {
  if (how ~ /^not compiled: ./) {
    ++left_out
    if (unit == "core") printf "%s:%d: %s\n", FILENAME, start - 1, how >"/dev/stderr"
    how = given = includes = ""
    return
  }
  if (how !~ /^(|namespace scope|coroutine|continued)$/)
    complain(start - 1, "no such kind of snippet: \"" how "\"; see tests/docs/snippets.awk")

  ++compiled
  part = code given includes ~ /asio|co_await/ ? "asio" : "core"
  if (how == "continued") part = in_part
  else close_block()
  in_part = part
  head[part] = head[part] includes
  if (!in_block) body[part] = body[part] "namespace snippet_" ++number " {\n"
  in_block = 1
  if (given != "")
    body[part] = body[part] "#line " given_line " \"" FILENAME "\"\n" given "\n"
  if (how == "namespace scope" || code ~ /int main\(/) close_function()
  else if (!in_function) {
    body[part] = body[part] (how == "coroutine" ? "asio::awaitable<void>" : "void") " run() {\n"
    in_function = 1
  }
  body[part] = body[part] "#line " start " \"" FILENAME "\"\n" code
  how = given = includes = ""
}

FNR == 1 { close_block() }

in_other || (/^ *```/ && !/^ *```cpp/ && !in_code) {  # blocks of other languages
  if (/^ *```/) in_other = !in_other
  next
}

in_given && /^#include/ { keep_include(); $0 = "" }
in_given {
  if ($0 ~ /-->/) in_given = 0
  sub(/-->.*/, "")
  given = given "\n" $0
  next
}

/^<!-- given:/ {
  given_line = FNR
  given = $0
  in_given = $0 !~ /-->/
  sub(/^<!-- given:/, "", given)
  sub(/-->.*/, "", given)
  next
}

/^<!-- snippet:/ {
  if ($0 !~ /-->$/) complain(FNR, "a snippet's comment is one line that ends in -->")
  how = $0
  sub(/^<!-- snippet:/, "", how)
  sub(/-->.*/, "", how)
  how = trim(how)
  next
}

/^ *```cpp/ && !in_code {
  in_code = 1
  start = FNR + 1
  code = ""
  next
}

/^ *```/ && in_code {
  in_code = 0
  take_block()
  next
}

in_code && /^#include/ { keep_include(); $0 = "" }
in_code { code = code $0 "\n"; next }

NF && (how != "" || given != "") {
  complain(FNR, "a snippet's comment must stand right above its block")
  how = given = ""
}

END {
  close_block()
  if (in_code) complain(start, "this block does not end")
  printf "// %d blocks are compiled, in two units; %d are not\n", compiled, left_out
  printf "%s#include <docs/given.hpp>\nnamespace docs {\n%s}\n", head[unit], body[unit]
  exit failed
}
