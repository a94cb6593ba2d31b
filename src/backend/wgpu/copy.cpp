#include <algorithm>
#include <bit>
#include <cmath>

#include "backend/wgpu/elements.h"
#include "backend/wgpu/storage.h"
#include "backend/wgpu/wgpu_backend.h"
#include "base/bf16.h"
#include "base/error.h"

namespace candela::wgpu {
namespace {

uint32_t bits_of(double value, DType dtype) {
  switch (dtype) {
    case DType::BF16:
      return to_bf16(static_cast<float>(value)).bits;
    case DType::F16:
      return to_f16(static_cast<float>(value)).bits;
    case DType::I32:
      return static_cast<uint32_t>(
          static_cast<int32_t>(std::clamp(value, -2147483648.0, 2147483647.0)));
    case DType::U32:
      return static_cast<uint32_t>(std::clamp(value, 0.0, 4294967295.0));
    default:
      return std::bit_cast<uint32_t>(static_cast<float>(value));
  }
}

View part(const View& view, int64_t start, int64_t length) {
  return {view.storage, view.layout.narrow(0, start, length), view.dtype};
}

bool lies_in_one(const View& view) {
  SegmentView unused;
  return locate(view, unused);
}

/// Cuts views of one shape along their outermost dimensions until each piece lies in one segment,
/// and calls f(x piece, y piece). Pieces of blocks are cut between blocks.
template <typename F>
void for_each_piece(const View& x, const View& y, F&& f) {
  const auto fits = [&](int64_t start, int64_t length) {
    return lies_in_one(part(x, start, length)) && lies_in_one(part(y, start, length));
  };
  const int64_t size = x.rank() == 0 ? 0 : x.dim(0);
  if (x.rank() == 0 || fits(0, size)) {
    f(x, y);
    return;
  }
  const int64_t unit = x.rank() == 1 ? block_elements(x.dtype) : 1;
  for (int64_t start = 0; start < size;) {
    // The longest run that fits: halve the gap between what does and what does not.
    int64_t good = 0;
    int64_t bad = (size - start + unit - 1) / unit + 1;
    while (bad - good > 1) {
      const int64_t middle = good + (bad - good) / 2;
      (fits(start, std::min(middle * unit, size - start)) ? good : bad) = middle;
    }
    if (good == 0) {
      const auto inner = [&](const View& view) {
        return View{view.storage, part(view, start, 1).layout.squeeze(0), view.dtype};
      };
      for_each_piece(inner(x), inner(y), f);
      ++start;
    } else {
      const int64_t length = std::min(good * unit, size - start);
      f(part(x, start, length), part(y, start, length));
      start += length;
    }
  }
}

/// The views with dimensions joined where both allow it, so that cuts may fall anywhere.
std::pair<View, View> merged(const View& x, const View& y) {
  Layout layouts[2] = {x.layout, y.layout};
  merge_together(layouts);
  return {{x.storage, layouts[0], x.dtype}, {y.storage, layouts[1], y.dtype}};
}

}  // namespace

void WgpuBackend::fill(const View& y, double value) {
  if (y.elements() == 0) {
    return;
  }
  const auto [whole, same] = merged(y, y);
  for_each_piece(whole, same, [&](const View& piece, const View&) {
    ElementOp op("fill", {}, piece);
    op.params.kinds[0] = bits_of(value, y.dtype);
    op.run(*stream_, "fill");
  });
}

void WgpuBackend::copy(const View& x, const View& y) {
  if (y.elements() == 0) {
    return;
  }
  if (is_quantized(y.dtype)) {
    fail(ErrorKind::Unsupported, Subject::Device,
         "The op copy does not write {} blocks on WebGPU; they are only read, as weights.",
         dtype_name(y.dtype));
  }
  const auto is_word = [](DType dtype) { return dtype == DType::I32 || dtype == DType::U32; };
  const bool raw = x.dtype == y.dtype || (is_word(x.dtype) && is_word(y.dtype));
  const auto [from, to] = merged(x, y);
  for_each_piece(from, to, [&](const View& x_piece, const View& y_piece) {
    ElementOp op("copy", {x_piece}, y_piece);
    op.params.kinds[2] = raw ? 1 : 0;
    op.run(*stream_, "copy");
  });
}

}  // namespace candela::wgpu
