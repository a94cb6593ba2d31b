#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <mutex>
#include <thread>
#include <vector>

namespace candela {

/// Threads for work that waits for disks rather than for cores: jobs begin in the order in which
/// they come, as many at once as there are threads.
class IoThreads {
 public:
  /// Reads in flight from which on neither disks nor the page cache give more.
  static constexpr int kEnough = 8;

  explicit IoThreads(int threads);
  /// Waits for jobs that have begun; the others never run.
  ~IoThreads();
  IoThreads(const IoThreads&) = delete;
  IoThreads& operator=(const IoThreads&) = delete;

  /// What the job throws comes out of the future.
  std::future<void> run(std::function<void()> job);

 private:
  void work();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::packaged_task<void()>> jobs_;
  bool ending_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace candela
