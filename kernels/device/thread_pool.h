/// The one way kernels use several cores: a small pool, chosen per rank by the user.
///
/// A rank's main thread installs its pool with ScopedPool; every kernel it then calls splits its work
/// with parallel_for. Without a pool the same kernels run serially, which is what a rank-as-thread
/// test wants. No kernel starts threads of its own and no library underneath may either, so that
/// ranks x threads is the number of busy cores.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

namespace tessera::kernels {

class ThreadPool {
 public:
  /// `threads` workers in all, the caller of parallel_for being one of them. Requires threads >= 1.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  [[nodiscard]] int threads() const;

  /// Calls body(i) once for each i in [0, count), each on some worker, and returns when all are done.
  /// Indices are handed out in increasing order, so put long items first. Not reentrant: a nested call
  /// from inside body runs serially. An exception from body is rethrown here after all have stopped.
  void run(std::int64_t count, const std::function<void(std::int64_t)>& body);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Makes `pool` the one that parallel_for of this thread uses, until destroyed.
class ScopedPool {
 public:
  explicit ScopedPool(ThreadPool& pool);
  ~ScopedPool();
  ScopedPool(const ScopedPool&) = delete;
  ScopedPool& operator=(const ScopedPool&) = delete;

 private:
  ThreadPool* previous_;
};

/// Workers that parallel_for of this thread would use; 1 without a pool.
[[nodiscard]] int parallel_threads();

/// body(i) for each i in [0, count) on the calling thread's pool. Results must not depend on which
/// worker runs an index: kernels stay deterministic for any number of threads.
void parallel_for(std::int64_t count, const std::function<void(std::int64_t)>& body);

/// body(begin, end) over [0, count) cut into ranges of at least `grain` indices, a few per worker.
void parallel_ranges(std::int64_t count, std::int64_t grain,
                     const std::function<void(std::int64_t, std::int64_t)>& body);

}  // namespace tessera::kernels
