#include "base/error.h"
#include "parity/case.h"
#include "parity/reference.h"
#include "tensor/ops.h"

namespace candela::parity {

namespace {

// [batch, channels, time] as an image one pixel high.
Host as_image(Host x) {
  x.shape = x.shape.inserted(2, 1);
  return x;
}

void add_conv1d(Table& table) {
  const auto add = [&](const std::string& what, const Host& x, const Host& weight,
                       const Conv1dOptions& options, bool layouts) {
    Case out;
    out.name = "conv1d/" + what;
    out.op = "conv1d";
    out.dtype = weight.dtype;
    out.basic = layouts;
    out.inputs = [x, weight] { return Hosts{x, weight, normal({weight.shape[0]}, 3)}; };
    out.run = [options](const Tensors& in, const Device&) {
      return Tensors{conv1d(in[0], in[1], in[2], options)};
    };
    out.reference = [options](const Hosts& in) {
      RefConv ref;
      ref.stride_w = options.stride;
      ref.dilation_w = options.dilation;
      ref.groups = options.groups;
      ref.left = options.pad_left;
      ref.right = options.pad_right;
      return std::vector<Numbers>{ref_conv2d(as_image(in[0]), as_image(in[1]), &in[2], ref)};
    };
    layouts ? add_with_layouts(table, out) : table.push_back(out);
  };
  add("plain", normal({2, 3, 17}, 1), normal({4, 3, 3}, 2), {}, true);
  add("causal", normal({1, 6, 23}, 1), normal({10, 6, 7}, 2), {.pad_left = 6}, false);
  add("dilation9", normal({1, 5, 80}, 1), normal({5, 5, 7}, 2), {.dilation = 9, .pad_left = 54},
      false);
  add("depthwise", normal({2, 12, 17}, 1), normal({12, 1, 7}, 2), {.groups = 12, .pad_left = 6},
      true);
  add("groups", normal({1, 6, 19}, 1), normal({4, 3, 5}, 2),
      {.stride = 2, .dilation = 2, .groups = 2, .pad_left = 1, .pad_right = 3}, true);
  add("pointwise", normal({1, 8, 9}, 1), normal({8, 8, 1}, 2), {}, false);
  add("BF16", normal({1, 5, 33}, 1), normal({7, 5, 3}, 2, DType::BF16), {.pad_right = 2}, true);
  add("F16", normal({1, 5, 33}, 1), normal({7, 5, 3}, 2, DType::F16), {.pad_right = 2}, false);
  add("no_batch", filled({0, 5, 33}, 0), normal({7, 5, 3}, 2), {}, false);
  add("one", normal({1, 1, 1}, 1), normal({1, 1, 1}, 2), {}, false);
  add("long", normal({1, 1, 70000}, 1), normal({1, 1, 3}, 2), {}, false);
  add("outliers", outliers({1, 20, 65}, 4), outliers({17, 20, 5}, 5), {}, false);
}

void add_conv2d(Table& table) {
  const auto add = [&](const std::string& what, const Host& x, const Host& weight,
                       const Conv2dOptions& options, bool layouts) {
    Case out;
    out.name = "conv2d/" + what;
    out.op = "conv2d";
    out.dtype = weight.dtype;
    out.basic = layouts;
    out.inputs = [x, weight] { return Hosts{x, weight, normal({weight.shape[0]}, 3)}; };
    out.run = [options](const Tensors& in, const Device&) {
      return Tensors{conv2d(in[0], in[1], in[2], options)};
    };
    out.reference = [o = options](const Hosts& in) {
      const RefConv ref{o.stride_h, o.stride_w, o.dilation_h, o.dilation_w, o.groups,
                        o.pad_h,    o.pad_h,    o.pad_w,      o.pad_w};
      return std::vector<Numbers>{ref_conv2d(in[0], in[1], &in[2], ref)};
    };
    layouts ? add_with_layouts(table, out) : table.push_back(out);
  };
  Conv2dOptions half;
  half.stride_h = half.stride_w = 2;
  half.pad_h = half.pad_w = 1;
  add("stride2", normal({2, 3, 16, 25}, 1), normal({7, 3, 3, 3}, 2), half, true);
  add("plain", normal({1, 2, 5, 7}, 1), normal({3, 2, 3, 2}, 2), {}, false);
  add("BF16", normal({1, 2, 9, 7}, 1), normal({3, 2, 3, 3}, 2, DType::BF16), half, true);
  Conv2dOptions uneven;
  uneven.stride_h = 2;
  uneven.pad_w = 2;
  uneven.dilation_h = 2;
  uneven.dilation_w = 3;
  uneven.groups = 2;
  add("groups_dilation", normal({2, 4, 11, 13}, 1), normal({6, 2, 3, 2}, 2), uneven, true);
  Conv2dOptions depthwise;
  depthwise.groups = 5;
  add("depthwise", normal({1, 5, 6, 6}, 1), normal({5, 1, 3, 3}, 2), depthwise, false);
  add("no_batch", filled({0, 2, 5, 5}, 0), normal({3, 2, 3, 3}, 2), {}, false);
}

void add_transposed(Table& table) {
  const auto add = [&](const std::string& what, const Host& x, const Host& weight,
                       const ConvTranspose1dOptions& options, bool layouts) {
    Case out;
    out.name = "conv_transpose1d/" + what;
    out.op = "conv_transpose1d";
    out.dtype = weight.dtype;
    out.basic = layouts;
    const int64_t channels = weight.shape[1] * options.groups;
    out.inputs = [x, weight, channels] { return Hosts{x, weight, normal({channels}, 3)}; };
    out.run = [options](const Tensors& in, const Device&) {
      return Tensors{conv_transpose1d(in[0], in[1], in[2], options)};
    };
    out.reference = [o = options](const Hosts& in) {
      return std::vector<Numbers>{ref_conv_transpose1d(in[0], in[1], &in[2], o.stride, o.groups,
                                                       o.trim_left, o.trim_right)};
    };
    layouts ? add_with_layouts(table, out) : table.push_back(out);
  };
  add("plain", normal({2, 3, 9}, 1), normal({3, 4, 5}, 2), {}, true);
  add("k16_s8", normal({1, 6, 7}, 1), normal({6, 5, 16}, 2),
      {.stride = 8, .trim_left = 8, .trim_right = 8}, true);
  add("k2_s2", normal({1, 6, 5}, 1), normal({6, 6, 2}, 2), {.stride = 2}, false);
  add("groups", normal({2, 6, 5}, 1), normal({6, 2, 4}, 2),
      {.stride = 3, .groups = 3, .trim_right = 1}, true);
  add("gaps", normal({1, 2, 4}, 1), normal({2, 3, 2}, 2), {.stride = 5}, false);
  add("BF16", normal({1, 4, 6}, 1), normal({4, 3, 6}, 2, DType::BF16),
      {.stride = 3, .trim_left = 3}, true);
}

}  // namespace

void add_conv(Table& table) {
  add_conv1d(table);
  add_conv2d(table);
  add_transposed(table);
}

}  // namespace candela::parity
