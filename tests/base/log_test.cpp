#include "base/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "base/error.h"

namespace candela {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr log::Area kWgpu{"wgpu"};

class Log : public testing::Test {
 protected:
  void TearDown() override { log::configure("warn"); }

  template <typename Body>
  std::string lines_of(Body&& body) {
    testing::internal::CaptureStderr();
    body();
    fflush(stderr);
    return testing::internal::GetCapturedStderr();
  }
};

TEST_F(Log, WritesTheEventThenItsPairs) {
  log::configure("info");
  const std::string name = "two words";
  const std::string text = lines_of([&] {
    log::info("weights loaded", {{"tensors", 3}, {"gib", 1.5}, {"name", name}, {"mapped", true}});
  });
  EXPECT_THAT(text, HasSubstr("info weights loaded tensors=3 gib=1.5 name=\"two words\" "
                              "mapped=true\n"));
}

TEST_F(Log, KeepsOneLineAndQuotes) {
  log::configure("info");
  const std::string text = lines_of([] { log::info("e", {{"v", "a\"b\nc"}, {"empty", ""}}); });
  EXPECT_THAT(text, HasSubstr("v=\"a\\\"b\\nc\" empty=\"\""));
}

TEST_F(Log, WarnsByDefaultOnly) {
  log::configure("warn");
  const std::string text = lines_of([] {
    log::info("quiet one");
    log::warn("loud one");
  });
  EXPECT_THAT(text, HasSubstr("loud one"));
  EXPECT_THAT(text, Not(HasSubstr("quiet one")));
}

TEST_F(Log, LevelsPerArea) {
  log::configure("error,wgpu=debug");
  EXPECT_TRUE(log::enabled(log::Level::Debug, kWgpu));
  EXPECT_FALSE(log::enabled(log::Level::Trace, kWgpu));
  EXPECT_FALSE(log::enabled(log::Level::Warn));
  const std::string text = lines_of([] {
    log::debug(kWgpu, "pipeline compiled");
    log::warn("elsewhere");
  });
  EXPECT_THAT(text, HasSubstr("debug wgpu: pipeline compiled"));
  EXPECT_THAT(text, Not(HasSubstr("elsewhere")));
}

TEST_F(Log, OffIsOff) {
  log::configure("off");
  EXPECT_FALSE(log::enabled(log::Level::Error));
}

TEST_F(Log, RejectsUnknownLevels) {
  try {
    log::configure("info,wgpu=loud");
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::InvalidArgument);
    EXPECT_THAT(error.what(), HasSubstr("wgpu=loud"));
  }
}

}  // namespace
}  // namespace candela
