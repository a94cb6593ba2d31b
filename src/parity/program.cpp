#include <cmath>
#include <random>

#include "base/error.h"
#include "parity/case.h"
#include "tensor/compare.h"
#include "tensor/ops.h"

namespace candela::parity {

namespace {

constexpr int kSteps = 20;

// One tensor on both devices, and how it came to be.
struct Twin {
  Tensor one, other;
  std::string text;
};

// Draws ops and operands; smooth ops only, so that rounding cannot flip a result.
class Program {
 public:
  Program(uint64_t seed, const Device& device, const Device& other)
      : engine_(seed * 2 + 1), device_(device), other_(other) {
    for (int i = 0; i < 3; ++i) {
      const Shape shape{pick(1, 5), pick(1, 9)};
      const DType dtype = pick(0, 2) == 0 ? DType::BF16 : DType::F32;
      const Host host = normal(shape, engine_(), dtype);
      pool_.push_back(
          {to_tensor(host, device_), to_tensor(host, other_),
           fmt::format("t{} = normal({}, {})", i, to_string(shape), dtype_name(dtype))});
      log_ += pool_.back().text + "\n";
    }
  }

  // Nothing if all steps agree.
  std::string run() {
    for (int step = 0; step < kSteps; ++step) {
      const size_t which = pick_index();
      std::string text;
      Twin next{apply(which, device_, text), {}, {}};
      std::string again;
      replay_ = true;
      next.other = apply(which, other_, again);
      replay_ = false;
      log_ += fmt::format("t{} = {}\n", pool_.size(), text);
      const Numbers a = values_of(next.one), b = values_of(next.other);
      const Difference apart = difference(a, b);
      if (apart.max_over_rms > 1e-4 && first_difference(a, b, {1e-4, 1e-5}) >= 0) {
        return fmt::format("{}{}", log_, to_string(apart));
      }
      pool_.push_back(next);
    }
    return {};
  }

 private:
  int64_t pick(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(engine_() % static_cast<uint64_t>(high - low + 1));
  }
  size_t pick_index() {
    return static_cast<size_t>(pick(0, static_cast<int64_t>(pool_.size()) - 1));
  }

  // Draws the step once; the second device replays the same drawing.
  Tensor apply(size_t which, const Device& device, std::string& text) {
    if (!replay_) {
      kind_ = pick(0, 15);
      number_ = engine_();
    }
    const Tensor& x = device == device_ ? pool_[which].one : pool_[which].other;
    const int axis = static_cast<int>(number_ % static_cast<uint64_t>(x.rank()));
    const auto say = [&](const std::string& op) {
      text = fmt::format("{}(t{}), axis {}", op, which, axis);
    };
    switch (kind_) {
      case 0:
        say("transpose");
        return x.t();
      case 1:
        say("tanh");
        return tanh(x);
      case 2:
        say("sigmoid");
        return sigmoid(x);
      case 3:
        say("x + x^T x");
        return tanh(matmul(x.t(), x));
      case 4:
        say("softmax");
        return softmax(x, axis);
      case 5:
        say("sum keepdim");
        return tanh(sum(x, axis, true));
      case 6:
        say("narrow");
        return narrowed(x, axis);
      case 7:
        say("cat");
        return doubled(x, axis);
      case 8:
        say("affine");
        return affine(x, 0.5, 0.25);
      case 9:
        say("mul by own mean");
        return mul(x, mean(x, axis, true));
      case 10:
        say("BF16 of a copy");
        return x.dtype() == DType::F32 ? x.t().copy() : x.to_dtype(DType::F32);
      case 11:
        say("pad");
        return pad(x, axis, 1, 2, 0.5);
      case 12:
        say("rms_norm");
        return rms_norm(x, Tensor::ones({x.dim(-1)}, DType::F32, device), 1e-3f);
      case 13:
        say("cumsum");
        return tanh(cumsum(x, axis));
      case 14:
        say("max keepdim");
        return max(x, axis, true);
      default:
        say("rows chosen");
        return chosen(x, device);
    }
  }

  Tensor narrowed(const Tensor& x, int axis) const {
    const int64_t length =
        1 + static_cast<int64_t>(number_ / 7 % static_cast<uint64_t>(x.dim(axis)));
    return x.narrow(axis, x.dim(axis) - length, length);
  }
  Tensor doubled(const Tensor& x, int axis) const {
    if (x.dim(axis) > 40) {
      return x;
    }
    const Tensor parts[] = {x, x};
    return cat(parts, axis);
  }
  Tensor chosen(const Tensor& x, const Device& device) const {
    const auto rows = static_cast<uint32_t>(x.dim(0));
    const std::vector<uint32_t> ids = {static_cast<uint32_t>(number_ / 11 % rows), 0, rows - 1};
    return index_select(x, 0, Tensor::from_vector(ids, Shape{3}, device));
  }

  std::mt19937_64 engine_;
  const Device& device_;
  const Device& other_;
  std::vector<Twin> pool_;
  std::string log_;
  int64_t kind_ = 0;
  uint64_t number_ = 0;
  bool replay_ = false;
};

}  // namespace

std::string run_program(uint64_t seed, const Device& device, const Device& other) {
  try {
    return Program(seed, device, other).run();
  } catch (const Error& error) {
    return error.what();
  }
}

}  // namespace candela::parity
