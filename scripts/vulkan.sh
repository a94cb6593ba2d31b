# Sourced by setup: two software Vulkan drivers for tests and for the demo without a GPU, unpacked
# below .deps/vulkan and named by a json each; nothing is installed.
#   llvmpipe     Mesa 25 from backports (Debian 12's own 22.3 is refused by Dawn)
#   swiftshader  out of Debian's chromium-common: another subgroup size, another rounding
vulkan=$deps/vulkan

# write_icd NAME LIBRARY: the loader wants an absolute path, so this is redone at every set-up.
write_icd() {
  printf '{"file_format_version": "1.0.0", "ICD": {"library_path": "%s", "api_version": "1.3.0"}}\n' \
    "$2" >"$vulkan/$1.json.new"
  mv "$vulkan/$1.json.new" "$vulkan/$1.json"
}

# probe NAME: the driver's device, as the Vulkan loader sees it.
probe() {
  VK_DRIVER_FILES=$vulkan/$1.json VK_ICD_FILENAMES=$vulkan/$1.json \
    LD_LIBRARY_PATH=$vulkan/mesa/usr/lib/$machine-linux-gnu \
    python3 "$root/scripts/vulkan_probe.py"
}

setup_llvmpipe() {
  local library=$vulkan/mesa/usr/lib/$machine-linux-gnu/libvulkan_lvp.so suite=''
  if [ ! -e "$vulkan/mesa.done" ]; then
    say "unpacking Mesa's llvmpipe"
    rm -rf "$vulkan/mesa"
    [ "$(codename)" = bookworm ] && suite=/bookworm-backports
    unpack_closure "$vulkan/mesa" "mesa-vulkan-drivers$suite" "libdrm2$suite" \
      "libdrm-amdgpu1$suite" libvulkan1
    # Drivers of real GPUs, documentation: not needed here.
    find "$vulkan/mesa/usr/lib" -name 'libvulkan_*.so' ! -name libvulkan_lvp.so -delete
    rm -rf "$vulkan/mesa/usr/share" "$vulkan/mesa/etc"
    touch "$vulkan/mesa.done"
  fi
  write_icd llvmpipe "$library"
}

setup_swiftshader() {
  local folder=$vulkan/swiftshader
  if [ ! -e "$vulkan/swiftshader.done" ]; then
    say "unpacking SwiftShader"
    apt_ready
    rm -rf "$folder" "$apt_dir/debs" && mkdir -p "$folder" "$apt_dir/debs"
    (cd "$apt_dir/debs" && apt-get "${apt_options[@]}" download chromium-common)
    dpkg-deb --fsys-tarfile "$apt_dir"/debs/chromium-common*.deb |
      tar -x -C "$folder" --wildcards --strip-components=4 './usr/lib/chromium/libvk_swiftshader.so'
    rm -rf "$apt_dir/debs"
    touch "$vulkan/swiftshader.done"
  fi
  write_icd swiftshader "$folder/libvk_swiftshader.so"
}

# An environment for the shell: `source .deps/env.sh`, then any program sees llvmpipe alone.
write_env() {
  cat >"$deps/env.sh" <<TEXT
export VK_DRIVER_FILES=$vulkan/llvmpipe.json VK_ICD_FILENAMES=$vulkan/llvmpipe.json
export LD_LIBRARY_PATH=$vulkan/mesa/usr/lib/$machine-linux-gnu\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}
export MESA_SHADER_CACHE_DIR=$deps/shader-cache
TEXT
}

# setup_vulkan DRIVER...: unpacks and proves each.
setup_vulkan() {
  mkdir -p "$vulkan"
  local driver device
  for driver in "$@"; do
    "setup_$driver"
    device=$(probe "$driver") || {
      rm -f "$vulkan/${driver/llvmpipe/mesa}.done"
      die "the unpacked Vulkan driver $driver does not load; run scripts/setup again."
    }
    [ "$device" = "$(cat "$vulkan/$driver.device" 2>/dev/null)" ] || say "Vulkan driver $driver: $device"
    printf '%s\n' "$device" >"$vulkan/$driver.device"
  done
  write_env
}
