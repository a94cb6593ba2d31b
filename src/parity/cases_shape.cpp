#include <cmath>

#include "base/error.h"
#include "parity/case.h"
#include "tensor/ops.h"
#include "tensor/transfer.h"

namespace candela::parity {

namespace {

using Run = std::function<Tensors(const Tensors&, const Device&)>;
using Reference = std::function<std::vector<Numbers>(const Hosts&)>;

Case made(const std::string& op, const std::string& what, Hosts in, Run run, Reference reference) {
  Case out;
  out.name = op + "/" + what;
  out.op = op;
  out.dtype = in.empty() ? DType::F32 : in[0].dtype;
  out.bound = kBits;
  out.inputs = [in = std::move(in)] { return in; };
  out.run = std::move(run);
  out.reference = std::move(reference);
  return out;
}

std::vector<Numbers> same(const Hosts& in) {
  return {in[0].values};
}

constexpr DType kDeviceDTypes[] = {DType::F32, DType::BF16, DType::F16, DType::I32, DType::U32};

void add_creation(Table& table) {
  const auto add = [&](const std::string& op, const std::string& what, auto run,
                       const Numbers& expected) {
    table.push_back(made(
        op, what, {}, [run](const Tensors&, const Device& device) { return Tensors{run(device)}; },
        [expected](const Hosts&) { return std::vector<Numbers>{expected}; }));
  };
  for (const DType dtype : kDeviceDTypes) {
    const std::string text(dtype_name(dtype));
    add(
        "zeros", text, [=](const Device& d) { return Tensor::zeros({3, 5}, dtype, d); },
        Numbers(15, 0.0));
    add(
        "ones", text, [=](const Device& d) { return Tensor::ones({3, 5}, dtype, d); },
        Numbers(15, 1.0));
    add(
        "full", text, [=](const Device& d) { return Tensor::full({7}, 100, dtype, d); },
        Numbers(7, 100.0));
    add("arange", text, [=](const Device& d) { return Tensor::arange(2, 9, 3, dtype, d); },
        {2, 5, 8});
    // One odd element between others must not touch its neighbours.
    add("fill", text + "/one",
        [=](const Device& d) {
          const Tensor x = Tensor::zeros({7}, dtype, d);
          x.narrow(0, 3, 1).fill(5);
          return x;
        },
        {0, 0, 0, 5, 0, 0, 0});
    add("fill", text + "/column",
        [=](const Device& d) {
          const Tensor x = Tensor::zeros({2, 3}, dtype, d);
          x.narrow(1, 1, 1).fill(5);
          return x;
        },
        {0, 5, 0, 0, 5, 0});
  }
  add(
      "full", "rounds_BF16",
      [](const Device& d) { return Tensor::full({3}, 1.00390625, DType::BF16, d); },
      Numbers(3, 1.0));
  add(
      "fill", "many", [](const Device& d) { return Tensor::full({70000, 3}, 2, DType::BF16, d); },
      Numbers(210000, 2.0));
}

void add_random(Table& table) {
  // No formula: the CPU's numbers are the reference, the unit tests judge those.
  for (const int64_t n : {1, 7, 1023}) {
    Case one = made(
        "rand", fmt::format("{}", n), {},
        [n](const Tensors&, const Device& device) {
          return Tensors{Tensor::rand({n}, -1, 3, 42, device)};
        },
        nullptr);
    one.bound = kExp;
    table.push_back(one);
    one.name = fmt::format("randn/{}", n);
    one.op = "randn";
    one.bound = {1e-10, 1e-4, 64.0 * 0x1p-23, 1e-5};
    one.run = [n](const Tensors&, const Device& device) {
      return Tensors{Tensor::randn({n}, 0.5, 2, 43, device)};
    };
    table.push_back(one);
  }
}

void add_casts(Table& table) {
  for (const DType dtype : kDeviceDTypes) {
    Case copy = made(
        "copy", std::string(dtype_name(dtype)), {integers({5, 3, 7}, 200, 1, dtype)},
        [](const Tensors& in, const Device&) { return Tensors{in[0].copy()}; }, same);
    copy.basic = true;
    add_with_layouts(table, copy);
    for (const DType to : kDeviceDTypes) {
      Case cast = made(
          "to_dtype", fmt::format("{}_{}", dtype_name(dtype), dtype_name(to)),
          {integers({3, 5}, 100, 2, dtype)},
          [to](const Tensors& in, const Device&) { return Tensors{in[0].to_dtype(to)}; }, same);
      table.push_back(cast);
      cast.name += "/transposed";
      cast.inputs = [dtype] {
        return Hosts{placed(integers({3, 5}, 100, 2, dtype), Placement::Transposed)};
      };
      table.push_back(cast);
    }
  }
  for (const DType to : {DType::BF16, DType::F16}) {
    table.push_back(made(
        "to_dtype", fmt::format("rounds_{}", dtype_name(to)), {outliers({9, 31}, 3)},
        [to](const Tensors& in, const Device&) { return Tensors{in[0].to_dtype(to)}; },
        [to](const Hosts& in) {
          return std::vector<Numbers>{numbers(in[0].shape, in[0].values, to).values};
        }));
  }
  table.push_back(made(
      "to_dtype", "truncates", {numbers({6}, {1.9, -1.9, 0.5, -0.5, 100.99, -7})},
      [](const Tensors& in, const Device&) { return Tensors{in[0].to_dtype(DType::I32)}; },
      [](const Hosts&) { return std::vector<Numbers>{{1, -1, 0, 0, 100, -7}}; }));
  for (const DType dtype : {DType::Q8_0, DType::Q4_0, DType::Q4_1}) {
    Case cast = made(
        "to_dtype", fmt::format("{}_F32", dtype_name(dtype)), {quantized({5, 96}, 4, dtype)},
        [](const Tensors& in, const Device&) { return Tensors{in[0].to_dtype(DType::F32)}; }, same);
    cast.bound = kRounded;
    table.push_back(cast);
    table.push_back(made(
        "to_device", std::string(dtype_name(dtype)), {quantized({5, 96}, 4, dtype)},
        [](const Tensors& in, const Device&) { return Tensors{in[0].to_device(Device::cpu())}; },
        same));
  }
}

void add_copies(Table& table) {
  table.push_back(made(
      "copy", "many_rows", {placed(normal({66000, 3}, 5), Placement::Transposed)},
      [](const Tensors& in, const Device&) { return Tensors{in[0].copy()}; }, same));
  // Beyond 64 KiB: several segments where bindings are that small.
  table.push_back(made(
      "copy", "large", {normal({700, 101}, 6)},
      [](const Tensors& in, const Device&) { return Tensors{in[0].copy()}; }, same));
  table.push_back(made(
      "copy", "large_BF16", {normal({700, 101}, 6, DType::BF16)},
      [](const Tensors& in, const Device&) { return Tensors{in[0].copy()}; }, same));
  table.push_back(made(
      "copy", "empty", {filled({3, 0, 2}, 0)},
      [](const Tensors& in, const Device&) { return Tensors{in[0].copy()}; }, same));
  table.push_back(made(
      "copy_from", "into_view", {normal({4, 3}, 7), filled({4, 5}, 9, DType::BF16)},
      [](const Tensors& in, const Device&) {
        in[1].narrow(1, 1, 3).copy_from(in[0]);
        return Tensors{in[1]};
      },
      [](const Hosts& in) {
        Numbers y = in[1].values;
        const Numbers x = numbers(in[0].shape, in[0].values, DType::BF16).values;
        for (size_t i = 0; i < x.size(); ++i) {
          y[i / 3 * 5 + 1 + i % 3] = x[i];
        }
        return std::vector<Numbers>{y};
      }));
  table.push_back(made(
      "reshape", "strided", {placed(normal({4, 6}, 8), Placement::Transposed)},
      [](const Tensors& in, const Device&) { return Tensors{in[0].reshape({2, -1})}; }, same));
}

void add_joins(Table& table, DType dtype) {
  const std::string text(dtype_name(dtype));
  Case rows = made(
      "cat", text + "/rows", {integers({3, 5}, 90, 1, dtype), integers({2, 5}, 90, 2, dtype)},
      [](const Tensors& in, const Device&) { return Tensors{cat(in, 0)}; },
      [](const Hosts& in) {
        Numbers y = in[0].values;
        y.insert(y.end(), in[1].values.begin(), in[1].values.end());
        return std::vector<Numbers>{y};
      });
  rows.basic = true;
  add_with_layouts(table, rows);
  const auto columns = [](const Hosts& in) {
    Numbers y;
    for (size_t row = 0; row < 3; ++row) {
      for (size_t col = 0; col < 8; ++col) {
        y.push_back(col < 5 ? in[0].values[row * 5 + col] : in[1].values[row * 3 + col - 5]);
      }
    }
    return std::vector<Numbers>{y};
  };
  table.push_back(made(
      "cat", text + "/columns", {integers({3, 5}, 90, 1, dtype), integers({3, 3}, 90, 2, dtype)},
      [](const Tensors& in, const Device&) { return Tensors{cat(in, -1)}; }, columns));
  table.push_back(made(
      "stack", text, {integers({3}, 90, 1, dtype), integers({3}, 90, 2, dtype)},
      [](const Tensors& in, const Device&) { return Tensors{stack(in, 1)}; },
      [](const Hosts& in) {
        Numbers y;
        for (size_t i = 0; i < 3; ++i) {
          y.push_back(in[0].values[i]);
          y.push_back(in[1].values[i]);
        }
        return std::vector<Numbers>{y};
      }));
}

// What repeats elements or puts new ones around them.
void add_edges(Table& table, DType dtype) {
  const std::string text(dtype_name(dtype));
  add_with_layouts(
      table, made(
                 "pad", text, {integers({3, 5}, 90, 1, dtype)},
                 [](const Tensors& in, const Device&) { return Tensors{pad(in[0], 1, 2, 1, 4)}; },
                 [](const Hosts& in) {
                   Numbers y;
                   for (size_t i = 0; i < 24; ++i) {
                     const size_t col = i % 8;
                     y.push_back(col < 2 || col > 6 ? 4.0 : in[0].values[i / 8 * 5 + col - 2]);
                   }
                   return std::vector<Numbers>{y};
                 }));
  add_with_layouts(table, made(
                              "repeat", text, {integers({2, 3}, 90, 1, dtype)},
                              [](const Tensors& in, const Device&) {
                                const int64_t times[] = {2, 3};
                                return Tensors{repeat(in[0], times)};
                              },
                              [](const Hosts& in) {
                                Numbers y;
                                y.reserve(36);
                                for (size_t i = 0; i < 36; ++i) {
                                  y.push_back(in[0].values[i / 9 % 2 * 3 + i % 3]);
                                }
                                return std::vector<Numbers>{y};
                              }));
}

}  // namespace

void add_shape(Table& table) {
  add_creation(table);
  add_random(table);
  add_casts(table);
  add_copies(table);
  for (const DType dtype : kDeviceDTypes) {
    add_joins(table, dtype);
    add_edges(table, dtype);
  }
}

}  // namespace candela::parity
