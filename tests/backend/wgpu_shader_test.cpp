#include <gtest/gtest.h>

#include "backend/wgpu/shader.h"
#include "wgpu_fixture.h"

namespace candela::wgpu {
namespace {

std::string resolve(const std::string& source,
                    std::vector<std::string> defines = {},
                    std::vector<std::pair<std::string, std::string>> substitutions = {},
                    bool dawn = true) {
  Shaders shaders(dawn);
  shaders.add("test_inner", "inner\n");
  shaders.add("test_main", source);
  return shaders.resolve({"test_main", std::move(defines), std::move(substitutions)}).text;
}

TEST(WgpuShader, KeepsLinesByDefines) {
  const std::string source =
      "a\n//:if X\nb\n//:if Y\nc\n//:else\nd\n//:end\n//:else\ne\n//:end\nf\n";
  EXPECT_EQ(resolve(source), "a\ne\nf\n");
  EXPECT_EQ(resolve(source, {"X"}), "a\nb\nd\nf\n");
  EXPECT_EQ(resolve(source, {"X", "Y"}), "a\nb\nc\nf\n");
  EXPECT_EQ(resolve(source, {"Y"}), "a\ne\nf\n");
}

TEST(WgpuShader, IncludesOnceAndSubstitutes) {
  EXPECT_EQ(resolve("//:include test_inner\n//:include test_inner\nx = {{A}} + {{A}}{{B}};\n", {},
                    {{"A", "1u"}, {"B", ""}}),
            "inner\nx = 1u + 1u;\n");
  EXPECT_EQ(resolve("//:if X\n//:include test_inner\n//:end\nend\n"), "end\n");
}

TEST(WgpuShader, PutsTheLibrarysHeaderFirst) {
  EXPECT_EQ(resolve("x\n", {"SUBGROUPS", "F16"}), "enable f16;\nenable subgroups;\nx\n");
  EXPECT_EQ(resolve("x\n", {"SUBGROUPS", "F16"}, {}, false), "enable f16;\nx\n");
}

TEST(WgpuShader, WrongDirectivesNameFileAndLine) {
  for (const char* source : {"a\n//:end\n", "a\n//:iff X\n", "a\n//:else\n", "a\n//:if\n",
                             "a\n{{MISSING}}\n", "a\n//:if X\n", "a\n//:include\n"}) {
    expect_error(ErrorKind::Internal, "test_main.wgsl:2", [&] { resolve(source); });
  }
  expect_error(ErrorKind::NotFound, "nowhere.wgsl", [] { resolve("//:include nowhere\n"); });
}

TEST(WgpuShader, MapsLinesOfMessagesBack) {
  Shaders shaders(true);
  shaders.add("test_inner", "i1\ni2\n");
  shaders.add("test_main", "m1\n//:if X\nm3\n//:end\n//:include test_inner\nm6\n");
  const ShaderText text = shaders.resolve({"test_main", {"F16"}});
  EXPECT_EQ(text.text, "enable f16;\nm1\ni1\ni2\nm6\n");
  EXPECT_EQ(map_lines("error: :4:7 and wgsl:5:1, not :99:1 nor 12:34:56", text),
            "error: test_inner.wgsl:2:7 and test_main.wgsl:6:1, not :99:1 nor 12:34:56");
}

TEST(WgpuShader, MeasuresParams) {
  EXPECT_EQ(params_bytes("struct Params { a: u32, b: f32 }", "k"), 8u);
  EXPECT_EQ(params_bytes("struct Params {\n  a: vec4<u32>, // note\n  b: u32,\n}\n", "k"), 20u);
  EXPECT_EQ(
      params_bytes("struct Six { a: vec4u, b: vec4u }\nstruct Params { s: Six, c: i32 }", "k"),
      36u);
  EXPECT_EQ(params_bytes("fn main() {}", "k"), 0u);
  expect_error(ErrorKind::Internal, "field b",
               [] { params_bytes("struct Params { a: u32, b: vec4<u32> }", "k"); });
  expect_error(ErrorKind::Internal, "field b",
               [] { params_bytes("struct Params { a: u32, b: array<u32, 4> }", "k"); });
}

}  // namespace
}  // namespace candela::wgpu
