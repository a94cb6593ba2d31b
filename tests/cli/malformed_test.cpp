// Every damaged file of a model folder: exit code 3 or 4 and one clear line that names the file.
#include <cstring>

#include "cli/support.h"

namespace candela::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

std::string little(uint64_t value) {
  std::string out(sizeof value, '\0');
  std::memcpy(out.data(), &value, sizeof value);
  return out;
}

/// The commands that open a model must agree.
void expect_refused(const TempFolder& folder,
                    int code,
                    std::string_view file,
                    std::string_view part = "") {
  const Result run =
      candela({"run", folder.path().string(), "hi", "--device", "cpu", "-n", "1", "-q"});
  expect_error(run, code, file);
  EXPECT_NE(run.err.find(part), std::string::npos) << "'" << part << "' is not in: " << run.err;
}

/// A safetensors file taken apart, so that one thing about it can be wrong.
class Shard {
 public:
  explicit Shard(const QwenFolder& folder) : folder_(folder) {
    const std::string file = folder.text("model.safetensors");
    uint64_t size = 0;
    std::memcpy(&size, file.data(), sizeof size);
    header = ordered_json::parse(file.substr(8, size));
    data = file.substr(8 + size);
  }
  void save() const { save(header.dump()); }
  void save(const std::string& text) const {
    folder_.write("model.safetensors", little(text.size()) + text + data);
  }
  ordered_json& norm() { return header["model.norm.weight"]; }

  ordered_json header;
  std::string data;

 private:
  const QwenFolder& folder_;
};

constexpr const char* kShard = "model.safetensors";

TEST(MalformedSafetensors, Size) {
  const QwenFolder folder;
  const std::string good = folder.text(kShard);
  for (const std::string& text :
       {std::string(), std::string("1234567"), little(uint64_t{1} << 63) + "{}", little(0),
        little(100'000'001) + "{}", little(good.size()) + good.substr(8), good + "x",
        good.substr(0, good.size() - 1), good.substr(0, 100)}) {
    SCOPED_TRACE(text.size());
    folder.write(kShard, text);
    expect_refused(folder, 4, kShard);
  }
}

