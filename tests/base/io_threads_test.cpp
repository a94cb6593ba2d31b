#include "base/io_threads.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>

namespace candela {
namespace {

TEST(IoThreads, RunAsManyJobsAtOnceAsThereAreThreads) {
  IoThreads threads(3);
  std::promise<void> gate;
  const std::shared_future<void> opened = gate.get_future().share();
  std::atomic<int> waiting{0};
  std::vector<std::future<void>> jobs;
  for (int i = 0; i < 3; ++i) {
    jobs.push_back(threads.run([&] {
      // Only if all three run at once does the last one open the gate.
      if (++waiting == 3) {
        gate.set_value();
      }
      opened.wait();
    }));
  }
  for (auto& job : jobs) {
    job.get();
  }
  EXPECT_EQ(waiting, 3);
}

TEST(IoThreads, ErrorsComeOutOfTheFutureAndTheThreadLivesOn) {
  IoThreads threads(1);
  auto bad = threads.run([] { throw std::runtime_error("disk"); });
  EXPECT_THROW(bad.get(), std::runtime_error);
  bool ran = false;
  threads.run([&] { ran = true; }).get();
  EXPECT_TRUE(ran);
}

TEST(IoThreads, JobsThatHaveNotBegunNeverRun) {
  std::atomic<int> ran{0};
  std::promise<void> begun, gate;
  std::vector<std::future<void>> jobs;
  std::thread opener;
  {
    IoThreads threads(1);
    jobs.push_back(threads.run([&] {
      begun.set_value();
      gate.get_future().wait();
      ++ran;
    }));
    jobs.push_back(threads.run([&] { ++ran; }));
    begun.get_future().wait();
    opener = std::thread([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      gate.set_value();
    });
  }
  opener.join();
  EXPECT_EQ(ran, 1);
  EXPECT_THROW(jobs[1].get(), std::future_error);
}

}  // namespace
}  // namespace candela
