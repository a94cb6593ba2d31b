#pragma once

#include <cmath>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "backend/cpu/cpu_backend.h"
#include "base/bf16.h"
#include "base/error.h"

namespace candela::test {

/// The kind and text of the error that `body` throws; fails if it throws none.
template <typename Body>
std::string error_of(ErrorKind kind, Body&& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.kind() == kind ? error.what() : std::string("another kind: ") + error.what();
  }
  return "nothing was thrown";
}

/// A CPU backend, of two threads if nothing else is said, and short ways to make and read views.
class Cpu {
 public:
  explicit Cpu(int threads = 2,
               Precision precision = Precision::Exact,
               const std::string& onednn = "off")
      : backend_(make_cpu_backend(threads, precision, onednn)) {}
  Backend& operator*() const { return *backend_; }
  Backend* operator->() const { return backend_.get(); }

  View empty(const Shape& shape, DType dtype = DType::F32) const {
    return scratch(*backend_, shape, dtype);
  }

  /// Any element type whose bytes are those of `dtype`.
  template <typename T>
  View raw(const std::vector<T>& values, const Shape& shape, DType dtype) const {
    const View view = empty(shape, dtype);
    backend_->upload(view.storage, 0, std::as_bytes(std::span(values)));
    return view;
  }
  View floats(const std::vector<float>& values,
              const Shape& shape,
              DType dtype = DType::F32) const {
    const View view = raw(values, shape, DType::F32);
    if (dtype == DType::F32) {
      return view;
    }
    const View out = empty(shape, dtype);
    backend_->copy(view, out);
    return out;
  }
  View ids(const std::vector<uint32_t>& values, const Shape& shape) const {
    return raw(values, shape, DType::U32);
  }

  template <typename T>
  std::vector<T> read_raw(const View& view) const {
    View gapless = view;
    if (!view.layout.is_contiguous()) {
      gapless = empty(view.shape(), view.dtype);
      backend_->copy(view, gapless);
    }
    std::vector<T> out(static_cast<size_t>(view.elements()));
    backend_->download(gapless.storage, static_cast<uint64_t>(gapless.layout.offset) * sizeof(T),
                       std::as_writable_bytes(std::span(out)));
    return out;
  }
  std::vector<float> read(const View& view) const {
    if (view.dtype == DType::F32) {
      return read_raw<float>(view);
    }
    const View out = empty(view.shape());
    backend_->copy(view, out);
    return read_raw<float>(out);
  }
  std::vector<uint32_t> read_ids(const View& view) const { return read_raw<uint32_t>(view); }

 private:
  std::shared_ptr<Backend> backend_;
};

inline std::vector<float> random_floats(int64_t count, uint32_t seed, float scale = 1.0f) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0.0f, scale);
  std::vector<float> out(static_cast<size_t>(count));
  for (float& value : out) {
    value = normal(generator);
  }
  return out;
}

/// Random blocks of a quantised type with scales near `scale`.
inline std::vector<std::byte> random_blocks(DType dtype,
                                            int64_t elements,
                                            uint32_t seed,
                                            float scale = 0.05f) {
  std::mt19937 generator(seed);
  std::vector<std::byte> out(static_cast<size_t>(dtype_bytes(dtype, elements)));
  for (std::byte& byte : out) {
    byte = static_cast<std::byte>(generator());
  }
  const auto step = static_cast<size_t>(block_bytes(dtype));
  for (size_t at = 0; at < out.size(); at += step) {
    const float factor = 0.5f + static_cast<float>(generator() % 1000) * 0.001f;
    const Float16 d = to_f16(scale * factor);
    std::memcpy(out.data() + at, &d, 2);
    if (dtype == DType::Q8_16) {
      const Float16 second = to_f16(2.0f * scale * factor);
      std::memcpy(out.data() + at + 2, &second, 2);
    }
    if (dtype == DType::Q4_1) {
      const Float16 m = to_f16(-7.5f * scale * factor);
      std::memcpy(out.data() + at + 2, &m, 2);
    }
  }
  return out;
}

/// Largest difference over the largest magnitude expected.
inline double distance(const std::vector<float>& got, const std::vector<float>& expected) {
  if (got.size() != expected.size()) {
    return INFINITY;
  }
  double worst = 0.0;
  double top = 1e-30;
  for (size_t i = 0; i < got.size(); ++i) {
    if (!(std::isfinite(got[i]) == std::isfinite(expected[i]))) {
      return INFINITY;
    }
    if (std::isfinite(got[i])) {
      worst = std::max(worst,
                       std::fabs(static_cast<double>(got[i]) - static_cast<double>(expected[i])));
      top = std::max(top, std::fabs(static_cast<double>(expected[i])));
    }
  }
  return worst / top;
}

}  // namespace candela::test
