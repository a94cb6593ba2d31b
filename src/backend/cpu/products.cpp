#include "backend/cpu/products.h"

#include "backend/cpu/simd.h"

namespace candela::cpu {

namespace {

// From here on arithmetic is the bound, not memory, so that halving it gains time.
constexpr int64_t kManyRows = 8;

/// Null where own loops are to multiply. They are as fast as oneDNN without a matrix unit.
std::unique_ptr<const OneDnn> open_onednn_if(Precision precision, const std::string& choice) {
  if (precision == Precision::Exact || choice == "off") {
    return nullptr;
  }
  if (choice == "auto") {
    return OneDnn::processor_has_amx() && OneDnn::is_found() ? std::make_unique<const OneDnn>("")
                                                             : nullptr;
  }
  return std::make_unique<const OneDnn>(choice == "on" ? "" : choice);
}

}  // namespace

Products::Products(Precision precision, const std::string& onednn)
    : precision_(precision), onednn_(open_onednn_if(precision, onednn)) {}

bool Products::rounds(int64_t rows, DType weight) const {
  return precision_ == Precision::Fast && rows >= kManyRows && weight == DType::BF16 &&
         (onednn_ != nullptr || simd().dots_bf16[1] != nullptr);
}

void Products::operator()(std::span<const BFloat16* const> x,
                          int64_t n,
                          const WeightRows& weight,
                          int64_t first,
                          int64_t begin,
                          int64_t end,
                          const DotOutput& y) const {
  if (onednn_ != nullptr) {
    onednn_->multiply(x, n, weight, first + begin, end - begin, begin, y);
  } else {
    dot_rows(x, n, weight, first, begin, end, y);
  }
}

}  // namespace candela::cpu
