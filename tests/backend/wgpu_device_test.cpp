#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "backend/device.h"
#include "backend/wgpu/api.h"
#include "backend/wgpu/context.h"
#include "backend/wgpu/custom.h"
#include "backend/wgpu/pool.h"
#include "backend/wgpu/record.h"
#include "backend/wgpu/shader.h"
#include "wgpu_fixture.h"

namespace candela::wgpu {
namespace {

constexpr const char* kDouble = R"(
struct Params { factor: f32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;
@compute @workgroup_size(4)
fn main(@builtin(global_invocation_id) id: vec3<u32>) { y[id.x] = x[id.x] * params.factor; }
)";

std::span<const std::byte> bytes_of(const float& value) {
  return std::as_bytes(std::span(&value, 1));
}

TEST(WgpuDevice, NamesItselfAndItsLimits) {
  WgpuBackend& backend = test_backend();
  EXPECT_NE(backend.name().find("Vulkan"), std::string::npos) << backend.name();
  EXPECT_GE(backend.limits().max_binding_bytes, 1024u);
  EXPECT_EQ(backend.limits().max_binding_bytes % 16, 0u);
  EXPECT_GE(backend.limits().max_workgroup_threads, 256u);
  EXPECT_EQ(backend.limits().subgroup_min & (backend.limits().subgroup_min - 1), 0u);
  EXPECT_FALSE(backend.limits().holds(DType::I64));
}

TEST(WgpuDevice, ListsTheAdapterInUseAndThoseOfTheOtherLibrary) {
  test_backend();
  WgpuOptions options;
  options.library = "auto";
  const std::vector<AdapterInfo> adapters = Device::adapters(options);
  int usable = 0;
  for (const AdapterInfo& adapter : adapters) {
    usable += adapter.refusal.empty() ? 1 : 0;
    EXPECT_TRUE(adapter.refusal.empty() ? !adapter.name.empty() && adapter.limits.max_binding_bytes
                                        : true);
  }
  EXPECT_GE(usable, 1);
  EXPECT_GE(adapters.size(), library_candidates("auto").size());
}

TEST(WgpuDevice, ASecondLibraryIsRefused) {
  WgpuBackend& backend = test_backend();
  WgpuOptions options;
  options.library = backend.context().api().is_dawn() ? "wgpu-native" : "dawn";
  expect_error(ErrorKind::Unsupported, "another process", [&] { WgpuBackend second(options); });
}

TEST(WgpuDevice, AFileThatIsNoLibraryIsNamed) {
  WgpuOptions options;
  options.library = "/nowhere/libwebgpu_dawn.so";
  expect_error(ErrorKind::Unavailable, "/nowhere/libwebgpu_dawn.so",
               [&] { WgpuBackend none(options); });
  // A library of another kind opens and lacks the functions.
  for (const char* path : {"/lib/x86_64-linux-gnu/libm.so.6", "/usr/lib/libm.so.6"}) {
    if (std::filesystem::exists(path)) {
      options.library = path;
      expect_error(ErrorKind::Unavailable, "lacks the function",
                   [&] { WgpuBackend none(options); });
    }
  }
  options.library = "";
  options.adapter = 99;
  expect_error(ErrorKind::Unavailable, "99", [&] { WgpuBackend none(options); });
}

TEST(WgpuDevice, RunsAUsersKernelAndRefusesWrongOnes) {
  WgpuBackend& backend = test_backend();
  const Device device(std::shared_ptr<Backend>(&backend, [](Backend*) {}));
  const View x = put<float>(backend, {4}, DType::F32, {1, 2, 3, 4});
  const View y = make_view(backend, {4}, DType::F32);
  run_custom_kernel(device, "twice", kDouble, 1, 1, bytes_of(2.0f), {{x}, {y, true}});
  run_custom_kernel(device, "twice", kDouble, 1, 1, bytes_of(2.0f), {{x}, {y, true}});
  EXPECT_EQ(get<float>(backend, y), (std::vector<float>{2, 4, 6, 8}));

  expect_error(ErrorKind::InvalidArgument, "twice", [&] {
    run_custom_kernel(device, "twice", "other", 1, 1, bytes_of(2.0f), {{x}, {y, true}});
  });
  const std::string broken = std::string(kDouble) + "fn f() -> u32 { return missing_name(); }\n";
  expect_error(ErrorKind::Internal, "broken.wgsl:8:", [&] {
    run_custom_kernel(device, "broken", broken, 1, 1, bytes_of(2.0f), {{x}, {y, true}});
  });
  expect_error(ErrorKind::Internal, "one buffer", [&] {
    run_custom_kernel(device, "twice", kDouble, 1, 1, bytes_of(2.0f), {{y}, {y, true}});
  });
  expect_error(ErrorKind::Internal, "struct Params has 4",
               [&] { run_custom_kernel(device, "twice", kDouble, 1, 1, {}, {{x}, {y, true}}); });
  expect_error(ErrorKind::Internal, "65536", [&] {
    run_custom_kernel(device, "twice", kDouble, 65536, 1, bytes_of(2.0f), {{x}, {y, true}});
  });
  expect_error(ErrorKind::Unsupported, "cpu",
               [&] { run_custom_kernel(Device::cpu(1), "twice", kDouble, 1, 1, {}, {}); });
  // The device works on after all of that.
  backend.fill(y, 5.0);
  EXPECT_EQ(get<float>(backend, y), std::vector<float>(4, 5.0f));
}

TEST(WgpuDevice, ABindingThatTheShaderDoesNotExpectIsAnErrorOfTheKernel) {
  WgpuBackend& backend = test_backend();
  const Device device(std::shared_ptr<Backend>(&backend, [](Backend*) {}));
  const View x = put<float>(backend, {4}, DType::F32, {1, 2, 3, 4});
  const View y = make_view(backend, {4}, DType::F32);
  // Bound read_write where the shader says read: the layout does not fit the shader.
  expect_error(ErrorKind::Internal, "kernel thrice", [&] {
    run_custom_kernel(device, "thrice", kDouble, 1, 1, bytes_of(3.0f), {{x, true}, {y}});
  });
}

TEST(WgpuDevice, SteadyStateMakesNoPipelinesOrBindGroups) {
  WgpuBackend& backend = test_backend();
  const View x = put<float>(backend, {64}, DType::F32, std::vector<float>(64, 1.0f));
  const View y = make_view(backend, {64}, DType::F32);
  const auto step = [&] {
    for (int i = 0; i < 300; ++i) {
      backend.binary(BinaryKind::add, x, x, y);
    }
    backend.synchronize();
  };
  step();
  const Counters before = backend.counters();
  step();
  const Counters after = backend.counters();
  EXPECT_EQ(after.dispatches - before.dispatches, 300u);
  EXPECT_EQ(after.pipelines, before.pipelines);
  EXPECT_EQ(after.bind_groups, before.bind_groups);
  EXPECT_EQ(after.allocations, before.allocations);
  EXPECT_LE(after.submits - before.submits, 5u);  // 64 dispatches each
  EXPECT_EQ(after.readbacks, before.readbacks);
}

TEST(WgpuDevice, BindGroupsForgetBuffersThatAreGone) {
  WgpuBackend& backend = test_backend();
  const std::vector<float> ones(1000, 1.0f);
  const HostPiece piece = std::as_bytes(std::span(ones));
  const View y = make_view(backend, {1000}, DType::F32);
  for (int i = 0; i < 50; ++i) {
    const View x{backend.import_host({&piece, 1}, nullptr, 4, 4, "w").storage, Layout({1000}),
                 DType::F32};
    backend.copy(x, y);
  }
  EXPECT_EQ(get<float>(backend, y), ones);
}

TEST(WgpuDevice, ProfilesByKernel) {
  if (!test_backend().limits().timestamps) {
    GTEST_SKIP() << "the device has no timestamps";
  }
  WgpuOptions options;
  options.profile = Profile::Kernels;
  WgpuBackend backend(options);
  const View y = make_view(backend, {4096}, DType::F32);
  for (int i = 0; i < 300; ++i) {
    backend.fill(y, 1.0);
  }
  backend.unary(UnaryKind::neg, 0, 0, y, make_view(backend, {4096}, DType::F32));
  const auto times = backend.take_profile();
  ASSERT_EQ(times.size(), 2u);
  uint64_t fills = 0;
  for (const KernelTime& time : times) {
    EXPECT_GT(time.nanoseconds, 0.0) << time.name;
    fills += time.name.starts_with("fill") ? time.count : 0;
  }
  EXPECT_EQ(fills, 300u);
  EXPECT_TRUE(backend.take_profile().empty());
}

TEST(WgpuDevice, RecordsAndReplays) {
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / "candela_record_test";
  std::filesystem::remove_all(folder);
  WgpuOptions options;
  options.checked = true;
  options.record = folder.string();
  {
    WgpuBackend backend(options);
    const View x = put<float>(backend, {6}, DType::F32, {1, 2, 3, 4, 5, 6});
    const View y = make_view(backend, {6}, DType::F32);
    backend.unary(UnaryKind::affine, 2, 1, x, y);
    EXPECT_EQ(get<float>(backend, y), (std::vector<float>{3, 5, 7, 9, 11, 13}));
  }
  const std::string recorded = (folder / "000000").string();
  ASSERT_TRUE(std::filesystem::exists(recorded + "/dispatch.txt"));
  WgpuBackend& backend = test_backend();
  ReplayResult result = replay(backend.context(), backend.stream(), recorded);
  EXPECT_EQ(result.kernel, "elementwise");
  EXPECT_GE(result.bytes, 24u);
  EXPECT_EQ(result.different, 0u);
  // With another scalar the result must differ: the comparison can fail.
  std::filesystem::resize_file(recorded + "/params.bin", 0);
  expect_error(ErrorKind::Internal, "params",
               [&] { replay(backend.context(), backend.stream(), recorded); });
  std::filesystem::remove_all(folder);
}

TEST(WgpuDevice, ACountedGridStartsAsManyWorkgroupsAsItsNumbersSay) {
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / "candela_counted_test";
  std::filesystem::remove_all(folder);
  WgpuOptions options;
  options.checked = true;
  options.record = folder.string();
  {
    WgpuBackend backend(options);
    const View numbers = put<uint32_t>(backend, {4}, DType::U32, {9, 2, 1, 1});
    const View x = put<float>(backend, {1024}, DType::F32, std::vector<float>(1024, 1.0f));
    const View y = put<float>(backend, {1024}, DType::F32, std::vector<float>(1024, -1.0f));
    const std::array<uint32_t, 8> params{1, 1024, 0, 1024, 0, 1024, 0, 1024};
    backend.stream().dispatch({"swiglu"}, counted_grid(numbers, 1), params, {in(x), in(x), out(y)});
    const std::vector<float> got = get<float>(backend, y);
    EXPECT_NEAR(got[511], 0.7310586f, 1e-6f);
    EXPECT_EQ(got[512], -1.0f) << "two workgroups of 256";
    expect_error(ErrorKind::Internal, "holds its grid", [&] {
      backend.stream().dispatch({"swiglu"}, counted_grid(numbers, 1), params,
                                {in(x), in(x), out(numbers)});
    });
  }
  std::ifstream text(folder / "000000" / "dispatch.txt");
  const std::string lines{std::istreambuf_iterator<char>(text), {}};
  EXPECT_NE(lines.find("grid 2 1 1"), std::string::npos) << lines;
  WgpuBackend& backend = test_backend();
  EXPECT_EQ(replay(backend.context(), backend.stream(), (folder / "000000").string()).different,
            0u);
  std::filesystem::remove_all(folder);
}

TEST(WgpuDevice, ALostDeviceThrowsAndNeverHangs) {
  // wgpu-native may abort on what follows a loss: a child process keeps the tests alive.
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(
      {
        WgpuOptions options;
        options.checked = true;
        WgpuBackend backend(options);
        const View y = make_view(backend, {64}, DType::F32);
        backend.fill(y, 1.0);
        backend.synchronize();
        const Context& context = backend.context();
        context.api().DeviceDestroy(context.device());
        backend.context().pump();
        int thrown = 0;
        for (int i = 0; i < 3; ++i) {
          try {
            backend.fill(y, 2.0);
            get<float>(backend, y);
          } catch (const Error& error) {
            thrown += error.kind() == ErrorKind::Unavailable ? 1 : 0;
          }
        }
        std::_Exit(thrown == 3 ? 0 : 1);
      },
      testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace candela::wgpu
