#include <vector>

#include "backend/wgpu/rows.h"
#include "backend/wgpu/wgpu_backend.h"

namespace candela::wgpu {
namespace {

/// Up to this many rows of x the weights are read once per eight rows, without tiles.
constexpr uint32_t kFewRows = 16;
constexpr uint32_t kTile = 64;

struct LinearParams {
  uint32_t rows, cols, row_begin, row_count;
  uint32_t x_offset, x_stride, w_start, w_stride, y_offset, y_stride;
  uint32_t bias_offset, bias_kind, residual_offset, residual_stride;
};

struct SwigluParams {
  uint32_t rows, cols, gate_offset, gate_stride, up_offset, up_stride, y_offset, y_stride;
};

uint64_t blocks(uint64_t count, uint64_t size) {
  return (count + size - 1) / size;
}

/// Rows of x that one workgroup of linear_gemv takes: a finite set, so few pipelines.
uint32_t rows_at_once(uint32_t rows) {
  return rows <= 1 ? 1 : rows <= 2 ? 2 : rows <= 4 ? 4 : 8;
}

}  // namespace

void WgpuBackend::linear(const LinearArgs& args, const View& y) {
  if (y.elements() == 0) {
    return;
  }
  if (args.weight.dim(-1) == 0) {
    return Backend::linear(args, y);
  }
  RowTarget target(*this, y);
  const View x = with_rows(*this, args.x);
  const Rows xr = rows_of(x);
  const Rows yr = rows_of(target.view());
  const Weight weight = weight_rows(args.weight, "linear");
  LinearParams params{};
  params.rows = xr.rows;
  params.cols = xr.cols;
  params.x_offset = xr.offset;
  params.x_stride = xr.stride;
  params.w_stride = weight.stride;
  params.y_offset = yr.offset;
  params.y_stride = yr.stride;

  const bool few = xr.rows <= kFewRows;
  KernelId kernel{few ? "linear_gemv" : "linear_tile"};
  define_weight(kernel, weight.dtype, weight.vec4);
  if (xr.vec4()) {
    kernel.defines.emplace_back("X_VEC4");
  }
  if (few) {
    kernel.substitutions.emplace_back("ROWS", std::to_string(rows_at_once(xr.rows)));
    if (use_subgroups(limits())) {
      kernel.defines.emplace_back("SUBGROUPS");
    }
  }
  std::vector<Operand> operands{whole_in(x), Operand{}, whole_out(target.view())};
  if (args.bias) {
    const View bias = dense(*this, *args.bias);
    params.bias_offset = narrow_u32(bias.layout.offset, "the offset of a bias");
    params.bias_kind = real_kind(bias.dtype, "linear");
    kernel.defines.emplace_back("HAS_BIAS");
    operands.push_back(whole_in(bias));
  }
  if (args.residual) {
    const View residual = with_rows(*this, *args.residual);
    const Rows rr = rows_of(residual);
    params.residual_offset = rr.offset;
    params.residual_stride = rr.stride;
    kernel.defines.emplace_back("HAS_RESIDUAL");
    operands.push_back(whole_in(residual));
  }
  for (const WeightPiece& piece : weight.pieces) {
    params.row_begin = piece.begin;
    params.row_count = piece.end - piece.begin;
    params.w_start = piece.start;
    operands[1] = in(args.weight, piece.segment);
    const uint64_t groups = few ? blocks(params.row_count, rows_a_workgroup(limits())) *
                                      blocks(xr.rows, rows_at_once(xr.rows))
                                : blocks(params.row_count, kTile) * blocks(xr.rows, kTile);
    stream_->dispatch_bytes(kernel, grid_for(groups), std::as_bytes(std::span(&params, 1)),
                            operands);
  }
  target.finish();
}

void WgpuBackend::swiglu(const View& gate, const View& up, const View& y) {
  if (y.elements() == 0) {
    return;
  }
  RowTarget target(*this, y);
  const View g = with_rows(*this, gate);
  const View u = with_rows(*this, up);
  const Rows gr = rows_of(g);
  const Rows ur = rows_of(u);
  const Rows yr = rows_of(target.view());
  const SwigluParams params{gr.rows,   gr.cols,   gr.offset, gr.stride,
                            ur.offset, ur.stride, yr.offset, yr.stride};
  stream_->dispatch({"swiglu"}, grid_for(blocks(uint64_t{gr.rows} * gr.cols, 256)), params,
                    {whole_in(g), whole_in(u), whole_out(target.view())});
  target.finish();
}

}  // namespace candela::wgpu
