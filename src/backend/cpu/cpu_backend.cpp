#include "backend/cpu/cpu_backend.h"

#include <algorithm>
#include <cstring>

#include "backend/cpu/simd.h"
#include "backend/cpu/storage.h"
#include "base/assert.h"

namespace candela::cpu {

namespace {

CpuStorage& checked(const StoragePtr& storage, uint64_t offset, uint64_t bytes) {
  auto* own = dynamic_cast<CpuStorage*>(storage.get());
  CANDELA_ASSERT(own != nullptr, "a storage of another device reached the CPU");
  CANDELA_ASSERT(offset <= own->bytes() && bytes <= own->bytes() - offset,
                 "a transfer reaches past its storage");
  return *own;
}

}  // namespace

CpuBackend::CpuBackend(int threads, Precision precision, const std::string& onednn)
    : products_(precision, onednn), counters_(std::make_shared<Counters>()), pool_(threads) {
  limits_.holds_i64_and_u8 = true;
}

std::string CpuBackend::name() const {
  const std::string library = products_.library();
  return fmt::format("cpu ({} thread{}, {}{}{})", pool_.threads(), pool_.threads() == 1 ? "" : "s",
                     simd().name, library.empty() ? "" : ", ", library);
}

StoragePtr CpuBackend::allocate(uint64_t bytes, uint64_t, const std::string& label) {
  return CpuStorage::allocate(bytes, label, counters_);
}

Imported CpuBackend::import_host(std::span<const HostPiece> pieces,
                                 std::shared_ptr<const HostMemory> owner,
                                 uint64_t,
                                 uint64_t unit,
                                 const std::string& label) {
  const uint64_t alignment = unit & -unit;  // blocks of 34 bytes begin with 2 bytes
  const bool aligned = std::ranges::all_of(pieces, [&](HostPiece piece) {
    return reinterpret_cast<uintptr_t>(piece.data()) % alignment == 0;
  });
  if (aligned) {
    return {CpuStorage::borrow(pieces, std::move(owner), label, counters_)};
  }
  // Old files pad neither header nor tensors; what lies at odd addresses cannot be read in place.
  uint64_t bytes = 0;
  for (const HostPiece piece : pieces) {
    bytes += piece.size();
  }
  const std::shared_ptr<CpuStorage> storage = CpuStorage::allocate(bytes, label, counters_);
  std::byte* to = storage->writable();
  for (const HostPiece piece : pieces) {
    read_host(owner.get(), piece, to);
    to += piece.size();
  }
  return {storage};
}

void CpuBackend::upload(const StoragePtr& to, uint64_t offset, HostPiece data) {
  if (data.empty()) {
    return;
  }
  std::memcpy(checked(to, offset, data.size()).writable() + offset, data.data(), data.size());
  ++counters_->uploads;
  counters_->upload_bytes += data.size();
}

void CpuBackend::download(const StoragePtr& from, uint64_t offset, std::span<std::byte> data) {
  const CpuStorage& storage = checked(from, offset, data.size());
  ++counters_->readbacks;
  counters_->readback_bytes += data.size();
  while (!data.empty()) {
    const HostPiece piece = storage.from(offset);
    const size_t bytes = std::min(piece.size(), data.size());
    std::memcpy(data.data(), piece.data(), bytes);
    data = data.subspan(bytes);
    offset += bytes;
  }
}

}  // namespace candela::cpu

namespace candela {

std::shared_ptr<Backend> make_cpu_backend(int threads,
                                          Precision precision,
                                          const std::string& onednn) {
  return std::make_shared<cpu::CpuBackend>(threads, precision, onednn);
}

}  // namespace candela
