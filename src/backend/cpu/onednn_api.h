#pragma once

#include <memory>
#include <string>

#include "oneapi/dnnl/dnnl.h"

namespace candela::cpu {

/// The functions of oneDNN used here; those of OpenMP are of the one it links.
struct OneDnnApi {
  decltype(&dnnl_version) version;
  decltype(&dnnl_get_effective_cpu_isa) effective_isa;
  decltype(&dnnl_engine_create) engine_create;
  decltype(&dnnl_engine_destroy) engine_destroy;
  decltype(&dnnl_stream_create) stream_create;
  decltype(&dnnl_stream_destroy) stream_destroy;
  decltype(&dnnl_memory_desc_create_with_strides) desc_create;
  decltype(&dnnl_memory_desc_destroy) desc_destroy;
  decltype(&dnnl_memory_desc_get_size) desc_size;
  decltype(&dnnl_memory_create) memory_create;
  decltype(&dnnl_memory_destroy) memory_destroy;
  decltype(&dnnl_primitive_attr_create) attr_create;
  decltype(&dnnl_primitive_attr_destroy) attr_destroy;
  decltype(&dnnl_primitive_attr_set_scratchpad_mode) attr_scratchpad;
  decltype(&dnnl_matmul_primitive_desc_create) matmul_create;
  decltype(&dnnl_primitive_desc_query_md) query_md;
  decltype(&dnnl_primitive_desc_destroy) primitive_desc_destroy;
  decltype(&dnnl_primitive_create) primitive_create;
  decltype(&dnnl_primitive_destroy) primitive_destroy;
  decltype(&dnnl_primitive_execute) execute;
  int (*omp_threads)();
  void (*set_omp_threads)(int);
};

/// @throws Unavailable  if the library cannot be opened or lacks a function
OneDnnApi open_onednn(const std::string& path);

/// Throws unless `status` is success: "oneDNN fails to `doing`".
void check(dnnl_status_t status, const char* doing);

/// Owns one of oneDNN's objects.
template <typename Object>
struct Owned {
  using Destroy = dnnl_status_t (*)(Object*);
  struct Deleter {
    Destroy destroy;
    void operator()(Object* object) const { destroy(object); }
  };
  using Pointer = std::unique_ptr<Object, Deleter>;

  /// What `create`, given the address of a pointer, makes.
  template <typename Create>
  static Pointer make(Destroy destroy, const char* doing, const Create& create) {
    Object* object = nullptr;
    check(create(&object), doing);
    return Pointer(object, {destroy});
  }
};
using Engine = Owned<dnnl_engine>;
using Stream = Owned<dnnl_stream>;
using Desc = Owned<dnnl_memory_desc>;
using Memory = Owned<dnnl_memory>;
using Attributes = Owned<dnnl_primitive_attr>;
using PrimitiveDesc = Owned<dnnl_primitive_desc>;
using Primitive = Owned<dnnl_primitive>;

}  // namespace candela::cpu
