/// What kernel tests share: seeded inputs, every instruction set in turn, every small number of threads.
#pragma once

#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include "algos/base/random.h"
#include "kernels/device/thread_pool.h"

// simd_targets.h comes before Highway: it says which sets the kernels were compiled for.
// clang-format off
#include "kernels/device/simd_targets.h"
#include <hwy/highway.h>
// clang-format on

namespace tessera::testing_support {

/// Uniform in [low, high), a function of the key.
inline std::vector<float> uniform_floats(std::int64_t n, std::uint64_t key, double low = -1,
                                         double high = 1) {
  std::vector<float> values(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(low + (high - low) * uniform(key, i));
  }
  return values;
}

/// body() once with each instruction set that was compiled in and that this machine has.
template <class Body>
void for_each_simd_target(Body body) {
  struct Restore {
    ~Restore() {
      hwy::SetSupportedTargetsForTest(0);
      hwy::GetChosenTarget().DeInit();
    }
  } restore;
  int ran = 0;
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
    SCOPED_TRACE(testing::Message() << "instruction set " << hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(target);
    body();
    ++ran;
  }
  EXPECT_GE(ran, 1);
}

/// run() returns what a kernel wrote; it must be the same for 1 (no pool), 2 and 3 threads.
template <class Run>
void expect_same_for_any_threads(Run run) {
  const auto alone = run();
  for (const int threads : {2, 3}) {
    kernels::ThreadPool pool(threads);
    const kernels::ScopedPool scoped(pool);
    EXPECT_TRUE(run() == alone) << threads << " threads";
  }
}

}  // namespace tessera::testing_support
