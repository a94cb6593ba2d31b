// Measures which kernel shapes are fastest: chains of the ops they matter for, captured and
// replayed.
#include <algorithm>
#include <chrono>
#include <functional>

#include "backend/wgpu/tuning.h"
#include "backend/wgpu/wgpu_backend.h"

namespace candela::wgpu {
namespace {

/// Sizes like a large model's; weights of several layers, so that no cache holds them all.
constexpr int64_t kHidden = 2048, kInner = 768, kExperts = 16, kUsed = 8, kLayers = 8;
/// As few as take the kernels of prompts.
constexpr int64_t kPrompt = 72;
/// Of chains of one token's ops, which are short.
constexpr int kRounds = 3;

/// A default goes for a gain that is more than noise.
constexpr double kWorthwhile = 1.04;

double seconds_of(WgpuBackend& backend, const Captured& work) {
  double best = 1e9;
  backend.replay(work);  // warms up, compiles
  for (int round = 0; round < 3; ++round) {
    backend.synchronize();
    const auto begin = std::chrono::steady_clock::now();
    backend.replay(work);
    backend.synchronize();
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
    best = std::min(best, time.count());
  }
  return best;
}

class Tuner {
 public:
  explicit Tuner(WgpuBackend& backend) : backend_(backend) {
    const auto weights = [&](const Shape& shape) {
      const View view = tensor(shape, DType::BF16);
      backend_.random(RandomKind::normal, ++seed_, 0.0f, 0.02f, view);
      return view;
    };
    x_ = tensor({1, kHidden}, DType::F32);
    backend_.random(RandomKind::normal, ++seed_, 0.0f, 1.0f, x_);
    prompt_ = tensor({kPrompt, kHidden}, DType::F32);
    backend_.random(RandomKind::normal, ++seed_, 0.0f, 1.0f, prompt_);
    norm_ = tensor({kHidden}, DType::BF16);
    backend_.fill(norm_, 1.0);
    router_ = weights({kExperts, kHidden});
    for (int64_t layer = 0; layer < kLayers; ++layer) {
      matrices_.push_back(weights({kHidden, kHidden}));
      gates_.push_back(weights({kExperts, kInner, kHidden}));
      ups_.push_back(weights({kExperts, kInner, kHidden}));
      downs_.push_back(weights({kExperts, kHidden, kInner}));
    }
  }

  /// Of the ops that a field matters for.
  double seconds(uint32_t Tuning::* field) {
    if (field == &Tuning::short_matrix_subgroups) {
      return chain(x_, kRounds, [&](size_t layer, const View& y) {
        LinearArgs args{x_, matrices_[layer], {}, x_};
        backend_.linear(args, y);
      });
    }
    const bool prompt = field == &Tuning::counted_expert_tiles;
    return expert_seconds(prompt ? prompt_ : x_, prompt ? 1 : kRounds);
  }

 private:
  double expert_seconds(const View& x, int rounds) {
    return chain(x, rounds, [&](size_t layer, const View& y) {
      backend_.moe_block(
          {x, norm_, 1e-6f, router_, kUsed, true, gates_[layer], ups_[layer], downs_[layer]}, y);
    });
  }

  View tensor(const Shape& shape, DType dtype) {
    const auto bytes = static_cast<uint64_t>(dtype_bytes(dtype, shape.elements()));
    const auto row = static_cast<uint64_t>(dtype_bytes(dtype, shape[-1]));
    return {backend_.allocate(bytes, row, "tuning"), Layout(shape), dtype};
  }

  double chain(const View& x,
               int rounds,
               const std::function<void(size_t layer, const View& y)>& op) {
    const View y = tensor(x.layout.shape, DType::F32);
    const auto work = backend_.capture([&] {
      for (int round = 0; round < rounds; ++round) {
        for (size_t layer = 0; layer < matrices_.size(); ++layer) {
          op(layer, y);
        }
      }
    });
    return work ? seconds_of(backend_, *work) : 0.0;
  }

  WgpuBackend& backend_;
  uint64_t seed_ = 0;
  View x_, prompt_, norm_, router_;
  std::vector<View> matrices_, gates_, ups_, downs_;
};

}  // namespace

Tuning measure_tuning(WgpuBackend& backend) {
  const Tuning before = backend.tuning();
  Tuner tuner(backend);
  Tuning best;
  for (const TuningField& field : tuning_fields()) {
    const auto seconds = [&](uint32_t choice) {
      Tuning attempt = best;
      attempt.*field.value = choice;
      backend.set_tuning(attempt);
      return tuner.seconds(field.value);
    };
    double least = seconds(best.*field.value) / kWorthwhile;
    for (const uint32_t choice : field.choices) {
      if (const double time = seconds(choice); time < least) {
        least = time;
        best.*field.value = choice;
      }
    }
  }
  backend.set_tuning(before);
  return best;
}

}  // namespace candela::wgpu
