#include "base/threads.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace candela {

namespace {

// Ranges a thread gets on average: enough to even out, few enough to cost nothing.
constexpr int64_t kRangesPerThread = 4;

// True on a thread that runs a body: a loop inside of a body stays on that thread.
bool& inside_body() {
  thread_local bool inside = false;
  return inside;
}

struct Job {
  int64_t n = 0;
  int64_t range = 1;
  void* context = nullptr;
  void (*call)(void*, int64_t, int64_t) = nullptr;
  std::atomic<int64_t> next{0};
  std::mutex failure_mutex;
  std::exception_ptr failure;

  void work() {
    const bool outer = inside_body();
    inside_body() = true;
    for (;;) {
      const int64_t begin = next.fetch_add(range);
      if (begin >= n) {
        break;
      }
      try {
        call(context, begin, std::min(n, begin + range));
      } catch (...) {
        next.store(n);
        const std::lock_guard lock(failure_mutex);
        if (!failure) {
          failure = std::current_exception();
        }
      }
    }
    inside_body() = outer;
  }
};

}  // namespace

int available_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0) {
    return std::max(1, CPU_COUNT(&set));
  }
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

struct ThreadPool::State {
  std::mutex one_caller;
  std::mutex mutex;
  std::condition_variable wake;
  std::condition_variable done;
  Job* job = nullptr;  // null when no worker may begin
  uint64_t generation = 0;
  int working = 0;
  bool stop = false;
  std::vector<std::thread> workers;

  void worker() {
    std::unique_lock lock(mutex);
    uint64_t seen = 0;
    for (;;) {
      wake.wait(lock, [&] { return stop || (job != nullptr && generation != seen); });
      if (stop) {
        return;
      }
      seen = generation;
      Job* mine = job;
      ++working;
      lock.unlock();
      mine->work();
      lock.lock();
      if (--working == 0) {
        done.notify_one();
      }
    }
  }
};

ThreadPool::ThreadPool(int threads)
    : threads_(threads > 0 ? threads : available_cores()), state_(std::make_unique<State>()) {
  for (int i = 1; i < threads_; ++i) {
    state_->workers.emplace_back([state = state_.get()] { state->worker(); });
  }
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stop = true;
  }
  state_->wake.notify_all();
  for (std::thread& worker : state_->workers) {
    worker.join();
  }
}

void ThreadPool::run(int64_t n, int64_t grain, void* context, Call call) {
  if (n <= 0) {
    return;
  }
  grain = std::max<int64_t>(grain, 1);
  std::unique_lock caller(state_->one_caller, std::defer_lock);
  if (threads_ == 1 || n <= grain || inside_body() || !caller.try_lock()) {
    call(context, 0, n);
    return;
  }
  Job job;
  job.n = n;
  const int64_t ranges = threads_ * kRangesPerThread;
  job.range = std::max(grain, (n + ranges - 1) / ranges);
  job.context = context;
  job.call = call;
  {
    const std::lock_guard lock(state_->mutex);
    state_->job = &job;
    ++state_->generation;
  }
  state_->wake.notify_all();
  job.work();
  {
    std::unique_lock lock(state_->mutex);
    state_->job = nullptr;
    state_->done.wait(lock, [&] { return state_->working == 0; });
  }
  if (job.failure) {
    std::rethrow_exception(job.failure);
  }
}

}  // namespace candela
