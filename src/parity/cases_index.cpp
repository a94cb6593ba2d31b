#include "base/error.h"
#include "parity/case.h"
#include "tensor/ops.h"

namespace candela::parity {

namespace {

size_t at(int64_t value) {
  return static_cast<size_t>(value);
}

// Rows `ids` of a table.
std::vector<Numbers> rows_of(const Host& table, const Host& ids) {
  const int64_t row = table.shape.elements() / table.shape[0];
  Numbers out;
  for (const double id : ids.values) {
    const auto begin = table.values.begin() + static_cast<int64_t>(id) * row;
    out.insert(out.end(), begin, begin + row);
  }
  return {out};
}

void add_embedding(Table& table) {
  const auto add = [&](const std::string& what, const Host& rows, const Host& ids, bool layouts) {
    Case out;
    out.name = "embedding/" + what;
    out.op = "embedding";
    out.dtype = rows.dtype;
    out.bound = is_quantized(rows.dtype) ? kRounded : kBits;
    out.basic = layouts;
    out.inputs = [rows, ids] { return Hosts{rows, ids}; };
    out.run = [](const Tensors& in, const Device&) { return Tensors{embedding(in[0], in[1])}; };
    out.reference = [](const Hosts& in) { return rows_of(in[0], in[1]); };
    layouts ? add_with_layouts(table, out) : table.push_back(out);
  };
  const Host ids = integers({2, 5}, 11, 1);
  add("F32", normal({11, 33}, 2), ids, true);
  add("BF16", normal({11, 33}, 3, DType::BF16), ids, true);
  add("F16", normal({11, 34}, 4, DType::F16), ids, true);
  for (const DType dtype : {DType::Q8_0, DType::Q4_0, DType::Q4_1}) {
    add(std::string(dtype_name(dtype)), quantized({11, 96}, 5, dtype), ids, false);
    // Rows of an odd number of blocks start at addresses that are no multiples of four.
    add(fmt::format("{}_odd", dtype_name(dtype)), quantized({1500, 32}, 5, dtype),
        integers({7}, 1500, 6), false);
  }
  add("no_ids", normal({11, 4}, 7), filled({0}, 0, DType::U32), false);
  add("one", normal({1, 1}, 8), filled({1}, 0, DType::U32), false);
  // Beyond 64 KiB: several segments where bindings are that small.
  for (const DType dtype : {DType::F32, DType::BF16}) {
    add(fmt::format("large_{}", dtype_name(dtype)), normal({1000, 99}, 9, dtype),
        integers({64}, 1000, 10), false);
  }
  add("many_ids", normal({50, 2}, 11), integers({66000}, 50, 12), false);
}

void add_select(Table& table) {
  for (const DType dtype : {DType::F32, DType::BF16, DType::F16, DType::U32, DType::I32}) {
    Case out;
    out.name = fmt::format("index_select/{}", dtype_name(dtype));
    out.op = "index_select";
    out.dtype = dtype;
    out.bound = kBits;
    out.basic = dtype == DType::F32;
    out.inputs = [dtype] { return Hosts{integers({9, 5}, 90, 1, dtype), integers({7}, 9, 2)}; };
    out.run = [](const Tensors& in, const Device&) {
      return Tensors{index_select(in[0], 0, in[1])};
    };
    out.reference = [](const Hosts& in) { return rows_of(in[0], in[1]); };
    add_with_layouts(table, out);
    out.name += "/axis1";
    out.basic = false;
    out.run = [](const Tensors& in, const Device&) {
      return Tensors{index_select(in[0].t(), 1, in[1]).t()};
    };
    table.push_back(out);
  }
}

// x [4, 5, 6] and an index [4, 3, 6] along axis 1.
void add_gather(Table& table) {
  for (const DType dtype : {DType::F32, DType::BF16, DType::U32}) {
    Case out;
    out.name = fmt::format("gather/{}", dtype_name(dtype));
    out.op = "gather";
    out.dtype = dtype;
    out.bound = kBits;
    out.basic = dtype == DType::F32;
    out.inputs = [dtype] {
      return Hosts{integers({4, 5, 6}, 90, 1, dtype), integers({4, 3, 6}, 5, 2)};
    };
    out.run = [](const Tensors& in, const Device&) { return Tensors{gather(in[0], 1, in[1])}; };
    out.reference = [](const Hosts& in) {
      Numbers y;
      for (int64_t i = 0; i < 72; ++i) {
        const auto from = static_cast<int64_t>(in[1].values[at(i)]);
        y.push_back(in[0].values[at((i / 18 * 5 + from) * 6 + i % 6)]);
      }
      return std::vector<Numbers>{y};
    };
    add_with_layouts(table, out);
  }
  Case narrow;
  narrow.name = "gather/smaller_index";
  narrow.op = "gather";
  narrow.bound = kBits;
  narrow.inputs = [] { return Hosts{normal({5, 7}, 3), integers({2, 9}, 7, 4)}; };
  narrow.run = [](const Tensors& in, const Device&) { return Tensors{gather(in[0], -1, in[1])}; };
  narrow.reference = [](const Hosts& in) {
    Numbers y;
    y.reserve(18);
    for (int64_t i = 0; i < 18; ++i) {
      y.push_back(in[0].values[at(i / 9 * 7 + static_cast<int64_t>(in[1].values[at(i)]))]);
    }
    return std::vector<Numbers>{y};
  };
  table.push_back(narrow);
}

void add_scatter(Table& table) {
  for (const int64_t length : {1, 3, 70}) {
    Case out;
    out.name = fmt::format("scatter_add/{}", length);
    out.op = "scatter_add";
    out.basic = length == 3;
    out.inputs = [length] {
      return Hosts{normal({4, 5, 6}, 1), integers({4, length, 6}, 5, 2), normal({4, length, 6}, 3)};
    };
    out.run = [](const Tensors& in, const Device&) {
      return Tensors{scatter_add(in[0], 1, in[1], in[2])};
    };
    out.reference = [length](const Hosts& in) {
      Numbers y = in[0].values;
      for (int64_t i = 0; i < 24 * length; ++i) {
        const auto to = static_cast<int64_t>(in[1].values[at(i)]);
        y[at((i / (6 * length) * 5 + to) * 6 + i % 6)] += in[2].values[at(i)];
      }
      return std::vector<Numbers>{y};
    };
    add_with_layouts(table, out);
  }
}

void add_write_rows(Table& table) {
  for (const DType dtype : {DType::F32, DType::BF16, DType::F16, DType::U32}) {
    for (const int64_t cols : {1, 5, 8}) {
      Case out;
      out.name = fmt::format("write_rows/{}_{}", dtype_name(dtype), cols);
      out.op = "write_rows";
      out.dtype = dtype;
      out.bound = kBits;
      out.basic = dtype == DType::F32;
      out.inputs = [dtype, cols] {
        const DType from = is_float(dtype) ? DType::F32 : dtype;
        return Hosts{integers({9, cols}, 90, 1, dtype), numbers({4}, {7, 0, 3, 4}, DType::U32),
                     integers({4, cols}, 90, 2, from)};
      };
      out.run = [](const Tensors& in, const Device&) {
        const Tensor x = in[0].copy();
        write_rows(x, in[1], in[2]);
        return Tensors{x};
      };
      out.reference = [cols](const Hosts& in) {
        Numbers y = in[0].values;
        for (int64_t i = 0; i < 4 * cols; ++i) {
          const auto row = static_cast<int64_t>(in[1].values[at(i / cols)]);
          y[at(row * cols + i % cols)] = in[2].values[at(i)];
        }
        return std::vector<Numbers>{y};
      };
      table.push_back(out);
      // Distinct ids forbid stride 0.
      for (const auto& [placement, text] : {std::pair{Placement::Transposed, "/transposed"},
                                            std::pair{Placement::Offset, "/offset"}}) {
        Case moved = out;
        moved.name += text;
        moved.basic = false;
        moved.inputs = [inputs = out.inputs, placement = placement] {
          Hosts in = inputs();
          in[1] = placed(in[1], Placement::Offset);
          in[2] = placed(in[2], placement);
          return in;
        };
        table.push_back(moved);
      }
    }
  }
}

}  // namespace

void add_index(Table& table) {
  add_embedding(table);
  add_select(table);
  add_gather(table);
  add_scatter(table);
  add_write_rows(table);
}

}  // namespace candela::parity
