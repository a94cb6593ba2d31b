#include <string>

#include "backend/wgpu/attention.h"
#include "backend/wgpu/wgpu_backend.h"

namespace candela::wgpu {
namespace {

/// Rows of the weight that a workgroup makes: few, so that a large GPU is filled, and more where
/// the splits that each workgroup joins are several.
uint32_t rows_for(uint32_t splits) {
  return splits == 1 ? 2 : 4;
}

constexpr uint32_t kThreads = 256;

struct OutputParams {
  uint32_t heads, dim, cols, row_begin, row_count, w_start, w_stride;
  uint32_t part_offset, residual_offset, y_offset;
};

}  // namespace

bool can_join(const Limits& limits,
              const OutputProjection& output,
              const View& residual,
              const View& q,
              const View& y) {
  const auto is_row = [](const View& view) {
    return view.dtype == DType::F32 && view.layout.is_contiguous() && !view.storage->is_segmented();
  };
  return q.dim(0) == 1 && q.dim(1) <= kThreads && q.dim(2) % 8 == 0 && use_subgroups(limits) &&
         !output.bias && is_row(residual) && is_row(y) &&
         weight_rows(output.weight, "attention").vec4;
}

void join_and_project(WgpuBackend& backend,
                      const View& weight,
                      const View& residual,
                      const View& part,
                      const View& q,
                      uint32_t splits,
                      const View& y) {
  const Weight lines = weight_rows(weight, "attention");
  const uint32_t rows = rows_for(splits);
  KernelId kernel{"attention_output"};
  define_weight(kernel, lines.dtype, true);
  kernel.defines.emplace_back("SUBGROUPS");
  kernel.substitutions.emplace_back("SPLITS", std::to_string(splits));
  kernel.substitutions.emplace_back("ROWS", std::to_string(rows));
  define_round(kernel, lines.cols, kThreads, 8);
  define_sizes(kernel, has_fixed_sizes(lines),
               {{"COLS", "params.cols", lines.cols},
                {"ROW_COUNT", "params.row_count", lines.rows},
                {"W_START", "params.w_start", 0},
                {"W_STRIDE", "params.w_stride", lines.stride}});
  OutputParams params{};
  params.heads = narrow_u32(q.dim(1), "heads");
  params.dim = narrow_u32(q.dim(2), "the head size");
  params.cols = lines.cols;
  params.w_stride = lines.stride;
  params.part_offset = offset_of(part);
  params.residual_offset = offset_of(residual);
  params.y_offset = offset_of(y);
  for (const WeightPiece& piece : lines.pieces) {
    params.row_begin = piece.begin;
    params.row_count = piece.end - piece.begin;
    params.w_start = piece.start;
    backend.stream().dispatch(
        kernel, grid_for((params.row_count + rows - 1) / rows), params,
        {whole_in(part), in(weight, piece.segment), whole_out(y), whole_in(residual)},
        product_work(1, lines, piece));
  }
}

}  // namespace candela::wgpu
