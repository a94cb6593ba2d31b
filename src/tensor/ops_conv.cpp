#include "tensor/call.h"
#include "tensor/ops.h"

namespace candela {

namespace {

void require_at_least(const Call& call, const char* name, int64_t value, int64_t least) {
  if (value < least) {
    call.invalid("{} is {}, the least is {}", name, value, least);
  }
}

std::optional<View> bias_view(const Call& call, const std::optional<Tensor>& bias, int64_t out) {
  if (!bias) {
    return std::nullopt;
  }
  call.require_float(*bias);
  call.require_shape(*bias, Shape{out});
  return bias->view();
}

// `per_group` input channels belong to each of the groups.
void require_groups(const Call& call, int64_t groups, int64_t in, int64_t per_group, int64_t out) {
  require_at_least(call, "groups", groups, 1);
  if (per_group * groups != in || out % groups != 0) {
    call.invalid("{} groups do not fit {} input and {} output channels", groups, in, out);
  }
}

// Samples of one axis after a convolution.
int64_t conv_length(const Call& call,
                    int64_t length,
                    int64_t taps,
                    int64_t stride,
                    int64_t dilation,
                    int64_t padding) {
  require_at_least(call, "stride", stride, 1);
  require_at_least(call, "dilation", dilation, 1);
  require_at_least(call, "padding", padding, 0);
  require_at_least(call, "the kernel's length", taps, 1);
  const int64_t span = (taps - 1) * dilation + 1;
  if (length + padding < span) {
    call.invalid("the kernel spans {} samples, but the padded input has {}", span,
                 length + padding);
  }
  return (length + padding - span) / stride + 1;
}

}  // namespace

Tensor conv1d(const Tensor& x,
              const Tensor& weight,
              const std::optional<Tensor>& bias,
              const Conv1dOptions& options) {
  const Call call("conv1d", {{"x", &x}, {"weight", &weight}, {"bias", bias ? &*bias : &x}});
  call.require_rank(x, 3);
  call.require_rank(weight, 3);
  call.require_float(weight);
  require_groups(call, options.groups, x.dim(1), weight.dim(1), weight.dim(0));
  require_at_least(call, "pad_left", options.pad_left, 0);
  require_at_least(call, "pad_right", options.pad_right, 0);
  const int64_t time = conv_length(call, x.dim(2), weight.dim(2), options.stride, options.dilation,
                                   options.pad_left + options.pad_right);
  Conv1dArgs args;
  args.x = as_f32(call, x).view();
  args.weight = weight.view();
  args.bias = bias_view(call, bias, weight.dim(0));
  args.stride = options.stride;
  args.dilation = options.dilation;
  args.groups = options.groups;
  args.pad_left = options.pad_left;
  args.pad_right = options.pad_right;
  Tensor y = call.output(Shape{x.dim(0), weight.dim(0), time});
  call.backend().conv1d(args, y.view());
  return y;
}

Tensor conv2d(const Tensor& x,
              const Tensor& weight,
              const std::optional<Tensor>& bias,
              const Conv2dOptions& options) {
  const Call call("conv2d", {{"x", &x}, {"weight", &weight}, {"bias", bias ? &*bias : &x}});
  call.require_rank(x, 4);
  call.require_rank(weight, 4);
  call.require_float(weight);
  require_groups(call, options.groups, x.dim(1), weight.dim(1), weight.dim(0));
  const int64_t height = conv_length(call, x.dim(2), weight.dim(2), options.stride_h,
                                     options.dilation_h, 2 * options.pad_h);
  const int64_t width = conv_length(call, x.dim(3), weight.dim(3), options.stride_w,
                                    options.dilation_w, 2 * options.pad_w);
  Conv2dArgs args;
  args.x = as_f32(call, x).view();
  args.weight = weight.view();
  args.bias = bias_view(call, bias, weight.dim(0));
  args.stride_h = options.stride_h;
  args.stride_w = options.stride_w;
  args.pad_h = options.pad_h;
  args.pad_w = options.pad_w;
  args.dilation_h = options.dilation_h;
  args.dilation_w = options.dilation_w;
  args.groups = options.groups;
  Tensor y = call.output(Shape{x.dim(0), weight.dim(0), height, width});
  call.backend().conv2d(args, y.view());
  return y;
}

Tensor conv_transpose1d(const Tensor& x,
                        const Tensor& weight,
                        const std::optional<Tensor>& bias,
                        const ConvTranspose1dOptions& options) {
  const Call call("conv_transpose1d",
                  {{"x", &x}, {"weight", &weight}, {"bias", bias ? &*bias : &x}});
  call.require_rank(x, 3);
  call.require_rank(weight, 3);
  call.require_float(weight);
  require_at_least(call, "stride", options.stride, 1);
  require_at_least(call, "groups", options.groups, 1);
  require_at_least(call, "trim_left", options.trim_left, 0);
  require_at_least(call, "trim_right", options.trim_right, 0);
  require_at_least(call, "the kernel's length", weight.dim(2), 1);
  if (weight.dim(0) != x.dim(1) || x.dim(1) % options.groups != 0) {
    call.invalid("{} groups do not fit {} input channels", options.groups, x.dim(1));
  }
  const int64_t out = weight.dim(1) * options.groups;
  const int64_t full = x.dim(2) == 0 ? 0 : (x.dim(2) - 1) * options.stride + weight.dim(2);
  const int64_t time = full - options.trim_left - options.trim_right;
  if (time < 0) {
    call.invalid("{} samples cannot be trimmed by {} and {}", full, options.trim_left,
                 options.trim_right);
  }
  ConvTranspose1dArgs args;
  args.x = as_f32(call, x).view();
  args.weight = weight.view();
  args.bias = bias_view(call, bias, out);
  args.stride = options.stride;
  args.groups = options.groups;
  args.trim_left = options.trim_left;
  args.trim_right = options.trim_right;
  Tensor y = call.output(Shape{x.dim(0), out, time});
  call.backend().conv_transpose1d(args, y.view());
  return y;
}

}  // namespace candela
