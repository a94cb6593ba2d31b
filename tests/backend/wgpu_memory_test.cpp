#include <gtest/gtest.h>

#include <cstring>
#include <numeric>

#include "backend/wgpu/pool.h"
#include "backend/wgpu/storage.h"
#include "wgpu_fixture.h"

namespace candela::wgpu {
namespace {

std::vector<std::byte> counting(size_t count, int start = 1) {
  std::vector<std::byte> bytes(count);
  for (size_t i = 0; i < count; ++i) {
    bytes[i] = static_cast<std::byte>((i * 7 + static_cast<size_t>(start)) & 255u);
  }
  return bytes;
}

TEST(WgpuMemory, BytesAtAnyOffsetAndOfAnySizeComeBackAndLeaveTheRestAlone) {
  WgpuBackend& backend = test_backend();
  const StoragePtr storage = backend.allocate(37, 1, "bytes");
  std::vector<std::byte> expected = counting(37);
  backend.upload(storage, 0, expected);
  for (const auto& [offset, size] : std::vector<std::pair<size_t, size_t>>{
           {0, 1}, {1, 1}, {3, 2}, {5, 9}, {2, 6}, {36, 1}, {33, 4}, {7, 0}}) {
    const auto piece = counting(size, static_cast<int>(100 + offset));
    backend.upload(storage, offset, piece);
    std::copy(piece.begin(), piece.end(), expected.begin() + static_cast<std::ptrdiff_t>(offset));
    std::vector<std::byte> all(37);
    backend.download(storage, 0, all);
    EXPECT_EQ(all, expected) << "after " << size << " bytes at " << offset;
    std::vector<std::byte> part(size);
    backend.download(storage, offset, part);
    EXPECT_EQ(part, piece) << size << " bytes at " << offset;
  }
}

TEST(WgpuMemory, UploadWaitsForRecordedReadersOfTheSameBuffer) {
  WgpuBackend& backend = test_backend();
  const View x = put<float>(backend, {4}, DType::F32, {1, 2, 3, 4});
  const View y = make_view(backend, {4}, DType::F32);
  backend.copy(x, y);
  const std::vector<float> nines(4, 9.0f);
  backend.upload(x.storage, 0, std::as_bytes(std::span(nines)));
  EXPECT_EQ(get<float>(backend, y), (std::vector<float>{1, 2, 3, 4}));
  EXPECT_EQ(get<float>(backend, x), nines);
}

TEST(WgpuMemory, ABufferIsReusedAndLateReadersSeeTheirOwnValues) {
  WgpuBackend& backend = test_backend();
  const View sum = put<float>(backend, {1000}, DType::F32, std::vector<float>(1000, 0.0f));
  backend.synchronize();
  const uint64_t before = backend.counters().allocations;
  for (int i = 0; i < 20; ++i) {
    const View x = put<float>(backend, {1000}, DType::F32, std::vector<float>(1000, 1.0f));
    const View next = make_view(backend, {1000}, DType::F32);
    backend.binary(BinaryKind::add, sum, x, next);
    backend.copy(next, sum);
  }
  EXPECT_EQ(get<float>(backend, sum), std::vector<float>(1000, 20.0f));
  EXPECT_LE(backend.counters().allocations - before, 3u);
}

TEST(WgpuMemory, SizeClassesWasteAtMostAnEighth) {
  EXPECT_EQ(Pool::size_class(1), 256u);
  EXPECT_EQ(Pool::size_class(256), 256u);
  EXPECT_EQ(Pool::size_class(257), 288u);
  EXPECT_EQ(Pool::size_class(1024), 1024u);
  EXPECT_EQ(Pool::size_class(1025), 1152u);
  for (uint64_t bytes = 256; bytes < 100000; bytes += 37) {
    EXPECT_GE(Pool::size_class(bytes), bytes);
    EXPECT_LE(Pool::size_class(bytes), bytes + bytes / 8);
  }
}

TEST(WgpuMemory, BytesInUseFollowTheStorages) {
  WgpuBackend& backend = test_backend();
  const uint64_t before = backend.counters().bytes_in_use;
  {
    const StoragePtr storage = backend.allocate(1000, 4, "temporary");
    EXPECT_EQ(backend.counters().bytes_in_use - before, 1024u);
  }
  EXPECT_EQ(backend.counters().bytes_in_use, before);
  const auto data = counting(1003);
  const HostPiece piece(data);
  const StoragePtr weights = backend.import_host({&piece, 1}, nullptr, 1, 1, "weights").storage;
  EXPECT_EQ(backend.counters().bytes_in_use - before, 1008u);  // 1,003 rounded up to 16
}

TEST(WgpuMemory, ImportJoinsPiecesOfOddSizes) {
  WgpuBackend& backend = test_backend();
  const auto a = counting(5), b = counting(0), c = counting(11, 50), d = counting(2, 90);
  const std::vector<HostPiece> pieces = {a, b, c, d};
  const StoragePtr storage = backend.import_host(pieces, nullptr, 1, 1, "pieces").storage;
  std::vector<std::byte> expected = a;
  expected.insert(expected.end(), c.begin(), c.end());
  expected.insert(expected.end(), d.begin(), d.end());
  std::vector<std::byte> got(18);
  backend.download(storage, 0, got);
  EXPECT_EQ(got, expected);
}

TEST(WgpuMemory, SegmentsAreCutBetweenUnits) {
  const auto segments = cut_segments(100, 12, 40, "t");
  ASSERT_EQ(segments.size(), 3u);
  EXPECT_EQ(segments[0].bytes, 36u);
  EXPECT_EQ(segments[1].begin, 36u);
  EXPECT_EQ(segments[2].begin, 72u);
  EXPECT_EQ(segments[2].bytes, 28u);
  expect_error(ErrorKind::Unsupported, "embed", [] { cut_segments(100, 48, 40, "embed"); });
}

TEST(WgpuMemory, SmallBindingsAndBudget) {
  WgpuOptions options;
  options.checked = true;
  options.max_binding_bytes = 1024;
  options.memory_budget = 1 << 20;
  options.minimum_limits = true;
  WgpuBackend backend(options);
  EXPECT_EQ(backend.limits().max_binding_bytes, 1024u);
  EXPECT_EQ(backend.limits().max_workgroup_threads, 256u);

  // 100 rows of 7 F32, 36 rows a segment; copied, transposed and filled across the cuts.
  std::vector<float> values(700);
  std::iota(values.begin(), values.end(), 0.0f);
  const HostPiece piece = std::as_bytes(std::span(values));
  const View x{backend.import_host({&piece, 1}, nullptr, 28, 4, "x").storage, Layout({100, 7}),
               DType::F32};
  EXPECT_EQ(x.storage->segments().size(), 3u);
  EXPECT_EQ(get<float>(backend, x), values);
  const View half = make_view(backend, {100, 2}, DType::BF16);
  backend.copy({x.storage, x.layout.narrow(1, 3, 2), x.dtype}, half);
  const auto got = get<BFloat16>(backend, half);
  for (int64_t row = 0; row < 100; ++row) {
    EXPECT_EQ(to_float(got[static_cast<size_t>(row * 2)]),
              to_float(to_bf16(values[static_cast<size_t>(row * 7 + 3)])));
  }
  const View turned = make_view(backend, {7, 100}, DType::F32);
  backend.copy({x.storage, x.layout.transpose(0, 1), x.dtype}, turned);
  const auto columns = get<float>(backend, turned);
  EXPECT_EQ(columns[2 * 100 + 55], values[55 * 7 + 2]);
  EXPECT_EQ(columns[6 * 100 + 99], values[99 * 7 + 6]);
  backend.fill(x, 3.0);
  EXPECT_EQ(get<float>(backend, x), std::vector<float>(700, 3.0f));

  expect_error(ErrorKind::Unsupported, "wide rows",
               [&] { backend.allocate(8192, 2048, "wide rows"); });
  expect_error(ErrorKind::OutOfMemory, "layer 3", [&] { backend.allocate(2 << 20, 4, "layer 3"); });
  expect_error(ErrorKind::Unsupported, "add",
               [&] { backend.binary(BinaryKind::add, x, x, turned); });
}

}  // namespace
}  // namespace candela::wgpu
