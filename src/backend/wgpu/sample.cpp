#include <algorithm>

#include "backend/wgpu/rows.h"
#include "backend/wgpu/wgpu_backend.h"

namespace candela::wgpu {
namespace {

struct SampleParams {
  uint32_t rows, k, values_offset, indices_offset, settings_offset, ids_offset, ids_stride;
};

struct PenaliseParams {
  uint32_t rows, cols, logits_offset, newest_offset, marks_offset, penalties_offset;
  float suppressed;
};

uint32_t offset(const View& view) {
  return narrow_u32(view.layout.offset, "an offset of sample or penalise");
}

}  // namespace

void WgpuBackend::sample(const SampleArgs& args, const View& ids) {
  if (ids.elements() == 0) {
    return;
  }
  const int64_t rows = args.logits.dim(0);
  const int64_t k = std::min(SampleArgs::kMostCandidates, args.logits.dim(1));
  const View values = scratch(Shape{rows, k}, DType::F32);
  const View indices = scratch(Shape{rows, k}, DType::U32);
  top_k(args.logits, values, indices);
  const SampleParams params{narrow_u32(rows, "rows"),
                            narrow_u32(k, "candidates"),
                            offset(values),
                            offset(indices),
                            offset(args.settings),
                            offset(ids),
                            narrow_u32(ids.layout.stride(0), "the stride of ids")};
  stream_->dispatch({"sample"}, grid_for(params.rows), params,
                    {whole_in(values), whole_in(indices), whole_in(args.settings), whole_out(ids)});
}

void WgpuBackend::penalise(const PenaliseArgs& args) {
  if (args.logits.elements() == 0) {
    return;
  }
  const PenaliseParams params{narrow_u32(args.logits.dim(0), "rows"),
                              narrow_u32(args.logits.dim(1), "the vocabulary"),
                              offset(args.logits),
                              offset(args.newest),
                              offset(args.marks),
                              offset(args.penalties),
                              PenaliseArgs::kSuppressed};
  const auto logits = static_cast<uint64_t>(args.logits.elements());
  stream_->dispatch({"penalise"}, grid_for((logits + 255) / 256), params,
                    {whole_out(args.logits), whole_in(args.newest), whole_out(args.marks),
                     whole_in(args.penalties)});
}

}  // namespace candela::wgpu
