#include "weights/random_checkpoint.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <vector>

#include "base/bf16.h"
#include "base/error.h"

namespace candela {

namespace {

/// Numbers made once and written again and again, from another place for each tensor.
constexpr size_t kPool = size_t{1} << 24;
constexpr size_t kStep = 1'000'003;

using Shard = std::vector<TensorHeader>;

uint64_t bytes_of(const TensorHeader& tensor) {
  return static_cast<uint64_t>(dtype_bytes(tensor.dtype, tensor.shape.elements()));
}

std::vector<Shard> fill_shards(std::span<const TensorHeader> tensors, uint64_t shard_bytes) {
  std::vector<Shard> shards;
  uint64_t filled = 0;
  for (const TensorHeader& tensor : tensors) {
    if (shards.empty() || filled + bytes_of(tensor) > shard_bytes) {
      shards.emplace_back();
      filled = 0;
    }
    filled += bytes_of(tensor);
    shards.back().push_back(tensor);
  }
  for (Shard& shard : shards) {
    std::ranges::sort(shard, {}, &TensorHeader::name);
  }
  return shards;
}

std::vector<BFloat16> random_pool(uint64_t seed) {
  std::mt19937_64 engine(seed);
  std::normal_distribution<float> normal(0.0f, 0.02f);
  std::vector<BFloat16> pool(kPool);
  std::ranges::generate(pool, [&] { return to_bf16(normal(engine)); });
  return pool;
}

void put(std::ofstream& out, std::span<const BFloat16> values) {
  out.write(reinterpret_cast<const char*>(values.data()),
            static_cast<std::streamsize>(values.size_bytes()));
}

/// @param start  in the pool
void put_tensor(std::ofstream& out,
                const TensorHeader& tensor,
                std::span<const BFloat16> pool,
                size_t start) {
  auto left = static_cast<size_t>(tensor.shape.elements());
  if (tensor.shape.rank() < 2) {
    put(out, std::vector<BFloat16>(left, to_bf16(1.0f)));
    return;
  }
  size_t at = start;
  while (left > 0) {
    const size_t part = std::min(left, kPool - at);
    put(out, pool.subspan(at, part));
    left -= part;
    at = 0;
  }
}

}  // namespace

void write_random_checkpoint(const std::string& folder,
                             std::span<const TensorHeader> tensors,
                             uint64_t shard_bytes,
                             uint64_t seed,
                             const LoadProgress& progress) {
  const std::vector<BFloat16> pool = random_pool(seed);
  const std::vector<Shard> shards = fill_shards(tensors, shard_bytes);
  uint64_t total = 0;
  for (const TensorHeader& tensor : tensors) {
    total += bytes_of(tensor);
  }
  nlohmann::ordered_json map = nlohmann::ordered_json::object();
  uint64_t done = 0;
  for (size_t i = 0; i < shards.size(); ++i) {
    const std::string name = fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size());
    std::ofstream out(std::filesystem::path(folder) / name, std::ios::binary | std::ios::trunc);
    out << encode_safetensors_header(shards[i]);
    for (const TensorHeader& tensor : shards[i]) {
      put_tensor(out, tensor, pool, (map.size() * kStep) % kPool);
      map[tensor.name] = name;
      done += bytes_of(tensor);
      progress(done, total);
    }
    out.close();
    if (!out) {
      fail(ErrorKind::Io, Subject::Usage,
           "Writing {}/{} fails; check that the folder exists and has room.", folder, name);
    }
  }
  const std::string index =
      nlohmann::ordered_json{{"metadata", {{"total_size", total}}}, {"weight_map", map}}.dump(1);
  write_file_atomically(folder + "/model.safetensors.index.json", std::as_bytes(std::span(index)));
}

}  // namespace candela
