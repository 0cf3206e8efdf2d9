# cmake -D ROOT=<checkout> -P markdown.cmake
#
# Lines of README.md and docs/ have at most 120 columns. Exempt are rows of tables, which Markdown
# cannot wrap, and lines that one link fills.

cmake_minimum_required(VERSION 3.22)

# Appends a line `file:line: what` to `errors` for each line of the page that is too long.
function(check_page root file)
  file(READ ${root}/${file} text)
  string(REGEX REPLACE "[][;\\\\]" "?" text "${text}")
  string(REPLACE "\n" ";" lines "${text}")
  set(number 0)
  foreach(line IN LISTS lines)
    math(EXPR number "${number} + 1")
    string(LENGTH "${line}" length)
    if(length GREATER 120 AND NOT line MATCHES "^ *[|]" AND NOT line MATCHES "^ *[^ ]+$")
      string(APPEND errors "${file}:${number}: ${length} columns; at most 120\n")
    endif()
  endforeach()
  set(errors "${errors}" PARENT_SCOPE)
endfunction()

function(get_markdown_errors root result)
  cmake_path(ABSOLUTE_PATH root)  # else the pattern finds nothing
  file(GLOB_RECURSE files RELATIVE ${root} ${root}/docs/*.md)
  list(PREPEND files README.md)
  set(errors "")
  foreach(file IN LISTS files)
    check_page(${root} ${file})
  endforeach()
  set(${result} "${errors}" PARENT_SCOPE)
endfunction()

if(CMAKE_SCRIPT_MODE_FILE STREQUAL CMAKE_CURRENT_LIST_FILE)
  get_markdown_errors(${ROOT} errors)
  if(errors)
    message(NOTICE "${errors}")
    message(FATAL_ERROR "lines of Markdown are too long")
  endif()
endif()
