# Target `headers`: each header compiles alone, with what its target links and nothing else. A target
# whose library is missing here is left out.
# Included at the top, since the libraries that are found must be known where the targets are made.

add_custom_target(headers)

# The headers of these folders, which are given by their names under include/poise ("." is the root,
# "FOLDER/." a folder without those in it), compile with this target.
function(check_headers target)
  set(sources "")
  foreach(folder IN LISTS ARGN)
    set(kind GLOB_RECURSE)
    if(folder MATCHES "^(.+/)?\\.$")
      set(kind GLOB)
    endif()
    file(${kind} found RELATIVE ${PROJECT_SOURCE_DIR}/include CONFIGURE_DEPENDS
      ${PROJECT_SOURCE_DIR}/include/poise/${folder}/*.hpp)
    foreach(header IN LISTS found)
      set(source ${PROJECT_BINARY_DIR}/headers/${header}.cpp)
      file(CONFIGURE OUTPUT ${source} @ONLY CONTENT "#include <@header@>\n")
      list(APPEND sources ${source})
    endforeach()
  endforeach()
  add_library(headers_${target} OBJECT EXCLUDE_FROM_ALL ${sources})
  target_compile_options(headers_${target} PRIVATE -fsyntax-only)
  target_link_libraries(headers_${target} PRIVATE ${target})
  add_dependencies(headers headers_${target})
endfunction()

check_headers(poise . analysis base compose discovery/. engine hash hashing health load
  observe policy probe sync)

find_path(ASIO_INCLUDE_DIR asio.hpp)
if(ASIO_INCLUDE_DIR)
  check_headers(poise_asio asio)
endif()
find_path(BOOST_INCLUDE_DIR boost/asio.hpp)
if(BOOST_INCLUDE_DIR)
  check_headers(poise_boost_asio boost_asio)
  check_headers(poise_status status)
endif()
find_package(OpenSSL QUIET)
if(OPENSSL_FOUND AND ASIO_INCLUDE_DIR)
  check_headers(poise_tls tls)
endif()
find_path(NLOHMANN_INCLUDE_DIR nlohmann/json.hpp)
find_package(CURL QUIET)
if(NLOHMANN_INCLUDE_DIR)
  check_headers(poise_discovery_json discovery/json)
  if(CURL_FOUND)
    check_headers(poise_discovery_curl discovery/curl)
  endif()
endif()
find_path(CARES_INCLUDE_DIR ares.h)
if(CARES_INCLUDE_DIR)
  check_headers(poise_discovery_cares discovery/cares)
endif()
