// Every damaged weight file and index: exit code 3 or 4 and one clear line that names the file.
#include <csignal>
#include <cstring>

#include "cli/support.h"

namespace candela::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;
using testing::HasSubstr;

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

/// Chats with a model whose file is cut while the weights are in use.
Result chat_while_the_file_shrinks(const Arguments& device) {
  const QwenFolder folder;
  Arguments all{"chat", folder.path().string(), "-n", "2", "-q"};
  all.insert(all.end(), device.begin(), device.end());
  Program program(all);
  program.write("hello\n");
  program.wait_for_output("\n");
  fs::resize_file(folder / kShard, 4096);
  program.write("again\n");
  program.close_input();
  return program.finish();
}

TEST(ShrinkingFile, EndsInOneClearLineOnTheCpu) {
  const Result result = chat_while_the_file_shrinks({"--device", "cpu"});
  EXPECT_EQ(result.code, 4) << result.err;
  EXPECT_THAT(result.err, HasSubstr("error: "));
  EXPECT_THAT(result.err, HasSubstr("model.safetensors has become shorter while it was in use"));
}

TEST(ShrinkingFile, DoesNotConcernCopiedWeights) {
  const Result result = chat_while_the_file_shrinks({"--device", "wgpu", "--weights", "copy"});
  EXPECT_EQ(result.code, 0) << result.err;
}

// A driver's own threads may block the signal (Mesa's do), and then only the exit status tells.
TEST(ShrinkingFile, EndsTheProgramWhereADriverReadsIt) {
  if (candela({"run", kQwen, "hi", "-n", "1", "-q", "--device", "wgpu", "--weights", "map"}).code !=
      0) {
    GTEST_SKIP() << "the driver does not read pages of files";
  }
  const Result result = chat_while_the_file_shrinks({"--device", "wgpu", "--weights", "map"});
  EXPECT_TRUE(result.code == 4 || result.code == 128 + SIGBUS) << result.code << result.err;
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

TEST_F(MalformedIndex, ShardListedTwice) {
  fs::create_symlink("model-00001-of-00001.safetensors",
                     folder_ / "model-00002-of-00002.safetensors");
  ordered_json map = map_;
  map["model.norm.weight"] = "model-00002-of-00002.safetensors";
  write(map);
  expect_refused(folder_, 4, "model-00002-of-00002.safetensors, which are one file");
}

TEST_F(MalformedIndex, LinkLoop) {
  fs::remove(folder_ / "model-00001-of-00001.safetensors");
  fs::create_symlink("model-00001-of-00001.safetensors",
                     folder_ / "model-00001-of-00001.safetensors");
  expect_refused(folder_, 3, "model-00001-of-00001.safetensors");
}

}  // namespace
}  // namespace candela::test
