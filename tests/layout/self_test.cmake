# cmake -D SCRATCH=<folder> -P self_test.cmake
#
# Each rule of layout.cmake, broken in a tree of one header, and kept where it is easily misread.

include(${CMAKE_CURRENT_LIST_DIR}/layout.cmake)

set(head "// SPDX-License-Identifier: MIT\n#pragma once\n")

# Writes `text` as the header `file`, and wants the complaints about it to match `regex`.
function(expect regex file text)
  file(REMOVE_RECURSE ${SCRATCH})
  file(WRITE ${SCRATCH}/${file} "${text}")
  get_layout_errors(${SCRATCH} errors)
  if(NOT errors MATCHES "${regex}")
    message(NOTICE "${file}:\n${text}\nwanted: ${regex}\ngot: ${errors}")
    message(SEND_ERROR "a rule of tests/layout/layout.cmake does not do what it says")
  endif()
endfunction()

function(refuse file line why)
  expect("^[^\n]*/${file}:[1-4]: [^\n]*${why}[^\n]*\n$" ${file} "${head}${line}\n")
endfunction()

function(accept file line)
  expect("^$" ${file} "${head}${line}\n")
endfunction()

# 1. Includes
refuse(hash/local.hpp "#include <poise/endpoint.hpp>" "this is layer 0, that is layer 1")
refuse(base/bits.hpp "#include <poise/outcome.hpp>" "this is layer 0, that is layer 1")
refuse(hash/fnv.hpp "#include <poise/hashing/dialect/nginx.hpp>" "this is layer 0, that is layer 1")
refuse(load/ewma.hpp "#include <poise/policy/least.hpp>" "this is layer 1, that is layer 2")
refuse(policy/hooks.hpp "#include <poise/policy/least.hpp>" "policies do not know each other")
refuse(hashing/dialect/nginx.hpp "#include <poise/policy/hash_ring.hpp>" "this is layer 1, that is layer 2")
refuse(compose/retry.hpp "  #  include \"poise/balancer.hpp\"" "this is layer 2, that is layer 3")
refuse(engine/core.hpp "#include <poise/health/monitor.hpp>" "this is layer 3, that is layer 4")
refuse(health/monitor.hpp "#include <poise/probe/schedule.hpp>" "this is layer 4, that is layer 5")
refuse(probe/threads.hpp "#include <poise/asio/probe.hpp>" "this is layer 5, that is layer 6")
refuse(discovery/guard.hpp "#include <poise/discovery/json/endpoints.hpp>" "this is layer 5, that is layer 6")
refuse(orca/header.hpp "#include <poise/orca/json.hpp>" "this is layer 5, that is layer 6")
refuse(engine/core.hpp "#include <poise/discovery/guard.hpp>" "this is layer 3, that is layer 5")
refuse(sync/cursor.hpp "#include <poise/random.hpp>" "only sync/ and the standard library")
refuse(policy/least.hpp "#include <poise/policy/score.hpp>" "policies do not know each other")
refuse(policy/least.hpp "#include <poise/compose/retry.hpp>" "nor what wraps them")
refuse(policy/least.hpp "#include <poise/policy/adaptive/short_list.hpp>" "which alone includes it")
refuse(compose/named.hpp "#include <poise/policy/adaptive/short_list.hpp>" "which alone includes it")
refuse(fwd.hpp "namespace poise::inline v0_1_0 {\n#include <poise/error.hpp>" "only each other")
refuse(probe/threads.hpp "#include <poise/poise.hpp>" "poise.hpp is for users")
refuse(load/ewma.hpp "#include \"error.hpp\"" "write <poise/...>")
expect("/extra/new.hpp:1: a folder without a layer" extra/new.hpp "${head}")

accept(sync/cursor.hpp "#include <poise/sync/relaxed.hpp>\n#include <atomic>")
accept(hash/local.hpp "#include <poise/fwd.hpp>")
accept(hash/fnv.hpp "#include <poise/hash/bytes.hpp>\n#include <poise/hash/local.hpp>")
accept(base/check.hpp "#include <poise/error.hpp>\n#include <poise/time.hpp>")
accept(hashing/dialect/nginx.hpp "#include <poise/hash/fnv.hpp>\n#include <poise/hashing/dialect/member.hpp>")
accept(policy/hash_ring.hpp "#include <poise/hashing/keyed.hpp>\n#include <poise/policy/cursor.hpp>")
accept(policy/adaptive.hpp "#include <poise/policy/adaptive/short_list.hpp>")
accept(policy/adaptive/short_list.hpp "#include <poise/policy/adaptive/statistics.hpp>")
accept(compose/retry.hpp "#include <poise/compose/filter.hpp>\n#include <poise/policy/least.hpp>")
accept(probe/threads.hpp "#include <poise/health/monitor.hpp>\n#include <poise/balancer.hpp>")
accept(discovery/json/endpoints.hpp "#include <poise/discovery/look.hpp>")
accept(tls/https_probe.hpp "#include <poise/asio/probe.hpp>")

