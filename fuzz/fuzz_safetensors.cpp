// Header of a safetensors file. Whatever is accepted must lie inside the input, cover its data
// without gap or overlap, and be found again by name.
#include <cstdlib>

#include "base/error.h"
#include "weights/safetensors.h"

namespace {

void require(bool holds) {
  if (!holds) {
    std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace candela;
  const HostPiece file(reinterpret_cast<const std::byte*>(data), size);
  try {
    const Safetensors read = parse_safetensors(file, "input");
    const NameTable names(read.tensors);
    size_t begin = size;
    for (size_t i = read.tensors.size(); i-- > 0;) {
      const WeightInfo& info = read.tensors[i];
      require(info.bytes.data() + info.bytes.size() == file.data() + begin);
      require(info.bytes.size() ==
              static_cast<size_t>(dtype_bytes(info.dtype, info.shape.elements())));
      require(names.find(read.tensors, info.name) == &info);
      begin -= info.bytes.size();
    }
  } catch (const Error&) {
    // The only exception that may leave the parser.
  }
  return 0;
}
