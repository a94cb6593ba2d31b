#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "backend/device.h"
#include "base/bf16.h"

namespace candela {

/// A view that knows its device. Copies share memory; there is no graph and there are no gradients.
/// Methods that change only the view never touch the device.
class Tensor {
 public:
  Tensor() = default;
  Tensor(View view, Device device) : view_(std::move(view)), device_(std::move(device)) {}

  // --- Creation (values are rounded to `dtype`) ---------------------------------------------
  static Tensor empty(const Shape& shape,
                      DType dtype,
                      const Device& device,
                      const std::string& label = "tensor");
  static Tensor zeros(const Shape& shape, DType dtype, const Device& device);
  static Tensor ones(const Shape& shape, DType dtype, const Device& device);
  static Tensor full(const Shape& shape, double value, DType dtype, const Device& device);
  /// start, start + step, ... below `end` (above it for a negative step).
  static Tensor arange(double start, double end, double step, DType dtype, const Device& device);
  /// Uniform in [low, high); the same numbers for the same seed on every device.
  static Tensor rand(
      const Shape& shape, double low, double high, uint64_t seed, const Device& device);
  static Tensor randn(
      const Shape& shape, double mean, double deviation, uint64_t seed, const Device& device);
  /// T: float, Float16, BFloat16, uint8_t, int32_t, uint32_t or int64_t; row-major.
  template <typename T>
  static Tensor from_span(std::span<const T> values, const Shape& shape, const Device& device);
  template <typename T>
  static Tensor from_vector(const std::vector<T>& values,
                            const Shape& shape,
                            const Device& device) {
    return from_span<T>(std::span<const T>(values), shape, device);
  }
  template <typename T>
  static Tensor from_scalar(T value, const Device& device) {
    return from_span<T>(std::span<const T>(&value, 1), Shape{}, device);
  }
  /// Raw bytes as they lie in a file (little endian, row-major).
  static Tensor from_bytes(HostPiece bytes, const Shape& shape, DType dtype, const Device& device);

  // --- What it is ---------------------------------------------------------------------------
  bool defined() const { return view_.storage != nullptr; }
  const Shape& shape() const { return view_.layout.shape; }
  int64_t dim(int axis) const { return view_.layout.shape[axis]; }
  int rank() const { return view_.layout.rank(); }
  int64_t elements() const { return view_.layout.elements(); }
  DType dtype() const { return view_.dtype; }
  const Device& device() const;
  const Layout& layout() const { return view_.layout; }
  const View& view() const { return view_; }
  bool is_contiguous() const { return view_.layout.is_contiguous(); }

  // --- Views --------------------------------------------------------------------------------
  Tensor narrow(int axis, int64_t start, int64_t length) const;
  /// `count` nearly equal parts: the first ones are longer by one where it does not divide.
  std::vector<Tensor> chunk(int count, int axis) const;
  /// Row `index` of axis 0, without that axis.
  Tensor get(int64_t index) const;
  /// At most one size may be -1. Copies only if the strides make it necessary.
  Tensor reshape(const Shape& shape) const;
  Tensor reshape(std::initializer_list<int64_t> dims) const;
  Tensor flatten(int first_axis = 0, int last_axis = -1) const;
  Tensor permute(std::initializer_list<int> axes) const;
  Tensor transpose(int a, int b) const;
  Tensor t() const { return transpose(-1, -2); }
  Tensor squeeze(int axis) const;
  Tensor unsqueeze(int axis) const;
  Tensor broadcast_to(const Shape& shape) const;
  /// The same memory, from byte `start` of this tensor's on, as gapless `shape` of `dtype`.
  /// @throws InvalidArgument if this tensor is not gapless, too small, or `start` begins inside of
  /// an element or block
  Tensor reinterpret(DType dtype, const Shape& shape, int64_t start = 0) const;

  // --- Copies -------------------------------------------------------------------------------
  /// This tensor if its elements already lie gapless, else a copy.
  Tensor contiguous() const;
  Tensor copy() const;
  Tensor to_dtype(DType dtype) const;
  Tensor to_device(const Device& device) const;
  /// Overwrites the elements of this view with `from` (converted, broadcast).
  void copy_from(const Tensor& from) const;
  void fill(double value) const;
  /// Overwrites the elements of this view, which lies gapless, from host memory. T as in from_span.
  template <typename T>
  void write(std::span<const T> values) const;

  // --- To the host (waits for the device) ----------------------------------------------------
  /// Row-major elements; T must be the type of `dtype()`, or float for any float type.
  template <typename T>
  std::vector<T> to_vec() const;
  template <typename T>
  std::vector<T> to_vec1() const;
  template <typename T>
  std::vector<std::vector<T>> to_vec2() const;
  template <typename T>
  std::vector<std::vector<std::vector<T>>> to_vec3() const;
  template <typename T>
  T to_scalar() const;
  std::vector<std::byte> to_bytes() const;
  /// Begins a read-back of this view, which lies gapless and has elements of four bytes; work
  /// recorded later does not delay it.
  std::unique_ptr<Readback> read_later() const;

 private:
  View view_;
  std::optional<Device> device_;
};

/// PyTorch-like text; large tensors are summarised by their edges.
std::string to_string(const Tensor& tensor);

}  // namespace candela
