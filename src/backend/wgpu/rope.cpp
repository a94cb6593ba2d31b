#include <vector>

#include "backend/wgpu/rows.h"
#include "backend/wgpu/wgpu_backend.h"
#include "base/error.h"

namespace candela::wgpu {
namespace {

struct RopeParams {
  uint32_t tokens, heads, dim, interleaved;
  uint32_t x_offset, x_token, x_head, y_offset, y_token, y_head;
  uint32_t cos_offset, sin_offset, positions_offset, weight_offset, weight_kind;
  float eps;
};

bool last_gapless(const View& view) {
  return view.dim(-1) <= 1 || view.layout.stride(-1) == 1;
}

}  // namespace

void WgpuBackend::rope(const RopeArgs& args, const View& y) {
  if (y.elements() == 0) {
    return;
  }
  if (args.x.dim(2) % 2 != 0) {
    fail(ErrorKind::InvalidArgument, Subject::Model,
         "rope: heads of {} dimensions cannot be rotated in pairs; use an even size.",
         args.x.dim(2));
  }
  const View x = last_gapless(args.x) && args.x.dtype == DType::F32
                     ? args.x
                     : dense(*this, args.x, DType::F32);
  const bool direct = y.dtype == DType::F32 && last_gapless(y);
  const View to = direct ? y : temporary(*this, y.shape());
  const View cos = dense(*this, args.cos);
  const View sin = dense(*this, args.sin);
  const View positions = dense(*this, args.positions);
  RopeParams params{};
  params.tokens = narrow_u32(x.dim(0), "tokens");
  params.heads = narrow_u32(x.dim(1), "heads");
  params.dim = narrow_u32(x.dim(2), "the head size");
  params.interleaved = args.interleaved ? 1 : 0;
  params.x_offset = narrow_u32(x.layout.offset, "the offset of x");
  params.x_token = narrow_u32(x.layout.stride(0), "the stride of x");
  params.x_head = narrow_u32(x.layout.stride(1), "the stride of x");
  params.y_offset = narrow_u32(to.layout.offset, "the offset of y");
  params.y_token = narrow_u32(to.layout.stride(0), "the stride of y");
  params.y_head = narrow_u32(to.layout.stride(1), "the stride of y");
  params.cos_offset = narrow_u32(cos.layout.offset, "the offset of cos");
  params.sin_offset = narrow_u32(sin.layout.offset, "the offset of sin");
  params.positions_offset = narrow_u32(positions.layout.offset, "the offset of positions");
  params.eps = args.norm_eps;
  KernelId kernel{"rope"};
  std::vector<Operand> operands{whole_in(x), whole_in(cos), whole_in(sin), whole_in(positions),
                                whole_out(to)};
  if (args.norm_weight) {
    const View weight = dense(*this, *args.norm_weight);
    params.weight_offset = narrow_u32(weight.layout.offset, "the offset of a norm weight");
    params.weight_kind = real_kind(weight.dtype, "rope");
    kernel.defines.emplace_back("WITH_NORM");
    operands.push_back(whole_in(weight));
  }
  uint64_t teams = 4;
  if (use_subgroups(limits())) {
    kernel.defines.emplace_back("SUBGROUPS");
    teams = rows_a_workgroup(limits());
  }
  const uint64_t heads = uint64_t{params.tokens} * params.heads;
  stream_->dispatch_bytes(kernel, grid_for((heads + teams - 1) / teams),
                          std::as_bytes(std::span(&params, 1)), operands);
  if (!direct) {
    copy(to, y);
  }
}

}  // namespace candela::wgpu
