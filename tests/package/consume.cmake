# Builds consumer/ in one WAY that a user might choose, and runs it. CXX, CXXFLAGS and
# CMAKE_GENERATOR come from the environment, which every tool here reads by itself.

set(consumer ${CMAKE_CURRENT_LIST_DIR}/consumer)
set(prefix ${SCRATCH}/prefix)
separate_arguments(compile UNIX_COMMAND "$ENV{CXX} $ENV{CXXFLAGS} -std=c++20")

macro(run)
  execute_process(COMMAND ${ARGN} COMMAND_ECHO STDOUT COMMAND_ERROR_IS_FATAL ANY)
endmacro()

# As a part of the consumer's build, whose installation must not bring poise along.
macro(build_within)
  run(${CMAKE_COMMAND} -S ${consumer} -B ${SCRATCH} ${ARGN})
  run(${CMAKE_COMMAND} --build ${SCRATCH})
  run(${CMAKE_COMMAND} --install ${SCRATCH} --prefix ${prefix})
  if(EXISTS ${prefix})
    message(FATAL_ERROR "installing the consumer also installed poise, to ${prefix}")
  endif()
endmacro()

file(REMOVE_RECURSE ${SCRATCH})
file(MAKE_DIRECTORY ${SCRATCH})

if(WAY STREQUAL "find_package")
  run(${CMAKE_COMMAND} --install ${BINARY} --prefix ${prefix})
  run(${CMAKE_COMMAND} -S ${consumer} -B ${SCRATCH} -D CMAKE_PREFIX_PATH=${prefix})
  run(${CMAKE_COMMAND} --build ${SCRATCH})

elseif(WAY STREQUAL "add_subdirectory")
  build_within(-D POISE_SUBDIRECTORY=${SOURCE})

elseif(WAY STREQUAL "fetch_content")  # CMake's own switch puts a folder in place of the download
  build_within(-D POISE_FETCHED=ON -D FETCHCONTENT_SOURCE_DIR_POISE=${SOURCE})

elseif(WAY STREQUAL "pkg_config")
  run(${CMAKE_COMMAND} --install ${BINARY} --prefix ${prefix})
  set(ENV{PKG_CONFIG_PATH} ${prefix}/share/pkgconfig)
  run(pkg-config --cflags --libs poise OUTPUT_VARIABLE flags)
  separate_arguments(flags UNIX_COMMAND "${flags}")
  run(${compile} ${consumer}/main.cpp ${flags} -o ${SCRATCH}/consumer)
  run(${compile} ${consumer}/named.cpp ${prefix}/include/poise/compose/policy_named.cpp ${flags}
    -o ${SCRATCH}/consumer_named)

elseif(WAY STREQUAL "include_path")
  run(${compile} ${consumer}/main.cpp -I ${SOURCE}/include -pthread -o ${SCRATCH}/consumer
    -MD -MF ${SCRATCH}/read_files)
  file(READ ${SCRATCH}/read_files read_files)
  if(read_files MATCHES "[^ ]*include/(fmt/|asio|boost/)[^ ]*")
    message(FATAL_ERROR "<poise/poise.hpp> needs the standard library only, but read "
      "${CMAKE_MATCH_0}")
  endif()
endif()

if(EXISTS ${SCRATCH}/consumer_named)  # all but include_path link policy_named.cpp
  run(${SCRATCH}/consumer_named)
endif()

run(${SCRATCH}/consumer OUTPUT_VARIABLE said)
if(NOT said MATCHES "^10\\.0\\.0\\.[12]:80\n$")
  message(FATAL_ERROR "the consumer must print one of its two addresses, but said: ${said}")
endif()
