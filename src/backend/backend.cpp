#include "backend/backend.h"

#include <algorithm>

#include "base/assert.h"

namespace candela {

namespace {

/// What a backend that computes at once has to say about "later".
class ReadNow final : public Readback {
 public:
  explicit ReadNow(std::vector<std::byte> data) : data_(std::move(data)) {}
  void wait(std::span<std::byte> data) override {
    std::copy_n(data_.begin(), std::min(data.size(), data_.size()), data.begin());
  }

 private:
  std::vector<std::byte> data_;
};

}  // namespace

std::unique_ptr<Readback> Backend::read_later(const StoragePtr& from,
                                              uint64_t offset,
                                              uint64_t bytes) {
  std::vector<std::byte> data(bytes);
  download(from, offset, data);
  return std::make_unique<ReadNow>(std::move(data));
}

std::shared_ptr<const Captured> Backend::capture(const std::function<void()>&) {
  return nullptr;
}

void Backend::replay(const Captured&) {
  CANDELA_ASSERT(false, "this backend captures nothing");
}

const char* name_of(UnaryKind kind) {
  switch (kind) {
#define CANDELA_UNARY(name, cpu, wgsl) \
  case UnaryKind::name:                \
    return #name;
#define CANDELA_BINARY(name, cpu, wgsl)
#include "backend/elementwise.def"
#undef CANDELA_UNARY
#undef CANDELA_BINARY
  }
  return "unary";
}

const char* name_of(BinaryKind kind) {
  switch (kind) {
#define CANDELA_UNARY(name, cpu, wgsl)
#define CANDELA_BINARY(name, cpu, wgsl) \
  case BinaryKind::name:                \
    return #name;
#include "backend/elementwise.def"
#undef CANDELA_UNARY
#undef CANDELA_BINARY
  }
  return "binary";
}

const char* name_of(CompareKind kind) {
  switch (kind) {
    case CompareKind::eq:
      return "eq";
    case CompareKind::ne:
      return "ne";
    case CompareKind::lt:
      return "lt";
    case CompareKind::le:
      return "le";
    case CompareKind::gt:
      return "gt";
    case CompareKind::ge:
      return "ge";
  }
  return "compare";
}

const char* name_of(ReduceKind kind) {
  switch (kind) {
    case ReduceKind::sum:
      return "sum";
    case ReduceKind::mean:
      return "mean";
    case ReduceKind::max:
      return "max";
    case ReduceKind::min:
      return "min";
  }
  return "reduce";
}

View scratch(Backend& backend, const Shape& shape, DType dtype) {
  const auto bytes = static_cast<uint64_t>(dtype_bytes(dtype, shape.elements()));
  return {backend.allocate(bytes, bytes, "scratch"), Layout(shape), dtype};
}

}  // namespace candela
