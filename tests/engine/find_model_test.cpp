#include "engine/find_model.h"

#include <cstdlib>
#include <filesystem>
#include <optional>

#include "base/error.h"
#include "weights/files.h"

namespace candela::engine {
namespace {

namespace fs = std::filesystem;

/// A Hugging Face cache in a folder of its own; the environment is put back at the end.
class FindModel : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : kNames) {
      const char* value = std::getenv(name);
      saved_.emplace_back(name, value == nullptr ? std::optional<std::string>() : value);
      ::unsetenv(name);
    }
    ::setenv("HF_HUB_CACHE", root().c_str(), 1);
  }
  void TearDown() override {
    for (const auto& [name, value] : saved_) {
      value ? ::setenv(name, value->c_str(), 1) : ::unsetenv(name);
    }
  }
  fs::path root() const { return folder_.path() / "hub"; }
  fs::path repository() const { return root() / "models--Org--Name-1.5"; }
  void add_snapshot(const std::string& commit) const {
    fs::create_directories(repository() / "snapshots" / commit);
  }
  void add_ref(const std::string& ref, const std::string& text) const {
    fs::create_directories((repository() / "refs" / ref).parent_path());
    test::write_file(repository() / "refs" / ref, text);
  }
  void expect_missing(const std::string& model, std::initializer_list<std::string> parts) const {
    try {
      ADD_FAILURE() << model << " was found at " << find_model(model);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::NotFound);
      for (const std::string& part : parts) {
        EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
      }
    }
  }

  test::TempFolder folder_;

 private:
  static constexpr const char* kNames[] = {"HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "HOME"};
  std::vector<std::pair<const char*, std::optional<std::string>>> saved_;
};

TEST_F(FindModel, PathsStayAsTheyAre) {
  EXPECT_EQ(find_model(CANDELA_TINY_OMNI_DIR), CANDELA_TINY_OMNI_DIR);
  test::write_file(folder_.path() / "a.gguf", "x");
  EXPECT_EQ(find_model(folder_ / "a.gguf"), folder_ / "a.gguf");
}

TEST_F(FindModel, MainRefThenRevisionThenCommit) {
  add_snapshot("aaa");
  add_snapshot("bbb");
  add_snapshot("ccc");
  add_ref("main", "aaa");
  add_ref("v2", "bbb\n");
  const fs::path snapshots = repository() / "snapshots";
  EXPECT_EQ(find_model("Org/Name-1.5"), snapshots / "aaa");
  EXPECT_EQ(find_model("Org/Name-1.5@v2"), snapshots / "bbb");
  EXPECT_EQ(find_model("Org/Name-1.5@ccc"), snapshots / "ccc");
  expect_missing("Org/Name-1.5@ddd", {"no snapshot ddd", "hf download Org/Name-1.5"});
}

TEST_F(FindModel, ALoneSnapshotNeedsNoRef) {
  add_snapshot("aaa");
  EXPECT_EQ(find_model("Org/Name-1.5"), repository() / "snapshots" / "aaa");
  add_snapshot("bbb");
  expect_missing("Org/Name-1.5", {"2 snapshots", "hf download Org/Name-1.5"});
}

TEST_F(FindModel, WhereTheCacheLies) {
  add_snapshot("aaa");
  const std::string expected = (repository() / "snapshots" / "aaa").string();
  ::unsetenv("HF_HUB_CACHE");
  ::setenv("HF_HOME", folder_.path().c_str(), 1);
  EXPECT_EQ(find_model("Org/Name-1.5"), expected);
  ::unsetenv("HF_HOME");
  ::setenv("HOME", folder_.path().c_str(), 1);
  expect_missing("Org/Name-1.5", {"not in the cache", ".cache/huggingface/hub"});
  fs::create_directories(folder_.path() / ".cache" / "huggingface");
  fs::create_symlink(root(), folder_.path() / ".cache" / "huggingface" / "hub");
  EXPECT_TRUE(fs::equivalent(find_model("Org/Name-1.5"), expected));
  fs::create_directories(folder_.path() / "xdg" / "huggingface");
  fs::create_symlink(root(), folder_.path() / "xdg" / "huggingface" / "hub");
  ::setenv("HOME", "/nowhere", 1);
  ::setenv("XDG_CACHE_HOME", (folder_ / "xdg").c_str(), 1);
  EXPECT_TRUE(fs::equivalent(find_model("Org/Name-1.5"), expected));
}

TEST_F(FindModel, AbsentModelsNameTheCommand) {
  expect_missing("Qwen/Qwen3-Omni-30B-A3B-Instruct",
                 {"not in the cache", "hf download Qwen/Qwen3-Omni-30B-A3B-Instruct"});
  expect_missing("no/such/path", {"no/such/path", "Org/Name"});
  expect_missing("", {"Org/Name"});
}

TEST_F(FindModel, NamesThatLeaveTheCacheAreRefused) {
  fs::create_directories(folder_.path() / "outside");
  add_snapshot("aaa");
  for (const char* name : {"../x", "Org/..", "Org/.hidden", "../../etc", "Org/Name-1.5/../../x",
                           "Org\\x/y", "a b/c", "/Name", "Org/"}) {
    expect_missing(name, {"Org/Name"});
  }
  for (const char* revision : {"../../../../outside", "..", "/etc/hostname"}) {
    expect_missing(std::string("Org/Name-1.5@") + revision, {"Org/Name"});
  }
  // A ref is a file of the cache, yet it may not lead out either.
  for (const char* commit : {"../../../outside", "..", "/", "/etc"}) {
    add_ref("main", commit);
    expect_missing("Org/Name-1.5", {"hf download"});
  }
}

}  // namespace
}  // namespace candela::engine