# 2. The root
refuse(order.hpp "namespace poise::inline v0_1_0::detail {\n}" "the root holds what users name")
accept(order.hpp "namespace poise::inline v0_1_0 {\n}")
accept(fwd.hpp "#include <poise/version.hpp>\nnamespace poise::inline v0_1_0 {\n}")
accept(poise.hpp "#include <poise/health/monitor.hpp>\n#include <poise/fwd.hpp>")

# 3. Memory orders
refuse(load/ewma.hpp "n.load(std::memory_order_relaxed);" "only sync/ orders memory")
accept(sync/relaxed.hpp "n.load(std::memory_order_relaxed);")

# 4. The head of a file
expect("first line must be" base/bits.hpp "#pragma once\n#pragma once\n")
expect("#pragma once is missing" base/bits.hpp "// SPDX-License-Identifier: MIT\n")
expect("a source without its header base/bits.hpp" base/bits.cpp "// SPDX-License-Identifier: MIT\n")

# 5. The preprocessor
refuse(base/bits.hpp "#define POISE_ASSERT(x)" "no macros")
refuse(base/bits.hpp "#ifdef POISE_DEBUG" "asks for POISE_DEBUG")
refuse(base/bits.hpp "#if defined(__linux__) && POISE_DEBUG > 1" "asks for POISE_DEBUG")
accept(base/bits.hpp "#if defined(__linux__) && defined(SYS_membarrier)")
accept(asio/call.hpp "#if defined(ASIO_HAS_CO_AWAIT)")
accept(base/bits.hpp "#if defined(__linux__) && __has_include(<sys/x.h>) && __cpp_concepts > 1L // x")
accept(base/bits.hpp "#ifdef __SANITIZE_THREAD__\n#elif __has_feature(thread_sanitizer)\n#endif")

# 6. The version
refuse(base/bits.hpp "namespace poise::detail {" "write .namespace poise::inline v0_1_0.")
refuse(base/bits.hpp "namespace poise::inline v0_0_9 {" "write .namespace poise::inline v0_1_0.")
accept(base/bits.hpp "namespace poise::inline v0_1_0::detail {\nusing namespace poise;")

# Markdown: a long line is named; rows of tables and lines that are one link may be long.
include(${CMAKE_CURRENT_LIST_DIR}/markdown.cmake)
string(REPEAT "words " 21 long)
string(REPEAT "x" 130 link)
file(REMOVE_RECURSE ${SCRATCH})
file(WRITE ${SCRATCH}/README.md "short\n| ${long}|\n[${link}](x)\n")
file(WRITE ${SCRATCH}/docs/design/page.md "short; short\n${long}\n")
get_markdown_errors(${SCRATCH} errors)
if(NOT errors STREQUAL "docs/design/page.md:2: 126 columns; at most 120\n")
  message(SEND_ERROR "markdown.cmake does not do what it says: ${errors}")
endif()

# Namespaces of test files
include(${CMAKE_CURRENT_LIST_DIR}/namespaces.cmake)
file(REMOVE_RECURSE ${SCRATCH})
set(test "TEST_CASE(\"x\") {}\n")
set(close "\n}  // namespace ")
file(WRITE ${SCRATCH}/unit/good.cpp "//\n\nnamespace unit_good {\n\n${test}${close}unit_good\n")
file(WRITE ${SCRATCH}/unit/support.cpp "//\n\nnamespace tests {}\n")
file(WRITE ${SCRATCH}/unit/a/none.cpp "//\n${test}")
file(WRITE ${SCRATCH}/unit/a/other.cpp "//\n\nnamespace unit_other {\n\n${test}${close}unit_other\n")
file(WRITE ${SCRATCH}/api/late.cpp
  "//\nusing a::b;\n\nnamespace api_late {\n\n${test}${close}api_late\n")
file(WRITE ${SCRATCH}/api/early.cpp
  "//\n\nnamespace api_early {\n\n${test}${close}api_early\n\n${test}")
get_namespace_errors(${SCRATCH} errors)
string(REGEX REPLACE ":[^\n]*\n" " " files "${errors}")
if(NOT files STREQUAL "api/early.cpp api/late.cpp unit/a/none.cpp unit/a/other.cpp ")
  message(SEND_ERROR "namespaces.cmake does not do what it says: ${errors}")
endif()
