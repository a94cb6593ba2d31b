// Weights on their way to the device: staging ring, host memory, pages of a mapped file.
#include <filesystem>
#include <fstream>

#include "backend/wgpu/host_buffer.h"
#include "base/mapped_file.h"
#include "wgpu_fixture.h"

namespace candela::wgpu {
namespace {

/// Larger than the ring, with an odd end; no two chunks alike.
constexpr size_t kLarge = (size_t{70} << 20) + 7;

std::vector<std::byte> numbered(size_t count) {
  std::vector<std::byte> bytes(count);
  for (size_t i = 0; i < count; ++i) {
    bytes[i] = static_cast<std::byte>((i * 31 + (i >> 12)) & 255u);
  }
  return bytes;
}

/// A file of its own with these bytes, mapped.
class WeightFile {
 public:
  explicit WeightFile(const std::vector<std::byte>& bytes)
      : path_(testing::TempDir() + "candela_weights_" + std::to_string(::getpid())) {
    std::ofstream(path_, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
    mapped = MappedFile::open(path_);
  }
  ~WeightFile() { std::filesystem::remove(path_); }
  const std::string& path() const { return path_; }

  std::shared_ptr<const MappedFile> mapped;

 private:
  std::string path_;
};

std::unique_ptr<WgpuBackend> open(WeightMode mode, uint64_t max_binding = 0) {
  WgpuOptions options;
  options.checked = true;
  options.weights = mode;
  options.max_binding_bytes = max_binding;
  return std::make_unique<WgpuBackend>(options);
}

std::vector<std::byte> download(WgpuBackend& backend, const Imported& imported, size_t count) {
  std::vector<std::byte> got(count);
  backend.download(imported.storage, imported.offset, got);
  return got;
}

TEST(WgpuWeights, GoThroughTheRingInChunksThatComeOutInOrder) {
  const std::vector<std::byte> bytes = numbered(kLarge);
  const WeightFile file(bytes);
  const auto backend = open(WeightMode::Copy);
  EXPECT_EQ(backend->weight_place(), WeightPlace::DeviceMemory);
  // Three pieces out of order; a chunk spans their borders.
  const size_t cut = 5'000'001;
  const std::vector<HostPiece> pieces = {file.mapped->bytes(cut, 3'000'000), HostPiece(),
                                         file.mapped->bytes(0, cut),
                                         file.mapped->bytes(cut, kLarge - cut)};
  const Counters before = backend->counters();
  const Imported imported = backend->import_host(pieces, file.mapped, 1, 1, "w");
  EXPECT_EQ(imported.offset, 0u);
  const Counters after = backend->counters();
  EXPECT_EQ(after.uploads - before.uploads, 19u);  // chunks of 4 MiB
  const uint64_t staging = after.bytes_reserved - after.bytes_in_use;
  EXPECT_LE(staging, 16 * (size_t{4} << 20) + (size_t{1} << 20)) << "host memory stays flat";
  std::vector<std::byte> expected(bytes.begin() + cut, bytes.begin() + cut + 3'000'000);
  expected.insert(expected.end(), bytes.begin(), bytes.end());
  EXPECT_TRUE(download(*backend, imported, expected.size()) == expected);
  const uint64_t reserved = backend->counters().bytes_reserved;
  backend->synchronize();
  EXPECT_GE(reserved - backend->counters().bytes_reserved, size_t{8} << 20) << "staging goes back";
}

TEST(WgpuWeights, AreCutIntoSegmentsBetweenRows) {
  const std::vector<std::byte> bytes = numbered(300'000);
  const WeightFile file(bytes);
  for (const WeightMode mode : {WeightMode::Copy, WeightMode::Auto}) {
    const auto backend = open(mode, 100'000);
    const HostPiece piece = file.mapped->bytes();
    const Imported imported = backend->import_host({&piece, 1}, file.mapped, 3000, 2, "w");
    EXPECT_GT(imported.storage->segments().size(), 2u);
    for (const Storage::Segment& segment : imported.storage->segments()) {
      EXPECT_EQ(segment.begin % 3000, 0u);
      EXPECT_LE(segment.bytes, 100'000u);
    }
    EXPECT_TRUE(download(*backend, imported, bytes.size()) == bytes);
  }
}

TEST(WgpuWeights, OfAFileThatBecameShorterAreAnErrorAndTheDeviceLivesOn) {
  const std::vector<std::byte> bytes = numbered(kLarge);
  for (const WeightMode mode : {WeightMode::Copy, WeightMode::Host}) {
    if (mode == WeightMode::Host && !test_backend().limits().binds_host_memory) {
      continue;
    }
    const WeightFile file(bytes);
    const auto backend = open(mode);
    const HostPiece piece = file.mapped->bytes();
    std::filesystem::resize_file(file.path(), kLarge / 2);
    expect_error(ErrorKind::CorruptData, "has become shorter",
                 [&] { backend->import_host({&piece, 1}, file.mapped, 1, 1, "w"); });
    const HostPiece half = piece.first(kLarge / 2);
    const Imported imported = backend->import_host({&half, 1}, file.mapped, 1, 1, "w");
    EXPECT_EQ(download(*backend, imported, 1)[0], bytes[0]);
  }
}

TEST(WgpuWeights, InHostMemoryAreFilledOnceAndCountAsReserved) {
  if (!test_backend().limits().binds_host_memory) {
    GTEST_SKIP() << "the adapter binds no host memory";
  }
  const std::vector<std::byte> bytes = numbered(1'000'002);
  const WeightFile file(bytes);
  const auto backend = open(WeightMode::Host);
  EXPECT_EQ(backend->weight_place(), WeightPlace::HostMemory);
  const Counters before = backend->counters();
  {
    const HostPiece piece = file.mapped->bytes();
    const Imported imported = backend->import_host({&piece, 1}, file.mapped, 2, 2, "w");
    EXPECT_EQ(backend->counters().uploads, before.uploads);
    EXPECT_EQ(backend->counters().bytes_reserved - before.bytes_reserved, 1'003'520u);
    const View x{imported.storage, Layout({500'001}), DType::BF16};
    const View y = make_view(*backend, {500'001}, DType::BF16);
    backend->copy(x, y);
    std::vector<std::byte> got(bytes.size());
    backend->download(y.storage, 0, got);
    EXPECT_TRUE(got == bytes);
  }
  EXPECT_EQ(backend->counters().bytes_in_use, before.bytes_in_use);
}

TEST(WgpuWeights, InAMappedFileAreNotCopiedAndKeepItAlive) {
  std::string reason;
  const std::vector<std::byte> bytes = numbered(1'000'000);
  auto file = std::make_unique<WeightFile>(bytes);
  const HostPiece page = file->mapped->bytes(0, host_page());
  WgpuOptions options;
  options.checked = true;
  const bool can = test_backend().limits().binds_host_memory &&
                   test_backend().context().api().is_dawn() &&
                   reads_host_memory(options, page, reason);
  if (!can) {
    GTEST_SKIP() << "the driver does not read pages of files: " << reason;
  }
  const auto backend = open(WeightMode::Map);
  EXPECT_EQ(backend->weight_place(), WeightPlace::FilePages);
  const Counters before = backend->counters();
  const std::weak_ptr<const MappedFile> alive = file->mapped;
  // 8 bytes into a page, as tensors of safetensors files may begin.
  const size_t begin = 8200;
  const HostPiece piece = file->mapped->bytes(begin, 900'000);
  {
    const Imported imported =
        backend->import_host({&piece, 1}, std::exchange(file->mapped, nullptr), 2, 2, "w");
    EXPECT_EQ(imported.offset, 8u);
    EXPECT_EQ(backend->counters().uploads, before.uploads);
    EXPECT_EQ(backend->counters().bytes_reserved, before.bytes_reserved);
    EXPECT_EQ(backend->counters().bytes_in_use - before.bytes_in_use, 901'120u);
    const View x{imported.storage, Layout({450'000}, 4), DType::BF16};
    const View y = make_view(*backend, {450'000}, DType::BF16);
    backend->copy(x, y);
    std::vector<std::byte> got(900'000);
    backend->download(y.storage, 0, got);
    EXPECT_TRUE(std::ranges::equal(got, std::span(bytes).subspan(begin, 900'000)));
    EXPECT_FALSE(alive.expired()) << "the device still reads it";
    EXPECT_TRUE(std::ranges::equal(download(*backend, imported, 100),
                                   std::span(bytes).subspan(begin, 100)));
  }
  // Caches forget with the next batch, and Dawn lets go with the one after.
  for (int i = 0; i < 3; ++i) {
    backend->fill(make_view(*backend, {1}, DType::F32), 0.0);
    backend->synchronize();
  }
  EXPECT_TRUE(alive.expired()) << "the mapping goes with its last buffer";
  EXPECT_EQ(backend->counters().bytes_in_use, before.bytes_in_use);
}

TEST(WgpuWeights, ThatCannotBeMappedAreRefusedOnlyWhereItWasAskedFor) {
  if (test_backend().limits().binds_host_memory && test_backend().context().api().is_dawn()) {
    GTEST_SKIP() << "this library maps files";
  }
  const auto backend = open(WeightMode::Map);
  expect_error(ErrorKind::Unsupported, "use --weights auto", [&] { backend->weight_place(); });
  EXPECT_NE(open(WeightMode::Auto)->weight_place(), WeightPlace::FilePages);
}

}  // namespace
}  // namespace candela::wgpu
