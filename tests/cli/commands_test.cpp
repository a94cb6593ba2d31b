// Every command on the small checkpoints: what is on stdout, what on stderr, which exit code.
#include "cli/support.h"

namespace candela::test {
namespace {

using nlohmann::ordered_json;
using testing::HasSubstr;

Arguments run_arguments(const std::string& model, const Arguments& more) {
  Arguments all{"run", model, "--device", "cpu"};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

ordered_json run_json(const Arguments& more, const Environment& environment = {}) {
  Arguments all{"hello", "--json", "-n", "8"};
  all.insert(all.end(), more.begin(), more.end());
  const Result result = candela(run_arguments(kQwen, all), "", environment);
  EXPECT_EQ(result.code, 0) << result.err;
  return ordered_json::parse(result.out);
}

TEST(Help, MainListsCommandsExitCodesAndEnvironment) {
  const Result help = candela({"--help"});
  EXPECT_EQ(help.code, 0);
  for (const char* part : {"run", "chat", "info", "devices", "doctor", "tokenize", "verify",
                           "bench", "trace", "130 interrupted", "HF_HUB_CACHE", "NO_COLOR"}) {
    EXPECT_THAT(help.out, HasSubstr(part));
  }
  EXPECT_EQ(help.err, "");
  const Result version = candela({"--version"});
  EXPECT_EQ(version.code, 0);
  EXPECT_THAT(version.out, testing::StartsWith("candela "));
  // What the set-up pinned, since Dawn itself states no version.
  EXPECT_THAT(version.out, HasSubstr("liblitert-lm.so (litert-lm-api "));
}

TEST(Help, EveryCommandHasExamples) {
  for (const char* command : {"run", "chat", "info", "devices", "doctor", "tokenize", "verify",
                              "bench", "trace", "completion"}) {
    const Result help = candela({command, "--help"});
    EXPECT_EQ(help.code, 0) << command;
    EXPECT_THAT(help.out, HasSubstr(std::string("  candela ") + command));
    EXPECT_THAT(help.out, HasSubstr("exit codes"));
  }
  EXPECT_THAT(candela({"run", "--help"}).out, HasSubstr("CANDELA_TOP_K"));
}

TEST(Usage, WrongUsageIsTwo) {
  const Arguments wrong[] = {{},
                             {"fly"},
                             {"run"},
                             {"run", kQwen},
                             {"run", kQwen, "a", "-f", "b"},
                             {"run", kQwen, "a", "--nope"},
                             {"run", kQwen, "a", "-n", "0"},
                             {"run", kQwen, "a", "-n", "many"},
                             {"run", kQwen, "a", "--device", "tpu"},
                             {"run", kQwen, "a", "--device", "wgpu:x"},
                             {"run", kQwen, "a", "--device", "wgpu:-1"},
                             {"run", kQwen, "a", "--device", "cpu", "--kv-type", "f8"},
                             {"run", kQwen, "a", "--device", "cpu", "--memory-limit", "much"},
                             {"run", kQwen, "a", "--device", "cpu", "--top-p", "2", "-q"},
                             {"run", kQwen, "a", "--raw", "--system", "b"},
                             {"chat"},
                             {"info"},
                             {"info", kQwen, "--config", kQwen + "/config.json"},
                             {"verify"},
                             {"tokenize"},
                             {"devices", "--nope"},
                             {"doctor", "--nope"},
                             {"bench", "--nope"},
                             {"trace"},
                             {"trace", kQwen, "-o", "/tmp"}};
  for (const Arguments& arguments : wrong) {
    const Result result = candela(arguments);
    EXPECT_EQ(result.code, 2) << testing::PrintToString(arguments) << result.err;
    EXPECT_EQ(result.out, "") << testing::PrintToString(arguments);
    EXPECT_NE(result.err, "") << testing::PrintToString(arguments);
  }
}

TEST(Run, AnswerAloneOnStdout) {
  for (const std::string& model : {kQwen, kOmni}) {
    const Result result = candela(run_arguments(model, {"hello", "-n", "8"}));
    EXPECT_EQ(result.code, 0) << result.err;
    EXPECT_GT(result.out.size(), 1u);
    EXPECT_EQ(result.out.back(), '\n');
    EXPECT_THAT(result.err, HasSubstr("tokens/s"));
    EXPECT_THAT(result.err, testing::Not(HasSubstr("loading"))) << "quick loads show no progress";
    const Result quiet = candela(run_arguments(model, {"hello", "-n", "8", "-q"}));
    EXPECT_EQ(quiet.err, "");
    EXPECT_EQ(quiet.out, result.out);
  }
}

TEST(Run, Json) {
  const ordered_json json = run_json({});
  EXPECT_EQ(json["schema_version"], 1);
  EXPECT_EQ(json["ids"].size(), 8u);
  EXPECT_EQ(json["finish_reason"], "length");
  EXPECT_EQ(json["usage"]["completion_tokens"], 8);
  EXPECT_EQ(json["usage"]["total_tokens"], json["usage"]["prompt_tokens"].get<int>() + 8);
  EXPECT_GT(json["timings"]["predicted_per_second"], 0.0);
  EXPECT_EQ(json["timings"]["prompt_n"], json["usage"]["prompt_tokens"]);
  EXPECT_EQ(candela(run_arguments(kQwen, {"hello", "-n", "8", "-q"})).out,
            json["text"].get<std::string>() + "\n");
}

TEST(Run, PromptFromFileAndStandardInput) {
  const TempFolder folder;
  folder.write("prompt", "hello");
  const ordered_json expected = run_json({})["ids"];
  const auto ids = [](const Result& result) { return ordered_json::parse(result.out)["ids"]; };
  const Arguments file{"-f", folder / "prompt", "--json", "-n", "8"};
  EXPECT_EQ(ids(candela(run_arguments(kQwen, file))), expected);
  EXPECT_EQ(ids(candela(run_arguments(kQwen, {"-", "--json", "-n", "8"}), "hello")), expected);
  folder.write("messages.json", R"([{"role": "user", "content": "hello"}])");
  EXPECT_EQ(ids(candela(run_arguments(
                kQwen, {"--messages", folder / "messages.json", "--json", "-n", "8"}))),
            expected);
  EXPECT_NE(run_json({"--system", "Be brief."})["usage"]["prompt_tokens"],
            run_json({})["usage"]["prompt_tokens"]);
}

TEST(Run, FlagBeforeEnvironmentBeforeModelBeforeDefault) {
  const auto count = [](const ordered_json& json) { return json["ids"].size(); };
  const Arguments base{"run", kQwen, "hello", "--json", "--device", "cpu"};
  const auto with = [&](Arguments more, const Environment& environment) {
    more.insert(more.begin(), base.begin(), base.end());
    return ordered_json::parse(candela(more, "", environment).out);
  };
  EXPECT_EQ(count(with({}, {"CANDELA_MAX_TOKENS=3"})), 3u);
  EXPECT_EQ(count(with({"-n", "2"}, {"CANDELA_MAX_TOKENS=3"})), 2u);
  EXPECT_EQ(candela(base, "", {"CANDELA_MAX_TOKENS=x"}).code, 2);
  // The model's own file asks for a draw; the environment and then the flag undo it.
  const QwenFolder folder;
  folder.write("generation_config.json", R"({"do_sample": true, "temperature": 50.0})");
  const auto ids = [&](const Arguments& more, const Environment& environment) {
    Arguments all{"run", folder.path().string(), "hello", "--json", "-n", "8", "--device", "cpu"};
    all.insert(all.end(), more.begin(), more.end());
    return ordered_json::parse(candela(all, "", environment).out)["ids"];
  };
  const ordered_json greedy = run_json({"--temp", "0"})["ids"];
  EXPECT_NE(ids({}, {}), greedy);
  EXPECT_EQ(ids({}, {"CANDELA_TEMPERATURE=0"}), greedy);
  EXPECT_NE(ids({"--temp", "50"}, {"CANDELA_TEMPERATURE=0"}), greedy);
  EXPECT_EQ(ids({"--seed", "7"}, {}), ids({}, {"CANDELA_SEED=7"}));
  EXPECT_NE(ids({"--seed", "7"}, {}), ids({"--seed", "8"}, {}));
}

TEST(Run, BadInputIsSeven) {
  const TempFolder folder;
  folder.write("bytes", "\xff\xfe");
  folder.write("list.json", R"({"role": "user"})");
  folder.write("role.json", R"([{"content": "x"}])");
  folder.write("utf8.json", "[{\"role\": \"user\", \"content\": \"\xff\"}]");
  const auto refused = [](const Arguments& more, const char* part) {
    Arguments all = run_arguments(kQwen, more);
    all.emplace_back("-q");
    expect_error(candela(all, "\xc3\x28"), 7, part);
  };
  refused({"-f", folder / "nothing"}, "nothing");
  refused({"-f", folder.path().string()}, "folder");
  refused({"-f", folder / "bytes"}, "UTF-8");
  refused({"-"}, "UTF-8");
  refused({"-", "--raw"}, "UTF-8");
  refused({"hi", "--system", "@" + (folder / "nothing")}, "nothing");
  refused({"--messages", folder / "list.json"}, "list.json");
  refused({"--messages", folder / "role.json"}, "role");
  refused({"--messages", folder / "utf8.json"}, "utf8.json");
  refused({"hi", "--tools", folder / "list.json"}, "list.json");
}

TEST(Run, ContextIsCountedInNumbers) {
  std::string words;
  for (int i = 0; i < 300; ++i) {
    words += "word ";
  }
  const Result result = candela(run_arguments(kQwen, {words, "-c", "100", "-q"}));
  expect_error(result, 2, "100 positions");
  EXPECT_THAT(result.err, HasSubstr("--ctx-size"));
  const ordered_json short_one = ordered_json::parse(
      candela(run_arguments(kQwen, {"hello", "-c", "32", "--json", "--stop", "\x01"})).out);
  EXPECT_EQ(short_one["usage"]["total_tokens"], 32) << "the answer ends where the context ends";
}

TEST(Run, ModelThatIsNotThereIsThree) {
  expect_error(candela(run_arguments("/nowhere/model", {"hi"})), 3, "/nowhere/model");
  const Result result = candela(run_arguments("Org/Name", {"hi"}), "", {"HF_HUB_CACHE=/nowhere"});
  expect_error(result, 3, "hf download Org/Name");
  const TempFolder empty;
  expect_error(candela(run_arguments(empty.path().string(), {"hi", "-q"})), 3,
               empty.path().string());
}

TEST(Run, DeviceProblemsAreFive) {
  const auto device = [](const Arguments& more) {
    Arguments all{"run", kQwen, "hi"};
    all.insert(all.end(), more.begin(), more.end());
    return candela(all);
  };
  const Result library = device({"--device", "wgpu", "--webgpu", "/nowhere/libwebgpu.so"});
  expect_error(library, 5, "/nowhere/libwebgpu.so");
  const Result index = device({"--device", "wgpu:99"});
  EXPECT_EQ(index.code, 5);
  EXPECT_EQ(index.out, "");
  EXPECT_THAT(index.err, testing::ContainsRegex("shows [0-9]+ adapter"));
}

TEST(Run, MemoryLimitIsSixWithThePlan) {
  for (const char* where : {"cpu", "wgpu"}) {
    const Result result = candela({"run", kQwen, "hi", "--device", where, "--memory-limit", "1M"});
    expect_error(result, 6, "weights");
    EXPECT_THAT(result.err, HasSubstr("1.0 MiB"));
    EXPECT_THAT(result.err, HasSubstr("--ctx-size"));
  }
}

TEST(HuggingFaceCache, RevisionsAndSnapshots) {
  namespace fs = std::filesystem;
  const TempFolder cache;
  const fs::path folder = cache.path() / "models--Org--Name";
  fs::create_directories(folder / "snapshots");
  fs::create_directories(folder / "refs");
  fs::create_directory_symlink(kQwen, folder / "snapshots" / "0123abcd");
  const Environment environment{"HF_HUB_CACHE=" + cache.path().string()};
  const auto info = [&](const std::string& model) {
    return candela({"info", model, "--json"}, "", environment);
  };
  EXPECT_EQ(info("Org/Name").code, 0) << "one snapshot needs no ref";
  cache.write("models--Org--Name/refs/main", "0123abcd");
  EXPECT_EQ(info("Org/Name").code, 0);
  EXPECT_EQ(info("Org/Name@0123abcd").code, 0);
  expect_error(info("Org/Name@ffff"), 3, "ffff");
  expect_error(info("Org/Name@../../.."), 3, "Org/Name");
  expect_error(info("Org/Other"), 3, "hf download Org/Other");
  const Result run =
      candela(run_arguments("Org/Name", {"hello", "-n", "2", "-q"}), "", environment);
  EXPECT_EQ(run.code, 0) << run.err;
}

TEST(Info, PublishedConfig) {
  const std::string config = std::string(CANDELA_GOLDEN_DIR) + "/config-full.json";
  const Result text = candela({"info", "--config", config});
  EXPECT_EQ(text.code, 0) << text.err;
  EXPECT_THAT(text.out, HasSubstr("35,259,818,545"));
  EXPECT_THAT(text.out, HasSubstr("28,010"));
  const ordered_json json =
      ordered_json::parse(candela({"info", "--config", config, "--json"}).out);
  EXPECT_EQ(json["schema_version"], 1);
  EXPECT_EQ(json["parameters"], 35'259'818'545);
  EXPECT_EQ(json["bytes"], 70'519'637'090);
  EXPECT_EQ(json["parts"].size(), 6u);
  EXPECT_GT(json["memory"]["total"], json["parts"][0]["bytes"]);
}

TEST(Info, SmallModels) {
  for (const std::string& model : {kQwen, kOmni}) {
    const Result result = candela({"info", model, "--tensors"});
    EXPECT_EQ(result.code, 0) << result.err;
    EXPECT_THAT(result.out, HasSubstr("memory for a text answer"));
    EXPECT_THAT(result.out, HasSubstr("BF16"));
    EXPECT_EQ(result.err, "");
  }
}

TEST(Devices, CpuAndAdapters) {
  const Result result = candela({"devices", "--json"});
  ASSERT_EQ(result.code, 0) << result.err;
  const ordered_json json = ordered_json::parse(result.out);
  EXPECT_EQ(json["schema_version"], 1);
  EXPECT_THAT(json["cpu"].get<std::string>(), HasSubstr("cpu"));
  ASSERT_FALSE(json["adapters"].empty()) << "tests need an adapter, llvmpipe at least";
  EXPECT_GT(json["adapters"][0]["max_binding_bytes"], 0);
}

TEST(Doctor, OneOpOnTheCpu) {
  const Result result = candela({"doctor", "--device", "cpu", "--quick", "--json"});
  ASSERT_EQ(result.code, 0) << result.out << result.err;
  const ordered_json json = ordered_json::parse(result.out);
  EXPECT_EQ(json["schema_version"], 1);
  EXPECT_TRUE(json["failures"].empty());
  EXPECT_GT(json["ops"].size(), 10u);
}

TEST(Doctor, ChecksTheShapesThatTuneSets) {
  const auto with = [](const char* shapes) {
    return candela(
        {"doctor", "--device", "wgpu", "--only", "moe/BF16/many_tokens", "--tune", shapes});
  };
  const Result right = with("counted_expert_tiles=1");
  EXPECT_EQ(right.code, 0);
  EXPECT_THAT(right.out, HasSubstr("1 passed, 0 failed"));
  const Result wrong = with("counted_tiles=1");
  EXPECT_EQ(wrong.code, 2);
  EXPECT_NE(wrong.err.find("no kernel shape \"counted_tiles=1\""), std::string::npos) << wrong.err;
}

TEST(Doctor, ARecordingRunsAgainWithTheSameBytes) {
  const TempFolder folder;
  const Result recorded =
      candela({"trace", "--ops", std::string(CANDELA_GOLDEN_DIR) + "/ops.json", "--case", "swiglu",
               "-o", folder / "out", "--device", "wgpu", "--record", folder / "record"});
  ASSERT_EQ(recorded.code, 0) << recorded.err;
  const Result same =
      candela({"doctor", "--replay", folder / "record", "--device", "wgpu", "--json"});
  EXPECT_EQ(same.code, 0) << same.out << same.err;
  const ordered_json dispatches = ordered_json::parse(same.out)["dispatches"];
  ASSERT_FALSE(dispatches.empty());
  EXPECT_EQ(dispatches.back()["different"], 0);
  EXPECT_GT(dispatches.back()["bytes"], 0);
  EXPECT_EQ(candela({"doctor", "--replay", folder / "none", "--device", "wgpu"}).code, 7);
  EXPECT_EQ(candela({"doctor", "--replay", folder / "record", "--device", "cpu"}).code, 2);
}

TEST(Bench, Json) {
  const Result result =
      candela({"bench", kQwen, "--device", "cpu", "-p", "8", "-n", "4", "-r", "1", "--json"});
  ASSERT_EQ(result.code, 0) << result.err;
  const ordered_json json = ordered_json::parse(result.out);
  EXPECT_EQ(json["schema_version"], 1);
  EXPECT_FALSE(json["results"].empty());
}

TEST(Trace, OpsAndErrors) {
  const TempFolder folder;
  const std::string golden = CANDELA_GOLDEN_DIR;
  const Result result =
      candela({"trace", "--ops", golden + "/ops.json", "-o", folder / "out", "--device", "cpu"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out, "");
  EXPECT_TRUE(std::filesystem::exists(folder.path() / "out" / "ops.safetensors"));
  folder.write("bad.json", R"({"cases": [{"id": 3}]})");
  folder.write("none.json", "[1]");
  for (const char* name : {"bad.json", "none.json", "absent.json"}) {
    expect_error(candela({"trace", kQwen, "--index", folder / name, "-o", folder / "out",
                          "--device", "cpu", "-q"}),
                 7, name);
  }
  expect_error(
      candela({"trace", "--ops", golden + "/ops.json", "-o", "/proc/nothing", "--device", "cpu"}),
      7, "/proc/nothing");
}

TEST(Verify, GoodAndBroken) {
  for (const std::string& model : {kQwen, kOmni}) {
    const Result result = candela({"verify", model});
    EXPECT_EQ(result.code, 0) << result.out << result.err;
    EXPECT_THAT(result.out, HasSubstr(" 0 findings"));
  }
  const QwenFolder folder;
  std::string file = folder.text("model.safetensors");
  file[file.size() - 1] = '\x7f';  // the last value becomes 0x7f80: infinity
  file[file.size() - 2] = '\x80';
  folder.write("model.safetensors", file);
  const Result bad = candela({"verify", folder.path().string(), "--json"});
  EXPECT_EQ(bad.code, 10) << bad.err;
  const ordered_json json = ordered_json::parse(bad.out);
  EXPECT_EQ(json["schema_version"], 1);
  ASSERT_EQ(json["findings"].size(), 1u);
  EXPECT_THAT(json["findings"][0].get<std::string>(), HasSubstr("infinities or NaN"));
  folder.write("model.safetensors", file.substr(0, 1000));
  expect_error(candela({"verify", folder.path().string()}), 4, "model.safetensors");
}

}  // namespace
}  // namespace candela::test
