# Everything candela links, from the distribution. The WebGPU libraries and oneDNN are opened at run
# time.
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(simdjson REQUIRED)
find_package(CLI11 REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(edit REQUIRED IMPORTED_TARGET libedit)

# webgpu.h comes from the `wgpu` wheel that scripts/setup unpacks; only the header is used.
find_path(CANDELA_WEBGPU_INCLUDE webgpu.h
          PATHS ${PROJECT_SOURCE_DIR}/.deps/webgpu/include NO_DEFAULT_PATH)
if(NOT CANDELA_WEBGPU_INCLUDE)
  message(FATAL_ERROR "webgpu.h is not in .deps/webgpu/include; run scripts/setup first.")
endif()

# Likewise oneDNN's headers, for the CPU's fast class on x86-64.
set(CANDELA_ONEDNN_INCLUDE "")
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set(CANDELA_ONEDNN_INCLUDE ${PROJECT_SOURCE_DIR}/.deps/onednn/include)
  if(NOT EXISTS ${CANDELA_ONEDNN_INCLUDE}/oneapi/dnnl/dnnl.h)
    message(FATAL_ERROR "oneDNN's headers are not in .deps/onednn/include; run scripts/setup first.")
  endif()
endif()
