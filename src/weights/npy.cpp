#include "weights/npy.h"

#include <array>
#include <charconv>
#include <cstring>

#include "base/error.h"
#include "base/mapped_file.h"
#include "weights/writer.h"

namespace candela {

namespace {

constexpr std::string_view kMagic = "\x93NUMPY";

struct NpyType {
  std::string_view descr;
  DType dtype;
};

// The first entry of a dtype is the one written.
constexpr NpyType kTypes[] = {{"<f4", DType::F32}, {"<f2", DType::F16}, {"<u2", DType::BF16},
                              {"|u1", DType::U8},  {"|b1", DType::U8},  {"<i4", DType::I32},
                              {"<u4", DType::U32}, {"<i8", DType::I64}};

/// Takes the header apart, e.g. {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }
class HeaderReader {
 public:
  HeaderReader(std::string_view text, std::string_view file) : text_(text), file_(file) {}

  /// Skips blanks, then takes `token` if it comes next.
  bool accept(std::string_view token) {
    const size_t at = text_.find_first_not_of(" \t\r\n");
    text_.remove_prefix(at == text_.npos ? text_.size() : at);
    if (!text_.starts_with(token)) {
      return false;
    }
    text_.remove_prefix(token.size());
    return true;
  }

  void expect(std::string_view token) {
    if (!accept(token)) {
      bad();
    }
  }

  std::string_view quoted() {
    const char quote = accept("'") ? '\'' : (expect("\""), '"');
    const size_t end = text_.find(quote);
    if (end == text_.npos) {
      bad();
    }
    const std::string_view inside = text_.substr(0, end);
    text_.remove_prefix(end + 1);
    return inside;
  }

  int64_t size() {
    accept("");
    int64_t value = 0;
    const auto [end, error] = std::from_chars(text_.data(), text_.data() + text_.size(), value);
    if (error != std::errc() || value < 0) {
      bad();
    }
    text_.remove_prefix(static_cast<size_t>(end - text_.data()));
    return value;
  }

  Shape shape() {
    std::array<int64_t, kMaxRank> sizes{};
    size_t rank = 0;
    expect("(");
    while (!accept(")")) {
      if (rank == kMaxRank) {
        fail(ErrorKind::Unsupported, Subject::Input,
             "{} has more than the {} dimensions that candela supports.", file_, kMaxRank);
      }
      sizes[rank++] = size();
      if (!accept(",")) {
        expect(")");
        break;
      }
    }
    return Shape(std::span<const int64_t>(sizes.data(), rank));
  }

  [[noreturn]] void bad() const {
    fail(ErrorKind::CorruptData, Subject::Input, "The header of {} is not one that numpy writes.",
         file_);
  }

 private:
  std::string_view text_, file_;
};

DType dtype_of(std::string_view descr, std::string_view file) {
  for (const NpyType& type : kTypes) {
    if (type.descr == descr) {
      return type.dtype;
    }
  }
  fail(ErrorKind::Unsupported, Subject::Input,
       "{} has dtype '{}'; candela reads <f4, <f2, <u2 (as BF16), <i4, <u4, <i8, |u1 and |b1.",
       file, descr);
}

HostArray read_header(std::string_view text, std::string_view file) {
  HeaderReader in(text, file);
  HostArray array;
  int descrs = 0, orders = 0, shapes = 0;
  in.expect("{");
  while (!in.accept("}")) {
    const std::string_view key = in.quoted();
    in.expect(":");
    if (key == "descr") {
      array.dtype = dtype_of(in.quoted(), file);
      ++descrs;
    } else if (key == "fortran_order") {
      if (in.accept("True")) {
        fail(ErrorKind::Unsupported, Subject::Input,
             "{} is in Fortran order; save it with numpy.ascontiguousarray.", file);
      }
      in.expect("False");
      ++orders;
    } else if (key == "shape") {
      array.shape = in.shape();
      ++shapes;
    } else {
      in.bad();
    }
    if (!in.accept(",")) {
      in.expect("}");
      break;
    }
  }
  if (descrs != 1 || orders != 1 || shapes != 1) {
    in.bad();
  }
  return array;
}

}  // namespace

HostArray parse_npy(HostPiece file, std::string_view name) {
  const auto truncated = [&] {
    fail(ErrorKind::CorruptData, Subject::Input, "{} ends inside its header.", name);
  };
  if (file.size() < kMagic.size() || std::memcmp(file.data(), kMagic.data(), kMagic.size()) != 0) {
    fail(ErrorKind::CorruptData, Subject::Input, "{} is no .npy file.", name);
  }
  if (file.size() < 10) {
    truncated();
  }
  const auto major = std::to_integer<int>(file[6]);
  if (major < 1 || major > 3) {
    fail(ErrorKind::Unsupported, Subject::Input, "{} has .npy version {}; 1 to 3 are known.", name,
         major);
  }
  uint32_t length = 0;
  const size_t length_bytes = major == 1 ? 2 : 4;
  const size_t start = 8 + length_bytes;
  if (file.size() < start) {
    truncated();
  }
  std::memcpy(&length, file.data() + 8, length_bytes);
  if (length > file.size() - start) {
    truncated();
  }
  const auto* text = reinterpret_cast<const char*>(file.data()) + start;
  HostArray array = read_header({text, length}, name);
  const HostPiece data = file.subspan(start + length);
  int64_t bytes = block_bytes(array.dtype);
  bool overflow = false;
  for (const int64_t dim : array.shape.dims()) {
    overflow |= __builtin_mul_overflow(bytes, dim, &bytes);
  }
  if (overflow || static_cast<uint64_t>(bytes) != data.size()) {
    fail(ErrorKind::CorruptData, Subject::Input,
         "{} is {} {}, which does not fit its {} bytes of data.", name, dtype_name(array.dtype),
         to_string(array.shape), data.size());
  }
  array.bytes.assign(data.begin(), data.end());
  return array;
}

std::vector<std::byte> encode_npy(const HostArray& array) {
  std::string_view descr;
  for (const NpyType& type : kTypes) {
    if (type.dtype == array.dtype && descr.empty()) {
      descr = type.descr;
    }
  }
  if (descr.empty()) {
    fail(ErrorKind::Unsupported, Subject::Usage, "numpy has no dtype for {}; dequantise it first.",
         dtype_name(array.dtype));
  }
  std::string dims;
  for (const int64_t dim : array.shape.dims()) {
    dims += fmt::format("{}{}", dims.empty() ? "" : ", ", dim);
  }
  dims += array.shape.rank() == 1 ? "," : "";
  std::string text =
      fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}", descr, dims);
  // Magic, version, length, text and newline together fill multiples of 64 bytes.
  text.append(63 - (kMagic.size() + 4 + text.size()) % 64, ' ');
  text += '\n';
  std::string head(kMagic);
  head +=
      {'\x01', '\x00', static_cast<char>(text.size() & 0xff), static_cast<char>(text.size() >> 8)};
  head += text;
  const auto* begin = reinterpret_cast<const std::byte*>(head.data());
  std::vector<std::byte> out(begin, begin + head.size());
  out.insert(out.end(), array.bytes.begin(), array.bytes.end());
  return out;
}

Tensor read_npy(const std::string& path, const Device& device) {
  const auto file = MappedFile::open(path);
  const HostArray array = parse_npy(file->bytes(), path);
  return Tensor::from_bytes(array.bytes, array.shape, array.dtype, device);
}

void write_npy(const std::string& path, const Tensor& tensor) {
  const HostArray array{tensor.dtype(), tensor.shape(), tensor.to_bytes()};
  write_file_atomically(path, encode_npy(array));
}

}  // namespace candela
