#include "tensor/tensor.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/assert.h"
#include "tensor/call.h"
#include "tensor/transfer.h"

namespace candela {

namespace {

// Blocks run along the last dimension.
void require_whole_blocks(const Shape& shape, DType dtype) {
  if (is_quantized(dtype) && (shape.rank() == 0 || shape[-1] % block_elements(dtype) != 0)) {
    fail(ErrorKind::InvalidArgument, Subject::Usage,
         "A {} tensor needs a last dimension that is a multiple of {}, shape {} has none.",
         dtype_name(dtype), block_elements(dtype), to_string(shape));
  }
}

void require_size(size_t given, int64_t needed, const Shape& shape, const char* unit) {
  if (given != static_cast<size_t>(needed)) {
    fail(ErrorKind::InvalidArgument, Subject::Usage, "Shape {} needs {} {}, but {} were given.",
         to_string(shape), needed, unit, given);
  }
}

Tensor seen_as(const Tensor& x, const Layout& layout) {
  View view = x.view();
  view.layout = layout;
  return Tensor(view, x.device());
}

void require_plain(const Tensor& x, const char* what) {
  if (is_quantized(x.dtype())) {
    fail(ErrorKind::Unsupported, Subject::Usage,
         "{}: a {} tensor of shape {} has no such view; convert it with to_dtype first.", what,
         dtype_name(x.dtype()), to_string(x.shape()));
  }
}

Tensor random_tensor(
    RandomKind kind, const Shape& shape, double a, double b, uint64_t seed, const Device& device) {
  Tensor y = Tensor::empty(shape, DType::F32, device, "random");
  device.backend().random(kind, seed, static_cast<float>(a), static_cast<float>(b), y.view());
  return y;
}

}  // namespace

// --- Creation -----------------------------------------------------------------------------------

Tensor Tensor::empty(const Shape& shape,
                     DType dtype,
                     const Device& device,
                     const std::string& label) {
  require_held(dtype, device);
  require_whole_blocks(shape, dtype);
  View view;
  view.layout = Layout(shape);
  view.dtype = dtype;
  view.storage =
      device.backend().allocate(static_cast<uint64_t>(dtype_bytes(dtype, shape.elements())),
                                split_unit(shape, dtype, device.limits()), label);
  return Tensor(std::move(view), device);
}

Tensor Tensor::zeros(const Shape& shape, DType dtype, const Device& device) {
  return full(shape, 0.0, dtype, device);
}

Tensor Tensor::ones(const Shape& shape, DType dtype, const Device& device) {
  return full(shape, 1.0, dtype, device);
}

Tensor Tensor::full(const Shape& shape, double value, DType dtype, const Device& device) {
  const Tensor y = empty(shape, dtype, device, "full");
  y.fill(value);
  return y;
}

Tensor Tensor::arange(double start, double end, double step, DType dtype, const Device& device) {
  if (step == 0.0 || !std::isfinite(step) || !std::isfinite(start) || !std::isfinite(end)) {
    fail(ErrorKind::InvalidArgument, Subject::Usage,
         "arange: start {}, end {} and step {} have to be finite and the step not zero.", start,
         end, step);
  }
  const double count = std::max(0.0, std::ceil((end - start) / step));
  if (count > 0x1p31) {
    fail(ErrorKind::InvalidArgument, Subject::Usage,
         "arange: {} to {} in steps of {} are more than 2^31 numbers.", start, end, step);
  }
  std::vector<double> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = start + static_cast<double>(i) * step;
  }
  const std::vector<std::byte> bytes = candela::to_bytes(values, dtype);
  return from_bytes(bytes, Shape{static_cast<int64_t>(values.size())}, dtype, device);
}

Tensor Tensor::rand(
    const Shape& shape, double low, double high, uint64_t seed, const Device& device) {
  return random_tensor(RandomKind::uniform, shape, low, high, seed, device);
}

Tensor Tensor::randn(
    const Shape& shape, double mean, double deviation, uint64_t seed, const Device& device) {
  return random_tensor(RandomKind::normal, shape, mean, deviation, seed, device);
}

Tensor Tensor::from_bytes(HostPiece bytes, const Shape& shape, DType dtype, const Device& device) {
  require_size(bytes.size(), dtype_bytes(dtype, shape.elements()), shape, "bytes");
  Tensor y = empty(shape, dtype, device, "from_bytes");
  if (!bytes.empty()) {
    device.backend().upload(y.view_.storage, 0, bytes);
  }
  return y;
}

