#if defined(__x86_64__)

#include "backend/cpu/onednn_api.h"

#include "base/error.h"
#include "base/shared_library.h"

namespace candela::cpu {

namespace {

template <typename Function>
void require(void* library, const std::string& path, const char* name, Function& function) {
  resolve(library, name, function);
  if (function == nullptr) {
    fail(ErrorKind::Unavailable, Subject::Device,
         "{} lacks the function {}, so it is not oneDNN 3 with OpenMP; run scripts/setup for the "
         "one that candela is tested with, or give --onednn off.",
         path, name);
  }
}

}  // namespace

OneDnnApi open_onednn(const std::string& path) {
  std::string reason;
  void* library = open_shared_library(path, reason);
  if (library == nullptr) {
    fail(ErrorKind::Unavailable, Subject::Device,
         "oneDNN at {} cannot be opened: {}. Run scripts/setup, or give --onednn off.", path,
         reason);
  }
  OneDnnApi api;
  const auto take = [&](const char* name, auto& function) {
    require(library, path, name, function);
  };
  take("dnnl_version", api.version);
  take("dnnl_get_effective_cpu_isa", api.effective_isa);
  take("dnnl_engine_create", api.engine_create);
  take("dnnl_engine_destroy", api.engine_destroy);
  take("dnnl_stream_create", api.stream_create);
  take("dnnl_stream_destroy", api.stream_destroy);
  take("dnnl_memory_desc_create_with_strides", api.desc_create);
  take("dnnl_memory_desc_destroy", api.desc_destroy);
  take("dnnl_memory_desc_get_size", api.desc_size);
  take("dnnl_memory_create", api.memory_create);
  take("dnnl_memory_destroy", api.memory_destroy);
  take("dnnl_primitive_attr_create", api.attr_create);
  take("dnnl_primitive_attr_destroy", api.attr_destroy);
  take("dnnl_primitive_attr_set_scratchpad_mode", api.attr_scratchpad);
  take("dnnl_matmul_primitive_desc_create", api.matmul_create);
  take("dnnl_primitive_desc_query_md", api.query_md);
  take("dnnl_primitive_desc_destroy", api.primitive_desc_destroy);
  take("dnnl_primitive_create", api.primitive_create);
  take("dnnl_primitive_destroy", api.primitive_destroy);
  take("dnnl_primitive_execute", api.execute);
  take("omp_get_max_threads", api.omp_threads);
  take("omp_set_num_threads", api.set_omp_threads);
  return api;
}

void check(dnnl_status_t status, const char* doing) {
  if (status == dnnl_out_of_memory) {
    fail(ErrorKind::OutOfMemory, Subject::Device, "oneDNN has no memory left to {}.", doing);
  }
  if (status == dnnl_unimplemented) {
    fail(ErrorKind::Unavailable, Subject::Device,
         "oneDNN has no BF16 products on this processor; give --onednn off.");
  }
  if (status != dnnl_success) {
    fail(ErrorKind::Internal, Subject::Device, "oneDNN fails to {} (status {}).", doing,
         static_cast<int>(status));
  }
}

}  // namespace candela::cpu

#endif
