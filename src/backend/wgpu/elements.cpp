#include "backend/wgpu/elements.h"

#include <algorithm>
#include <array>

#include "backend/wgpu/storage.h"
#include "base/assert.h"
#include "base/error.h"

namespace candela::wgpu {
namespace {

constexpr int64_t kGroup = 256;
constexpr size_t kY = 3;  // y's place in the params

void put_layout(ElementParams& params, size_t place, const Layout& layout) {
  const int rank = layout.rank();
  for (int d = 0; d < rank; ++d) {
    params.strides[rank - 1 - d][place] = narrow_u32(layout.stride(d), "stride");
  }
  params.offsets[place] = narrow_u32(layout.offset, "offset");
}

/// Whether elements 2i and 2i + 1 always share a word.
bool lies_in_pairs(const Layout& layout) {
  const int last = layout.rank() - 1;
  bool pairs = layout.offset % 2 == 0 && layout.shape[last] % 2 == 0 && layout.stride(last) == 1;
  for (int d = 0; d < last; ++d) {
    pairs = pairs && layout.stride(d) % 2 == 0;
  }
  return pairs;
}

SegmentView whole(const char* op, const View& view) {
  SegmentView found;
  if (!locate(view, found)) {
    fail(ErrorKind::Unsupported, Subject::Device,
         "The op {} does not take tensors that exceed one binding of this WebGPU device ({} bytes "
         "in {} segments); copy a part of it first.",
         op, view.storage->bytes(), view.storage->segments().size());
  }
  return found;
}

}  // namespace

uint32_t kind_of(DType dtype) {
  switch (dtype) {
    case DType::F32:
      return 0;
    case DType::BF16:
      return 1;
    case DType::F16:
      return 2;
    case DType::I32:
      return 3;
    case DType::U32:
      return 4;
    case DType::Q8_0:
      return 5;
    case DType::Q4_0:
      return 6;
    case DType::Q4_1:
      return 7;
    case DType::Q8_16:
      return 8;
    case DType::U8:
    case DType::I64:
      break;
  }
  fail(ErrorKind::Unsupported, Subject::Device,
       "The WebGPU backend holds no {} tensors; convert them on the CPU first.", dtype_name(dtype));
}

ElementOp::ElementOp(const char* op, std::initializer_list<View> inputs, const View& y) {
  CANDELA_ASSERT(inputs.size() <= kY, "an elementwise op has more than three inputs");
  std::array<Layout, 4> layouts;
  size_t count = 0;
  const auto add = [&](const View& view, bool written) {
    const SegmentView part = whole(op, view);
    layouts[count++] = part.view.layout;
    operands.push_back({wgpu_storage(view.storage).buffer(part.segment), written});
  };
  for (const View& x : inputs) {
    params.kinds[count] = kind_of(x.dtype);
    add(x, false);
  }
  add(y, true);
  params.kinds[kY] = kind_of(y.dtype);

  merge_together(std::span(layouts.data(), count));
  const Layout& to = layouts[count - 1];
  for (int d = 0; d < to.rank(); ++d) {
    params.sizes[to.rank() - 1 - d] = narrow_u32(to.shape[d], "size");
  }
  for (size_t i = 0; i + 1 < count; ++i) {
    put_layout(params, i, layouts[i]);
  }
  put_layout(params, kY, to);
  params.rank = static_cast<uint32_t>(to.rank());
  int64_t items = y.elements();
  if (block_bytes(y.dtype) == 2) {
    const bool pairs = lies_in_pairs(to);
    store = pairs ? "Y_PAIR" : "Y_ATOMIC";
    items = pairs ? items / 2 : items;
  }
  params.count = narrow_u32(items, "number of elements");
}

void ElementOp::run(Stream& stream,
                    const char* kernel,
                    std::vector<std::string> defines,
                    std::vector<std::pair<std::string, std::string>> substitutions) {
  defines.emplace_back(store);
  substitutions.emplace_back("Y", std::to_string(operands.size() - 1));
  substitutions.emplace_back("PARAMS", std::to_string(operands.size()));
  const Grid grid = grid_for((uint64_t{params.count} + kGroup - 1) / kGroup);
  stream.dispatch_bytes({kernel, std::move(defines), std::move(substitutions)}, grid,
                        std::as_bytes(std::span(&params, 1)), operands);
}

}  // namespace candela::wgpu