TEST(MalformedSafetensors, Header) {
  const QwenFolder folder;
  const Shard good(folder);
  std::string many = "{";
  for (int i = 0; i < 100'000; ++i) {
    many +=
        "\"t" + std::to_string(i) + "\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]},";
  }
  many.back() = '}';
  const std::string text = good.header.dump();
  std::string twice = text;
  twice.insert(1, "\"model.norm.weight\":" + good.header["model.norm.weight"].dump() + ",");
  for (const std::string& header :
       {std::string("[1]"), std::string("{\"a\":"), std::string("{\"a\xff\":1}"),
        R"({"a":)" + std::string(100'000, '[') + std::string(100'000, ']') + "}", twice, many,
        std::string("{\"a\":1}"), text.substr(0, text.size() - 1)}) {
    SCOPED_TRACE(header.substr(0, 40));
    good.save(header);
    expect_refused(folder, 4, kShard);
  }
}

TEST(MalformedSafetensors, Tensor) {
  const QwenFolder folder;
  const Shard good(folder);
  const auto refused = [&](const char* key, const ordered_json& value) {
    SCOPED_TRACE(std::string(key) + " " + value.dump());
    Shard bad = good;
    bad.norm()[key] = value;
    bad.save();
    expect_refused(folder, 4, kShard, "model.norm.weight");
  };
  refused("dtype", "F31");
  refused("dtype", "F64");
  refused("dtype", 1);
  refused("shape", {97});
  refused("shape", {4294967296, 4294967296});
  refused("shape", {-96});
  refused("shape", {96.0});
  refused("shape", {uint64_t{1} << 63});
  refused("shape", "96");
  const ordered_json offsets = Shard(good).norm()["data_offsets"];
  const auto begin = offsets[0].get<int64_t>();
  const auto end = offsets[1].get<int64_t>();
  refused("data_offsets", {end, begin});
  refused("data_offsets", {begin});
  refused("data_offsets", {static_cast<double>(begin), end});
  refused("data_offsets", {begin, end + 1'000'000'000});
}

TEST(MalformedSafetensors, Layout) {
  const QwenFolder folder;
  const auto refused = [&](int64_t shift_begin, int64_t shift_end) {
    SCOPED_TRACE(shift_begin);
    Shard bad{folder};
    ordered_json& offsets = bad.norm()["data_offsets"];
    const ordered_json kept = offsets;
    offsets[0] = offsets[0].get<int64_t>() + shift_begin;
    offsets[1] = offsets[1].get<int64_t>() + shift_end;
    bad.save();
    expect_refused(folder, 4, kShard);
    offsets = kept;
    bad.save();
  };
  refused(-2, -2);  // overlaps the one before
  refused(2, 2);    // leaves a gap
  refused(-1, -1);  // misaligned as well
}

TEST(MalformedSafetensors, MissingAndMisshapenTensors) {
  const QwenFolder folder;
  Shard bad{folder};
  // The same bytes under another name: the file is whole, the model is not.
  bad.header["model.other.weight"] = bad.norm();
  bad.header.erase("model.norm.weight");
  bad.save();
  expect_refused(folder, 3, "model.norm.weight", kShard);
  Shard shaped{folder};
  shaped.header["model.norm.weight"] = shaped.header["model.other.weight"];
  shaped.header.erase("model.other.weight");
  shaped.norm()["shape"] = {2, 48};
  shaped.save();
  expect_refused(folder, 4, "model.norm.weight", "96");
}

class MalformedIndex : public testing::Test {
 protected:
  void SetUp() override {
    const Shard shard(folder_);
    for (const auto& [name, entry] : shard.header.items()) {
      if (name != "__metadata__") {
        map_[name] = "model-00001-of-00001.safetensors";
      }
    }
    fs::rename(folder_ / kShard, folder_ / "model-00001-of-00001.safetensors");
    write(map_);
  }
  void write(const ordered_json& map) {
    folder_.write(kIndex,
                  ordered_json{{"metadata", {{"total_size", 1}}}, {"weight_map", map}}.dump());
  }
  static constexpr const char* kIndex = "model.safetensors.index.json";
  QwenFolder folder_;
  ordered_json map_ = ordered_json::object();
};

TEST_F(MalformedIndex, GoodOneIsRead) {
  EXPECT_EQ(candela({"verify", folder_.path().string()}).code, 0);
}

TEST_F(MalformedIndex, Text) {
  for (const std::string& text :
       {std::string(), std::string("[]"), std::string("{"), std::string("{}"), std::string("\xff"),
        std::string(R"({"weight_map":[]})"), std::string(R"({"weight_map":{"a":1}})"),
        std::string(100'000, '[')}) {
    SCOPED_TRACE(text.substr(0, 40));
    folder_.write(kIndex, text);
    expect_refused(folder_, 4, kIndex);
  }
}

TEST_F(MalformedIndex, NamesThatLeaveTheFolder) {
  for (const char* name : {"../../x.safetensors", "/etc/passwd", "..", "", "a/b.safetensors"}) {
    SCOPED_TRACE(name);
    ordered_json map = map_;
    map["model.norm.weight"] = name;
    write(map);
    const Result result = candela({"verify", folder_.path().string()});
    EXPECT_THAT(result.code, testing::AnyOf(3, 4)) << result.err;
    expect_error(result, result.code, kIndex);
  }
}

TEST_F(MalformedIndex, MissingShard) {
  ordered_json map = map_;
  map["model.norm.weight"] = "model-00002-of-00002.safetensors";
  write(map);
  expect_refused(folder_, 3, "model-00002-of-00002.safetensors");
}

TEST_F(MalformedIndex, TensorThatNoShardHas) {
  ordered_json map = map_;
  map["model.ghost.weight"] = "model-00001-of-00001.safetensors";
  write(map);
  expect_refused(folder_, 4, "model.ghost.weight");
}

TEST_F(MalformedIndex, LinkLoop) {
  fs::remove(folder_ / "model-00001-of-00001.safetensors");
  fs::create_symlink("model-00001-of-00001.safetensors",
                     folder_ / "model-00001-of-00001.safetensors");
  expect_refused(folder_, 3, "model-00001-of-00001.safetensors");
}

TEST(MalformedConfig, Text) {
  const QwenFolder folder;
  for (const std::string& text :
       {std::string(), std::string("{"), std::string("[]"), std::string("\xff"), std::string("{}"),
        std::string(R"({"architectures": 3})"), std::string(R"({"architectures": []})"),
        "{\"a\":" + std::string(100'000, '[') + std::string(100'000, ']') + "}"}) {
    SCOPED_TRACE(text.substr(0, 40));
    folder.write("config.json", text);
    expect_refused(folder, 4, "config.json");
  }
  folder.write("config.json", R"({"architectures": ["NoSuchModel"]})");
  expect_refused(folder, 4, "NoSuchModel");
  fs::remove(folder / "config.json");
  expect_refused(folder, 3, folder.path().string());
}

TEST(MalformedConfig, Values) {
  const QwenFolder folder;
  const ordered_json good = ordered_json::parse(folder.text("config.json"));
  const auto refused = [&](const char* key, const ordered_json& value,
                           const char* part = "config.json", int code = 4) {
    SCOPED_TRACE(std::string(key) + " " + value.dump());
    ordered_json bad = good;
    bad[key] = value;
    folder.write("config.json", bad.dump());
    expect_refused(folder, code, part);
  };
  for (const char* key : {"hidden_size", "num_attention_heads", "num_hidden_layers", "vocab_size",
                          "num_key_value_heads", "head_dim"}) {
    refused(key, 0);
    refused(key, -1);
    refused(key, "96");
    refused(key, 1e300);
  }
  refused("hidden_size", nullptr);
  refused("vocab_size", nullptr);
  refused("intermediate_size", -1);
  // A plain decoder's size may be absent where there are experts; here the shapes disagree.
  refused("intermediate_size", 0, "intermediate_size");
  refused("num_key_value_heads", 4);  // does not divide 6
  refused("head_dim", 31);            // rope needs pairs
  refused("rms_norm_eps", -1.0);
  refused("rope_theta", 0);
  refused("hidden_act", "tanhshrink");
  // Wrong only together with the other files: the tensor or the tokenizer is named.
  refused("hidden_size", 97, "96");
  refused("num_hidden_layers", 5, "model.layers.4", 3);
  refused("vocab_size", 1000, folder.path().c_str());
}

TEST(MalformedConfig, GenerationConfig) {
  const QwenFolder folder;
  for (const char* text :
       {"{", "[]", R"({"eos_token_id": "x"})", R"({"eos_token_id": -1})",
        R"({"do_sample": true, "temperature": -1})", R"({"do_sample": true, "top_p": 7})"}) {
    SCOPED_TRACE(text);
    folder.write("generation_config.json", text);
    expect_refused(folder, 4, "generation_config.json");
  }
}

TEST(MalformedConfig, Experts) {
  const TempFolder folder;
  const std::string moe = std::string(CANDELA_GOLDEN_DIR) + "/tiny_qwen3_moe";
  const ordered_json good = ordered_json::parse(read_text(moe + "/config.json"));
  for (const auto& [key, value] : {std::pair{"num_experts_per_tok", 1000},
                                   {"num_experts_per_tok", 0},
                                   {"moe_intermediate_size", 0},
                                   {"num_experts", -1}}) {
    SCOPED_TRACE(key);
    ordered_json bad = good;
    bad[key] = value;
    folder.write("config.json", bad.dump());
    expect_error(candela({"info", "--config", folder / "config.json"}), 4, key);
  }
}

TEST(MalformedConfig, RopeSections) {
  const TempFolder folder;
  ordered_json bad = ordered_json::parse(read_text(kOmni + "/config.json"));
  ordered_json& text = bad["thinker_config"]["text_config"];
  ASSERT_TRUE(text["rope_scaling"].contains("mrope_section"));
  text["rope_scaling"]["mrope_section"] = {1, 1, 1};
  folder.write("config.json", bad.dump());
  expect_error(candela({"info", "--config", folder / "config.json"}), 4, "mrope_section");
}

TEST(MalformedTokenizer, Files) {
  const QwenFolder folder;
  const std::string good = folder.text("tokenizer.json");
  for (const std::string& text : {std::string(), std::string("{"), std::string("[]"),
                                  std::string("\xff"), std::string(100'000, '[')}) {
    SCOPED_TRACE(text.substr(0, 20));
    folder.write("tokenizer.json", text);
    expect_refused(folder, 4, "tokenizer.json");
  }
  folder.write("tokenizer.json", good);
  folder.edit("tokenizer.json",
              [](ordered_json& json) { json["model"]["merges"].push_back({"zzzz", "yyyy"}); });
  expect_refused(folder, 4, "tokenizer");
  folder.write("tokenizer.json", good);
  folder.edit("tokenizer.json", [](ordered_json& json) { json["added_tokens"][0]["id"] = 5; });
  expect_refused(folder, 4, "tokenizer");
  fs::remove(folder / "tokenizer.json");
  const std::string merges = folder.text("merges.txt");
  folder.write("merges.txt", merges + "zzzz yyyy\n");
  expect_refused(folder, 4, folder.path().string());
  folder.write("merges.txt", merges);
  folder.write("vocab.json", "{\"a\": -1}");
  expect_refused(folder, 4, "vocab.json");
  fs::remove(folder / "vocab.json");
  expect_refused(folder, 3, folder.path().string());
}

TEST(MalformedTokenizer, PatternThatExplodes) {
  const QwenFolder folder;
  folder.edit("tokenizer.json", [](ordered_json& json) {
    json["pre_tokenizer"] = {{"type", "Split"},
                             {"pattern", {{"Regex", "(a+)+$("}}},
                             {"behavior", "Isolated"},
                             {"invert", false}};
  });
  expect_refused(folder, 4, "tokenizer.json");
}

TEST(MalformedTemplate, BrokenEndlessAndCurious) {
  const QwenFolder folder;
  for (const char* text : {"{% for", "{{ messages[0].nothing.deeper }}{{ 1 + }}",
                           "{% for i in range(1000000000) %}x{% endfor %}",
                           "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
                           "{% include '/etc/passwd' %}", "{{ open('/etc/passwd').read() }}"}) {
    SCOPED_TRACE(text);
    folder.write("chat_template.jinja", text);
    expect_refused(folder, 4, "chat_template.jinja");
  }
}

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

}  // namespace
}  // namespace candela::test