template <typename T>
Tensor Tensor::from_span(std::span<const T> values, const Shape& shape, const Device& device) {
  require_size(values.size(), shape.elements(), shape, "elements");
  return from_bytes(std::as_bytes(values), shape, dtype_of<T>(), device);
}

template <typename T>
void Tensor::write(std::span<const T> values) const {
  const Call call("write", {{"x", this}});
  require_size(values.size(), elements(), shape(), "elements");
  if (!is_contiguous() || dtype() != dtype_of<T>()) {
    call.invalid("only gapless tensors are written, with elements of their own type");
  }
  const auto offset = static_cast<uint64_t>(dtype_bytes(dtype(), layout().offset));
  device().backend().upload(view_.storage, offset, std::as_bytes(values));
}

std::unique_ptr<Readback> Tensor::read_later() const {
  const Call call("read_later", {{"x", this}});
  if (!is_contiguous() || dtype_bytes(dtype(), 1) != 4) {
    call.invalid("only gapless tensors with elements of four bytes are read later");
  }
  return device().backend().read_later(view_.storage, static_cast<uint64_t>(layout().offset) * 4,
                                       static_cast<uint64_t>(elements()) * 4);
}

// --- What it is ---------------------------------------------------------------------------------

const Device& Tensor::device() const {
  CANDELA_ASSERT(device_, "an undefined tensor has no device");
  return *device_;
}

// --- Views
// ----------------------------------------------------------------------------------------

Tensor Tensor::narrow(int axis, int64_t start, int64_t length) const {
  const Call call("narrow", {{"x", this}});
  const int at = call.axis(axis, *this);
  const int64_t block = block_elements(dtype());
  if (block > 1 && at == rank() - 1 && (start % block != 0 || length % block != 0)) {
    call.unsupported("positions {} to {} cut blocks of {} elements", start, start + length, block);
  }
  return seen_as(*this, layout().narrow(at, start, length));
}

std::vector<Tensor> Tensor::chunk(int count, int axis) const {
  const Call call("chunk", {{"x", this}});
  const int at = call.axis(axis, *this);
  if (count < 1) {
    call.invalid("{} parts cannot be made", count);
  }
  std::vector<Tensor> parts;
  int64_t start = 0;
  for (int i = 0; i < count; ++i) {
    const int64_t length = dim(at) / count + (i < dim(at) % count ? 1 : 0);
    parts.push_back(narrow(at, start, length));
    start += length;
  }
  return parts;
}

Tensor Tensor::get(int64_t index) const {
  const Call call("get", {{"x", this}});
  call.axis(0, *this);
  return narrow(0, index, 1).squeeze(0);
}

Tensor Tensor::reshape(const Shape& shape) const {
  const Call call("reshape", {{"x", this}});
  if (shape.elements() != elements()) {
    call.invalid("the shape {} has {} elements instead of {}", to_string(shape), shape.elements(),
                 elements());
  }
  require_whole_blocks(shape, dtype());
  Layout out;
  if (layout().reshape(shape, out)) {
    return seen_as(*this, out);
  }
  return seen_as(contiguous(), Layout(shape));
}

Tensor Tensor::reshape(std::initializer_list<int64_t> dims) const {
  std::vector<int64_t> sizes(dims);
  const auto hole = std::ranges::find(sizes, -1);
  if (hole != sizes.end()) {
    *hole = 1;
    const int64_t known = Shape(sizes).elements();
    if (known == 0 || elements() % known != 0) {
      const Call call("reshape", {{"x", this}});
      *hole = -1;
      call.invalid("the shape [{}] does not fit", fmt::join(sizes, ", "));
    }
    *hole = elements() / known;
  }
  return reshape(Shape(sizes));
}

Tensor Tensor::flatten(int first_axis, int last_axis) const {
  const Call call("flatten", {{"x", this}});
  if (rank() == 0) {
    return reshape({1});
  }
  const int first = call.axis(first_axis, *this);
  const int last = call.axis(last_axis, *this);
  if (first > last) {
    call.invalid("axis {} comes after axis {}", first, last);
  }
  std::vector<int64_t> sizes;
  for (int axis = 0; axis < rank(); ++axis) {
    if (axis > first && axis <= last) {
      sizes.back() *= dim(axis);
    } else {
      sizes.push_back(dim(axis));
    }
  }
  return reshape(Shape(sizes));
}

