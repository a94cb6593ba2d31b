#include "backend/wgpu/custom.h"

#include <vector>

#include "backend/wgpu/context.h"
#include "backend/wgpu/shader.h"
#include "backend/wgpu/storage.h"
#include "backend/wgpu/wgpu_backend.h"
#include "base/error.h"

namespace candela::wgpu {

void run_custom_kernel(const Device& device,
                       const std::string& name,
                       const std::string& source,
                       uint32_t workgroups_x,
                       uint32_t workgroups_y,
                       std::span<const std::byte> params,
                       std::initializer_list<CustomOperand> operands) {
  auto* backend = dynamic_cast<WgpuBackend*>(&device.backend());
  if (backend == nullptr) {
    fail(ErrorKind::Unsupported, Subject::Usage,
         "The kernel {} is WGSL and runs on a WebGPU device, not on {}.", name, device.name());
  }
  std::vector<Operand> bound;
  for (const CustomOperand& operand : operands) {
    SegmentView part;
    if (!locate(operand.view, part)) {
      fail(ErrorKind::Unsupported, Subject::Device,
           "The kernel {} gets a tensor that exceeds one binding of the device.", name);
    }
    bound.push_back({wgpu_storage(operand.view.storage).buffer(part.segment), operand.written});
  }
  backend->context().shaders().add(name, source);
  backend->stream().dispatch_bytes({name.c_str()}, {workgroups_x, workgroups_y, 1}, params, bound);
}

}  // namespace candela::wgpu
