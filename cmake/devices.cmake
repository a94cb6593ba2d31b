# Where tests find a WebGPU adapter. The set-up script unpacks two software Vulkan drivers into
# .deps; CANDELA_TEST_DRIVER=system leaves the choice to the machine, for a real GPU.
set(CANDELA_TEST_DRIVER "" CACHE STRING "Empty: the unpacked drivers; 'system': the machine's own")

# candela_add_test(name webgpu-library driver target [arguments...])
function(candela_add_test name library driver target)
  set(deps ${PROJECT_SOURCE_DIR}/.deps)
  add_test(NAME ${name} COMMAND ${target} ${ARGN})
  set(environment CANDELA_WEBGPU_LIB=${library} MESA_SHADER_CACHE_DIR=${deps}/shader-cache)
  if(NOT CANDELA_TEST_DRIVER STREQUAL "system" AND EXISTS ${deps}/vulkan/${driver}.json)
    list(APPEND environment VK_DRIVER_FILES=${deps}/vulkan/${driver}.json
         VK_ICD_FILENAMES=${deps}/vulkan/${driver}.json)
    file(GLOB folders ${deps}/vulkan/mesa/usr/lib/*-linux-gnu)
    if(driver STREQUAL "llvmpipe" AND folders)
      list(APPEND environment LD_LIBRARY_PATH=${folders})
      if(library STREQUAL "wgpu-native")
        # The second library gets subgroups of 4 instead of 8; kernels compile in half the time.
        list(APPEND environment LP_NATIVE_VECTOR_WIDTH=128)
      endif()
    endif()
  endif()
  # Most of the time goes into compiling kernels for the software adapter, on one core.
  set_tests_properties(${name} PROPERTIES ENVIRONMENT "${environment}" TIMEOUT 1800
                                          WORKING_DIRECTORY ${PROJECT_BINARY_DIR})
endfunction()