Tensor Tensor::permute(std::initializer_list<int> axes) const {
  const Call call("permute", {{"x", this}});
  require_plain(*this, "permute");
  for (const int axis : axes) {
    call.axis(axis, *this);
  }
  return seen_as(*this, layout().permute({axes.begin(), axes.size()}));
}

Tensor Tensor::transpose(int a, int b) const {
  const Call call("transpose", {{"x", this}});
  const int first = call.axis(a, *this);
  const int second = call.axis(b, *this);
  if (first != second && (first == rank() - 1 || second == rank() - 1)) {
    require_plain(*this, "transpose");
  }
  return seen_as(*this, layout().transpose(first, second));
}

Tensor Tensor::squeeze(int axis) const {
  const Call call("squeeze", {{"x", this}});
  const int at = call.axis(axis, *this);
  if (dim(at) != 1) {
    call.invalid("axis {} has the size {} instead of 1", at, dim(at));
  }
  return seen_as(*this, layout().squeeze(at));
}

Tensor Tensor::unsqueeze(int axis) const {
  const Call call("unsqueeze", {{"x", this}});
  const int normal = axis < 0 ? axis + rank() + 1 : axis;
  if (normal < 0 || normal > rank() || rank() == kMaxRank) {
    call.invalid("no dimension can be put at axis {}", axis);
  }
  return seen_as(*this, layout().unsqueeze(normal));
}

Tensor Tensor::broadcast_to(const Shape& shape) const {
  const Call call("broadcast_to", {{"x", this}});
  require_plain(*this, "broadcast_to");
  return seen_as(*this, layout().broadcast_to(shape));
}

Tensor Tensor::reinterpret(DType dtype, const Shape& shape, int64_t start) const {
  const Call call("reinterpret", {{"x", this}});
  if (!is_contiguous()) {
    call.invalid("the tensor does not lie gapless");
  }
  require_whole_blocks(shape, dtype);
  const int64_t have = dtype_bytes(this->dtype(), elements());
  const int64_t begin = dtype_bytes(this->dtype(), layout().offset) + start;
  if (start < 0 || start + dtype_bytes(dtype, shape.elements()) > have) {
    call.invalid("{} of {} from byte {} on exceed the tensor's {} bytes", to_string(shape),
                 dtype_name(dtype), start, have);
  }
  if (begin % block_bytes(dtype) != 0) {
    call.invalid("byte {} of the memory lies inside of an element of {}", begin, dtype_name(dtype));
  }
  const int64_t offset = begin / block_bytes(dtype) * block_elements(dtype);
  return {View{view_.storage, Layout(shape, offset), dtype}, device()};
}

// --- Copies
// ---------------------------------------------------------------------------------------

Tensor Tensor::contiguous() const {
  return is_contiguous() ? *this : copy();
}

Tensor Tensor::copy() const {
  const Call call("copy", {{"x", this}});
  if (is_quantized(dtype())) {
    return from_bytes(to_bytes(), shape(), dtype(), device());
  }
  const Tensor y = call.output(shape(), dtype());
  call.backend().copy(view(), y.view());
  return y;
}

Tensor Tensor::to_dtype(DType dtype) const {
  const Call call("to_dtype", {{"x", this}});
  if (dtype == this->dtype()) {
    return *this;
  }
  if (is_quantized(dtype) || (is_quantized(this->dtype()) && !is_float(dtype))) {
    call.unsupported(
        "{} does not become {}; quantised tensors come from files and turn into F32, "
        "F16 or BF16",
        dtype_name(this->dtype()), dtype_name(dtype));
  }
  const Tensor y = call.output(shape(), dtype);
  call.backend().copy(view(), y.view());
  return y;
}

Tensor Tensor::to_device(const Device& device) const {
  const Call call("to_device", {{"x", this}});
  if (device == this->device()) {
    return *this;
  }
  require_held(dtype(), device);
  return from_bytes(to_bytes(), shape(), dtype(), device);
}

void Tensor::copy_from(const Tensor& from) const {
  const Call call("copy_from", {{"to", this}, {"from", &from}});
  if (is_quantized(dtype()) || (is_quantized(from.dtype()) && !is_float(dtype()))) {
    call.unsupported("these dtypes do not convert into each other");
  }
  const Shape both = broadcast_shapes(from.shape(), shape());
  if (!(both == shape())) {
    call.invalid("the source does not broadcast to the target");
  }
  const Tensor source = from.shape() == shape() ? from : from.broadcast_to(shape());
  call.backend().copy(source.view(), view());
}

