#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "backend/limits.h"
#include "backend/wgpu/host_pieces.h"
#include "backend/wgpu/staging_ring.h"

namespace candela::wgpu {

class HostBuffer;

/// Brings weights from host memory, usually files, to where kernels read them: through a staging
/// ring into device memory, or into host memory that is the buffer, or not at all where the pages
/// of the file are the buffer.
class WeightLoader {
 public:
  WeightLoader(Context& context, Stream& stream) : context_(context), stream_(stream) {}

  /// See Backend::import_host.
  Imported load(std::span<const HostPiece> pieces,
                const std::shared_ptr<const HostMemory>& owner,
                uint64_t split_unit,
                uint64_t unit,
                const std::string& label);
  /// See Backend::weight_place.
  WeightPlace place();
  /// Gives threads and staging memory back.
  void finish();

 private:
  WeightPlace decide(HostPiece page) const;
  Imported put(WeightPlace place,
               const HostPieces& pieces,
               const std::shared_ptr<const HostMemory>& owner,
               uint64_t split_unit,
               uint64_t unit,
               const std::string& label);
  std::optional<Imported> bind_file(const HostPieces& pieces,
                                    const std::shared_ptr<const HostMemory>& owner,
                                    uint64_t unit,
                                    const std::string& label);
  StoragePtr fill_host(const HostPieces& pieces, uint64_t split_unit, const std::string& label);
  StoragePtr fill_device(const HostPieces& pieces, uint64_t split_unit, const std::string& label);
  void fill(HostBuffer& buffer, const HostPieces& pieces, const Storage::Segment& segment);

  Context& context_;
  Stream& stream_;
  std::optional<WeightPlace> place_;
  std::unique_ptr<StagingRing> ring_;
  std::unique_ptr<IoThreads> threads_;
};

}  // namespace candela::wgpu
