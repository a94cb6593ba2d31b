#pragma once

#include <cstdint>
#include <memory>
#include <type_traits>

namespace candela {

/// Cores this process may run on, at least 1.
int available_cores();

/// A fixed set of threads that share loops. The caller works along, so a pool of 1 has no thread of
/// its own. Several threads may call at once: one gets the workers, the others run their loop
/// alone.
class ThreadPool {
 public:
  /// @param threads  Including the caller; 0 or less means all available cores.
  explicit ThreadPool(int threads = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return threads_; }

  /// Calls `body(begin, end)` for disjoint ranges that cover [0, n), each at least `grain` long
  /// (but the last), and returns when all have run. Loops inside a body run on its own thread.
  /// The first exception thrown by a body is rethrown here; ranges not begun by then are dropped.
  template <typename Body>
  void parallel_for(int64_t n, int64_t grain, Body&& body) {
    using Plain = std::remove_reference_t<Body>;
    run(n, grain, const_cast<std::remove_const_t<Plain>*>(&body),
        [](void* context, int64_t begin, int64_t end) {
          (*static_cast<Plain*>(context))(begin, end);
        });
  }

 private:
  using Call = void (*)(void* context, int64_t begin, int64_t end);
  struct State;

  void run(int64_t n, int64_t grain, void* context, Call call);

  int threads_;
  std::unique_ptr<State> state_;
};

}  // namespace candela
