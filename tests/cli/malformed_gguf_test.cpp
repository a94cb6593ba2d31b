// Damaged GGUF files, and weights that are no numbers.
#include <cstring>
#include <fstream>

#include "cli/support.h"

namespace candela::test {
namespace {

namespace fs = std::filesystem;

TEST(MalformedGguf, Header) {
  const TempFolder folder;
  const std::string path = folder / "model.gguf";
  const auto u32 = [](uint32_t value) { return little(value).substr(0, 4); };
  for (const std::string& text :
       {std::string(), std::string("GGUF"), "GGML" + u32(3) + little(0) + little(0),
        "GGUF" + u32(0) + little(0) + little(0), "GGUF" + u32(1) + little(0) + little(0),
        "GGUF" + u32(99) + little(0) + little(0),
        "GGUF" + u32(3) + little(uint64_t{1} << 63) + little(0),
        "GGUF" + u32(3) + little(0) + little(UINT64_MAX),
        "GGUF" + u32(3) + little(0) + little(1) + little(uint64_t{1} << 30) + "x",
        "GGUF" + u32(3) + little(0) + little(1) + little(1) + "k" + u32(77),
        "GGUF" + u32(3) + little(0) + little(1) + little(1) + "k" + u32(9) + u32(4) +
            little(uint64_t{1} << 60)}) {
    SCOPED_TRACE(testing::PrintToString(text));
    folder.write("model.gguf", text);
    expect_error(candela({"run", path, "hi", "--device", "cpu", "-q"}), 4, "model.gguf");
  }
}

/// A GGUF file of one tensor with 32 elements.
std::string lone_tensor(uint32_t type, const std::string& block) {
  const auto u32 = [](uint32_t value) { return little(value).substr(0, 4); };
  const auto text = [](const std::string& value) { return little(value.size()) + value; };
  std::string out = "GGUF" + u32(3) + little(1) + little(1) + text("general.architecture") +
                    u32(8) + text("llama") + text("token_embd.weight") + u32(1) + little(32) +
                    u32(type) + little(0);
  out.resize((out.size() + 31) / 32 * 32);
  return out + block;
}

TEST(VerifyBlocks, NonFiniteScalesAreFound) {
  const TempFolder folder;
  const std::string infinity("\x00\x7c", 2);
  const std::string nan("\x01\xfe", 2);
  const std::string largest("\xff\x7b", 2);
  struct Block {
    uint32_t type;
    size_t bytes;
    std::vector<size_t> scales;
  };
  for (const Block& block :
       {Block{1, 64, {0, 62}}, Block{2, 18, {0}}, Block{3, 20, {0, 2}}, Block{8, 34, {0}}}) {
    const auto found = [&](size_t at, const std::string& value) {
      SCOPED_TRACE(block.type);
      // Quants of all ones are ordinary numbers.
      std::string bytes(block.bytes, block.type == 1 ? '\0' : '\xff');
      for (const size_t scale : block.scales) {
        bytes.replace(scale, 2, largest);
      }
      bytes.replace(at, 2, value);
      folder.write("model.gguf", lone_tensor(block.type, bytes));
      const Result result = candela({"verify", folder / "model.gguf", "-q"});
      EXPECT_EQ(result.code, 10) << result.out << result.err;  // it is no whole model anyway
      return result.out.find("token_embd.weight in") != std::string::npos &&
             result.out.find("infinities or NaN") != std::string::npos;
    };
    for (const size_t at : block.scales) {
      EXPECT_TRUE(found(at, infinity)) << block.type;
      EXPECT_TRUE(found(at, nan)) << block.type;
      EXPECT_FALSE(found(at, largest)) << block.type;
    }
  }
}

/// A copy of the demo's model, to be damaged.
class DemoModel : public testing::Test {
 protected:
  void SetUp() override {
    const std::string model =
        std::string(CANDELA_DEPS_DIR) + "/models/SmolLM2-135M-Instruct.Q4_1.gguf";
    ASSERT_TRUE(fs::exists(model)) << model << " is missing; run scripts/setup test";
    fs::copy_file(model, path_);
    fs::permissions(path_, fs::perms::owner_write, fs::perm_options::add);
    file_.open(path_, std::ios::binary | std::ios::in | std::ios::out);
    header_.resize(4 << 20);
    file_.read(header_.data(), static_cast<std::streamsize>(header_.size()));
  }
  void overwrite(std::streamoff at, const std::string& bytes) {
    file_.seekp(at);
    file_.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    file_.flush();
  }
  /// The model answers with an error while an entry of the metadata, a u32, has another value.
  void refused(const std::string& key, uint32_t value, std::string_view part, int code = 4) {
    SCOPED_TRACE(key + " " + std::to_string(value));
    const size_t found = header_.find(little(key.size()) + key + little(4).substr(0, 4));
    ASSERT_NE(found, std::string::npos);
    const size_t at = found + 8 + key.size() + 4;
    overwrite(static_cast<std::streamoff>(at), little(value).substr(0, 4));
    expect_error(run(), code, part);
    overwrite(static_cast<std::streamoff>(at), header_.substr(at, 4));
  }
  Result run() const { return candela({"run", path_, "hi", "--device", "cpu", "-n", "1", "-q"}); }

  const TempFolder folder_;
  const std::string path_ = folder_ / "model.gguf";
  std::fstream file_;
  std::string header_;
};

TEST_F(DemoModel, MetadataThatDoesNotFit) {
  refused("llama.attention.head_count_kv", 0, "head_count_kv");
  refused("llama.attention.head_count_kv", 2, "2 key/value heads");  // of 9
  refused("llama.attention.head_count_kv", 9, "attn_k.weight");
  refused("llama.attention.head_count", 0, "head_count");
  refused("llama.attention.head_count", 7, "7 heads");
  refused("llama.embedding_length", 640, "640");
  refused("llama.rope.dimension_count", 63, "63 rotated dimensions");
  refused("llama.feed_forward_length", 1537, "ffn_");
  refused("llama.block_count", 0, "block_count");
  refused("llama.block_count", UINT32_MAX, "block_count");
  refused("llama.block_count", 31, "blk.30.", 3);
  refused("llama.context_length", 0, "context_length");
  refused("tokenizer.ggml.eos_token_id", 49152, "49152");
  EXPECT_EQ(run().code, 0) << "whole again";
}

TEST_F(DemoModel, BlocksOfOnesAreNoSilentGarbage) {
  const auto size = static_cast<std::streamoff>(fs::file_size(path_));
  constexpr std::streamoff kBytes = 1 << 20;
  overwrite(size - kBytes, std::string(kBytes, '\xff'));
  expect_error(run(), 1, "not a number");
}

TEST(BrokenWeights, NanIsNoSilentGarbage) {
  const QwenFolder folder;
  std::string file = folder.text("model.safetensors");
  const size_t entry = file.find("\"model.norm.weight\"");
  ASSERT_NE(entry, std::string::npos);
  const std::string key = "\"data_offsets\":[";
  const size_t begin = std::stoul(file.substr(file.find(key, entry) + key.size(), 20));
  uint64_t header = 0;
  std::memcpy(&header, file.data(), sizeof header);
  file.replace(sizeof header + header + begin, 2, "\xff\xff");  // BF16
  folder.write("model.safetensors", file);
  expect_refused(folder, 1, "not a number");
  expect_error(
      candela({"run", folder.path().string(), "hi", "--device", "cpu", "-q", "--temp", "1"}), 1,
      "nan");
}

}  // namespace
}  // namespace candela::test
