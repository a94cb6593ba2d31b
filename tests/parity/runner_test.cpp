// Every parity case on the device that CANDELA_TEST_DEVICE names (cpu, dawn or wgpu-native; without
// it CANDELA_WEBGPU_LIB decides, then cpu), in checked mode. A missing adapter is a failure where
// CANDELA_REQUIRE_WGPU is 1, else a skip. CANDELA_PARITY=small takes the quick
// selection, =full every case on the device with the smallest limits, too.
// CANDELA_PARITY_REPORT names a file that receives one line a case for tools/support_table.py.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <optional>
#include <regex>
#include <set>
#include <sstream>

#include "base/error.h"
#include "parity/case.h"

namespace candela::parity {
namespace {

std::string setting(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::string device_name() {
  const std::string name = setting("CANDELA_TEST_DEVICE");
  if (!name.empty()) {
    return name;
  }
  const std::string library = setting("CANDELA_WEBGPU_LIB");
  return library.empty() ? "cpu" : library;
}

enum class Kind { Full, SmallBindings, MinimumLimits };

Device open(Kind kind) {
  const std::string name = device_name();
  if (name == "cpu") {
    return Device::cpu();
  }
  WgpuOptions options;
  options.library = name;
  options.checked = true;
  options.max_binding_bytes = kind == Kind::SmallBindings ? 65536 : 0;
  options.minimum_limits = kind == Kind::MinimumLimits;
  return Device::wgpu(options);
}

// Opened once a process; a device that cannot be had is asked for once.
class Devices {
 public:
  std::optional<Device> get(Kind kind) {
    const auto found = devices_.find(kind);
    if (found != devices_.end()) {
      return found->second;
    }
    std::optional<Device> device;
    try {
      device = open(kind);
    } catch (const Error& error) {
      reason_ = error.what();
    }
    return devices_.emplace(kind, device).first->second;
  }
  const std::string& reason() const { return reason_; }
  void clear() { devices_.clear(); }

 private:
  std::map<Kind, std::optional<Device>> devices_;
  std::string reason_;
};

Devices& devices() {
  static Devices all;
  return all;
}

// WebGPU libraries want their devices gone before the process unloads them.
class CloseDevices : public testing::Environment {
 public:
  void TearDown() override { devices().clear(); }
};

const auto* const kCloser = testing::AddGlobalTestEnvironment(new CloseDevices);

std::optional<Device> device_or_skip(Kind kind) {
  std::optional<Device> device = devices().get(kind);
  if (!device) {
    EXPECT_NE(setting("CANDELA_REQUIRE_WGPU"), "1") << devices().reason();
  }
  return device;
}

void report(const Case& what, const Outcome& outcome, Kind kind) {
  const std::string path = setting("CANDELA_PARITY_REPORT");
  if (path.empty() || kind != Kind::Full) {
    return;
  }
  constexpr const char* kWords[] = {"passed", "failed", "unsupported"};
  std::ofstream file(path, std::ios::app);
  file << device_name() << '\t' << what.op << '\t' << dtype_name(what.dtype) << '\t'
       << kWords[static_cast<int>(outcome.status)] << '\t' << what.name << '\n';
}

bool selected(const Case& what) {
  return setting("CANDELA_PARITY") != "small" || what.basic;
}

// Ops whose operands may be larger than one binding.
bool takes_segments(const Case& what) {
  static const std::set<std::string> ops = {"linear", "embedding", "moe",
                                            "copy",   "fill",      "to_dtype"};
  return ops.contains(what.op);
}

std::vector<std::string> op_names() {
  std::set<std::string> names;
  for (const Case& what : all_cases()) {
    names.insert(what.op);
  }
  return {names.begin(), names.end()};
}

class Parity : public testing::TestWithParam<std::string> {
 protected:
  void run_all(Kind kind, const std::function<bool(const Case&)>& wanted) {
    const std::optional<Device> device = device_or_skip(kind);
    if (!device) {
      GTEST_SKIP() << devices().reason();
    }
    for (const Case& what : all_cases()) {
      if (what.op != GetParam() || !selected(what) || !wanted(what)) {
        continue;
      }
      const Outcome outcome = run_case(what, *device);
      report(what, outcome, kind);
      EXPECT_EQ(outcome.status, Outcome::Status::Passed) << what.name << ": " << outcome.message;
    }
  }
};

TEST_P(Parity, Full) {
  run_all(Kind::Full, [](const Case&) { return true; });
}

TEST_P(Parity, SmallBindings) {
  if (device_name() == "cpu") {
    GTEST_SKIP() << "The CPU has no bindings.";
  }
  run_all(Kind::SmallBindings, [](const Case& what) {
    return takes_segments(what) && (what.basic || what.name.find("large") != std::string::npos);
  });
}

TEST_P(Parity, MinimumLimits) {
  if (device_name() == "cpu") {
    GTEST_SKIP() << "The CPU has no limits.";
  }
  // Every op; with CANDELA_PARITY=full every case.
  const bool full = setting("CANDELA_PARITY") == "full";
  run_all(Kind::MinimumLimits, [&](const Case& what) { return full || what.basic; });
}

std::string test_name(const testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  const std::pair<const char*, const char*> kSigns[] = {{"operator+", "operator_add"},
                                                        {"operator-", "operator_sub"},
                                                        {"operator*", "operator_mul"},
                                                        {"operator/", "operator_div"}};
  for (const auto& [sign, word] : kSigns) {
    name = name == sign ? word : name;
  }
  return name;
}

INSTANTIATE_TEST_SUITE_P(Ops, Parity, testing::ValuesIn(op_names()), test_name);

class Programs : public testing::TestWithParam<int> {};

TEST_P(Programs, AgreeWithTheCpu) {
  const std::optional<Device> device = device_or_skip(Kind::Full);
  if (!device) {
    GTEST_SKIP() << devices().reason();
  }
  const Device cpu = Device::cpu(1);
  const int seeds = setting("CANDELA_PARITY") == "small" ? 2 : 10;
  for (int i = 0; i < seeds; ++i) {
    const auto seed = static_cast<uint64_t>(GetParam() * 100 + i);
    EXPECT_EQ(run_program(seed, *device, cpu), "") << "seed " << seed;
  }
}

INSTANTIATE_TEST_SUITE_P(Seeded, Programs, testing::Range(0, 4));

std::string read(const std::string& path) {
  std::ifstream file(std::string(CANDELA_SOURCE_DIR) + "/src/" + path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

std::set<std::string> matches(const std::string& text, const std::regex& pattern) {
  std::set<std::string> names;
  for (std::sregex_iterator it(text.begin(), text.end(), pattern), end; it != end; ++it) {
    names.insert((*it)[1].str());
  }
  return names;
}

TEST(Table, EveryOpHasACase) {
  std::set<std::string> ops = matches(
      read("tensor/ops.h"),
      std::regex(
          R"re((?:^|\n)(?:Tensor|void|std::pair<Tensor, Tensor>) ([a-z_0-9]+|operator[-+*/])\()re"));
  ops.merge(matches(read("backend/elementwise.def"),
                    std::regex(R"re(\nCANDELA_(?:UNARY|BINARY)\(([a-z_0-9]+), )re")));
  EXPECT_GT(ops.size(), 70u);
  const std::vector<std::string> tried = op_names();
  for (const std::string& op : ops) {
    EXPECT_THAT(tried, testing::Contains(op)) << "no parity case";
  }
}

TEST(Table, NamesAreUnique) {
  std::set<std::string> names;
  for (const Case& what : all_cases()) {
    EXPECT_TRUE(names.insert(what.name).second) << what.name;
  }
}

TEST(Table, AWrongResultFails) {
  Case wrong;
  wrong.name = "wrong";
  wrong.inputs = [] { return Hosts{normal({4, 4}, 1)}; };
  wrong.run = [](const Tensors& in, const Device&) { return Tensors{in[0]}; };
  wrong.reference = [](const Hosts& in) {
    Numbers y = in[0].values;
    y[5] += 1e-3;
    return std::vector<Numbers>{y};
  };
  EXPECT_EQ(run_case(wrong, Device::cpu(1)).status, Outcome::Status::Failed);
}

}  // namespace
}  // namespace candela::parity
