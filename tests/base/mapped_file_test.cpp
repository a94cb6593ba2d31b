#include "base/mapped_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "base/error.h"

namespace candela {
namespace {

using testing::HasSubstr;

class MappedFileTest : public testing::Test {
 protected:
  std::string write(const std::string& text) {
    const std::string path = testing::TempDir() + "candela_mapped_file_test.bin";
    std::ofstream(path, std::ios::binary) << text;
    return path;
  }
  template <typename Body>
  void expect_error(ErrorKind kind, const std::string& part, Body&& body) {
    try {
      body();
      FAIL() << "nothing was thrown";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), kind) << error.what();
      EXPECT_THAT(error.what(), HasSubstr(part));
    }
  }
};

TEST_F(MappedFileTest, ReadsWhatWasWritten) {
  const auto file = MappedFile::open(write("hello world"));
  EXPECT_EQ(file->size(), 11u);
  const auto part = file->bytes(6, 5);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(part.data()), part.size()), "world");
  file->advise(0, 1u << 30, MappedFile::Advice::DontNeed);
  EXPECT_EQ(static_cast<char>(file->bytes()[0]), 'h');
  EXPECT_TRUE(file->bytes(11, 0).empty());
}

TEST_F(MappedFileTest, ChecksBounds) {
  const auto file = MappedFile::open(write("hello"));
  expect_error(ErrorKind::CorruptData, file->path(), [&] { (void)file->bytes(3, 3); });
  expect_error(ErrorKind::CorruptData, "too short", [&] { (void)file->bytes(~uint64_t{0}, 2); });
  expect_error(ErrorKind::CorruptData, "too short", [&] { (void)file->bytes(2, ~uint64_t{0}); });
}

TEST_F(MappedFileTest, ReadsTheFileItselfAndSeesThatItBecameShorter) {
  const std::string path = write(std::string(10000, 'x') + "end");
  const auto file = MappedFile::open(path);
  std::string got(5, '\0');
  file->read(file->bytes(9998, 5), reinterpret_cast<std::byte*>(got.data()));
  EXPECT_EQ(got, "xxend");
  MappedFile::Fault fault;
  ASSERT_TRUE(MappedFile::find_fault(file->bytes().data() + 9000, fault));
  EXPECT_FALSE(fault.shortened);
  std::filesystem::resize_file(path, 5000);
  expect_error(ErrorKind::CorruptData, "it had 10003 bytes and ends at byte 5000",
               [&] { file->read(file->bytes(4999, 5), reinterpret_cast<std::byte*>(got.data())); });
  ASSERT_TRUE(MappedFile::find_fault(file->bytes().data() + 9000, fault));
  EXPECT_TRUE(fault.shortened);
  EXPECT_EQ(fault.path, path);
  EXPECT_FALSE(MappedFile::find_fault(&got, fault));
}

TEST_F(MappedFileTest, EmptyFile) {
  const auto file = MappedFile::open(write(""));
  EXPECT_EQ(file->size(), 0u);
  EXPECT_TRUE(file->bytes().empty());
}

TEST_F(MappedFileTest, NamesThePathInErrors) {
  expect_error(ErrorKind::NotFound, "/no/such/file.bin",
               [] { (void)MappedFile::open("/no/such/file.bin"); });
  expect_error(ErrorKind::Io, "regular file", [] { (void)MappedFile::open("/tmp"); });
}

}  // namespace
}  // namespace candela
