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
  expect("^[^\n]*/${file}:3: [^\n]*${why}[^\n]*\n$" ${file} "${head}${line}\n")
endfunction()

function(accept file line)
  expect("^$" ${file} "${head}${line}\n")
endfunction()

# 1. Includes
refuse(hash.hpp "#include <poise/endpoint.hpp>" "this is layer 0, that is layer 1")
refuse(backend.hpp "#include <poise/policy/least.hpp>" "this is layer 1, that is layer 2")
refuse(hash/fnv.hpp "#include <poise/endpoint.hpp>" "this is layer 0, that is layer 1")
refuse(hash/fnv.hpp "#include <poise/dialect/nginx.hpp>" "this is layer 0, that is layer 1")
refuse(dialect/nginx.hpp "#include <poise/policy/hash_ring.hpp>" "this is layer 1, that is layer 2")
refuse(compose/retry.hpp "  #  include \"poise/balancer.hpp\"" "this is layer 2, that is layer 3")
refuse(lease.hpp "#include <poise/observe/log.hpp>" "this is layer 3, that is layer 4")
refuse(sync/cursor.hpp "#include <poise/random.hpp>" "only sync/ and the standard library")
refuse(policy/least.hpp "#include <poise/policy/score.hpp>" "policies do not know each other")
refuse(policy/least.hpp "#include <poise/compose/retry.hpp>" "nor what wraps them")
refuse(observe/wait.hpp "#include <poise/health/probe.hpp>" "observe/ and health/ do not know each other")
accept(asio/wait.hpp "#include <poise/health/probe.hpp>")
refuse(fwd.hpp "#include <poise/error.hpp>" "only each other")
refuse(health/probe.hpp "#include <poise/poise.hpp>" "poise.hpp is for users")
refuse(backend.hpp "#include \"error.hpp\"" "write <poise/...>")
expect("/extra/new.hpp:1: a folder without a layer" extra/new.hpp "${head}")

accept(sync/cursor.hpp "#include <poise/sync/relaxed.hpp>\n#include <atomic>")
accept(random.hpp "#include <poise/sync/cursor.hpp>\n#include <poise/hash.hpp>")
accept(endpoint.hpp "#include <poise/error.hpp>\n#include <poise/fwd.hpp>")
accept(compose/retry.hpp "#include <poise/compose/filter.hpp>\n#include <poise/policy/least.hpp>")
accept(health/probe.hpp "#include <poise/health/tracker.hpp>\n#include <poise/balancer.hpp>")
accept(hash.hpp "#include <poise/fwd.hpp>")
accept(hash/fnv.hpp "#include <poise/hash/bytes.hpp>\n#include <poise/hash.hpp>")
accept(dialect/nginx.hpp "#include <poise/hash/fnv.hpp>\n#include <poise/dialect/member.hpp>")
accept(policy/hash_ring.hpp "#include <poise/dialect/member.hpp>\n#include <poise/keyed.hpp>")
accept(fwd.hpp "#include <poise/version.hpp>")
accept(poise.hpp "#include <poise/observe/log.hpp>\n#include <poise/fwd.hpp>")

# 2. Memory orders
refuse(backend.hpp "n.load(std::memory_order_relaxed);" "only sync/ orders memory")
accept(sync/relaxed.hpp "n.load(std::memory_order_relaxed);")

# 3. The head of a file
expect("first line must be" error.hpp "#pragma once\n#pragma once\n")
expect("#pragma once is missing" error.hpp "// SPDX-License-Identifier: MIT\n")

# 4. The preprocessor
refuse(error.hpp "#define POISE_ASSERT(x)" "no macros")
refuse(error.hpp "#ifdef POISE_DEBUG" "asks for POISE_DEBUG")
refuse(error.hpp "#if defined(__linux__) && POISE_DEBUG > 1" "asks for POISE_DEBUG")
accept(error.hpp "#if defined(__linux__) && defined(SYS_membarrier)")
accept(asio/call.hpp "#if defined(ASIO_HAS_CO_AWAIT)")
accept(error.hpp "#if defined(__linux__) && __has_include(<sys/x.h>) && __cpp_concepts > 1L // x")
accept(error.hpp "#ifdef __SANITIZE_THREAD__\n#elif __has_feature(thread_sanitizer)\n#endif")
