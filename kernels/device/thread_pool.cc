#include "kernels/device/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "algos/base/require.h"

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif

namespace tessera::kernels {
namespace {

thread_local ThreadPool* current_pool = nullptr;
thread_local bool inside_run = false;  // on a worker, or on a caller while it works

/// Some 20 us: the gap between two kernels of a step, and little enough not to steal a shared core.
constexpr int kSpins = 400;

void relax() {
#if defined(__x86_64__) || defined(__i386__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

template <class Condition>
void spin_until(Condition condition) {
  for (int i = 0; i < kSpins && !condition(); ++i) relax();
}

void run_serially(std::int64_t count, const std::function<void(std::int64_t)>& body) {
  for (std::int64_t i = 0; i < count; ++i) body(i);
}

}  // namespace

/// One job at a time. A worker joins the open job when it wakes in time; run() closes the job when the
/// indices are used up and waits for those that joined only, so a worker the system does not schedule
/// delays nobody.
struct ThreadPool::State {
  using Body = std::function<void(std::int64_t)>;

  std::mutex one_caller;

  std::mutex mutex;  // guards open_body, count, error, stopping, and every change of epoch and joined
  std::condition_variable job_opened;
  std::condition_variable all_left;
  const Body* open_body = nullptr;
  std::int64_t count = 0;
  std::exception_ptr error;
  bool stopping = false;

  std::atomic<std::uint64_t> epoch{0};  // jobs opened so far; also read without the mutex, to spin
  std::atomic<int> joined{0};
  std::atomic<std::int64_t> next{0};

  std::vector<std::thread> workers;

  void drain(const Body& body, std::int64_t end) {
    try {
      for (std::int64_t i = next.fetch_add(1, std::memory_order_relaxed); i < end;
           i = next.fetch_add(1, std::memory_order_relaxed)) {
        body(i);
      }
    } catch (...) {
      next.store(end, std::memory_order_relaxed);  // the others take no further index
      const std::lock_guard lock(mutex);
      if (!error) error = std::current_exception();
    }
  }

  void work() {
    inside_run = true;
    std::uint64_t seen = 0;
    while (true) {
      spin_until([&] { return epoch.load(std::memory_order_relaxed) != seen; });
      const Body* body = nullptr;
      std::int64_t end = 0;
      {
        std::unique_lock lock(mutex);
        job_opened.wait(lock, [&] { return stopping || epoch.load(std::memory_order_relaxed) != seen; });
        if (stopping) return;
        seen = epoch.load(std::memory_order_relaxed);
        if (open_body == nullptr) continue;  // over before this worker woke
        body = open_body;
        end = count;
        joined.fetch_add(1, std::memory_order_relaxed);
      }
      drain(*body, end);
      const std::lock_guard lock(mutex);
      if (joined.fetch_sub(1, std::memory_order_release) == 1) all_left.notify_one();
    }
  }

  void stop() noexcept {
    {
      const std::lock_guard lock(mutex);
      stopping = true;
      epoch.fetch_add(1, std::memory_order_relaxed);  // ends the spinning
    }
    job_opened.notify_all();
    for (std::thread& worker : workers) worker.join();
  }
};

ThreadPool::ThreadPool(int threads) : state_(std::make_unique<State>()) {
  TS_REQUIRE(threads >= 1, threads);
  try {
    for (int i = 1; i < threads; ++i) state_->workers.emplace_back([state = state_.get()] { state->work(); });
  } catch (...) {
    state_->stop();
    throw;
  }
}

ThreadPool::~ThreadPool() { state_->stop(); }

int ThreadPool::threads() const { return static_cast<int>(state_->workers.size()) + 1; }

void ThreadPool::run(std::int64_t count, const std::function<void(std::int64_t)>& body) {
  if (count <= 1 || inside_run || state_->workers.empty()) {
    run_serially(count, body);
    return;
  }
  State& state = *state_;
  const std::lock_guard one_caller(state.one_caller);
  {
    const std::lock_guard lock(state.mutex);
    state.open_body = &body;
    state.count = count;
    state.next.store(0, std::memory_order_relaxed);
    state.epoch.fetch_add(1, std::memory_order_relaxed);
  }
  state.job_opened.notify_all();

  inside_run = true;
  state.drain(body, count);
  inside_run = false;

  std::exception_ptr error;
  {
    const std::lock_guard lock(state.mutex);
    state.open_body = nullptr;
  }
  spin_until([&] { return state.joined.load(std::memory_order_acquire) == 0; });
  {
    std::unique_lock lock(state.mutex);
    state.all_left.wait(lock, [&] { return state.joined.load(std::memory_order_relaxed) == 0; });
    error = std::exchange(state.error, nullptr);
  }
  if (error) std::rethrow_exception(error);
}

ScopedPool::ScopedPool(ThreadPool& pool) : previous_(current_pool) { current_pool = &pool; }

ScopedPool::~ScopedPool() { current_pool = previous_; }

int parallel_threads() { return current_pool == nullptr || inside_run ? 1 : current_pool->threads(); }

void parallel_for(std::int64_t count, const std::function<void(std::int64_t)>& body) {
  if (current_pool == nullptr) {
    run_serially(count, body);
  } else {
    current_pool->run(count, body);
  }
}

void parallel_ranges(std::int64_t count, std::int64_t grain,
                     const std::function<void(std::int64_t, std::int64_t)>& body) {
  TS_REQUIRE(grain >= 1, grain);
  if (count <= 0) return;
  constexpr std::int64_t kRangesPerWorker = 4;  // evens out workers that were interrupted
  const std::int64_t threads = parallel_threads();
  const std::int64_t wanted = threads == 1 ? 1 : threads * kRangesPerWorker;
  const std::int64_t ranges = std::clamp<std::int64_t>(count / grain, 1, wanted);
  if (ranges == 1) {
    body(0, count);
    return;
  }
  const std::int64_t base = count / ranges;
  const std::int64_t longer = count % ranges;  // the first `longer` ranges have one index more
  parallel_for(ranges, [&](std::int64_t r) {
    const std::int64_t begin = r * base + std::min(r, longer);
    body(begin, begin + base + (r < longer ? 1 : 0));
  });
}

}  // namespace tessera::kernels
