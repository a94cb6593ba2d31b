#include "weights/safetensors.h"

#include <gtest/gtest.h>

#include "files.h"
#include "weights/writer.h"

namespace candela {
namespace {

using test::bytes_of;
using test::expect_error;
using test::little;
using test::safetensors_file;

constexpr std::string_view kName = "broken.safetensors";

Safetensors parse(const std::string& file) {
  const std::vector<std::byte> bytes = bytes_of(file);
  return parse_safetensors(bytes, kName);
}

/// The header of one F32 tensor "a" of two elements with another shape and other offsets.
std::string one(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"a":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets +
         "}}";
}

TEST(Safetensors, ReadsWhatTheHeaderSays) {
  const std::string header = R"({"__metadata__":{"format":"pt"},)"
                             R"("b":{"dtype":"BF16","shape":[3],"data_offsets":[8,14]},)"
                             R"("a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},)"
                             R"("empty":{"dtype":"I64","shape":[0,7],"data_offsets":[8,8]},)"
                             R"("flag":{"dtype":"BOOL","shape":[],"data_offsets":[14,15]}}   )";
  const std::vector<std::byte> file =
      bytes_of(little<uint64_t>(header.size()) + header + "0123456789abcde");
  const Safetensors read = parse_safetensors(file, kName);
  ASSERT_EQ(read.tensors.size(), 4u);
  EXPECT_EQ(read.metadata, (std::vector<std::pair<std::string, std::string>>{{"format", "pt"}}));
  EXPECT_EQ(read.tensors[0].name, "a");
  EXPECT_EQ(read.tensors[0].dtype, DType::F32);
  EXPECT_EQ(read.tensors[0].shape, (Shape{1, 2}));
  EXPECT_EQ(read.tensors[0].bytes.data(), file.data() + 8 + header.size());
  EXPECT_EQ(read.tensors[1].name, "empty");
  EXPECT_EQ(read.tensors[1].bytes.size(), 0u);
  EXPECT_EQ(read.tensors[2].name, "b");
  EXPECT_EQ(static_cast<char>(read.tensors[2].bytes[0]), '8');
  EXPECT_EQ(read.tensors[3].dtype, DType::U8);
  EXPECT_EQ(read.tensors[3].shape, Shape{});
  EXPECT_EQ(read.tensors[3].file, kName);
}

struct Malformed {
  const char* what;
  std::string file;
  const char* message;
  ErrorKind kind = ErrorKind::CorruptData;
};

std::vector<Malformed> malformed_headers() {
  const std::string good = R"("a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]})";
  const auto f = safetensors_file;
  std::string deep = R"({"a":)" + std::string(100'000, '[') + std::string(100'000, ']') + "}";
  return {
      {"empty", "", "has 0 bytes"},
      {"short", "1234567", "has 7 bytes"},
      {"no header", little<uint64_t>(0), "does not begin with '{'"},
      {"header longer than file", little<uint64_t>(9) + "{}", "claims 9 bytes"},
      {"header over 100 MB", little<uint64_t>(100'000'001) + "{}", "at most 100000000"},
      {"header 2^63", little<uint64_t>(uint64_t{1} << 63) + "{}", "9223372036854775808"},
      {"odd UTF-8", f("{\"a\xff\":1}", 0), "not valid JSON"},
      {"lone surrogate", f(R"({"\ud800":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})", 0),
       "not valid JSON"},
      {"list", f("[1]", 0), "does not begin with '{'"},
      {"text", f("\"x\"", 0), "does not begin with '{'"},
      {"unfinished", f("{\"a\":", 0), "not valid JSON"},
      {"garbage after", f("{} {}", 0), "not valid JSON"},
      {"deep", f(deep, 0), "not valid JSON"},
      {"entry no object", f(R"({"a":1})", 0), "Entry a"},
      {"metadata no object", f(R"({"__metadata__":1})", 0), "__metadata__"},
      {"metadata no text", f(R"({"__metadata__":{"x":1}})", 0), "'x'"},
      {"metadata twice", f(R"({"__metadata__":{},"__metadata__":{}})", 0), "twice"},
      {"name twice", f("{" + good + "," + good + "}", 8), "Tensor a stands twice"},
      {"dtype twice",
       f(R"({"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8), "once"},
      {"no shape", f(R"({"a":{"dtype":"F32","data_offsets":[0,8]}})", 8), "exactly once"},
      {"trailing bytes", f("{" + good + "}", 9), "1 bytes after its last tensor"},
      {"truncated", f("{" + good + "}", 7), "it is truncated"},
  };
}

