#include <optional>
#include <string>

#include "backend/wgpu/walk.h"
#include "backend/wgpu/wgpu_backend.h"
#include "base/error.h"

namespace candela::wgpu {
namespace {

struct ConvParams {
  uint32_t count, outs, out_height, out_width, channels, group_outs, height, width;
  uint32_t taps_h, taps_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
  uint32_t x_offset, x_batch, x_channel, x_row, x_column;
  uint32_t w_offset, w_out, w_channel, w_row, w_column;
  uint32_t y_offset, y_batch, y_channel, y_row, y_column;
  uint32_t bias_offset, bias_stride, bias_kind;
};

struct ConvTranspose1dParams {
  uint32_t count, outs, out_time, channels, group_outs, time, taps, stride, trim_left;
  uint32_t x_offset, x_batch, x_channel, x_time;
  uint32_t w_offset, w_channel, w_out, w_tap;
  uint32_t y_offset, y_batch, y_channel, y_time;
  uint32_t bias_offset, bias_stride, bias_kind;
};

uint32_t size(int64_t value) {
  return narrow_u32(value, "a size of a convolution");
}
uint32_t stride(const View& view, int axis) {
  return size(view.layout.stride(axis));
}

void require_f32(const View& view, const char* op) {
  if (view.dtype != DType::F32) {
    fail(ErrorKind::Unsupported, Subject::Device,
         "{}: activations of type {} are not supported on WebGPU; convert them to F32.", op,
         dtype_name(view.dtype));
  }
}

/// Names the variant of a kernel, fills in the bias and dispatches one thread an element of y.
template <typename Params>
void run_conv(Stream& stream,
              const char* op,
              const char* kernel_name,
              Params& params,
              const View& x,
              const View& weight,
              const std::optional<View>& bias,
              const View& y) {
  require_f32(x, op);
  require_f32(y, op);
  const Bound source(x, op);
  const Bound filter(weight, op);
  const Bound target(y, op);
  params.count = size(y.elements());
  params.x_offset = source.offset();
  params.w_offset = filter.offset();
  params.y_offset = target.offset();
  KernelId kernel{kernel_name, {}, {{"W_KIND", std::to_string(float_kind(weight, op))}}};
  const Grid grid = threads_grid(y.elements());
  if (!bias) {
    stream.dispatch(kernel, grid, params, {source.read(), filter.read(), target.write()});
    return;
  }
  const Bound shift(*bias, op);
  params.bias_offset = shift.offset();
  params.bias_stride = stride(*bias, 0);
  params.bias_kind = float_kind(*bias, op);
  kernel.defines = {"BIAS"};
  stream.dispatch(kernel, grid, params,
                  {source.read(), filter.read(), shift.read(), target.write()});
}

}  // namespace

void WgpuBackend::conv1d(const Conv1dArgs& args, const View& y) {
  if (y.elements() == 0) {
    return;
  }
  ConvParams params{};
  params.outs = size(y.dim(1));
  params.out_height = 1;
  params.out_width = size(y.dim(2));
  params.channels = size(args.weight.dim(1));
  params.group_outs = size(y.dim(1) / args.groups);
  params.height = 1;
  params.width = size(args.x.dim(2));
  params.taps_h = 1;
  params.taps_w = size(args.weight.dim(2));
  params.stride_h = 1;
  params.stride_w = size(args.stride);
  params.pad_w = size(args.pad_left);
  params.dilation_h = 1;
  params.dilation_w = size(args.dilation);
  params.x_batch = stride(args.x, 0);
  params.x_channel = stride(args.x, 1);
  params.x_column = stride(args.x, 2);
  params.w_out = stride(args.weight, 0);
  params.w_channel = stride(args.weight, 1);
  params.w_column = stride(args.weight, 2);
  params.y_batch = stride(y, 0);
  params.y_channel = stride(y, 1);
  params.y_column = stride(y, 2);
  run_conv(*stream_, "conv1d", "conv", params, args.x, args.weight, args.bias, y);
}

void WgpuBackend::conv2d(const Conv2dArgs& args, const View& y) {
  if (y.elements() == 0) {
    return;
  }
  ConvParams params{};
  params.outs = size(y.dim(1));
  params.out_height = size(y.dim(2));
  params.out_width = size(y.dim(3));
  params.channels = size(args.weight.dim(1));
  params.group_outs = size(y.dim(1) / args.groups);
  params.height = size(args.x.dim(2));
  params.width = size(args.x.dim(3));
  params.taps_h = size(args.weight.dim(2));
  params.taps_w = size(args.weight.dim(3));
  params.stride_h = size(args.stride_h);
  params.stride_w = size(args.stride_w);
  params.pad_h = size(args.pad_h);
  params.pad_w = size(args.pad_w);
  params.dilation_h = size(args.dilation_h);
  params.dilation_w = size(args.dilation_w);
  params.x_batch = stride(args.x, 0);
  params.x_channel = stride(args.x, 1);
  params.x_row = stride(args.x, 2);
  params.x_column = stride(args.x, 3);
  params.w_out = stride(args.weight, 0);
  params.w_channel = stride(args.weight, 1);
  params.w_row = stride(args.weight, 2);
  params.w_column = stride(args.weight, 3);
  params.y_batch = stride(y, 0);
  params.y_channel = stride(y, 1);
  params.y_row = stride(y, 2);
  params.y_column = stride(y, 3);
  run_conv(*stream_, "conv2d", "conv", params, args.x, args.weight, args.bias, y);
}

void WgpuBackend::conv_transpose1d(const ConvTranspose1dArgs& args, const View& y) {
  if (y.elements() == 0) {
    return;
  }
  ConvTranspose1dParams params{};
  params.outs = size(y.dim(1));
  params.out_time = size(y.dim(2));
  params.channels = size(args.x.dim(1) / args.groups);
  params.group_outs = size(args.weight.dim(1));
  params.time = size(args.x.dim(2));
  params.taps = size(args.weight.dim(2));
  params.stride = size(args.stride);
  params.trim_left = size(args.trim_left);
  params.x_batch = stride(args.x, 0);
  params.x_channel = stride(args.x, 1);
  params.x_time = stride(args.x, 2);
  params.w_channel = stride(args.weight, 0);
  params.w_out = stride(args.weight, 1);
  params.w_tap = stride(args.weight, 2);
  params.y_batch = stride(y, 0);
  params.y_channel = stride(y, 1);
  params.y_time = stride(y, 2);
  run_conv(*stream_, "conv_transpose1d", "conv_transpose1d", params, args.x, args.weight, args.bias,
           y);
}

}  // namespace candela::wgpu
