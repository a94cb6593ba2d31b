#include "weights/index.h"

#include <gtest/gtest.h>

#include "files.h"
#include "weights/source.h"

namespace candela {
namespace {

namespace fs = std::filesystem;

using test::bytes_of;
using test::expect_error;
using test::safetensors_file;
using test::TempFolder;
using test::write_file;

ShardIndex parse(const std::string& text) {
  return parse_index(bytes_of(text), "index.json");
}

std::string with_map(const std::string& map) {
  return "{\"weight_map\":{" + map + "}}";
}

/// A file with U8 tensors of one byte each.
std::string shard_of(const std::vector<std::string>& names) {
  std::string header = "{";
  for (size_t i = 0; i < names.size(); ++i) {
    header += (i == 0 ? "\"" : ",\"") + names[i] +
              R"(":{"dtype":"U8","shape":[1],"data_offsets":[)" + std::to_string(i) + "," +
              std::to_string(i + 1) + "]}";
  }
  return safetensors_file(header + "}", names.size());
}

TEST(Index, SortsTensorsAndShards) {
  const ShardIndex index =
      parse(R"({"metadata":{"total_size":3},"weight_map":{"b":"2.safetensors","a":"2.safetensors",)"
            R"("c":"sub/1.safetensors"}})");
  EXPECT_EQ(index.shards, (std::vector<std::string>{"2.safetensors", "sub/1.safetensors"}));
  ASSERT_EQ(index.tensors.size(), 3u);
  EXPECT_EQ(index.tensors[0], (std::pair<std::string, uint32_t>{"a", 0}));
  EXPECT_EQ(index.tensors[2], (std::pair<std::string, uint32_t>{"c", 1}));
}

TEST(Index, RefusesNamesThatLeaveTheFolder) {
  for (const char* shard : {"../x.safetensors", "/etc/passwd", "a/../../x", "..", ".", "", "./x",
                            "a//b", "a/", "a\\\\b", "x\\u0000y"}) {
    SCOPED_TRACE(shard);
    expect_error(ErrorKind::CorruptData, "puts tensor t into",
                 [&] { parse(with_map(std::string("\"t\":\"") + shard + "\"")); });
  }
}

TEST(Index, RefusesMalformedText) {
  const std::pair<std::string, const char*> cases[] = {
      {"", "not valid JSON"},
      {"[]", "not a JSON object"},
      {"{}", "weight_map"},
      {R"({"weight_map":[]})", "weight_map"},
      {R"({"weight_map":{},"weight_map":{}})", "weight_map"},
      {with_map(R"("t":1)"), "something else than a file name"},
      {with_map(R"("t":"x","t":"x")"), "Tensor t stands twice"},
      {with_map(R"("t":"x","t":"y")"), "Tensor t stands twice"},
      {"{\"weight_map\":" + std::string(100'000, '['), "not valid JSON"},
      {with_map("\"t\":\"\xff\""), "not valid JSON"},
  };
  for (const auto& [text, message] : cases) {
    SCOPED_TRACE(text.substr(0, 60));
    expect_error(ErrorKind::CorruptData, message, [&, &t = text] { parse(t); });
  }
}

class OpenWeights : public testing::Test {
 protected:
  void index(const std::string& map) {
    write_file(folder_.path() / "model.safetensors.index.json", with_map(map));
  }
  void shard(const std::string& name, const std::vector<std::string>& tensors) {
    write_file(folder_.path() / name, shard_of(tensors));
  }
  void expect(ErrorKind kind, std::string_view message) {
    expect_error(kind, message, [&] { open_weights(folder_.path().string()); });
  }

  TempFolder folder_;
};

TEST_F(OpenWeights, JoinsShards) {
  index(R"("a":"1.safetensors","b":"2.safetensors","c":"1.safetensors")");
  shard("1.safetensors", {"c", "a"});
  shard("2.safetensors", {"b"});
  const auto weights = open_weights(folder_.path().string());
  ASSERT_EQ(weights->tensors().size(), 3u);
  EXPECT_EQ(weights->tensors()[0].name, "c");
  EXPECT_EQ(weights->find("b")->file, folder_ / "2.safetensors");
  EXPECT_EQ(weights->find("d"), nullptr);
  EXPECT_EQ(open_weights(folder_ / "model.safetensors.index.json")->tensors().size(), 3u);
}

TEST_F(OpenWeights, FollowsLinksLikeTheHuggingFaceCache) {
  fs::create_directory(folder_.path() / "blobs");
  fs::create_directory(folder_.path() / "snapshot");
  shard("blobs/0123", {"a"});
  fs::create_symlink("../blobs/0123", folder_.path() / "snapshot" / "model.safetensors");
  EXPECT_NE(open_weights(folder_ / "snapshot")->find("a"), nullptr);
}

TEST_F(OpenWeights, ListsMissingShards) {
  index(R"("a":"1","b":"2","c":"3","d":"4","e":"5")");
  shard("3", {"c"});
  expect(ErrorKind::NotFound, "4 of 5 files");
  expect(ErrorKind::NotFound, "1, 2, 4 and 1 more");
}

TEST_F(OpenWeights, IndexAndShardsMustAgree) {
  index(R"("a":"1","b":"1")");
  shard("1", {"a"});
  expect(ErrorKind::CorruptData, "b (of 1)");
  shard("1", {"a", "b", "c"});
  expect(ErrorKind::CorruptData, "1 tensors are not listed");
  index(R"("a":"1","b":"2")");
  shard("1", {"b"});
  shard("2", {"a"});
  expect(ErrorKind::CorruptData, "but it lies in");
  shard("1", {"a", "b"});
  shard("2", {"b"});
  expect(ErrorKind::CorruptData, "Tensor b stands in");
}

TEST_F(OpenWeights, OneFileNeedsNoIndex) {
  expect(ErrorKind::NotFound, "holds no weights");
  shard("part.safetensors", {"a"});
  EXPECT_NE(open_weights(folder_.path().string())->find("a"), nullptr);
  EXPECT_NE(open_weights(folder_ / "part.safetensors")->find("a"), nullptr);
  shard("other.safetensors", {"b"});
  expect(ErrorKind::NotFound, "2 files that end in .safetensors");
  shard("model.safetensors", {"c"});
  EXPECT_NE(open_weights(folder_.path().string())->find("c"), nullptr);
}

TEST_F(OpenWeights, NamesWhatCannotBeOpened) {
  expect_error(ErrorKind::NotFound, "does not exist", [&] { open_weights(folder_ / "nothing"); });
  fs::create_symlink("loop", folder_.path() / "loop");
  expect_error(ErrorKind::Io, "loop", [&] { open_weights(folder_ / "loop"); });
  expect_error(ErrorKind::Io, "/dev/null", [] { open_weights("/dev/null"); });
  index(R"("a":"loop")");
  expect(ErrorKind::NotFound, "loop");
  fs::create_directory(folder_.path() / "folder");
  index(R"("a":"folder")");
  expect(ErrorKind::Io, "folder");
  write_file(folder_.path() / "empty.safetensors", "");
  expect_error(ErrorKind::CorruptData, "has 0 bytes",
               [&] { open_weights(folder_ / "empty.safetensors"); });
}

TEST(OpenGoldens, TinyOmniIsWhole) {
  const auto weights = open_weights(CANDELA_TINY_OMNI_DIR);
  int64_t parameters = 0;
  for (const WeightInfo& info : weights->tensors()) {
    EXPECT_EQ(info.dtype, DType::BF16);
    parameters += info.shape.elements();
  }
  // total_size of the index: 7,419,002 bytes of BF16.
  EXPECT_EQ(parameters, 7'419'002 / 2);
  const WeightInfo* info = weights->find("code2wav.code_embedding.weight");
  ASSERT_NE(info, nullptr);
  EXPECT_EQ(info->shape, (Shape{1024, 64}));
}

}  // namespace
}  // namespace candela
