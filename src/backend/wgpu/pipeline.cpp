#include "backend/wgpu/pipeline.h"

#include <algorithm>

#include "backend/wgpu/context.h"
#include "backend/wgpu/shader.h"
#include "base/assert.h"
#include "base/log.h"

namespace candela::wgpu {
namespace {

constexpr log::Area kLog{"wgpu"};

uint64_t mix(uint64_t hash, std::string_view text) {
  return (hash ^ std::hash<std::string_view>()(text)) * UINT64_C(0x9e3779b97f4a7c15);
}

uint64_t hash_of(const KernelId& kernel, uint32_t layout_key) {
  uint64_t hash = mix(layout_key, kernel.name);
  for (const std::string& define : kernel.defines) {
    hash = mix(hash, define);
  }
  for (const auto& [name, text] : kernel.substitutions) {
    hash = mix(mix(hash, name), text);
  }
  return hash;
}

WGPUBindGroupLayoutEntry storage_entry(uint32_t binding, bool written) {
  WGPUBindGroupLayoutEntry entry{};
  entry.binding = binding;
  entry.visibility = WGPUShaderStage_Compute;
  entry.buffer.type =
      written ? WGPUBufferBindingType_Storage : WGPUBufferBindingType_ReadOnlyStorage;
  return entry;
}

/// Adds what holds for every kernel on this device: see Pipelines.
KernelId with_device_defines(Context& context, const KernelId& kernel) {
  KernelId full = unrolled(kernel);
  const auto add = [&](const char* name) {
    if (std::find(full.defines.begin(), full.defines.end(), name) == full.defines.end()) {
      full.defines.emplace_back(name);
    }
  };
  add(context.api().is_dawn() ? "DAWN" : "NATIVE");
  const Limits& limits = context.limits();
  if (limits.shader_f16) {
    add("F16");
  }
  if (limits.subgroup_min != 0 && limits.subgroup_min == limits.subgroup_max) {
    full.substitutions.emplace_back("SUBGROUP_SIZE", fmt::format("{}u", limits.subgroup_min));
  }
  return full;
}

}  // namespace

KernelId unrolled(const KernelId& kernel) {
  KernelId full{kernel.name, kernel.defines, kernel.substitutions};
  if (kernel.unroll) {
    kernel.unroll(full);
  }
  return full;
}

std::string describe(const KernelId& kernel) {
  std::string text = kernel.name;
  for (size_t i = 0; i < kernel.defines.size(); ++i) {
    text += (i == 0 ? " [" : " ") + kernel.defines[i];
  }
  return kernel.defines.empty() ? text : text + "]";
}

const Pipelines::Layout& Pipelines::layout(size_t operands, uint32_t written) {
  const uint32_t key = static_cast<uint32_t>(operands) << 16 | written;
  if (const auto found = layouts_.find(key); found != layouts_.end()) {
    return found->second;
  }
  std::vector<WGPUBindGroupLayoutEntry> entries;
  entries.reserve(operands + 1);
  for (uint32_t i = 0; i < operands; ++i) {
    entries.push_back(storage_entry(i, (written >> i & 1u) != 0));
  }
  WGPUBindGroupLayoutEntry params{};
  params.binding = static_cast<uint32_t>(operands);
  params.visibility = WGPUShaderStage_Compute;
  params.buffer.type = WGPUBufferBindingType_Uniform;
  params.buffer.hasDynamicOffset = 1;
  params.buffer.minBindingSize = 0;
  entries.push_back(params);

  const Api& api = context_.api();
  Layout made;
  context_.scoped(
      [&] {
        WGPUBindGroupLayoutDescriptor descriptor{};
        descriptor.entryCount = entries.size();
        descriptor.entries = entries.data();
        made.bindings = {api.DeviceCreateBindGroupLayout(context_.device(), &descriptor),
                         api.BindGroupLayoutRelease};
        WGPUPipelineLayoutDescriptor pipeline{};
        const WGPUBindGroupLayout bindings = made.bindings.get();
        pipeline.bindGroupLayoutCount = 1;
        pipeline.bindGroupLayouts = &bindings;
        made.pipeline = {api.DeviceCreatePipelineLayout(context_.device(), &pipeline),
                         api.PipelineLayoutRelease};
      },
      fmt::format("making the layout of {} bindings", entries.size()));
  return layouts_.emplace(key, std::move(made)).first->second;
}

std::unique_ptr<Pipeline> Pipelines::compile(const KernelId& kernel,
                                             size_t operands,
                                             uint32_t written) {
  const KernelId full = with_device_defines(context_, kernel);
  const ShaderText shader = context_.shaders().resolve(full);
  const Layout& bindings = layout(operands, written);
  const Api& api = context_.api();

  auto made = std::make_unique<Pipeline>();
  made->name = describe(kernel);
  made->param_bytes = params_bytes(shader.text, made->name);
  made->layout = bindings.bindings.get();
  made->layout_key = static_cast<uint32_t>(operands) << 16 | written;
  Handle<WGPUShaderModule> module;
  const std::string doing = "compiling the kernel " + made->name;
  try {
    context_.scoped(
        [&] {
          WGPUShaderSourceWGSL source{};
          source.chain.sType = WGPUSType_ShaderSourceWGSL;
          source.code = view_of(shader.text);
          WGPUShaderModuleDescriptor descriptor{};
          descriptor.nextInChain = &source.chain;
          descriptor.label = view_of(made->name);
          const bool trusted =
              api.DeviceCreateShaderModuleTrusted != nullptr && !context_.checked();
          module = {trusted ? api.DeviceCreateShaderModuleTrusted(context_.device(), &descriptor,
                                                                  WGPUShaderRuntimeChecks_None)
                            : api.DeviceCreateShaderModule(context_.device(), &descriptor),
                    api.ShaderModuleRelease};
        },
        doing);
    context_.scoped(
        [&] {
          WGPUComputePipelineDescriptor descriptor{};
          descriptor.label = view_of(made->name);
          descriptor.layout = bindings.pipeline.get();
          descriptor.compute.module = module.get();
          descriptor.compute.entryPoint = view_of("main");
          made->handle = {api.DeviceCreateComputePipeline(context_.device(), &descriptor),
                          api.ComputePipelineRelease};
        },
        doing);
  } catch (const Error& error) {
    throw Error(error.kind(), error.subject(), map_lines(error.what(), shader));
  }
  ++context_.counters().pipelines;
  log::debug(kLog, "kernel compiled", {{"kernel", made->name}});
  return made;
}

const Pipeline& Pipelines::get(const KernelId& kernel, size_t operands, uint32_t written) {
  const uint32_t layout_key = static_cast<uint32_t>(operands) << 16 | written;
  std::vector<Entry>& bucket = entries_[hash_of(kernel, layout_key)];
  for (const Entry& entry : bucket) {
    if (entry.layout_key == layout_key && entry.kernel == kernel.name &&
        entry.defines == kernel.defines && entry.substitutions == kernel.substitutions) {
      return *entry.pipeline;
    }
  }
  CANDELA_ASSERT(operands <= kMaxOperands, "a kernel has more than 8 storage bindings");
  auto compiled = compile(kernel, operands, written);
  bucket.push_back(
      {kernel.defines, kernel.substitutions, kernel.name, layout_key, std::move(compiled)});
  return *bucket.back().pipeline;
}

}  // namespace candela::wgpu
