// Default bodies of the fused ops over rows, written in primitives: the second opinion that tests
// hold against every override, and what a backend runs until it has its own kernel.
#include "backend/fused_ops.h"

namespace candela {

namespace {

// Stands for -inf: WGSL promises nothing about infinities.
constexpr float kLowest = -3.0e38f;

/// Values whose softmax is e / sum: x - max and whether each element counts, both shaped as x.
struct Shifted {
  View shifted;
  View counts;  // F32 1 or 0
};

Shifted shift_rows(Backend& backend, const View& x) {
  const View clamped = fused::unary(backend, UnaryKind::clamp, x, kLowest, -kLowest);
  const View top = fused::reduce(backend, ReduceKind::max, clamped);
  const View lowest = fused::scalar(backend, kLowest);
  const View unmasked = scratch(backend, x.shape(), DType::U32);
  backend.compare(CompareKind::gt, clamped,
                  fused::with_layout(lowest, lowest.layout.broadcast_to(x.shape())), unmasked);
  return {fused::binary(backend, BinaryKind::sub, clamped, top), fused::to_f32(backend, unmasked)};
}

/// Sum of the exponentials, never zero.
View safe_sum(Backend& backend, const View& exponentials) {
  const View sum = fused::reduce(backend, ReduceKind::sum, exponentials);
  return fused::binary(backend, BinaryKind::maximum, sum, fused::scalar(backend, 1e-30f));
}

/// x / sqrt(mean(x^2) + eps)
View normalised(Backend& backend, const View& x, float eps) {
  const View squares = fused::unary(backend, UnaryKind::sqr, x);
  const View mean = fused::reduce(backend, ReduceKind::mean, squares);
  const View raised = fused::unary(backend, UnaryKind::affine, mean, 1.0f, eps);
  return fused::binary(backend, BinaryKind::mul, x,
                       fused::unary(backend, UnaryKind::rsqrt, raised));
}

/// y = a op b with b broadcast to y.
void into(Backend& backend, BinaryKind kind, const View& a, const View& b, const View& y) {
  backend.binary(kind, fused::with_layout(a, a.layout.broadcast_to(y.shape())),
                 fused::with_layout(b, b.layout.broadcast_to(y.shape())), y);
}

/// One half of every pair of the last dimension: side 0 or 1.
View pair_side(const View& x, bool interleaved, int64_t side) {
  const int64_t half = x.dim(-1) / 2;
  if (!interleaved) {
    return fused::narrow(x, -1, side * half, half);
  }
  Layout layout = x.layout;
  const auto last = static_cast<size_t>(x.rank() - 1);
  layout.offset += side * layout.strides[last];
  layout.strides[last] *= 2;
  layout.shape[-1] = half;
  return fused::with_layout(x, layout);
}

}  // namespace

void Backend::softmax(const View& x, const View& y) {
  const Shifted rows = shift_rows(*this, x);
  const View all = fused::unary(*this, UnaryKind::exp, rows.shifted);
  const View exponentials = fused::binary(*this, BinaryKind::mul, all, rows.counts);
  into(*this, BinaryKind::div, exponentials, safe_sum(*this, exponentials), y);
}

void Backend::log_softmax(const View& x, const View& y) {
  const Shifted rows = shift_rows(*this, x);
  const View all = fused::unary(*this, UnaryKind::exp, rows.shifted);
  const View exponentials = fused::binary(*this, BinaryKind::mul, all, rows.counts);
  const View sum = safe_sum(*this, exponentials);
  const View logs =
      fused::binary(*this, BinaryKind::sub, rows.shifted, fused::unary(*this, UnaryKind::log, sum));
  // Masked elements keep their -inf; in a row without any other element all become zero.
  const View any = fused::reduce(*this, ReduceKind::max, rows.counts);
  const View none = scratch(*this, x.shape(), DType::U32);
  const View zero = fused::scalar(*this, 0.0f);
  const Layout zeros = zero.layout.broadcast_to(x.shape());
  compare(CompareKind::eq, fused::with_layout(any, any.layout.broadcast_to(x.shape())),
          fused::with_layout(zero, zeros), none);
  const View masked = scratch(*this, x.shape(), DType::U32);
  compare(CompareKind::eq, rows.counts, fused::with_layout(zero, zeros), masked);
  const View kept = scratch(*this, x.shape());
  where(masked, fused::to_f32(*this, x), logs, kept);
  where(none, fused::with_layout(zero, zeros), kept, y);
}

void Backend::rms_norm(const View& x, const View& weight, float eps, const View& y) {
  into(*this, BinaryKind::mul, normalised(*this, x, eps), weight, y);
}

void Backend::layer_norm(
    const View& x, const View& weight, const View& bias, float eps, const View& y) {
  const View mean = fused::reduce(*this, ReduceKind::mean, x);
  const View centred = fused::binary(*this, BinaryKind::sub, x, mean);
  const View scaled =
      fused::binary(*this, BinaryKind::mul, normalised(*this, centred, eps), weight);
  into(*this, BinaryKind::add, scaled, bias, y);
}

void Backend::rope(const RopeArgs& args, const View& y) {
  View x = args.x;
  if (args.norm_weight) {
    x = fused::binary(*this, BinaryKind::mul, normalised(*this, x, args.norm_eps),
                      *args.norm_weight);
  }
  const auto rows_of = [&](const View& table) {
    const View rows = scratch(*this, Shape{x.dim(0), table.dim(1)});
    gather_rows(table, args.positions, rows);
    return fused::with_layout(rows, rows.layout.unsqueeze(1));  // the same for all heads
  };
  const View cos = rows_of(args.cos);
  const View sin = rows_of(args.sin);
  const View a = pair_side(x, args.interleaved, 0);
  const View b = pair_side(x, args.interleaved, 1);
  into(*this, BinaryKind::sub, fused::binary(*this, BinaryKind::mul, a, cos),
       fused::binary(*this, BinaryKind::mul, b, sin), pair_side(y, args.interleaved, 0));
  into(*this, BinaryKind::add, fused::binary(*this, BinaryKind::mul, b, cos),
       fused::binary(*this, BinaryKind::mul, a, sin), pair_side(y, args.interleaved, 1));
}

void Backend::swiglu(const View& gate, const View& up, const View& y) {
  into(*this, BinaryKind::mul, fused::unary(*this, UnaryKind::silu, gate), up, y);
}

void Backend::snake_beta(const View& x, const View& alpha, const View& beta, const View& y) {
  const auto per_channel = [&](const View& value) {
    const View exponential = fused::unary(*this, UnaryKind::exp, value);
    return fused::with_layout(exponential, exponential.layout.unsqueeze(1));
  };
  const View factor = fused::unary(*this, UnaryKind::affine, per_channel(beta), 1.0f, 1e-9f);
  const View angle = fused::binary(*this, BinaryKind::mul, x, per_channel(alpha));
  const View wave = fused::unary(*this, UnaryKind::sqr, fused::unary(*this, UnaryKind::sin, angle));
  into(*this, BinaryKind::add, fused::binary(*this, BinaryKind::div, wave, factor), x, y);
}

}  // namespace candela
