// model.safetensors.index.json. No accepted file name may leave the folder.
#include <cstdlib>
#include <filesystem>

#include "base/error.h"
#include "weights/index.h"

namespace {

void require(bool holds) {
  if (!holds) {
    std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace candela;
  try {
    const ShardIndex index =
        parse_index({reinterpret_cast<const std::byte*>(data), size}, "index.json");
    for (const auto& [tensor, shard] : index.tensors) {
      require(shard < index.shards.size());
    }
    for (const std::string& shard : index.shards) {
      const std::filesystem::path path(shard);
      require(!shard.empty() && path.is_relative() && path.lexically_normal() == path);
      require(path.begin()->string() != "..");
    }
  } catch (const Error&) {
    // The only exception that may leave the parser.
  }
  return 0;
}
