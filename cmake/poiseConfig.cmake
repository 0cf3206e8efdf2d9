include(CMakeFindDependencyMacro)
find_dependency(Threads)
if("tls" IN_LIST poise_FIND_COMPONENTS)  # else poise::tls is there, but can't be linked
  find_dependency(OpenSSL)
endif()
include(${CMAKE_CURRENT_LIST_DIR}/poiseTargets.cmake)
