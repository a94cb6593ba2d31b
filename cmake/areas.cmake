# candela_area(name folder deps...): one static library per folder of src/, found by glob, so that
# there is no list of sources to keep and link order repeats the layer order.
add_library(candela_options INTERFACE)
target_include_directories(candela_options INTERFACE ${PROJECT_SOURCE_DIR}/src)
target_compile_options(candela_options INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wconversion)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # False alarms in std::string of g++ 12 at -O2 and above (GCC bug 105651).
  target_compile_options(candela_options INTERFACE -Wno-restrict)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  # std::stable_sort of libstdc++ 12 calls what the standard has deprecated since.
  target_compile_options(candela_options INTERFACE -Wno-deprecated-declarations)
endif()
if(CANDELA_WERROR)
  target_compile_options(candela_options INTERFACE -Werror)
endif()
if(CANDELA_SANITIZE)
  target_compile_options(candela_options INTERFACE -fsanitize=${CANDELA_SANITIZE}
                                                   -fno-omit-frame-pointer)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # Instrumented code confuses it: it complains about the standard library's own std::regex.
    target_compile_options(candela_options INTERFACE -Wno-maybe-uninitialized)
  endif()
  target_link_options(candela_options INTERFACE -fsanitize=${CANDELA_SANITIZE})
endif()
if(CANDELA_FUZZ)
  target_compile_options(candela_options INTERFACE -fsanitize=fuzzer-no-link)
endif()

function(candela_area name folder)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/${folder}/*.cpp)
  if(folder STREQUAL "cli")
    list(FILTER sources EXCLUDE REGEX "/main\\.cpp$")
  endif()
  if(NOT sources)
    # An area of headers alone still is a library, so that link order stays the layer order.
    set(sources ${CMAKE_CURRENT_BINARY_DIR}/${name}_empty.cpp)
    file(TOUCH ${sources})
  endif()
  add_library(candela_${name} STATIC ${sources})
  target_link_libraries(candela_${name} PUBLIC candela_options ${ARGN})
endfunction()
