#include "backend/wgpu/wgpu_backend.h"
#include "base/error.h"

namespace candela::wgpu {
namespace {

[[noreturn]] void missing(const char* op) {
  fail(ErrorKind::Unsupported, Subject::Device,
       "The op {} has no WebGPU kernel yet; use the CPU backend.", op);
}

}  // namespace

void WgpuBackend::reduce(ReduceKind, const View&, const View&) { missing("reduce"); }
void WgpuBackend::arg_reduce(ReduceKind, const View&, const View&) { missing("arg_reduce"); }
void WgpuBackend::cumsum(const View&, const View&) { missing("cumsum"); }
void WgpuBackend::top_k(const View&, const View&, const View&) { missing("top_k"); }
void WgpuBackend::write_rows(const View&, const View&, const View&) { missing("write_rows"); }
void WgpuBackend::gather(const View&, int, const View&, const View&) { missing("gather"); }
void WgpuBackend::scatter_add(const View&, int, const View&, const View&) {
  missing("scatter_add");
}
void WgpuBackend::conv1d(const Conv1dArgs&, const View&) { missing("conv1d"); }
void WgpuBackend::conv2d(const Conv2dArgs&, const View&) { missing("conv2d"); }
void WgpuBackend::conv_transpose1d(const ConvTranspose1dArgs&, const View&) {
  missing("conv_transpose1d");
}
void WgpuBackend::random(RandomKind, uint64_t, float, float, const View&) { missing("random"); }
void WgpuBackend::snake_beta(const View&, const View&, const View&, const View&) {
  missing("snake_beta");
}

}  // namespace candela::wgpu
