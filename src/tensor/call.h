#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <utility>

#include "base/error.h"
#include "tensor/tensor.h"

namespace candela {

/// What every op does before it calls the backend: the operands lie on one device, axes and dtypes
/// are right, the output exists. Messages start with the op and name all operands.
class Call {
 public:
  /// The operands by name, in the order in which messages list them.
  using Operands = std::initializer_list<std::pair<const char*, const Tensor*>>;

  /// @throws InvalidArgument if an operand is undefined or lies on another device than the first
  Call(const char* op, Operands operands);

  const char* op() const { return op_; }
  const Device& device() const { return operands_.front().second->device(); }
  Backend& backend() const { return device().backend(); }

  /// The axis counted from the front. @throws InvalidArgument
  int axis(int axis, const Tensor& x) const;
  /// @throws Unsupported naming the op, the operand and its dtype
  void require_float(const Tensor& x) const;
  void require_dtype(const Tensor& x, DType dtype) const;
  void require_rank(const Tensor& x, int rank) const;
  void require_shape(const Tensor& x, const Shape& shape) const;

  /// Uninitialised memory on the device of the operands.
  Tensor output(const Shape& shape, DType dtype = DType::F32) const;

  template <typename... Args>
  [[noreturn]] void invalid(fmt::format_string<Args...> text, Args&&... args) const {
    refuse(ErrorKind::InvalidArgument, fmt::format(text, std::forward<Args>(args)...));
  }
  template <typename... Args>
  [[noreturn]] void unsupported(fmt::format_string<Args...> text, Args&&... args) const {
    refuse(ErrorKind::Unsupported, fmt::format(text, std::forward<Args>(args)...));
  }

 private:
  [[noreturn]] void refuse(ErrorKind kind, const std::string& text) const;
  std::string name_of(const Tensor& x) const;

  const char* op_;
  std::vector<std::pair<const char*, const Tensor*>> operands_;
};

/// x itself if it is F32, else a copy that is. Quantised and integer tensors are refused.
Tensor as_f32(const Call& call, const Tensor& x);

/// x seen with `axis` as its last dimension.
Tensor axis_last(const Tensor& x, int axis);

/// The inverse of axis_last.
Tensor axis_back(const Tensor& x, int axis);

}  // namespace candela
