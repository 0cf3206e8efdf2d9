# cmake -D ROOT=<tests> -P namespaces.cmake
#
# What stands after the includes of a test file stands in a namespace named for its path, so that
# files which are compiled together can't meet: unit_compose_retry in unit/compose/retry.cpp. Files
# without a test are exempt, and those of stress/ and contract/, which are compiled one by one.

cmake_minimum_required(VERSION 3.22)

# Appends a line `file: what` to `errors` if the file breaks the rule.
function(check_namespace root file)
  file(READ ${root}/${file} text)
  if(NOT text MATCHES "\n(TEST_CASE|TEMPLATE_|SCENARIO)")
    return()
  endif()
  string(REGEX REPLACE "[.]cpp$" "" name ${file})
  string(REPLACE / _ name ${name})
  string(FIND "${text}" "\nnamespace ${name} {\n" begin)
  string(SUBSTRING "${text}" 0 ${begin} head)
  if(begin LESS 0)
    string(APPEND errors "${file}: what follows its includes belongs in namespace ${name}\n")
  elseif(head MATCHES "\n(using|namespace|struct|class|template|TEST_CASE)")
    string(APPEND errors "${file}: only includes stand before namespace ${name}\n")
  elseif(NOT text MATCHES "\n}  // namespace ${name}\n(\n#endif\n)?$")
    string(APPEND errors "${file}: nothing stands after \"}  // namespace ${name}\"\n")
  endif()
  set(errors "${errors}" PARENT_SCOPE)
endfunction()

function(get_namespace_errors root result)
  cmake_path(ABSOLUTE_PATH root)  # else the pattern finds nothing
  set(errors "")
  foreach(folder IN ITEMS api integration property tools unit)
    file(GLOB_RECURSE files RELATIVE ${root} ${root}/${folder}/*.cpp)
    foreach(file IN LISTS files)
      check_namespace(${root} ${file})
    endforeach()
  endforeach()
  set(${result} "${errors}" PARENT_SCOPE)
endfunction()

if(CMAKE_SCRIPT_MODE_FILE STREQUAL CMAKE_CURRENT_LIST_FILE)
  get_namespace_errors(${ROOT} errors)
  if(errors)
    message(NOTICE "${errors}")
    message(FATAL_ERROR "test files lack a namespace of their own")
  endif()
endif()
