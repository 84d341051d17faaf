#include "kernels/device/thread_pool.h"

#include <atomic>
#include <chrono>
#include <mutex>
#include <numeric>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace tessera::kernels {
namespace {

TEST(ThreadPool, RunsEachIndexOnce) {
  for (const int threads : {1, 2, 3, 5}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (const std::int64_t count : {0, 1, 2, 7, 1000}) {
      std::vector<std::atomic<int>> seen(static_cast<std::size_t>(count));
      pool.run(count, [&](std::int64_t i) { ++seen[static_cast<std::size_t>(i)]; });
      for (const auto& times : seen) ASSERT_EQ(times.load(), 1);
    }
  }
}

TEST(ThreadPool, UsesItsWorkers) {
  ThreadPool pool(3);
  std::mutex mutex;
  std::set<std::thread::id> ids;
  // Each index waits for company, so all three threads must come.
  std::atomic<int> inside{0};
  pool.run(3, [&](std::int64_t) {
    ++inside;
    while (inside < 3) std::this_thread::yield();
    const std::lock_guard lock(mutex);
    ids.insert(std::this_thread::get_id());
  });
  EXPECT_EQ(ids.size(), 3U);
  EXPECT_TRUE(ids.contains(std::this_thread::get_id()));
}

TEST(ThreadPool, ManyShortCallsWithPauses) {
  ThreadPool pool(3);
  std::int64_t expected = 0;
  std::atomic<std::int64_t> sum{0};
  for (int call = 0; call < 3000; ++call) {
    pool.run(5, [&](std::int64_t i) { sum += i + call; });
    expected += 10 + 5 * call;
    if (call % 500 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));  // workers fall asleep
  }
  EXPECT_EQ(sum.load(), expected);
}

TEST(ThreadPool, WritesOfTheBodyAreSeenAfterTheCall) {
  ThreadPool pool(4);
  std::vector<int> plain(1000);
  for (int round = 1; round <= 50; ++round) {
    pool.run(1000, [&](std::int64_t i) { plain[static_cast<std::size_t>(i)] += 1; });
    ASSERT_EQ(std::accumulate(plain.begin(), plain.end(), 0), 1000 * round);
  }
}

TEST(ThreadPool, AnExceptionIsRethrownOnceAllHaveStoppedAndThePoolGoesOn) {
  ThreadPool pool(3);
  for (int round = 0; round < 100; ++round) {
    std::atomic<int> inside{0};
    try {
      pool.run(100, [&](std::int64_t i) {
        ++inside;
        if (i == 17) {
          --inside;
          throw std::runtime_error("index 17");
        }
        --inside;
      });
      FAIL() << "nothing was thrown";
    } catch (const std::runtime_error& error) {
      EXPECT_STREQ(error.what(), "index 17");
    }
    EXPECT_EQ(inside.load(), 0);
    std::atomic<int> after{0};
    pool.run(10, [&](std::int64_t) { ++after; });
    ASSERT_EQ(after.load(), 10);
  }
}

TEST(ThreadPool, AnExceptionOnTheCallerAloneIsPassedOn) {
  ThreadPool pool(1);
  EXPECT_THROW(pool.run(3, [](std::int64_t) { throw std::logic_error("x"); }), std::logic_error);
  std::atomic<int> after{0};
  pool.run(2, [&](std::int64_t) { ++after; });
  EXPECT_EQ(after.load(), 2);
}

TEST(ThreadPool, NestedCallsRunOnTheSameThreadInOrder) {
  ThreadPool pool(3);
  const ScopedPool scoped(pool);
  std::atomic<int> bad{0};
  parallel_for(6, [&](std::int64_t) {
    const std::thread::id outer = std::this_thread::get_id();
    std::int64_t next = 0;
    if (parallel_threads() != 1) ++bad;
    pool.run(10, [&](std::int64_t j) {
      if (std::this_thread::get_id() != outer || j != next++) ++bad;
    });
    if (next != 10) ++bad;
  });
  EXPECT_EQ(bad.load(), 0);
  EXPECT_EQ(parallel_threads(), 3);
}

TEST(ThreadPool, SeveralCallersTakeTurns) {
  ThreadPool pool(3);
  std::vector<std::thread> callers;
  std::atomic<std::int64_t> sum{0};
  for (int c = 0; c < 3; ++c) {
    callers.emplace_back([&] {
      const ScopedPool scoped(pool);
      for (int call = 0; call < 200; ++call) parallel_for(8, [&](std::int64_t i) { sum += i; });
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(sum.load(), 3 * 200 * 28);
}

TEST(ThreadPool, ScopedPoolsNestAndBelongToTheirThread) {
  EXPECT_EQ(parallel_threads(), 1);
  ThreadPool two(2);
  ThreadPool three(3);
  {
    const ScopedPool outer(two);
    EXPECT_EQ(parallel_threads(), 2);
    {
      const ScopedPool inner(three);
      EXPECT_EQ(parallel_threads(), 3);
    }
    EXPECT_EQ(parallel_threads(), 2);
    std::thread([] { EXPECT_EQ(parallel_threads(), 1); }).join();
  }
  EXPECT_EQ(parallel_threads(), 1);
}

TEST(ThreadPool, WithoutAPoolEverythingRunsHereInOrder) {
  std::int64_t next = 0;
  parallel_for(5, [&](std::int64_t i) { EXPECT_EQ(i, next++); });
  EXPECT_EQ(next, 5);
  std::int64_t calls = 0;
  parallel_ranges(100, 1, [&](std::int64_t begin, std::int64_t end) {
    EXPECT_EQ(begin, 0);
    EXPECT_EQ(end, 100);
    ++calls;
  });
  EXPECT_EQ(calls, 1);
}

TEST(ThreadPool, RangesCoverEverythingOnceAndKeepTheGrain) {
  ThreadPool pool(3);
  const ScopedPool scoped(pool);
  for (const std::int64_t count : {0, 1, 5, 63, 64, 65, 1000, 12345}) {
    for (const std::int64_t grain : {1, 7, 64, 5000}) {
      std::vector<std::atomic<int>> seen(static_cast<std::size_t>(count));
      std::atomic<std::int64_t> shortest{count};
      parallel_ranges(count, grain, [&](std::int64_t begin, std::int64_t end) {
        ASSERT_LT(begin, end);
        std::int64_t so_far = shortest.load();
        while (end - begin < so_far && !shortest.compare_exchange_weak(so_far, end - begin)) {
        }
        for (std::int64_t i = begin; i < end; ++i) ++seen[static_cast<std::size_t>(i)];
      });
      for (const auto& times : seen) ASSERT_EQ(times.load(), 1) << count << " by " << grain;
      EXPECT_GE(shortest.load(), std::min(count, grain)) << count << " by " << grain;
    }
  }
}

TEST(ThreadPool, StartsAndStopsQuickly) {
  for (int i = 0; i < 100; ++i) {
    ThreadPool pool(3);
    if (i % 2 == 0) pool.run(3, [](std::int64_t) {});
  }
}

}  // namespace
}  // namespace tessera::kernels
