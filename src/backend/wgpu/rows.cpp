#include "backend/wgpu/rows.h"

#include <algorithm>

#include "base/assert.h"
#include "base/error.h"

namespace candela::wgpu {

namespace {

void require_whole(const View& view) {
  if (view.storage->is_segmented()) {
    fail(ErrorKind::Unsupported, Subject::Device,
         "A tensor {} of type {} takes {} bytes, more than one binding of this device holds; work "
         "on smaller pieces.",
         to_string(view.shape()), dtype_name(view.dtype), view.storage->bytes());
  }
}

}  // namespace

Operand whole_in(const View& view) {
  require_whole(view);
  return in(view);
}

Operand whole_out(const View& view) {
  require_whole(view);
  return out(view);
}

bool as_rows(const View& view, Rows& out) {
  const Layout& layout = view.layout;
  const int rank = layout.rank();
  int64_t rows = 1;
  int64_t stride = 0;
  for (int axis = rank - 2; axis >= 0; --axis) {
    const int64_t size = layout.shape[axis];
    if (size == 1) {
      continue;
    }
    if (rows == 1) {
      stride = layout.stride(axis);
    } else if (layout.stride(axis) != stride * rows) {
      return false;
    }
    rows *= size;
  }
  const int64_t cols = rank == 0 ? 1 : layout.shape[rank - 1];
  if (cols > 1 && layout.stride(rank - 1) != 1) {
    return false;
  }
  out.rows = narrow_u32(rows, "the number of rows");
  out.cols = narrow_u32(cols, "the length of a row");
  out.offset = narrow_u32(layout.offset, "the offset of a tensor");
  out.stride = narrow_u32(stride, "the stride of rows");
  return true;
}

Rows rows_of(const View& view) {
  Rows rows;
  CANDELA_ASSERT(as_rows(view, rows), "a view does not consist of rows");
  return rows;
}

View temporary(Backend& backend, const Shape& shape, DType dtype) {
  View view;
  view.layout = Layout(shape);
  view.dtype = dtype;
  const auto bytes = static_cast<uint64_t>(dtype_bytes(dtype, shape.elements()));
  view.storage = backend.allocate(bytes, std::max<uint64_t>(bytes, 4), "scratch memory");
  return view;
}

View dense(Backend& backend, const View& view, DType dtype) {
  if (view.dtype == dtype && view.layout.is_contiguous()) {
    return view;
  }
  View copy = temporary(backend, view.shape(), dtype);
  backend.copy(view, copy);
  return copy;
}

View dense(Backend& backend, const View& view) {
  return dense(backend, view, view.dtype);
}

View with_rows(Backend& backend, const View& view, DType dtype) {
  Rows rows;
  if (view.dtype == dtype && as_rows(view, rows)) {
    return view;
  }
  return dense(backend, view, dtype);
}

RowTarget::RowTarget(Backend& backend, const View& target)
    : backend_(backend), target_(target), view_(target) {
  Rows rows;
  if (target.dtype != DType::F32 || !as_rows(target, rows)) {
    view_ = temporary(backend, target.shape());
    copied_ = true;
  }
}

void RowTarget::finish() {
  if (copied_) {
    backend_.copy(view_, target_);
  }
}

uint32_t real_kind(DType dtype, const char* op) {
  switch (dtype) {
    case DType::F32:
      return 0;
    case DType::BF16:
      return 1;
    case DType::F16:
      return 2;
    default:
      fail(ErrorKind::Unsupported, Subject::Device,
           "{}: an operand of type {} is not supported on WebGPU; convert it to F32, F16 or BF16.",
           op, dtype_name(dtype));
  }
}

bool use_subgroups(const Limits& limits) {
  return limits.subgroup_min >= 4 && limits.subgroup_max <= 128;
}

bool one_subgroup_size(const Limits& limits) {
  return use_subgroups(limits) && limits.subgroup_min == limits.subgroup_max;
}

uint32_t rows_a_workgroup(const Limits& limits) {
  return 256 / (use_subgroups(limits) ? limits.subgroup_max : 32);
}

void define_subgroups(KernelId& kernel, const Limits& limits, uint32_t team) {
  if (use_subgroups(limits)) {
    kernel.defines.emplace_back("SUBGROUPS");
    if (team > limits.subgroup_min) {
      kernel.defines.emplace_back("COMBINE");
    }
  }
}

void define_sizes(KernelId& kernel, bool fixed, std::initializer_list<SizeText> sizes) {
  for (const SizeText& size : sizes) {
    kernel.substitutions.emplace_back(size.name,
                                      fixed ? std::to_string(size.value) + "u" : size.field);
  }
}

bool has_fixed_sizes(const Weight& weight) {
  constexpr uint64_t kLarge = 1 << 18;
  return weight.is_whole() && weight.pieces[0].start == 0 &&
         uint64_t{weight.rows} * weight.cols >= kLarge;
}

void define_round(KernelId& kernel, uint32_t cols, uint32_t team, uint32_t longest) {
  uint32_t round = longest;
  while (round > 1 && cols % (round * team * 8) != 0) {
    --round;
  }
  kernel.substitutions.emplace_back("ROUND", std::to_string(round));
}

Work product_work(uint64_t rows, const Weight& weight, const WeightPiece& piece) {
  const uint64_t count = piece.end - piece.begin;
  const uint64_t products = count * weight.cols;
  const auto bytes = static_cast<double>(dtype_bytes(weight.dtype, static_cast<int64_t>(products)));
  return {bytes + 4.0 * static_cast<double>(rows * (weight.cols + count)),
          2.0 * static_cast<double>(rows * products), weight.rows, weight.cols};
}

bool norm_by_eights(const View& weight) {
  return weight.layout.is_contiguous() && !weight.storage->is_segmented() &&
         ((weight.dtype == DType::BF16 && weight.layout.offset % 8 == 0) ||
          (weight.dtype == DType::F32 && weight.layout.offset % 4 == 0));
}

Weight weight_rows(const View& weight, const char* op) {
  if (!weight.layout.is_contiguous() || !(is_float(weight.dtype) || is_quantized(weight.dtype))) {
    fail(ErrorKind::Unsupported, Subject::Device,
         "{}: a weight {} of type {} is not gapless or no weight type; make it contiguous.", op,
         to_string(weight.shape()), dtype_name(weight.dtype));
  }
  const int64_t block = block_elements(weight.dtype);
  const int64_t unit = block_bytes(weight.dtype);
  const int64_t cols = weight.rank() == 0 ? 1 : weight.dim(-1);
  if (cols % block != 0 || weight.layout.offset % block != 0) {
    fail(ErrorKind::Unsupported, Subject::Device,
         "{}: rows of {} elements from {} on do not consist of whole {} blocks.", op, cols,
         weight.layout.offset, dtype_name(weight.dtype));
  }
  Weight result;
  result.dtype = weight.dtype;
  result.cols = narrow_u32(cols, "the length of a weight's row");
  result.rows = narrow_u32(cols == 0 ? 0 : weight.elements() / cols, "the rows of a weight");
  result.stride = narrow_u32(cols / block, "the stride of a weight's rows");
  result.vec4 = is_float(weight.dtype) && cols % 8 == 0;
  if (result.rows == 0) {
    return result;
  }
  const int64_t row_bytes = cols / block * unit;
  const int64_t base = weight.layout.offset / block * unit;
  const auto segments = weight.storage->segments();
  int64_t covered = 0;
  for (size_t i = 0; i < segments.size(); ++i) {
    const auto begin = static_cast<int64_t>(segments[i].begin);
    const int64_t end = begin + static_cast<int64_t>(segments[i].bytes);
    const int64_t first =
        std::max<int64_t>(0, (std::max(begin - base, int64_t{0}) + row_bytes - 1) / row_bytes);
    const int64_t last = std::min<int64_t>(result.rows, end <= base ? 0 : (end - base) / row_bytes);
    if (first >= last) {
      continue;
    }
    const int64_t start = base + first * row_bytes - begin;
    if (start % unit != 0) {
      fail(ErrorKind::Unsupported, Subject::Device,
           "{}: a segment of a weight begins inside of an element; split it between rows.", op);
    }
    WeightPiece piece;
    piece.segment = i;
    piece.begin = static_cast<uint32_t>(first);
    piece.end = static_cast<uint32_t>(last);
    piece.start = narrow_u32(start / unit, "the start of a weight");
    result.vec4 = result.vec4 && start % 16 == 0;
    result.pieces.push_back(piece);
    covered += last - first;
  }
  if (covered != result.rows) {
    fail(ErrorKind::Unsupported, Subject::Device,
         "{}: a row of the weight {} straddles two segments; split it between rows.", op,
         to_string(weight.shape()));
  }
  return result;
}

void define_weight(KernelId& kernel, DType dtype, bool vec4) {
  kernel.defines.push_back("W_" + std::string(dtype_name(dtype)));
  if (is_quantized(dtype)) {
    kernel.defines.emplace_back("W_BLOCKS");
  }
  if (vec4) {
    kernel.defines.emplace_back("W_VEC4");
  }
}

void substitute_types(KernelId& kernel, bool weight_vec4, bool x_vec4) {
  if (x_vec4) {
    kernel.defines.emplace_back("X_VEC4");
  }
  kernel.substitutions.emplace_back("W_TYPE", weight_vec4 ? "vec4<u32>" : "u32");
  kernel.substitutions.emplace_back("W_READ", weight_vec4 ? "w_quad" : "w_word");
  kernel.substitutions.emplace_back("X_TYPE", x_vec4 ? "vec4<f32>" : "f32");
}

void define_pairs(KernelId& kernel, DType dtype) {
  define_weight(kernel, dtype, false);
  kernel.defines.insert(kernel.defines.end(), {"W_PAIR", "X_VEC4"});
  kernel.substitutions.emplace_back("W_TYPE", "vec2<u32>");
  kernel.substitutions.emplace_back("W_READ", "w_pair");
  kernel.substitutions.emplace_back("X_TYPE", "vec4<f32>");
}

}  // namespace candela::wgpu
