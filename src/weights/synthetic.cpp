#include "weights/synthetic.h"

#include <algorithm>
#include <cmath>

namespace candela {

namespace {

/// FNV-1a: seeds must not change between programs, as std::hash may.
uint64_t hash_of(std::string_view text, uint64_t start) {
  uint64_t hash = 0xcbf29ce484222325u ^ start;
  for (const char c : text) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  }
  return hash;
}

/// Random numbers for a storage that one binding cannot hold: made in a scratch tensor and copied,
/// since only copies take segments.
void fill_in_pieces(const View& y, uint64_t seed, float deviation, Backend& backend) {
  constexpr int64_t kPieceElements = int64_t{1} << 24;
  const int64_t row = y.shape()[-1];
  const int64_t rows = y.elements() / row;
  const int64_t step = std::max<int64_t>(1, std::min(rows, kPieceElements / row));
  const View piece = scratch(backend, {step, row}, DType::BF16);
  View matrix = y;
  matrix.layout = Layout({rows, row}, y.layout.offset);
  for (int64_t begin = 0; begin < rows; begin += step) {
    const int64_t count = std::min(step, rows - begin);
    View from = piece;
    View to = matrix;
    from.layout = piece.layout.narrow(0, 0, count);
    to.layout = matrix.layout.narrow(0, begin, count);
    backend.random(RandomKind::normal, seed + static_cast<uint64_t>(begin), 0.0f, deviation, from);
    backend.copy(from, to);
  }
}

}  // namespace

WeightInfo& SyntheticWeights::info(const std::string& name) {
  WeightInfo& info = infos_[name];
  if (info.name.empty()) {
    info = {name, DType::BF16, Shape(), HostPiece(), "random weights"};
  }
  return info;
}

Tensor SyntheticWeights::make(const std::string& name,
                              const Shape& shape,
                              int64_t inputs,
                              const Device& device) {
  info(name).shape = shape;
  Backend& backend = device.backend();
  const auto bytes = static_cast<uint64_t>(dtype_bytes(DType::BF16, shape.elements()));
  const int64_t row = shape.rank() == 0 ? 1 : shape[-1];
  const auto row_bytes = static_cast<uint64_t>(dtype_bytes(DType::BF16, row));
  const View y{backend.allocate(bytes, row_bytes, name), Layout(shape), DType::BF16};
  if (y.elements() == 0) {
    return Tensor(y, device);
  }
  const uint64_t seed = hash_of(name, seed_);
  const auto deviation = static_cast<float>(1.0 / std::sqrt(static_cast<double>(inputs)));
  if (shape.rank() <= 1) {
    backend.fill(y, name.find("norm") != name.npos && !name.ends_with("bias") ? 1.0 : 0.0);
  } else if (y.storage->is_segmented()) {
    fill_in_pieces(y, seed, deviation, backend);
  } else {
    backend.random(RandomKind::normal, seed, 0.0f, deviation, y);
  }
  return Tensor(y, device);
}

}  // namespace candela
