// Captured steps: replays do the work again on the same memory, whatever ran between them.
#include "backend/wgpu/stream.h"
#include "wgpu_fixture.h"

namespace candela::wgpu {
namespace {

/// y = 2 x + 1 through an intermediate buffer that only the captured step knows.
struct Step {
  View x = put<float>(test_backend(), Shape{3}, DType::F32, {1, 2, 3});
  View y = make_view(test_backend(), Shape{3}, DType::F32);
  std::shared_ptr<const Captured> captured = test_backend().capture([this] {
    const View doubled = make_view(test_backend(), Shape{3}, DType::F32);
    test_backend().unary(UnaryKind::affine, 2.0f, 0.0f, x, doubled);
    test_backend().unary(UnaryKind::affine, 1.0f, 1.0f, doubled, y);
  });
};

TEST(WgpuCapture, ReplaysOnNewInputsWithForeignWorkBetween) {
  Step step;
  ASSERT_NE(step.captured, nullptr);
  for (int round = 0; round < 100; ++round) {
    const auto base = static_cast<float>(round);
    const std::vector<float> input{base, base + 1, base + 2};
    test_backend().upload(step.x.storage, 0, std::as_bytes(std::span(input)));
    test_backend().replay(*step.captured);
    // Would take the intermediate buffer if the pool gave it away.
    const View foreign = make_view(test_backend(), Shape{3}, DType::F32);
    test_backend().fill(foreign, -7.0);
    ASSERT_EQ(get<float>(test_backend(), step.y),
              (std::vector<float>{2 * base + 1, 2 * base + 3, 2 * base + 5}));
  }
}

TEST(WgpuCapture, DoesNotRunWhatItRecordsAndReplaysMakeNothingNew) {
  Step step;
  test_backend().fill(step.y, 5.0);
  EXPECT_EQ(get<float>(test_backend(), step.y), (std::vector<float>{5, 5, 5}));
  test_backend().replay(*step.captured);
  test_backend().synchronize();
  const Counters before = test_backend().counters();
  test_backend().replay(*step.captured);
  test_backend().synchronize();
  const Counters& after = test_backend().counters();
  EXPECT_EQ(after.dispatches - before.dispatches, 2u);
  EXPECT_EQ(after.submits - before.submits, 1u);
  EXPECT_EQ(after.pipelines, before.pipelines);
  EXPECT_EQ(after.bind_groups, before.bind_groups);
  EXPECT_EQ(after.allocations, before.allocations);
  EXPECT_EQ(after.uploads, before.uploads);
}

TEST(WgpuCapture, OutlivesTheTensorsItNames) {
  Step step;
  const View y = step.y;
  const std::shared_ptr<const Captured> captured = step.captured;
  step.x = {};
  test_backend().replay(*captured);
  EXPECT_EQ(get<float>(test_backend(), y), (std::vector<float>{3, 5, 7}));
}

TEST(WgpuCapture, RefusesWhatAReplayWouldNotRepeat) {
  Step step;
  const auto inside = [&](const std::function<void()>& work) {
    return [&, work] { test_backend().capture(work); };
  };
  const std::vector<float> data(3);
  expect_error(ErrorKind::Internal, "uploaded", inside([&] {
                 test_backend().upload(step.x.storage, 0, std::as_bytes(std::span(data)));
               }));
  expect_error(ErrorKind::Internal, "read back",
               inside([&] { get<float>(test_backend(), step.y); }));
  expect_error(ErrorKind::Internal, "replayed",
               inside([&] { test_backend().replay(*step.captured); }));
  // The device goes on as before.
  test_backend().replay(*step.captured);
  EXPECT_EQ(get<float>(test_backend(), step.y), (std::vector<float>{3, 5, 7}));
}

TEST(WgpuCapture, RunsAtOnceWhatIsOutside) {
  const View x = put<float>(test_backend(), Shape{1}, DType::F32, {1});
  const View y = put<float>(test_backend(), Shape{1}, DType::F32, {0});
  const auto captured = test_backend().capture([&] {
    test_backend().stream().outside_capture([&] { test_backend().fill(x, 4.0); });
    test_backend().copy(x, y);
  });
  EXPECT_EQ(get<float>(test_backend(), x), std::vector<float>{4});
  EXPECT_EQ(get<float>(test_backend(), y), std::vector<float>{0});
  test_backend().fill(x, 6.0);
  test_backend().replay(*captured);
  EXPECT_EQ(get<float>(test_backend(), y), std::vector<float>{6});
}

TEST(WgpuCapture, ReadsLaterWhatLayThereWhenItWasAsked) {
  const View x = put<uint32_t>(test_backend(), Shape{4}, DType::U32, {1, 2, 3, 4});
  const auto first = test_backend().read_later(x.storage, 4, 8);
  const std::vector<uint32_t> other{9, 9, 9, 9};
  test_backend().upload(x.storage, 0, std::as_bytes(std::span(other)));
  const auto second = test_backend().read_later(x.storage, 0, 4);
  uint32_t later = 0;
  second->wait(std::as_writable_bytes(std::span(&later, 1)));
  EXPECT_EQ(later, 9u);
  std::vector<uint32_t> values(2);
  first->wait(std::as_writable_bytes(std::span(values)));
  EXPECT_EQ(values, (std::vector<uint32_t>{2, 3}));
  // One that nobody waits for gives its buffer back unharmed.
  test_backend().read_later(x.storage, 0, 4);
  EXPECT_EQ(get<uint32_t>(test_backend(), x), other);
}

}  // namespace
}  // namespace candela::wgpu
