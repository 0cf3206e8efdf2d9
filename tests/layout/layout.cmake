# cmake -D ROOT=include/poise -P layout.cmake
#
# What the folders promise, checked line by line:
#   1. Includes point down.
#        6  asio/ boost_asio/ tls/ status/ postgres/ redis/ config/, discovery's folders   over other libraries
#           orca/json.hpp
#        5  probe/ discovery/                                asks backends how, and where they are
#           analysis/                                        what samples say; explains picks
#           observe/                                         counts, and tells in every format
#           pool/ sql/                                       connections; primaries and replicas
#           orca/                                            reads and writes load reports
#        4  health/, ticker, weighted_by_reports
#        3  engine/, observer runtime lease handle changes balancer
#        2  policy/ compose/                                 policies do not include each other
#        1  load/ hashing/, every other header of the root, and in policy/ what policies share:
#           hooks handover claim pick_info cursor rehearsal trace sampled_pick
#        0  sync/ hash/ base/, error time random             sync/ includes nothing but sync/
#      poise.hpp includes all and is included by none; fwd.hpp and version.hpp include each other.
#      A folder policy/X/ belongs to policy/X.hpp, which alone includes it.
#   2. The root holds what users name: each header there defines something in namespace poise.
#   3. memory_order stands under sync/ only.
#   4. A file starts with its licence. A header has #pragma once; a source stands beside its header.
#   5. The preprocessor asks what the compiler and the platform define, and defines nothing.
#   6. All names stand in one inline namespace, that of the version: .ci/set_version writes it.

cmake_minimum_required(VERSION 3.22)

set(free_headers fwd.hpp version.hpp)

# The layer of a header, given relative to include/poise; empty for a folder without a place.
function(get_layer file result)
  if(file MATCHES "^(asio|boost_asio|config|tls|status|postgres|redis|discovery/[a-z]+)/|^orca/json\\.hpp$")
    set(layer 6)
  elseif(file MATCHES "^(probe|analysis|observe|discovery|orca|pool|sql)/")
    set(layer 5)
  elseif(file MATCHES "^(health/.*|ticker\\.hpp|weighted_by_reports\\.hpp)$")
    set(layer 4)
  elseif(file MATCHES "^(engine/.*|(observer|runtime|lease|handle|changes|balancer)\\.hpp)$")
    set(layer 3)
  elseif(file MATCHES "^((sync|hash|base)/.*|(error|time|random)\\.hpp)$")
    set(layer 0)
  elseif(file MATCHES "^(hashing|load)/|^policy/(hooks|handover|claim|pick_info|cursor|rehearsal|trace|sampled_pick)\\.hpp$"
         OR NOT file MATCHES "/")
    set(layer 1)
  elseif(file MATCHES "^(policy|compose)/")
    set(layer 2)
  else()
    set(layer "")
  endif()
  set(${result} "${layer}" PARENT_SCOPE)
endfunction()

# Why `file` must not include `included`; empty if it may.
function(get_include_error file included result)
  get_layer(${file} layer)
  get_layer(${included} included_layer)
  cmake_path(GET file PARENT_PATH folder)
  cmake_path(GET included PARENT_PATH included_folder)
  set(error "")

  if(included STREQUAL "poise.hpp")
    set(error "poise.hpp is for users; include the header that is meant")
  elseif(file STREQUAL "poise.hpp")
  elseif(file IN_LIST free_headers)
    if(NOT included IN_LIST free_headers)
      set(error "fwd.hpp and version.hpp include only each other")
    endif()
  elseif(folder STREQUAL "sync")
    if(NOT included_folder STREQUAL "sync")
      set(error "sync/ includes only sync/ and the standard library")
    endif()
  elseif(included IN_LIST free_headers)
  elseif(included_folder MATCHES "^policy/." AND NOT folder STREQUAL included_folder
         AND NOT file STREQUAL "${included_folder}.hpp")
    set(error "${included_folder}/ belongs to ${included_folder}.hpp, which alone includes it")
  elseif(folder STREQUAL "policy" AND included_layer EQUAL 2)
    cmake_path(GET file STEM stem)
    if(NOT included_folder STREQUAL "policy/${stem}")
      set(error "policies do not know each other, nor what wraps them; share through layer 1")
    endif()
  elseif(included_layer GREATER layer)
    set(error "includes point down: this is layer ${layer}, that is layer ${included_layer}")
  endif()
  set(${result} "${error}" PARENT_SCOPE)
endfunction()

