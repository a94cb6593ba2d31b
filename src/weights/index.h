#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "backend/storage.h"

namespace candela {

/// What model.safetensors.index.json says: which file holds which tensor.
struct ShardIndex {
  /// (tensor, position in `shards`), sorted by the tensor's name.
  std::vector<std::pair<std::string, uint32_t>> tensors;
  /// File names beside the index, sorted.
  std::vector<std::string> shards;
};

/// Reads an index. Shard names must stay inside the index's folder.
///
/// @throws CorruptData  JSON, duplicate names, names such as "../x", "/x" or "a\\b".
/// @source transformers, `sharded_metadata["weight_map"]`
ShardIndex parse_index(HostPiece text, std::string_view name);

}  // namespace candela
