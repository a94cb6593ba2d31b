#include "cli/trace_slice.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <string_view>

#include "base/error.h"

namespace candela::cli {

namespace {

struct Range {
  int64_t start = 0, stop = 0, step = 1;
  int64_t count() const { return stop <= start ? 0 : (stop - start + step - 1) / step; }
};

[[noreturn]] void bad_slice(std::string_view text) {
  fail(ErrorKind::CorruptData, Subject::Input, "\"{}\" is no slice such as \"::4, :\".", text);
}

int64_t number_or(std::string_view text, int64_t fallback, std::string_view all) {
  if (text.empty()) {
    return fallback;
  }
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) {
    bad_slice(all);
  }
  return value;
}

std::string_view trimmed(std::string_view text) {
  const size_t begin = std::min(text.find_first_not_of(' '), text.size());
  const size_t end = text.find_last_not_of(' ');
  return text.substr(begin, end == std::string_view::npos ? 0 : end + 1 - begin);
}

/// The next part of `rest` up to `mark`, which is dropped.
std::string_view next_part(std::string_view& rest, char mark) {
  const size_t at = std::min(rest.find(mark), rest.size());
  const std::string_view part = trimmed(rest.substr(0, at));
  rest.remove_prefix(std::min(at + 1, rest.size()));
  return part;
}

Range parse_range(std::string_view text, int64_t size) {
  std::string_view rest = text;
  if (text.find(':') == std::string_view::npos) {
    bad_slice(text);
  }
  Range range;
  range.start = std::min(number_or(next_part(rest, ':'), 0, text), size);
  range.stop = std::min(number_or(next_part(rest, ':'), size, text), size);
  range.step = number_or(next_part(rest, ':'), 1, text);
  if (range.step == 0) {
    bad_slice(text);
  }
  return range;
}

}  // namespace

HostArray slice_array(const HostArray& array, const std::string& slices) {
  const Layout layout(array.shape);
  std::vector<Range> ranges;
  Shape shape = array.shape;
  std::string_view rest = slices;
  for (int axis = 0; axis < array.shape.rank(); ++axis) {
    const std::string_view part = rest.empty() ? std::string_view(":") : next_part(rest, ',');
    ranges.push_back(parse_range(part, array.shape[axis]));
    shape[axis] = ranges.back().count();
  }
  if (!rest.empty()) {
    bad_slice(slices);
  }
  const auto element = static_cast<size_t>(block_bytes(array.dtype));
  HostArray out{array.dtype, shape, {}};
  out.bytes.resize(static_cast<size_t>(shape.elements()) * element);
  const Layout walk(shape);
  for (int64_t i = 0; i < shape.elements(); ++i) {
    int64_t from = 0;
    for (int axis = 0; axis < shape.rank(); ++axis) {
      const int64_t at = i / walk.stride(axis) % shape[axis];
      const Range& range = ranges[static_cast<size_t>(axis)];
      from += (range.start + at * range.step) * layout.stride(axis);
    }
    std::memcpy(out.bytes.data() + static_cast<size_t>(i) * element,
                array.bytes.data() + static_cast<size_t>(from) * element, element);
  }
  return out;
}

HostArray to_host(const Tensor& tensor) {
  return {tensor.dtype(), tensor.shape(), tensor.to_bytes()};
}

HostArray float_array(const std::vector<float>& values, const Shape& shape) {
  HostArray out{DType::F32, shape, std::vector<std::byte>(values.size() * sizeof(float))};
  std::memcpy(out.bytes.data(), values.data(), out.bytes.size());
  return out;
}

HostArray integer_array(const std::vector<int64_t>& values, const Shape& shape) {
  HostArray out{DType::I64, shape, std::vector<std::byte>(values.size() * sizeof(int64_t))};
  std::memcpy(out.bytes.data(), values.data(), out.bytes.size());
  return out;
}

}  // namespace candela::cli
