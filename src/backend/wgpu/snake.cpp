#include "backend/wgpu/elements.h"
#include "backend/wgpu/walk.h"
#include "backend/wgpu/wgpu_backend.h"

namespace candela::wgpu {

void WgpuBackend::snake_beta(const View& x, const View& alpha, const View& beta, const View& y) {
  if (y.elements() == 0) {
    return;
  }
  for (const View* view : {&x, &alpha, &beta, &y}) {
    float_kind(*view, "snake_beta");
  }
  const auto spread = [&](const View& channels) {
    return View{channels.storage, channels.layout.unsqueeze(1).broadcast_to(x.shape()),
                channels.dtype};
  };
  ElementOp op("snake_beta", {x, spread(alpha), spread(beta)}, y);
  op.run(*stream_, "snake_beta");
}

}  // namespace candela::wgpu
