#include "tensor/call.h"

#include <algorithm>

namespace candela {

Call::Call(const char* op, Operands operands) : op_(op) {
  for (const auto& [name, tensor] : operands) {
    if (!tensor->defined()) {
      fail(ErrorKind::InvalidArgument, Subject::Usage, "{}: the tensor {} is undefined.", op, name);
    }
    operands_.emplace_back(name, tensor);
  }
  for (const auto& [name, tensor] : operands_) {
    if (!(tensor->device() == device())) {
      invalid("{} lies on {} but {} on {}; move one of them with to_device", name,
              tensor->device().name(), operands_.front().first, device().name());
    }
  }
}

int Call::axis(int axis, const Tensor& x) const {
  const int normal = axis < 0 ? axis + x.rank() : axis;
  if (normal < 0 || normal >= x.rank()) {
    invalid("axis {} is outside of {} with {} dimensions", axis, name_of(x), x.rank());
  }
  return normal;
}

void Call::require_float(const Tensor& x) const {
  if (!is_float(x.dtype())) {
    unsupported("{} is {}, but the op takes F32, F16 and BF16; convert it with to_dtype",
                name_of(x), dtype_name(x.dtype()));
  }
}

void Call::require_dtype(const Tensor& x, DType dtype) const {
  if (x.dtype() != dtype) {
    unsupported("{} is {}, but the op takes {}; convert it with to_dtype", name_of(x),
                dtype_name(x.dtype()), dtype_name(dtype));
  }
}

void Call::require_rank(const Tensor& x, int rank) const {
  if (x.rank() != rank) {
    invalid("{} has {} dimensions instead of {}", name_of(x), x.rank(), rank);
  }
}

void Call::require_shape(const Tensor& x, const Shape& shape) const {
  if (!(x.shape() == shape)) {
    invalid("{} should have the shape {}", name_of(x), to_string(shape));
  }
}

Tensor Call::output(const Shape& shape, DType dtype) const {
  return Tensor::empty(shape, dtype, device(), op_);
}

void Call::refuse(ErrorKind kind, const std::string& text) const {
  std::vector<std::string> list;
  list.reserve(operands_.size());
  for (const auto& [name, tensor] : operands_) {
    list.push_back(
        fmt::format("{} {} {}", name, dtype_name(tensor->dtype()), to_string(tensor->shape())));
  }
  throw Error(kind, Subject::Usage, fmt::format("{}: {} ({}).", op_, text, fmt::join(list, ", ")));
}

std::string Call::name_of(const Tensor& x) const {
  const auto found =
      std::ranges::find_if(operands_, [&](const auto& operand) { return operand.second == &x; });
  return found == operands_.end() ? "an operand" : found->first;
}

Tensor as_f32(const Call& call, const Tensor& x) {
  call.require_float(x);
  return x.dtype() == DType::F32 ? x : x.to_dtype(DType::F32);
}

Tensor axis_last(const Tensor& x, int axis) {
  std::array<int, kMaxRank> axes{};
  int count = 0;
  for (int i = 0; i < x.rank(); ++i) {
    if (i != axis) {
      axes[static_cast<size_t>(count++)] = i;
    }
  }
  axes[static_cast<size_t>(count)] = axis;
  View view = x.view();
  view.layout = view.layout.permute({axes.data(), static_cast<size_t>(x.rank())});
  return Tensor(view, x.device());
}

Tensor axis_back(const Tensor& x, int axis) {
  std::array<int, kMaxRank> axes{};
  for (int i = 0; i < x.rank(); ++i) {
    axes[static_cast<size_t>(i)] = i < axis ? i : i == axis ? x.rank() - 1 : i - 1;
  }
  View view = x.view();
  view.layout = view.layout.permute({axes.data(), static_cast<size_t>(x.rank())});
  return Tensor(view, x.device());
}

}  // namespace candela
