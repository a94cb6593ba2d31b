#include <cmath>

#include "base/error.h"
#include "parity/case.h"
#include "parity/reference.h"
#include "tensor/ops.h"

namespace candela::parity {

namespace {

size_t at(int64_t value) {
  return static_cast<size_t>(value);
}

enum class Mask { Causal, Window, Blocks, Ragged };

// First key and end for each of `tokens` queries, the last of which is at key `keys - 1`.
Host spans_of(Mask mask, int64_t tokens, int64_t keys) {
  Numbers spans;
  for (int64_t t = 0; t < tokens; ++t) {
    const int64_t end = keys - tokens + t + 1;
    switch (mask) {
      case Mask::Causal:
        spans.insert(spans.end(), {0.0, double(end)});
        break;
      case Mask::Window:
        spans.insert(spans.end(), {double(std::max<int64_t>(0, end - 6)), double(end)});
        break;
      case Mask::Blocks:
        spans.insert(spans.end(),
                     {double(t / 7 * 7 % keys), double(std::min(t / 7 * 7 % keys + 7, keys))});
        break;
      case Mask::Ragged:
        // Every third query sees nothing at all.
        spans.insert(spans.end(), {1.0, t % 3 == 0 ? 1.0 : double(keys)});
        break;
    }
  }
  return numbers({tokens, 2}, spans, DType::U32);
}

struct AttentionShape {
  int64_t heads, kv_heads, tokens, keys, dim;
};

double scale_of(const AttentionShape& s) {
  return static_cast<double>(static_cast<float>(1.0 / std::sqrt(static_cast<double>(s.dim))));
}

Hosts attention_inputs(const AttentionShape& s, Mask mask, DType dtype) {
  return {normal({s.heads, s.tokens, s.dim}, 1), normal({s.kv_heads, s.keys, s.dim}, 2, dtype),
          normal({s.kv_heads, s.keys, s.dim}, 3, dtype), spans_of(mask, s.tokens, s.keys)};
}

void add_plain(Table& table) {
  const auto add = [&](const std::string& what, const AttentionShape& s, Mask mask, DType dtype) {
    Case out;
    out.name = fmt::format("attention/{}_{}", what, dtype_name(dtype));
    out.op = "attention";
    out.dtype = dtype;
    out.basic = what == "causal";
    out.inputs = [=] { return attention_inputs(s, mask, dtype); };
    out.run = [s](const Tensors& in, const Device&) {
      return Tensors{attention(in[0], in[1], in[2], in[3], static_cast<float>(scale_of(s)))};
    };
    out.reference = [s](const Hosts& in) {
      return std::vector<Numbers>{ref_attention(in[0], in[1], in[2], in[3], scale_of(s))};
    };
    table.push_back(out);
    // Spans must keep their order, so only the float operands move.
    for (const auto& [placement, text] :
         {std::pair{Placement::Transposed, "/transposed"}, std::pair{Placement::Offset, "/offset"},
          std::pair{Placement::Repeated, "/stride0"}}) {
      Case moved = out;
      moved.name += text;
      moved.basic = false;
      moved.inputs = [inputs = out.inputs, placement = placement] {
        Hosts in = inputs();
        for (size_t i = 0; i < 3; ++i) {
          in[i] = placed(in[i], placement);
        }
        return in;
      };
      table.push_back(moved);
    }
  };
  for (const DType dtype : {DType::F32, DType::BF16}) {
    add("causal", {8, 2, 37, 37, 32}, Mask::Causal, dtype);
    add("decode", {8, 2, 1, 61, 128}, Mask::Causal, dtype);
    add("chunk", {6, 3, 5, 21, 24}, Mask::Causal, dtype);
    add("window", {4, 4, 29, 29, 16}, Mask::Window, dtype);
    add("blocks", {3, 3, 25, 25, 20}, Mask::Blocks, dtype);
    add("ragged", {4, 1, 9, 70, 72}, Mask::Ragged, dtype);
    add("long", {4, 2, 2, 700, 64}, Mask::Causal, dtype);
    add("one", {1, 1, 1, 1, 8}, Mask::Causal, dtype);
    add("many_heads", {32, 4, 2, 65, 16}, Mask::Causal, dtype);
  }
  add("F16", {4, 2, 3, 9, 16}, Mask::Causal, DType::F16);
}

// Two sequences whose pages lie in disorder; the reference reads them back in order.
struct Paged {
  int64_t page, pages, heads, kv_heads, dim;
};

Hosts paged_inputs(const Paged& s, DType dtype) {
  const int64_t row = s.pages / 2;
  Numbers table;
  table.reserve(static_cast<size_t>(2 * row));
  for (int64_t i = 0; i < 2 * row; ++i) {
    table.push_back(static_cast<double>((i * 3 + 1) % (2 * row)));
  }
  const int64_t keys = row * s.page;
  const double k = static_cast<double>(keys);
  const Numbers spans = {0, k, 0, 0, 1, 1, 2, 2, 1, 1, k - 1, 1, std::max(0.0, k - 5), k, 0};
  return {normal({5, s.heads, s.dim}, 1),
          normal_cache({s.pages, s.kv_heads, s.page, s.dim}, 2, dtype),
          normal_cache({s.pages, s.kv_heads, s.page, s.dim}, 3, dtype),
          numbers({5, 3}, spans, DType::U32), numbers({2, row}, table, DType::U32)};
}

void add_paged(Table& table) {
  for (const DType dtype : {DType::F32, DType::BF16, DType::Q8_16}) {
    for (const Paged& s :
         {Paged{64, 8, 4, 2, 32}, {64, 2, 8, 1, 128}, {16, 6, 3, 3, 24}, {64, 10, 4, 4, 72}}) {
      if (s.dim % block_elements(dtype) != 0) {
        continue;
      }
      Case out;
      out.name = fmt::format("paged_attention/{}_page{}_dim{}", dtype_name(dtype), s.page, s.dim);
      out.op = "paged_attention";
      out.dtype = dtype;
      out.basic = s.dim == 32;
      const double scale = scale_of({s.heads, s.kv_heads, 1, 1, s.dim});
      out.inputs = [=] { return paged_inputs(s, dtype); };
      out.run = [=](const Tensors& in, const Device&) {
        return Tensors{paged_attention(in[0], in[1], in[2], in[3], in[4], static_cast<float>(scale),
                                       s.pages / 2 * s.page)};
      };
      out.reference = [=](const Hosts& in) {
        return std::vector<Numbers>{ref_paged_attention(in[0], in[1], in[2], in[3], in[4], scale)};
      };
      table.push_back(out);
    }
  }
}

void add_kv_write(Table& table) {
  for (const DType dtype : {DType::F32, DType::BF16, DType::F16, DType::Q8_16}) {
    for (const int64_t dim : {8, 17, 32, 128}) {
      if (dim % block_elements(dtype) != 0) {
        continue;
      }
      Case out;
      out.name = fmt::format("kv_write/{}_{}", dtype_name(dtype), dim);
      out.op = "kv_write";
      out.dtype = dtype;
      const double scale = dtype == DType::F16 ? 5e4 : 1.0;  // some are beyond its range
      // A number close to the middle of two steps may be rounded either way.
      out.bound = dtype == DType::Q8_16 ? Bound{1e-5, 5e-2, 0.0, 0.0} : kBits;
      out.basic = dim == 8;
      out.inputs = [=] {
        return Hosts{normal_cache({3, 2, 4, dim}, 1, dtype),
                     numbers({5}, {0, 7, 3, 11, 4}, DType::U32),
                     normal({5, 2, dim}, 2, DType::F32, scale)};
      };
      out.run = [](const Tensors& in, const Device&) {
        kv_write(in[0], in[1], in[2]);
        return Tensors{in[0]};
      };
      out.reference = [=](const Hosts& in) {
        Numbers y = in[0].values;
        const Numbers x = as_cached(in[2].values, dtype);
        for (int64_t i = 0; i < 10 * dim; ++i) {
          const auto slot = static_cast<int64_t>(in[1].values[at(i / (2 * dim))]);
          const int64_t head = i / dim % 2;
          y[at(((slot / 4 * 2 + head) * 4 + slot % 4) * dim + i % dim)] = x[at(i)];
        }
        return std::vector<Numbers>{y};
      };
      table.push_back(out);
      out.name += "/strided";
      out.basic = false;
      out.inputs = [inputs = out.inputs] {
        Hosts in = inputs();
        in[1] = placed(in[1], Placement::Offset);
        in[2] = placed(in[2], Placement::Transposed);
        return in;
      };
      table.push_back(out);
    }
  }
}

}  // namespace

void add_attention(Table& table) {
  add_plain(table);
  add_paged(table);
  add_kv_write(table);
  add_rope_attention(table);
}

}  // namespace candela::parity
