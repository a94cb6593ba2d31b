#include "backend/fused_ops.h"

namespace candela::fused {

View with_layout(const View& view, const Layout& layout) {
  return {view.storage, layout, view.dtype};
}

View narrow(const View& view, int axis, int64_t start, int64_t length) {
  return with_layout(view, view.layout.narrow(axis, start, length));
}

View select(const View& view, int64_t index) {
  return with_layout(view, view.layout.narrow(0, index, 1).squeeze(0));
}

View unary(Backend& backend, UnaryKind kind, const View& x, float a, float b) {
  const View y = scratch(backend, x.shape());
  backend.unary(kind, a, b, x, y);
  return y;
}

View binary(Backend& backend, BinaryKind kind, const View& x1, const View& x2) {
  const Shape shape = broadcast_shapes(x1.shape(), x2.shape());
  const View y = scratch(backend, shape);
  backend.binary(kind, with_layout(x1, x1.layout.broadcast_to(shape)),
                 with_layout(x2, x2.layout.broadcast_to(shape)), y);
  return y;
}

View reduce(Backend& backend, ReduceKind kind, const View& x) {
  const View y = scratch(backend, x.shape().removed(-1));
  backend.reduce(kind, x, y);
  return with_layout(y, y.layout.unsqueeze(y.rank()));
}

View scalar(Backend& backend, float value) {
  const View y = scratch(backend, Shape{1});
  backend.fill(y, static_cast<double>(value));
  return y;
}

View to_f32(Backend& backend, const View& x) {
  const View y = scratch(backend, x.shape());
  backend.copy(x, y);
  return y;
}

View upload_ids(Backend& backend, std::span<const uint32_t> ids) {
  const View y = scratch(backend, Shape{static_cast<int64_t>(ids.size())}, DType::U32);
  backend.upload(y.storage, 0, std::as_bytes(ids));
  return y;
}

std::vector<uint32_t> download_ids(Backend& backend, const View& ids) {
  View gapless = ids;
  if (!ids.layout.is_contiguous()) {
    gapless = scratch(backend, ids.shape(), DType::U32);
    backend.copy(ids, gapless);
  }
  std::vector<uint32_t> out(static_cast<size_t>(ids.elements()));
  backend.download(gapless.storage, static_cast<uint64_t>(gapless.layout.offset) * sizeof(uint32_t),
                   std::as_writable_bytes(std::span(out)));
  return out;
}

}  // namespace candela::fused
