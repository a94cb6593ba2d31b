# Kernels live in the program: every *.wgsl of a folder becomes a {name, source} pair in
# kernels.gen.cpp. Used as a script (-P) by the command below, so the build needs no other tool.
if(CMAKE_SCRIPT_MODE_FILE)
  file(GLOB kernels ${DIR}/*.wgsl)
  list(SORT kernels)
  set(text "#include \"backend/wgpu/embedded.h\"\n\nnamespace candela::wgpu {\n\n")
  string(APPEND text "const EmbeddedKernel kEmbeddedKernels[] = {\n")
  foreach(kernel ${kernels})
    get_filename_component(name ${kernel} NAME_WE)
    file(READ ${kernel} source)
    string(APPEND text "    {\"${name}\",\n")
    # Pieces of 12,000 bytes: the shortest literal limit among compilers is 16 kB.
    string(LENGTH "${source}" length)
    set(at 0)
    while(at LESS length)
      string(SUBSTRING "${source}" ${at} 12000 piece)
      string(APPEND text "     R\"wgsl(${piece})wgsl\"\n")
      math(EXPR at "${at} + 12000")
    endwhile()
    string(APPEND text "    },\n")
  endforeach()
  string(APPEND text "    {nullptr, nullptr},\n};\n\n}  // namespace candela::wgpu\n")
  file(WRITE ${OUT} "${text}")
  return()
endif()

function(candela_embed_wgsl target dir)
  file(GLOB kernels CONFIGURE_DEPENDS ${dir}/*.wgsl)
  set(out ${CMAKE_CURRENT_BINARY_DIR}/kernels.gen.cpp)
  add_custom_command(
    OUTPUT ${out}
    COMMAND ${CMAKE_COMMAND} -DOUT=${out} -DDIR=${dir} -P
            ${PROJECT_SOURCE_DIR}/cmake/embed_wgsl.cmake
    DEPENDS ${kernels} ${PROJECT_SOURCE_DIR}/cmake/embed_wgsl.cmake
    COMMENT "Embedding WGSL kernels"
    VERBATIM)
  target_sources(${target} PRIVATE ${out})
endfunction()
