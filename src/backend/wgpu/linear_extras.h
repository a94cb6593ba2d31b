#pragma once

#include <string>
#include <vector>

#include "backend/op_args.h"
#include "backend/wgpu/rows.h"

namespace candela::wgpu {

/// Binds one more operand; kernels learn its number as {{NAME}}.
inline void bind_as(const char* name,
                    const View& view,
                    KernelId& kernel,
                    std::vector<Operand>& operands) {
  kernel.substitutions.emplace_back(name, std::to_string(operands.size()));
  operands.push_back(whole_in(view));
}

/// Bias and residual of a linear op: HAS_BIAS, HAS_RESIDUAL, their bindings and params.
template <typename Params>
void bind_extras(Backend& backend,
                 const LinearArgs& args,
                 KernelId& kernel,
                 Params& params,
                 std::vector<Operand>& operands) {
  if (args.bias) {
    const View bias = dense(backend, *args.bias);
    params.bias_offset = narrow_u32(bias.layout.offset, "the offset of a bias");
    params.bias_kind = real_kind(bias.dtype, "linear");
    kernel.defines.emplace_back("HAS_BIAS");
    bind_as("BIAS", bias, kernel, operands);
  }
  if (args.residual) {
    const View residual = with_rows(backend, *args.residual);
    const Rows rows = rows_of(residual);
    params.residual_offset = rows.offset;
    params.residual_stride = rows.stride;
    kernel.defines.emplace_back("HAS_RESIDUAL");
    bind_as("RESIDUAL", residual, kernel, operands);
  }
}

/// The number of the binding of params, which come last.
inline void number_params(KernelId& kernel, const std::vector<Operand>& operands) {
  kernel.substitutions.emplace_back("PARAMS", std::to_string(operands.size()));
}

}  // namespace candela::wgpu