# Appends a line `file:line: what: rule` to `errors` for each rule that the header breaks.
function(check_header root file)
  macro(fail message)
    string(APPEND errors "${root}/${file}:${number}: ${message}\n")
  endmacro()

  # As a list of lines, without the characters that lists give a meaning to.
  file(READ ${root}/${file} text)
  string(REGEX REPLACE "[][;\\\\]" "?" text "${text}")
  string(REPLACE "\n" ";" lines "${text}")

  set(number 1)
  get_layer(${file} layer)
  if(layer STREQUAL "")
    fail("a folder without a layer: place it in tests/layout/layout.cmake")
    set(errors "${errors}" PARENT_SCOPE)
    return()
  endif()
  if(NOT text MATCHES "^// SPDX-License-Identifier: MIT\n")
    fail("the first line must be `// SPDX-License-Identifier: MIT`")
  endif()
  if(file MATCHES "\\.cpp$")
    string(REGEX REPLACE "cpp$" "hpp" header ${file})
    if(NOT EXISTS ${root}/${header})
      fail("a source without its header ${header}")
    endif()
  elseif(NOT text MATCHES "\n#pragma once\n")
    fail("#pragma once is missing")
  endif()
  if(NOT file MATCHES "/|^(poise|version)\\.hpp$"
     AND NOT text MATCHES "\nnamespace poise::inline v[0-9_]+ {\n")
    fail("the root holds what users name: nothing here is defined in namespace poise")
  endif()

  set(number 0)
  foreach(line IN LISTS lines)
    math(EXPR number "${number} + 1")

    if(line MATCHES "memory_order" AND NOT file MATCHES "^sync/")
      fail("memory_order: only sync/ orders memory; use or add a type there")
    endif()

    if(line MATCHES "^ *namespace poise" AND NOT line MATCHES "^namespace poise::inline ${version}[ :]")
      fail("${line}: write `namespace poise::inline ${version}`; `.ci/set_version` does it")
    endif()

    if(NOT line MATCHES "^ *# *([a-z]+)(.*)$")
      continue()
    endif()
    set(directive ${CMAKE_MATCH_1})
    set(rest "${CMAKE_MATCH_2}")

    if(directive STREQUAL "include")
      if(rest MATCHES "^ *[<\"]poise/([^>\"]+)[>\"]")
        set(included ${CMAKE_MATCH_1})
        get_include_error(${file} ${included} error)
        if(error)
          fail("<poise/${included}>: ${error}")
        endif()
      elseif(rest MATCHES "^ *\"")
        fail("#include${rest}: write <poise/...>, from the include folder")
      endif()

    elseif(directive MATCHES "^(define|undef)$")
      fail("#${directive}${rest}: no macros; a constant, a function or a template does it")

    elseif(directive MATCHES "^(if|ifdef|ifndef|elif)$")
      # What compilers and platforms define starts with two underscores, system calls with SYS_, what
      # Asio found out with ASIO_HAS_.
      string(REGEX REPLACE "//.*|__has_[a-z_]+ *\\([^()]*\\)|[0-9][0-9a-zA-Z']*" "" rest "${rest}")
      string(REGEX MATCHALL "[A-Za-z_][A-Za-z_0-9]*" names "${rest}")
      list(FILTER names EXCLUDE REGEX "^(__.*|SYS_.*|(BOOST_)?ASIO_HAS_.*|defined)$")
      if(names)
        fail("#${directive} asks for ${names}: only what compiler and platform define (__...)")
      endif()
    endif()
  endforeach()
  set(errors "${errors}" PARENT_SCOPE)
endfunction()

function(get_layout_errors root result)
  cmake_path(ABSOLUTE_PATH root)  # else the pattern finds nothing
  file(GLOB_RECURSE files RELATIVE ${root} ${root}/*)
  set(errors "")
  set(version v0_1_0)
  if(EXISTS ${root}/version.hpp)
    file(STRINGS ${root}/version.hpp line REGEX "Version version{")
    string(REGEX MATCHALL "[0-9]+" version "${line}")
    list(JOIN version _ version)
    set(version v${version})
  endif()
  foreach(file IN LISTS files)
    check_header(${root} ${file})
  endforeach()
  set(${result} "${errors}" PARENT_SCOPE)
endfunction()

if(CMAKE_SCRIPT_MODE_FILE STREQUAL CMAKE_CURRENT_LIST_FILE)
  get_layout_errors(${ROOT} errors)
  if(errors)
    message(NOTICE "${errors}")  # not in FATAL_ERROR, which would wrap the lines
    message(FATAL_ERROR "headers break the rules at the top of tests/layout/layout.cmake")
  endif()
endif()
