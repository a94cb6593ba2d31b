#pragma once

#include "backend/backend.h"

/// Small steps from which the default bodies of fused ops are put together. Each result lies in
/// fresh F32 memory; inputs broadcast by stride.
namespace candela::fused {

View unary(Backend& backend, UnaryKind kind, const View& x, float a = 0.0f, float b = 0.0f);
/// Inputs broadcast together.
View binary(Backend& backend, BinaryKind kind, const View& x1, const View& x2);
/// Over the last dimension, which stays with size 1.
View reduce(Backend& backend, ReduceKind kind, const View& x);
/// One number, to be broadcast.
View scalar(Backend& backend, float value);
/// A gapless copy in F32.
View to_f32(Backend& backend, const View& x);
/// Host numbers as U32 [n] on the device.
View upload_ids(Backend& backend, std::span<const uint32_t> ids);
/// The elements of a U32 view on the host; waits for the device.
std::vector<uint32_t> download_ids(Backend& backend, const View& ids);

/// `view` with another layout.
View with_layout(const View& view, const Layout& layout);
View narrow(const View& view, int axis, int64_t start, int64_t length);
/// Position `index` of axis 0, without that axis.
View select(const View& view, int64_t index);

}  // namespace candela::fused
