# cmake -D SOURCE=case.cpp [-D HEADERS=headers.hpp] -P check.cmake -- <compiler and its flags>
#
# Line 1 of a case says what must happen: `// expect: <regex>`, the compiler refuses it, and its
# first error has a message that matches; `// expect note: <regex>`, the same of the notes below the
# first error; or `// compiles`: so the others do not fail for want of a flag. HEADERS, if given, is
# included first; it was precompiled with the same flags, and includes all that the case includes.
# The compiler stops at its first error: what it says after that, and most of the time it takes,
# belongs to templates that are instantiated although their argument is wrong.

math(EXPR last "${CMAKE_ARGC} - 1")
foreach(i RANGE ${last})
  if(after_dashes)
    list(APPEND compile "${CMAKE_ARGV${i}}")
  elseif(CMAKE_ARGV${i} STREQUAL "--")
    set(after_dashes TRUE)
  endif()
endforeach()
if(HEADERS)
  list(APPEND compile -include ${HEADERS})
endif()

file(STRINGS ${SOURCE} first_line LIMIT_COUNT 1)
set(stop -Wfatal-errors)
if(first_line MATCHES "^// expect note: ")
  set(stop -fmax-errors=1)  # g++ leaves out the notes of a fatal error
endif()

set(ENV{LC_ALL} C)  # messages in English, with ASCII quotes
execute_process(COMMAND ${compile} -fsyntax-only ${stop} ${SOURCE}
  RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
string(REPLACE "${SOURCE}" "case.cpp" output "${output}")  # a file's name is no message

if(first_line STREQUAL "// compiles")
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "must compile, but does not:\n${output}")
  endif()
elseif(NOT first_line MATCHES "^// expect( note)?: (.+)$")
  message(FATAL_ERROR
    "${SOURCE}:1: must be `// expect: <regex>`, `// expect note: <regex>` or `// compiles`")
elseif(status EQUAL 0)
  message(FATAL_ERROR "compiles, but must be refused with a message like: ${CMAKE_MATCH_2}")
elseif(NOT output MATCHES "${CMAKE_MATCH_2}")
  message(FATAL_ERROR "is refused, but not with a message like: ${CMAKE_MATCH_2}\n${output}")
endif()
