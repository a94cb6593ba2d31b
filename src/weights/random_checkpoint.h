#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "weights/weights.h"
#include "weights/writer.h"

namespace candela {

/// Writes a checkpoint of random BF16 numbers as published ones look: shards of a few gigabytes,
/// tensors by name inside each, model.safetensors.index.json. Matrices are normal with deviation
/// 0.02, vectors ones. To measure loading at full size; the same numbers for the same seed.
///
/// @param folder       exists and is empty
/// @param tensors      BF16, in the order in which they fill the shards
/// @param shard_bytes  at most, unless one tensor is larger
/// @throws Io naming the file
void write_random_checkpoint(const std::string& folder,
                             std::span<const TensorHeader> tensors,
                             uint64_t shard_bytes,
                             uint64_t seed,
                             const LoadProgress& progress);

}  // namespace candela
