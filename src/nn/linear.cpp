#include "nn/linear.h"

#include <algorithm>

namespace candela::nn {

LinearGroup LinearGroup::load(const Weights& weights,
                              std::span<const std::string> names,
                              int64_t in,
                              std::span<const int64_t> widths,
                              bool with_bias) {
  LinearGroup group;
  group.widths.assign(widths.begin(), widths.end());
  std::vector<std::string> matrices;
  std::vector<Shape> shapes;
  for (size_t i = 0; i < names.size(); ++i) {
    matrices.push_back(names[i] + ".weight");
    shapes.push_back(Shape{widths[i], in});
  }
  const bool same_type = std::ranges::all_of(matrices, [&](const std::string& name) {
    return weights.info(name).dtype == weights.info(matrices.front()).dtype;
  });
  if (same_type) {
    Linear all{weights.get_joined(matrices, shapes), std::nullopt};
    if (with_bias) {
      std::vector<Tensor> biases;
      biases.reserve(names.size());
      for (size_t i = 0; i < names.size(); ++i) {
        biases.push_back(weights.get(names[i] + ".bias", {widths[i]}));
      }
      all.bias = cat(biases, 0);
    }
    group.products.push_back(std::move(all));
    return group;
  }
  for (size_t i = 0; i < names.size(); ++i) {
    group.products.push_back(Linear::load(weights.pp(names[i]), in, widths[i], with_bias));
  }
  return group;
}

std::vector<Tensor> LinearGroup::operator()(const Tensor& x, const RmsNorm& norm) const {
  std::vector<Tensor> results;
  if (products.size() == widths.size()) {
    results.reserve(products.size());
    for (const Linear& product : products) {
      results.push_back(product(x, norm, sensitive));
    }
    return results;
  }
  const Tensor all = products.front()(x, norm, sensitive);
  int64_t at = 0;
  for (const int64_t width : widths) {
    results.push_back(all.narrow(-1, at, width));
    at += width;
  }
  return results;
}

}  // namespace candela::nn
