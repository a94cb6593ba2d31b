#include "nn/linear.h"

#include <algorithm>

namespace candela::nn {

LinearGroup LinearGroup::load(const Weights& weights,
                              std::span<const std::string> names,
                              int64_t in,
                              std::span<const int64_t> widths,
                              bool with_bias) {
  LinearGroup group{{}, {widths.begin(), widths.end()}};
  std::vector<std::string> matrices, biases;
  std::vector<Shape> shapes, bias_shapes;
  for (size_t i = 0; i < names.size(); ++i) {
    matrices.push_back(names[i] + ".weight");
    biases.push_back(names[i] + ".bias");
    shapes.push_back(Shape{widths[i], in});
    bias_shapes.push_back(Shape{widths[i]});
  }
  const auto same_type = [&](const std::vector<std::string>& tensors) {
    return std::ranges::all_of(tensors, [&](const std::string& name) {
      return weights.info(name).dtype == weights.info(tensors.front()).dtype;
    });
  };
  if (same_type(matrices) && (!with_bias || same_type(biases))) {
    Linear all{weights.get_joined(matrices, shapes), std::nullopt};
    if (with_bias) {
      all.bias = weights.get_joined(biases, bias_shapes);
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
    for (const Linear& product : products) {
      results.push_back(product(x, norm));
    }
    return results;
  }
  const Tensor all = products.front()(x, norm);
  int64_t at = 0;
  for (const int64_t width : widths) {
    results.push_back(all.narrow(-1, at, width));
    at += width;
  }
  return results;
}

}  // namespace candela::nn
