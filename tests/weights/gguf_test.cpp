#include "weights/gguf.h"

#include <gtest/gtest.h>

#include <cmath>

#include "files.h"

namespace candela {
namespace {

using test::bytes_of;
using test::expect_error;
using test::little;

std::string text(std::string_view value) {
  return little<uint64_t>(value.size()) + std::string(value);
}

/// A metadata entry: key, type, value bytes.
std::string entry(std::string_view key, uint32_t type, const std::string& value) {
  return text(key) + little(type) + value;
}

std::string tensor(std::string_view name,
                   const std::vector<uint64_t>& ne,
                   uint32_t type,
                   uint64_t offset) {
  std::string out = text(name) + little(static_cast<uint32_t>(ne.size()));
  for (const uint64_t size : ne) {
    out += little(size);
  }
  return out + little(type) + little(offset);
}

/// A file with a header of these entries and `data` bytes after the alignment's padding.
std::string gguf(const std::vector<std::string>& values,
                 const std::vector<std::string>& tensors,
                 size_t data,
                 size_t alignment = 32,
                 uint32_t version = 3) {
  std::string out =
      "GGUF" + little(version) + little<uint64_t>(tensors.size()) + little<uint64_t>(values.size());
  for (const std::string& part : values) {
    out += part;
  }
  for (const std::string& part : tensors) {
    out += part;
  }
  out.resize((out.size() + alignment - 1) / alignment * alignment);
  return out + std::string(data, '\1');
}

constexpr std::string_view kName = "x.gguf";

void expect_corrupt(std::string_view message,
                    const std::string& file,
                    ErrorKind kind = ErrorKind::CorruptData) {
  SCOPED_TRACE(message);
  expect_error(kind, message, [&] { parse_gguf(bytes_of(file), kName); });
}

std::string strings(const std::vector<std::string>& items) {
  std::string out = little<uint32_t>(8) + little<uint64_t>(items.size());
  for (const std::string& item : items) {
    out += text(item);
  }
  return out;
}

TEST(Gguf, ReadsEveryKindOfValue) {
  const std::vector<std::byte> file = bytes_of(gguf(
      {entry("u8", 0, little<uint8_t>(200)), entry("i8", 1, little<int8_t>(-3)),
       entry("u16", 2, little<uint16_t>(60000)), entry("i16", 3, little<int16_t>(-30000)),
       entry("u32", 4, little<uint32_t>(4000000000u)), entry("i32", 5, little<int32_t>(-5)),
       entry("f32", 6, little(1.5f)), entry("yes", 7, "\1"), entry("name", 8, text("h\xc3\xa9")),
       entry("words", 9, strings({"a", "", "bc"})), entry("u64", 10, little(~uint64_t{0})),
       entry("i64", 11, little<int64_t>(-7)), entry("f64", 12, little(-0.25)),
       entry("numbers", 9, little<uint32_t>(5) + little<uint64_t>(2) + little(-1) + little(9)),
       entry("floats", 9, little<uint32_t>(6) + little<uint64_t>(1) + little(0.5f))},
      {}, 0));
  const Gguf read = parse_gguf(file, kName);
  const GgufMetadata& m = read.metadata;
  EXPECT_EQ(read.version, 3u);
  EXPECT_EQ(m.values().size(), 15u);
  EXPECT_EQ(m.get_u64("u8"), 200u);
  EXPECT_EQ(m.get_i64("i8"), -3);
  EXPECT_EQ(m.get_u64("u16"), 60000u);
  EXPECT_EQ(m.get_i64("i16"), -30000);
  EXPECT_EQ(m.get_i64("u32"), 4000000000);
  EXPECT_EQ(m.get_f64("i32"), -5.0);
  EXPECT_EQ(m.get_f64("f32"), 1.5);
  EXPECT_TRUE(m.get_bool("yes"));
  EXPECT_EQ(m.get_string("name"), "h\xc3\xa9");
  EXPECT_EQ(m.get_string_array("words"), (std::vector<std::string_view>{"a", "", "bc"}));
  EXPECT_EQ(m.get_u64("u64"), ~uint64_t{0});
  EXPECT_EQ(m.get_i64("i64"), -7);
  EXPECT_EQ(m.get_f64("f64"), -0.25);
  EXPECT_EQ(m.get_i64_array("numbers"), (std::vector<int64_t>{-1, 9}));
  EXPECT_EQ(m.get_f64_array("floats"), (std::vector<double>{0.5}));
  EXPECT_FALSE(m.contains("nothing"));
}

TEST(Gguf, WrongTypesAndMissingKeysAreNamed) {
  const std::vector<std::byte> file =
      bytes_of(gguf({entry("name", 8, text("x")), entry("n", 5, little(-1)),
                     entry("big", 10, little(~uint64_t{0}))},
                    {}, 0));
  const Gguf read = parse_gguf(file, kName);
  const GgufMetadata& m = read.metadata;
  expect_error(ErrorKind::NotFound, "x.gguf lacks the metadata llama.block_count",
               [&] { (void)m.get_u64("llama.block_count"); });
  expect_error(ErrorKind::CorruptData, "name of x.gguf", [&] { (void)m.get_u64("name"); });
  expect_error(ErrorKind::CorruptData, "not negative", [&] { (void)m.get_u64("n"); });
  expect_error(ErrorKind::CorruptData, "below 2^63", [&] { (void)m.get_i64("big"); });
  expect_error(ErrorKind::CorruptData, "a string", [&] { (void)m.get_string("n"); });
  expect_error(ErrorKind::CorruptData, "a boolean", [&] { (void)m.get_bool("n"); });
  expect_error(ErrorKind::CorruptData, "a number", [&] { (void)m.get_f64("name"); });
  expect_error(ErrorKind::CorruptData, "an array", [&] { (void)m.get_string_array("name"); });
}

TEST(Gguf, ReadsTensorsInRowMajorOrder) {
  // Q4_1: 20 bytes for 32 weights; [64, 3] has 3 rows of 2 blocks = 120 bytes, padded to 128.
  const std::vector<std::byte> file = bytes_of(gguf(
      {}, {tensor("b", {5}, 0, 128), tensor("a", {64, 3}, 3, 0), tensor("scalar", {}, 30, 160)},
      162));
  const Gguf read = parse_gguf(file, kName);
  ASSERT_EQ(read.tensors.size(), 3u);
  EXPECT_EQ(read.tensors[0].name, "a");
  EXPECT_EQ(read.tensors[0].dtype, DType::Q4_1);
  EXPECT_EQ(read.tensors[0].shape, (Shape{3, 64}));
  EXPECT_EQ(read.tensors[0].bytes.size(), 120u);
  EXPECT_EQ(static_cast<size_t>(read.tensors[0].bytes.data() - file.data()), file.size() - 162);
  EXPECT_EQ(read.tensors[1].shape, (Shape{5}));
  EXPECT_EQ(read.tensors[2].dtype, DType::BF16);
  EXPECT_EQ(read.tensors[2].shape, Shape{});
}

TEST(Gguf, AlignmentComesFromTheMetadata) {
  const std::string align = entry("general.alignment", 4, little<uint32_t>(64));
  const std::vector<std::byte> file =
      bytes_of(gguf({align}, {tensor("a", {1}, 0, 0), tensor("b", {1}, 0, 64)}, 68, 64));
  const Gguf read = parse_gguf(file, kName);
  EXPECT_EQ(read.alignment, 64u);
  EXPECT_EQ(static_cast<size_t>(read.tensors[1].bytes.data() - file.data()), file.size() - 4);
  EXPECT_EQ(parse_gguf(bytes_of(gguf({}, {}, 0, 32, 2)), kName).version, 2u);
}

TEST(Gguf, RefusesMalformedHeaders) {
  const auto counts = [](uint64_t tensors, uint64_t values) {
    return "GGUF" + little<uint32_t>(3) + little(tensors) + little(values);
  };
  expect_corrupt("does not begin", "");
  expect_corrupt("does not begin", "GGML1234");
  expect_corrupt("ends inside its header", "GGUF\3");
  for (const uint32_t version : {0u, 1u, 4u, 99u}) {
    expect_corrupt("GGUF version " + std::to_string(version), gguf({}, {}, 0, 32, version),
                   ErrorKind::Unsupported);
  }
  expect_corrupt("big-endian", gguf({}, {}, 0, 32, 0x03000000u), ErrorKind::Unsupported);
  expect_corrupt("9223372036854775808", counts(uint64_t{1} << 63, 0));
  expect_corrupt("18446744073709551615", counts(~uint64_t{0}, 0));
  expect_corrupt("9223372036854775808", counts(0, uint64_t{1} << 63));
  expect_corrupt("number of tensors", counts(3, 0) + std::string(40, 'x'));
  expect_corrupt("metadata key of x.gguf has 0 bytes", gguf({entry("", 0, "x")}, {}, 0));
  expect_corrupt("ends inside its header",
                 counts(0, 1) + little<uint64_t>(1'000'000'000) + std::string(64, 'k'));
  expect_corrupt("has 70000 bytes", gguf({entry(std::string(70'000, 'k'), 0, "x")}, {}, 0));
  expect_corrupt("not valid UTF-8", gguf({entry("k\xff", 0, "x")}, {}, 0));
  expect_corrupt("unknown type 13", gguf({entry("k", 13, "x")}, {}, 0));
  expect_corrupt("boolean with the value 2", gguf({entry("k", 7, "\2")}, {}, 0));
  expect_corrupt("k stands twice", gguf({entry("k", 0, "x"), entry("k", 0, "x")}, {}, 0));
  const uint64_t huge = uint64_t{1} << 60;
  expect_corrupt("array length", gguf({entry("k", 9, little<uint32_t>(4) + little(huge))}, {}, 64));
  expect_corrupt("array length", gguf({entry("k", 9, little<uint32_t>(8) + little(huge))}, {}, 64));
  expect_corrupt("unknown type 77",
                 gguf({entry("k", 9, little<uint32_t>(77) + little<uint64_t>(1))}, {}, 64));
  expect_corrupt("array of arrays",
                 gguf({entry("k", 9, little<uint32_t>(9) + little<uint64_t>(1))}, {}, 64),
                 ErrorKind::Unsupported);
}

TEST(Gguf, RefusesMalformedAlignment) {
  for (const uint32_t value : {0u, 3u, 33u}) {
    expect_corrupt("power of two",
                   gguf({entry("general.alignment", 4, little<uint32_t>(value))}, {}, 0));
  }
  expect_corrupt("not a u32", gguf({entry("general.alignment", 10, little<uint64_t>(32))}, {}, 0));
  expect_corrupt("not a u32", gguf({entry("general.alignment", 8, text("32"))}, {}, 0));
}

TEST(Gguf, RefusesMalformedTensors) {
  const auto bad = [](std::string_view message, const std::vector<std::string>& tensors,
                      size_t data, ErrorKind kind = ErrorKind::CorruptData) {
    expect_corrupt(message, gguf({}, tensors, data), kind);
  };
  bad("tensor name of x.gguf has 65 bytes", {tensor(std::string(65, 'n'), {1}, 0, 0)}, 4);
  bad("tensor name of x.gguf has 0 bytes", {tensor("", {1}, 0, 0)}, 4);
  bad("has 5 dimensions", {tensor("t", {1, 1, 1, 1, 1}, 0, 0)}, 4);
  bad("Dimension 1 of tensor t", {tensor("t", {1, 0}, 0, 0)}, 4);
  bad("Dimension 0 of tensor t", {tensor("t", {uint64_t{1} << 63}, 0, 0)}, 4);
  bad("2^63 bytes", {tensor("t", {uint64_t{1} << 32, uint64_t{1} << 32}, 0, 0)}, 4);
  bad("2^63 bytes", {tensor("t", {uint64_t{1} << 62}, 0, 0)}, 4);
  bad("2^63 bytes", {tensor("t", {uint64_t{1} << 62, 2}, 2, 0)}, 4);
  bad("unknown type 4", {tensor("t", {1}, 4, 0)}, 4);
  bad("unknown type 1000", {tensor("t", {1}, 1000, 0)}, 4);
  bad("Tensor t in x.gguf has type Q6_K", {tensor("t", {256}, 14, 0)}, 210, ErrorKind::Unsupported);
  bad("no multiple of a Q8_0 block", {tensor("t", {33}, 8, 0)}, 68);
  bad("no multiple of a Q4_0 block", {tensor("t", {16, 2}, 2, 0)}, 18);
  bad("no multiple of the alignment", {tensor("t", {1}, 0, 4)}, 8);
  bad("truncated", {tensor("t", {2}, 0, 0)}, 7);
  bad("truncated", {tensor("t", {2}, 0, 64)}, 64);
  bad("truncated", {tensor("t", {2}, 0, ~uint64_t{31})}, 64);
  bad("the tensor before it ends at 40", {tensor("a", {10}, 0, 0), tensor("b", {1}, 0, 32)}, 40);
  bad("the tensor before it", {tensor("a", {1}, 0, 0), tensor("b", {1}, 0, 0)}, 40);
  bad("Tensor a stands", {tensor("a", {1}, 0, 0), tensor("a", {1}, 0, 32)}, 40);
}

TEST(Gguf, EveryTruncationIsAnError) {
  const std::string whole =
      gguf({entry("words", 9, strings({"a", "bc"})), entry("f", 6, little(1.0f))},
           {tensor("t", {32, 2}, 8, 0)}, 68);
  EXPECT_EQ(parse_gguf(bytes_of(whole), kName).tensors.size(), 1u);
  for (size_t size = 0; size < whole.size(); ++size) {
    SCOPED_TRACE(size);
    expect_error(ErrorKind::CorruptData, kName,
                 [&] { parse_gguf(bytes_of(whole.substr(0, size)), kName); });
  }
}

TEST(Gguf, ReadsTheDemoModel) {
  const std::string path =
      std::string(CANDELA_DEPS_DIR) + "/models/SmolLM2-135M-Instruct.Q4_1.gguf";
  ASSERT_TRUE(std::filesystem::exists(path)) << path << " is missing; run scripts/setup test";
  const auto file = GgufFile::open(path);
  EXPECT_EQ(file->tensors().size(), 272u);
  EXPECT_EQ(file->metadata().values().size(), 33u);
  EXPECT_EQ(file->metadata().get_string("tokenizer.ggml.pre"), "smollm");
  EXPECT_EQ(file->metadata().get_u64("llama.block_count"), 30u);
  EXPECT_EQ(file->metadata().get_string_array("tokenizer.ggml.tokens").size(), 49152u);
  EXPECT_EQ(file->metadata().get_string_array("tokenizer.ggml.merges").at(0), "\xc4\xa0 t");
  EXPECT_EQ(file->metadata().get_i64_array("tokenizer.ggml.token_type").at(0), 3);
  const WeightInfo* table = file->find("token_embd.weight");
  ASSERT_NE(table, nullptr);
  EXPECT_EQ(table->dtype, DType::Q8_0);
  EXPECT_EQ(table->shape, (Shape{49152, 576}));
  EXPECT_EQ(file->find("blk.29.ffn_down.weight")->dtype, DType::Q4_1);
}

}  // namespace
}  // namespace candela
