#include "backend/wgpu/rows.h"
#include "backend/wgpu/wgpu_backend.h"

namespace candela::wgpu {
namespace {

struct SoftmaxParams {
  uint32_t rows, cols, x_offset, x_stride, y_offset, y_stride;
};

struct RmsNormParams {
  uint32_t rows, cols, x_offset, x_stride, y_offset, y_stride, weight_offset, weight_kind;
  float eps;
};

struct LayerNormParams {
  uint32_t rows, cols, x_offset, x_stride, y_offset, y_stride;
  uint32_t weight_offset, weight_kind, bias_offset, bias_kind;
  float eps;
};

}  // namespace

void WgpuBackend::softmax(const View& x, const View& y) {
  if (y.elements() == 0) {
    return;
  }
  RowTarget target(*this, y);
  const View from = with_rows(*this, x);
  const Rows xr = rows_of(from);
  const Rows yr = rows_of(target.view());
  const SoftmaxParams params{xr.rows, xr.cols, xr.offset, xr.stride, yr.offset, yr.stride};
  stream_->dispatch({"softmax"}, grid_for(xr.rows), params,
                    {whole_in(from), whole_out(target.view())});
  target.finish();
}

void WgpuBackend::rms_norm(const View& x, const View& weight, float eps, const View& y) {
  if (y.elements() == 0) {
    return;
  }
  RowTarget target(*this, y);
  const View from = with_rows(*this, x);
  const View scale = dense(*this, weight);
  const Rows xr = rows_of(from);
  const Rows yr = rows_of(target.view());
  const RmsNormParams params{xr.rows,
                             xr.cols,
                             xr.offset,
                             xr.stride,
                             yr.offset,
                             yr.stride,
                             narrow_u32(scale.layout.offset, "the offset of a norm weight"),
                             real_kind(scale.dtype, "rms_norm"),
                             eps};
  stream_->dispatch({"rms_norm"}, grid_for(xr.rows), params,
                    {whole_in(from), whole_in(scale), whole_out(target.view())});
  target.finish();
}

void WgpuBackend::layer_norm(
    const View& x, const View& weight, const View& bias, float eps, const View& y) {
  if (y.elements() == 0) {
    return;
  }
  RowTarget target(*this, y);
  const View from = with_rows(*this, x);
  const View scale = dense(*this, weight);
  const View shift = dense(*this, bias);
  const Rows xr = rows_of(from);
  const Rows yr = rows_of(target.view());
  const LayerNormParams params{xr.rows,
                               xr.cols,
                               xr.offset,
                               xr.stride,
                               yr.offset,
                               yr.stride,
                               narrow_u32(scale.layout.offset, "the offset of a norm weight"),
                               real_kind(scale.dtype, "layer_norm"),
                               narrow_u32(shift.layout.offset, "the offset of a norm bias"),
                               real_kind(shift.dtype, "layer_norm"),
                               eps};
  stream_->dispatch({"layer_norm"}, grid_for(xr.rows), params,
                    {whole_in(from), whole_in(scale), whole_in(shift), whole_out(target.view())});
  target.finish();
}

}  // namespace candela::wgpu