std::vector<Malformed> malformed_tensors() {
  const auto f = safetensors_file;
  return {
      {"unknown dtype", f(one("F31", "[2]", "[0,8]"), 8), "unknown dtype 'F31'"},
      {"dtype number", f(R"({"a":{"dtype":1,"shape":[2],"data_offsets":[0,8]}})", 8), "dtype"},
      {"F64", f(one("F64", "[1]", "[0,8]"), 8), "Tensor a in broken.safetensors has dtype F64",
       ErrorKind::Unsupported},
      {"seven dimensions", f(one("U8", "[1,1,1,1,1,1,8]", "[0,8]"), 8), "dimensions",
       ErrorKind::Unsupported},
      {"shape overflow", f(one("F32", "[4294967296,4294967296]", "[0,8]"), 8), "2^63 bytes"},
      {"shape overflow by dtype", f(one("F32", "[4611686018427387905]", "[0,4]"), 4), "2^63"},
      {"overflow times zero", f(one("F32", "[9223372036854775807,2,0]", "[0,0]"), 0), "2^63"},
      {"negative dimension", f(one("F32", "[-2]", "[0,8]"), 8), "Dimension 0"},
      {"float dimension", f(one("F32", "[2.0]", "[0,8]"), 8), "Dimension 0"},
      {"dimension 2^63", f(one("U8", "[9223372036854775808]", "[0,8]"), 8), "Dimension 0"},
      {"dimension 2^64", f(one("U8", "[18446744073709551616]", "[0,8]"), 8), "not valid JSON"},
      {"dimension text", f(one("F32", "[\"2\"]", "[0,8]"), 8), "Dimension 0"},
      {"shape no list", f(one("F32", "2", "[0,8]"), 8), "not a list"},
      {"offsets reversed", f(one("F32", "[2]", "[8,0]"), 8), "ends before it"},
      {"offsets negative", f(one("F32", "[2]", "[-8,0]"), 8), "two integers"},
      {"offsets one", f(one("F32", "[2]", "[8]"), 8), "two integers"},
      {"offsets three", f(one("F32", "[2]", "[0,8,8]"), 8), "two integers"},
      {"offsets float", f(one("F32", "[2]", "[0.0,8]"), 8), "two integers"},
      {"past the end", f(one("U8", "[9]", "[0,9]"), 8), "ends at data byte 9"},
      {"far past the end", f(one("U8", "[4611686018427387904]", "[0,4611686018427387904]"), 8),
       "truncated"},
      {"bytes do not match", f(one("F32", "[3]", "[0,8]"), 8), "takes 12 bytes"},
      {"gap at the start", f(one("U8", "[4]", "[4,8]"), 8), "there is a gap"},
      {"gap",
       f(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
         R"("b":{"dtype":"U8","shape":[2],"data_offsets":[4,6]}})",
         6),
       "there is a gap"},
      {"overlap",
       f(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)"
         R"("b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}})",
         6),
       "they overlap"},
      {"same bytes",
       f(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)"
         R"("b":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})",
         4),
       "overlap"},
  };
}

TEST(Safetensors, RefusesMalformedHeaders) {
  for (const Malformed& bad : malformed_headers()) {
    SCOPED_TRACE(bad.what);
    expect_error(bad.kind, bad.message, [&] { parse(bad.file); });
  }
}

TEST(Safetensors, RefusesMalformedTensors) {
  for (const Malformed& bad : malformed_tensors()) {
    SCOPED_TRACE(bad.what);
    expect_error(bad.kind, bad.message, [&] { parse(bad.file); });
  }
}

TEST(Safetensors, EveryTruncationIsAnError) {
  const std::string whole =
      safetensors_file(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8);
  EXPECT_EQ(parse(whole).tensors.size(), 1u);
  for (size_t size = 0; size < whole.size(); ++size) {
    SCOPED_TRACE(size);
    expect_error(ErrorKind::CorruptData, kName, [&] { parse(whole.substr(0, size)); });
  }
}

TEST(Safetensors, AMillionEntriesAreRead) {
  std::string header = "{";
  constexpr int kCount = 1'000'000;
  for (int i = 0; i < kCount; ++i) {
    header += (i == 0 ? "\"" : ",\"") + std::to_string(i) +
              R"(":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
  }
  EXPECT_EQ(parse(safetensors_file(header + "}", 0)).tensors.size(), size_t{kCount});
}

TEST(SafetensorsWriter, WritesOrderedAndAligned) {
  SafetensorsWriter writer;
  writer.add("z", HostArray{DType::U8, {3}, bytes_of("xyz")});
  writer.add("m.\"quoted\"", HostArray{DType::BF16, {1, 2}, bytes_of("abcd")});
  writer.add("a", HostArray{DType::F32, {1}, bytes_of("1234")});
  writer.add("k", HostArray{DType::I64, {}, bytes_of("12345678")});
  writer.set_metadata("format", "pt");
  const std::vector<std::byte> file = writer.encode();
  const Safetensors read = parse_safetensors(file, "written");
  ASSERT_EQ(read.tensors.size(), 4u);
  EXPECT_EQ(read.metadata.at(0).second, "pt");
  const char* const order[] = {"k", "a", "m.\"quoted\"", "z"};
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(read.tensors[i].name, order[i]);
    const auto offset = static_cast<size_t>(read.tensors[i].bytes.data() - file.data());
    EXPECT_EQ(offset % static_cast<size_t>(block_bytes(read.tensors[i].dtype)), 0u);
  }
  EXPECT_EQ(read.tensors[0].bytes.data() - file.data() - 0,
            static_cast<std::ptrdiff_t>((file.size() - 19)));
  EXPECT_EQ(std::memcmp(read.tensors[3].bytes.data(), "xyz", 3), 0);
}

TEST(SafetensorsWriter, RefusesWhatAFileCannotHold) {
  SafetensorsWriter writer;
  writer.add("a", HostArray{DType::U8, {1}, bytes_of("x")});
  expect_error(ErrorKind::InvalidArgument, "taken already",
               [&] { writer.add("a", HostArray{DType::U8, {1}, bytes_of("x")}); });
  expect_error(ErrorKind::InvalidArgument, "takes 8 bytes",
               [&] { writer.add("b", HostArray{DType::F32, {2}, bytes_of("x")}); });
  expect_error(ErrorKind::Unsupported, "block format",
               [&] { writer.add("q", HostArray{DType::Q8_0, {32}, std::vector<std::byte>(34)}); });
  writer.add("bad \xff", HostArray{DType::U8, {1}, bytes_of("x")});
  expect_error(ErrorKind::InvalidArgument, "UTF-8", [&] { (void)writer.encode(); });
  expect_error(ErrorKind::Io, "/nowhere/at/all",
               [] { write_file_atomically("/nowhere/at/all", {}); });
}

}  // namespace
}  // namespace candela
