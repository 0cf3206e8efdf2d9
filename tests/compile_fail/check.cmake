# cmake -D SOURCE=case.cpp -P check.cmake -- <compiler and its flags>
#
# Line 1 of a case says what must happen: `// expect: <regex>`, the compiler refuses it with a
# message that matches; or `// compiles`: so the others do not fail for want of a flag.

math(EXPR last "${CMAKE_ARGC} - 1")
foreach(i RANGE ${last})
  if(after_dashes)
    list(APPEND compile "${CMAKE_ARGV${i}}")
  elseif(CMAKE_ARGV${i} STREQUAL "--")
    set(after_dashes TRUE)
  endif()
endforeach()

set(ENV{LC_ALL} C)  # messages in English, with ASCII quotes
execute_process(COMMAND ${compile} -fsyntax-only ${SOURCE}
  RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
string(REPLACE "${SOURCE}" "case.cpp" output "${output}")  # a file's name is no message

file(STRINGS ${SOURCE} first_line LIMIT_COUNT 1)
if(first_line STREQUAL "// compiles")
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "must compile, but does not:\n${output}")
  endif()
elseif(NOT first_line MATCHES "^// expect: (.+)$")
  message(FATAL_ERROR "${SOURCE}:1: must be `// expect: <regex>` or `// compiles`")
elseif(status EQUAL 0)
  message(FATAL_ERROR "compiles, but must be refused with a message like: ${CMAKE_MATCH_1}")
elseif(NOT output MATCHES "${CMAKE_MATCH_1}")
  message(FATAL_ERROR "is refused, but not with a message like: ${CMAKE_MATCH_1}\n${output}")
endif()
