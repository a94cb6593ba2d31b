#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "backend/deferred.h"
#include "backend/wgpu/bind_groups.h"
#include "backend/wgpu/kernel.h"
#include "backend/wgpu/pipeline.h"

namespace candela::wgpu {

class Context;

/// The dispatches of a captured step with everything resolved: pipelines, bind groups and params,
/// the latter in one buffer of its own. Holds the buffers that it names.
class CapturedStep final : public Captured {
 public:
  struct Dispatch {
    const Pipeline* pipeline = nullptr;
    WGPUBindGroup group = nullptr;
    Grid grid;
    std::vector<Operand> operands;
    Work work;
  };

  void add(const Pipeline& pipeline,
           const Grid& grid,
           std::span<const std::byte> params,
           std::span<const Operand> operands,
           const Work& work);
  /// Makes bind groups and uploads the params.
  void finish(Context& context);

  std::span<const Dispatch> dispatches() const { return dispatches_; }

 private:
  std::vector<Dispatch> dispatches_;
  std::vector<std::byte> slots_;  ///< params, kParamSlot bytes a dispatch
  std::unique_ptr<BindGroups> groups_;
};

}  // namespace candela::wgpu
