#include "runtime/optim/sharded_adamw.h"

#include <algorithm>
#include <cmath>
#include <mutex>
#include <vector>

#include <gtest/gtest.h>

#include "algos/base/random.h"
#include "kernels/optim/adamw.h"
#include "runtime/comm/local_comm.h"
#include "tests/support/model_spec.h"

namespace tessera::runtime {
namespace {

// Integers: sums over ranks are exact in any order, so that ranks differ by nothing but the shards.
float gradient_of(int rank, int step, std::int64_t i) {
  return static_cast<float>(
      static_cast<int>(uniform(static_cast<std::uint64_t>(rank * 100 + step), static_cast<std::uint64_t>(i)) *
                       64) -
      32);
}

std::vector<float> start_parameters(std::int64_t n) {
  std::vector<float> p(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < p.size(); ++i) p[i] = static_cast<float>(normal(7, i));
  return p;
}

constexpr int kSteps = 3;
constexpr double kScale = 1.0 / 64;
constexpr double kLr = 0.01;

/// One rank's AdamW over whole buffers: the kernel, parameter by parameter.
std::vector<float> unsharded(const ParameterLayout& layout, int ranks, std::vector<double>& squares) {
  std::vector<float> p = start_parameters(layout.total());
  std::vector<float> m(p.size()), v(p.size()), g(p.size());
  for (int step = 1; step <= kSteps; ++step) {
    std::fill(g.begin(), g.end(), 0.0F);
    for (int r = 0; r < ranks; ++r) {
      for (std::size_t i = 0; i < g.size(); ++i) g[i] += gradient_of(r, step, static_cast<std::int64_t>(i));
    }
    double sum = 0;
    for (const float x : g) sum += static_cast<double>(x) * x;
    squares.push_back(sum);
    for (const ParameterInfo& info : layout.parameters()) {
      const auto at = static_cast<std::size_t>(info.offset);
      kernels::adamw(&p[at], &m[at], &v[at], &g[at], info.count,
                     {.learning_rate = kLr,
                      .weight_decay = info.decay ? 0.1 : 0,
                      .step = step,
                      .gradient_scale = kScale});
    }
  }
  return p;
}

struct Case {
  int ranks;
  std::int64_t bucket;
  bool hook;  // gradients announced layer by layer, or all left to finish_reduction
};

class ShardedAdamwTest : public ::testing::TestWithParam<Case> {};

TEST_P(ShardedAdamwTest, EqualsOneUnshardedOptimizerBitForBit) {
  const auto [ranks, bucket, hook] = GetParam();
  const ParameterLayout layout(support::small_model());
  std::vector<double> squares;
  const std::vector<float> expected = unsharded(layout, ranks, squares);
  std::mutex mutex;
  std::vector<double> got_squares(kSteps);
  run_local_ranks(ranks, [&, bucket = bucket, hook = hook](Communicator& comm) {
    ShardedAdamw optimizer(comm, layout, {.weight_decay = 0.1}, bucket);
    std::vector<float> p = start_parameters(layout.total());
    std::vector<float> g(p.size());
    const std::int64_t n = layout.total();
    for (int step = 1; step <= kSteps; ++step) {
      for (std::size_t i = 0; i < g.size(); ++i) {
        g[i] = gradient_of(comm.rank().value, step, static_cast<std::int64_t>(i));
      }
      optimizer.start(g.data());
      if (hook) {  // from the back, as the backward pass goes, cut anywhere
        for (std::int64_t end = n; end > 0;) {
          const std::int64_t begin = std::max<std::int64_t>(0, end - 700);
          optimizer.gradient_ready(begin, end - begin);
          end = begin;
        }
      }
      const double mine = optimizer.finish_reduction();
      {
        const std::lock_guard lock(mutex);
        got_squares[static_cast<std::size_t>(step - 1)] += mine;
      }
      optimizer.update(p.data(), step, kLr, kScale);
    }
    // Gaps between parameters belong to nobody: unsharded() leaves them, the shards may update them with
    // the (here non-zero) gradient of the gap.
    for (const ParameterInfo& info : layout.parameters()) {
      for (std::int64_t i = info.offset; i < info.offset + info.count; ++i) {
        ASSERT_EQ(p[static_cast<std::size_t>(i)], expected[static_cast<std::size_t>(i)])
            << info.name << " element " << i - info.offset << " on rank " << comm.rank();
      }
    }
    // What a step sends is what the counters say.
    const ShardedAdamw::StepBytes bytes = optimizer.step_bytes();
    EXPECT_EQ(comm.traffic().by_kind(Traffic::kGradient).bytes_sent, kSteps * bytes.gradient);
    EXPECT_EQ(comm.traffic().by_kind(Traffic::kParameter).bytes_sent, kSteps * bytes.parameter);
  });
  for (int s = 0; s < kSteps; ++s) {
    const auto i = static_cast<std::size_t>(s);
    EXPECT_DOUBLE_EQ(got_squares[i], squares[i]);  // integers below 2^53: exact
  }
}

INSTANTIATE_TEST_SUITE_P(Ranks, ShardedAdamwTest,
                         ::testing::Values(Case{1, 1 << 20, false}, Case{2, 1 << 20, true},
                                           Case{3, 997, true}, Case{4, 64, true}, Case{5, 1000, false},
                                           Case{4, 3, false}));

TEST(ShardedAdamw, ShardsCoverTheFlatBufferOnce) {
  const ParameterLayout layout(support::small_model());
  constexpr int kRanks = 3;
  std::mutex mutex;
  std::vector<FlatRange> all;
  run_local_ranks(kRanks, [&](Communicator& comm) {
    ShardedAdamw optimizer(comm, layout, {}, 1000);
    const std::lock_guard lock(mutex);
    std::int64_t mine = 0;
    for (const FlatRange& range : optimizer.owned()) {
      all.push_back(range);
      mine += range.count;
    }
    EXPECT_EQ(std::ssize(optimizer.first_moment()), mine);
    EXPECT_LE(mine, layout.total() / kRanks + 2 + layout.total() / 1000);  // a float per bucket of unevenness
  });
  std::sort(all.begin(), all.end(), [](auto& a, auto& b) { return a.offset < b.offset; });
  std::int64_t at = 0;
  for (const FlatRange& range : all) {
    EXPECT_EQ(range.offset, at);
    at += range.count;
  }
  EXPECT_EQ(at, layout.total());
}

}  // namespace
}  // namespace tessera::runtime
