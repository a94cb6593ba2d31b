#include "backend/wgpu/bind_groups.h"

#include <algorithm>
#include <unordered_set>

#include "backend/wgpu/context.h"

namespace candela::wgpu {
namespace {

/// A prompt makes some thousands; more are only kept alive by accident.
constexpr size_t kMaxGroups = 16384;

}  // namespace

BindGroups::BindGroups(Context& context, BufferPtr params)
    : context_(context), params_(std::move(params)) {}

size_t BindGroups::Hash::operator()(const Key& key) const {
  uint64_t hash = key.layout;
  for (const uint64_t id : key.buffers) {
    hash = (hash ^ id) * UINT64_C(0x9e3779b97f4a7c15);
    hash ^= hash >> 29;
  }
  return static_cast<size_t>(hash);
}

WGPUBindGroup BindGroups::get(const Pipeline& pipeline, std::span<const Operand> operands) {
  Key key;
  key.layout = pipeline.layout_key;
  for (size_t i = 0; i < operands.size(); ++i) {
    key.buffers[i] = operands[i].buffer->id();
  }
  if (const auto found = groups_.find(key); found != groups_.end()) {
    return found->second.get();
  }
  if (groups_.size() >= kMaxGroups) {
    groups_.clear();  // recorded work keeps the ones it uses
  }
  return groups_.emplace(key, make(pipeline, operands)).first->second.get();
}

Handle<WGPUBindGroup> BindGroups::make(const Pipeline& pipeline,
                                       std::span<const Operand> operands) {
  std::array<WGPUBindGroupEntry, kMaxOperands + 1> entries{};
  for (size_t i = 0; i < operands.size(); ++i) {
    entries[i].binding = static_cast<uint32_t>(i);
    entries[i].buffer = operands[i].buffer->get();
    entries[i].size = WGPU_WHOLE_SIZE;
  }
  WGPUBindGroupEntry& params = entries[operands.size()];
  params.binding = static_cast<uint32_t>(operands.size());
  params.buffer = params_->get();
  params.size = kParamSlot;

  WGPUBindGroupDescriptor descriptor{};
  descriptor.label = view_of(pipeline.name);
  descriptor.layout = pipeline.layout;
  descriptor.entryCount = operands.size() + 1;
  descriptor.entries = entries.data();
  Handle<WGPUBindGroup> group;
  const auto create = [&] {
    group = {context_.api().DeviceCreateBindGroup(context_.device(), &descriptor),
             context_.api().BindGroupRelease};
  };
  if (context_.checked()) {
    context_.scoped(create, "binding the buffers of kernel " + pipeline.name);
  } else {
    create();
  }
  ++context_.counters().bind_groups;
  return group;
}

void BindGroups::forget(std::span<const uint64_t> buffer_ids) {
  if (buffer_ids.empty()) {
    return;
  }
  const std::unordered_set<uint64_t> gone(buffer_ids.begin(), buffer_ids.end());
  std::erase_if(groups_, [&](const auto& entry) {
    return std::any_of(entry.first.buffers.begin(), entry.first.buffers.end(),
                       [&](uint64_t id) { return gone.contains(id); });
  });
}

}  // namespace candela::wgpu
