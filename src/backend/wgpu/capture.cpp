#include "backend/wgpu/capture.h"

#include <cstring>

#include "backend/wgpu/context.h"
#include "backend/wgpu/pool.h"

namespace candela::wgpu {

void CapturedStep::add(const Pipeline& pipeline,
                       const Grid& grid,
                       std::span<const std::byte> params,
                       std::span<const Operand> operands,
                       const Work& work) {
  dispatches_.push_back({&pipeline, nullptr, grid, {operands.begin(), operands.end()}, work});
  slots_.resize(dispatches_.size() * kParamSlot);
  std::memcpy(slots_.data() + slots_.size() - kParamSlot, params.data(), params.size());
}

void CapturedStep::finish(Context& context) {
  if (dispatches_.empty()) {
    return;
  }
  const BufferPtr params =
      context.pool().make(slots_.size(), WGPUBufferUsage_Uniform | WGPUBufferUsage_CopyDst,
                          "params of a captured step");
  context.api().QueueWriteBuffer(context.queue(), params->get(), 0, slots_.data(), slots_.size());
  slots_.clear();
  groups_ = std::make_unique<BindGroups>(context, params);
  for (Dispatch& dispatch : dispatches_) {
    dispatch.group = groups_->get(*dispatch.pipeline, dispatch.operands);
  }
}

}  // namespace candela::wgpu
