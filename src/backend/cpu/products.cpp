#include "backend/cpu/products.h"

#include "backend/cpu/simd.h"

namespace candela::cpu {

namespace {

// From here on arithmetic is the bound, not memory, so that halving it gains time.
constexpr int64_t kManyRows = 8;

/// Whether oneDNN is to multiply. Without a matrix unit own loops are as fast.
bool wants_onednn(Precision precision, const std::string& choice) {
  if (precision == Precision::Exact || choice == "off") {
    return false;
  }
  return choice != "auto" || (OneDnn::processor_has_amx() && OneDnn::is_found());
}

}  // namespace

Products::Products(Precision precision, const std::string& onednn) : precision_(precision) {
  if (wants_onednn(precision, onednn)) {
    const bool is_path = onednn != "auto" && onednn != "on";
    onednn_ = std::make_unique<OneDnn>(is_path ? onednn : "");
  }
}

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
