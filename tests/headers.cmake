# Target `headers`: each header compiles alone, with what its target links and nothing else. Headers
# of a target whose library is missing here are left out. Included at the top, since the libraries
# that are found must be known where the targets are made.

add_custom_target(headers)
file(GLOB_RECURSE unchecked RELATIVE ${PROJECT_SOURCE_DIR}/include CONFIGURE_DEPENDS
  ${PROJECT_SOURCE_DIR}/include/poise/*.hpp)

# check_headers(TARGET FOLDER VARIABLE...): the unchecked headers in this folder, or the header of
# this name, compile with this target, if all of the variables are true: what it needs was found.
function(check_headers target folder)
  set(headers ${unchecked})
  list(FILTER headers INCLUDE REGEX "^${folder}(/|\\.hpp$)")
  list(REMOVE_ITEM unchecked ${headers})
  set(unchecked ${unchecked} PARENT_SCOPE)
  foreach(found IN LISTS ARGN)
    if(NOT ${found})
      return()
    endif()
  endforeach()
  set(sources "")
  foreach(header IN LISTS headers)
    set(source ${PROJECT_BINARY_DIR}/headers/${header}.cpp)
    file(CONFIGURE OUTPUT ${source} @ONLY CONTENT "#include <@header@>\n")
    list(APPEND sources ${source})
  endforeach()
  add_library(headers_${target} OBJECT EXCLUDE_FROM_ALL ${sources})
  target_compile_options(headers_${target} PRIVATE -fsyntax-only)
  target_link_libraries(headers_${target} PRIVATE ${target})
  add_dependencies(headers headers_${target})
endfunction()

find_path(ASIO_INCLUDE_DIR asio.hpp)
find_path(BOOST_INCLUDE_DIR boost/asio.hpp)
find_path(NLOHMANN_INCLUDE_DIR nlohmann/json.hpp)
find_path(TOMLPLUSPLUS_INCLUDE_DIR toml++/toml.h)
find_path(CARES_INCLUDE_DIR ares.h)
find_path(LIBPQ_INCLUDE_DIR NAMES libpq-fe.h postgresql/libpq-fe.h)
find_path(HIREDIS_INCLUDE_DIR hiredis/hiredis.h)
find_package(OpenSSL QUIET)
find_package(CURL QUIET)

check_headers(poise_asio poise/asio ASIO_INCLUDE_DIR)
check_headers(poise_boost_asio poise/boost_asio BOOST_INCLUDE_DIR)
check_headers(poise_status poise/status BOOST_INCLUDE_DIR)
check_headers(poise_tls poise/tls ASIO_INCLUDE_DIR OPENSSL_FOUND)
check_headers(poise_discovery_json poise/discovery/json NLOHMANN_INCLUDE_DIR)
check_headers(poise_discovery_curl poise/discovery/curl NLOHMANN_INCLUDE_DIR CURL_FOUND)
check_headers(poise_orca_json poise/orca/json NLOHMANN_INCLUDE_DIR)
check_headers(poise_config_network poise/config/network NLOHMANN_INCLUDE_DIR ASIO_INCLUDE_DIR
  BOOST_INCLUDE_DIR CURL_FOUND)
check_headers(poise_config poise/config NLOHMANN_INCLUDE_DIR TOMLPLUSPLUS_INCLUDE_DIR)
check_headers(poise_discovery_cares poise/discovery/cares CARES_INCLUDE_DIR)
check_headers(poise_postgres poise/postgres LIBPQ_INCLUDE_DIR)
check_headers(poise_redis poise/redis HIREDIS_INCLUDE_DIR)
check_headers(poise poise)  # all others