void Tensor::fill(double value) const {
  const Call call("fill", {{"x", this}});
  if (is_quantized(dtype())) {
    call.unsupported("blocks cannot be filled");
  }
  call.backend().fill(view(), value);
}

// --- To the host
// ----------------------------------------------------------------------------------

std::vector<std::byte> Tensor::to_bytes() const {
  const Call call("to_bytes", {{"x", this}});
  if (!is_contiguous()) {
    if (is_quantized(dtype())) {
      call.unsupported(
          "a view with gaps of blocks cannot be read; convert the whole with to_dtype");
    }
    return copy().to_bytes();
  }
  std::vector<std::byte> out(static_cast<size_t>(dtype_bytes(dtype(), elements())));
  if (!out.empty()) {
    const auto begin = static_cast<uint64_t>(dtype_bytes(dtype(), layout().offset));
    call.backend().download(view_.storage, begin, out);
  }
  return out;
}

template <typename T>
std::vector<T> Tensor::to_vec() const {
  const Call call("to_vec", {{"x", this}});
  std::vector<T> out(static_cast<size_t>(elements()));
  const std::vector<std::byte> bytes = to_bytes();
  if (dtype() == dtype_of<T>()) {
    if (!bytes.empty()) {
      std::memcpy(out.data(), bytes.data(), bytes.size());
    }
    return out;
  }
  if constexpr (std::is_same_v<T, float>) {
    if (!is_integer(dtype())) {
      const std::vector<double> values = to_doubles(bytes, dtype(), elements());
      std::ranges::transform(values, out.begin(), [](double v) { return static_cast<float>(v); });
      return out;
    }
  }
  call.invalid("elements of {} cannot be read as {}; convert them with to_dtype",
               dtype_name(dtype()), dtype_name(dtype_of<T>()));
}

template <typename T>
std::vector<T> Tensor::to_vec1() const {
  const Call call("to_vec1", {{"x", this}});
  call.require_rank(*this, 1);
  return to_vec<T>();
}

template <typename T>
std::vector<std::vector<T>> Tensor::to_vec2() const {
  const Call call("to_vec2", {{"x", this}});
  call.require_rank(*this, 2);
  const std::vector<T> all = to_vec<T>();
  std::vector<std::vector<T>> out;
  out.reserve(static_cast<size_t>(dim(0)));
  for (int64_t i = 0; i < dim(0); ++i) {
    out.emplace_back(all.begin() + i * dim(1), all.begin() + (i + 1) * dim(1));
  }
  return out;
}

template <typename T>
std::vector<std::vector<std::vector<T>>> Tensor::to_vec3() const {
  const Call call("to_vec3", {{"x", this}});
  call.require_rank(*this, 3);
  const std::vector<std::vector<T>> rows = flatten(0, 1).to_vec2<T>();
  std::vector<std::vector<std::vector<T>>> out;
  out.reserve(static_cast<size_t>(dim(0)));
  for (int64_t i = 0; i < dim(0); ++i) {
    out.emplace_back(rows.begin() + i * dim(1), rows.begin() + (i + 1) * dim(1));
  }
  return out;
}

template <typename T>
T Tensor::to_scalar() const {
  const Call call("to_scalar", {{"x", this}});
  if (elements() != 1) {
    call.invalid("a tensor of {} elements is no scalar", elements());
  }
  return to_vec<T>()[0];
}

#define CANDELA_INSTANTIATE(T)                                                           \
  template Tensor Tensor::from_span<T>(std::span<const T>, const Shape&, const Device&); \
  template void Tensor::write<T>(std::span<const T>) const;                              \
  template std::vector<T> Tensor::to_vec<T>() const;                                     \
  template std::vector<T> Tensor::to_vec1<T>() const;                                    \
  template std::vector<std::vector<T>> Tensor::to_vec2<T>() const;                       \
  template std::vector<std::vector<std::vector<T>>> Tensor::to_vec3<T>() const;          \
  template T Tensor::to_scalar<T>() const;
CANDELA_INSTANTIATE(float)
CANDELA_INSTANTIATE(Float16)
CANDELA_INSTANTIATE(BFloat16)
CANDELA_INSTANTIATE(uint8_t)
CANDELA_INSTANTIATE(int32_t)
CANDELA_INSTANTIATE(uint32_t)
CANDELA_INSTANTIATE(int64_t)
#undef CANDELA_INSTANTIATE

}  // namespace candela
