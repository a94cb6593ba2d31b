// Header of a GGUF file. Whatever is accepted must lie inside the input without overlap, and every
// metadata value must be readable by some accessor or refused by an Error.
#include <cstdlib>

#include "base/error.h"
#include "weights/gguf.h"

namespace {

using namespace candela;

void require(bool holds) {
  if (!holds) {
    std::abort();
  }
}

/// Calls every accessor; the numbers keep the compiler from dropping the calls.
size_t touch(const GgufMetadata& metadata, std::string_view key) {
  size_t touched = 0;
  const auto attempt = [&](auto&& body) {
    try {
      touched += static_cast<size_t>(body());
    } catch (const Error&) {
      ++touched;
    }
  };
  attempt([&] { return metadata.get_string(key).size(); });
  attempt([&] { return metadata.get_bool(key) ? 1 : 0; });
  attempt([&] { return metadata.get_u64(key) & 1; });
  attempt([&] { return metadata.get_i64(key) & 1; });
  attempt([&] { return metadata.get_f64(key) == 0.0 ? 1 : 0; });
  attempt([&] { return metadata.get_string_array(key).size(); });
  attempt([&] { return metadata.get_i64_array(key).size(); });
  attempt([&] { return metadata.get_f64_array(key).size(); });
  return touched;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const HostPiece file(reinterpret_cast<const std::byte*>(data), size);
  try {
    const Gguf read = parse_gguf(file, "input");
    for (const auto& [key, value] : read.metadata.values()) {
      require(touch(read.metadata, key) > 0 && read.metadata.find(key) == &value);
    }
    const std::byte* end = file.data();
    for (const WeightInfo& info : read.tensors) {
      require(info.bytes.data() >= end);
      end = info.bytes.data() + info.bytes.size();
      require(end <= file.data() + size);
    }
  } catch (const Error&) {
    // The only exception that may leave the parser.
  }
  return 0;
}
