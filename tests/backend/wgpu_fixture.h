#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backend/wgpu/wgpu_backend.h"
#include "base/bf16.h"
#include "base/error.h"

namespace candela::wgpu {

/// One checked device for all tests of this program: opening one costs more than most tests.
inline WgpuBackend& test_backend() {
  static WgpuBackend backend([] {
    WgpuOptions options;
    options.checked = true;
    return options;
  }());
  return backend;
}

inline View make_view(WgpuBackend& backend, const Shape& shape, DType dtype) {
  const auto bytes = static_cast<uint64_t>(dtype_bytes(dtype, shape.elements()));
  const auto unit = static_cast<uint64_t>(block_bytes(dtype));
  return {backend.allocate(bytes, unit, "test"), Layout(shape), dtype};
}

template <typename T>
View put(WgpuBackend& backend, const Shape& shape, DType dtype, const std::vector<T>& values) {
  const View view = make_view(backend, shape, dtype);
  backend.upload(view.storage, 0, std::as_bytes(std::span(values)));
  return view;
}

/// The storage's bytes from its start, as elements of T.
template <typename T>
std::vector<T> get(WgpuBackend& backend, const View& view) {
  std::vector<T> values(view.storage->bytes() / sizeof(T));
  backend.download(view.storage, 0, std::as_writable_bytes(std::span(values)));
  return values;
}

/// Runs `body` and expects an Error of this kind whose text contains `part`.
template <typename Body>
void expect_error(ErrorKind kind, const std::string& part, Body&& body) {
  try {
    body();
    ADD_FAILURE() << "no error; expected one with: " << part;
  } catch (const Error& error) {
    EXPECT_EQ(static_cast<int>(error.kind()), static_cast<int>(kind)) << error.what();
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

}  // namespace candela::wgpu
