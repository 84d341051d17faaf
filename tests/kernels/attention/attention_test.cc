// Every instruction set of the machine against the double oracle, over masks, layouts and shapes.
// The targets must be chosen before Highway is included.
// clang-format off
#include "kernels/device/simd_targets.h"
#include <hwy/highway.h>
// clang-format on

#include "kernels/attention/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/attention/dropout.h"
#include "kernels/device/thread_pool.h"
#include "tests/kernels/attention/attention_problem.h"
#include "tests/support/compare.h"

namespace tessera::kernels {
namespace {

using ::tessera::testing::kFloatRounding;
using ::tessera::testing::normal_floats;
using ::tessera::testing::within;

using testing_support::Case;
using testing_support::kNone;
using testing_support::Layout;
using testing_support::Oracle;
using testing_support::Problem;
using testing_support::unpadded;

auto relative_to(const std::vector<double>& size, double relative) {
  return [&size, relative](std::size_t i) { return relative * size[i] + 1e-30; };
}

void expect_forward(const Problem& p, const Oracle& oracle) {
  const AttentionBlock& b = p.block;
  const auto o = unpadded(p.o, b.q_tokens, b.q_stride, static_cast<std::int64_t>(b.heads) * b.head_dim);
  EXPECT_TRUE(within(o, oracle.o, relative_to(oracle.o_size, oracle.relative)));
  // lse = s + log(sum): the error of the scores, of the sum, and of one rounding of the result.
  EXPECT_TRUE(within(p.lse, oracle.lse, [&](std::size_t i) {
    return oracle.relative + 4 * kFloatRounding * std::abs(oracle.lse[i]);
  }));
}

void expect_backward(const Problem& p, const Oracle& oracle) {
  const AttentionBlock& b = p.block;
  const auto q_width = static_cast<std::int64_t>(b.heads) * b.head_dim;
  const auto kv_width = static_cast<std::int64_t>(b.kv_heads) * b.head_dim;
  EXPECT_TRUE(within(unpadded(p.dq, b.q_tokens, b.q_stride, q_width), oracle.dq,
                     relative_to(oracle.dq_size, oracle.relative)))
      << "dq";
  EXPECT_TRUE(within(unpadded(p.dk, b.kv_tokens, b.kv_stride, kv_width), oracle.dk,
                     relative_to(oracle.dk_size, oracle.relative)))
      << "dk";
  EXPECT_TRUE(within(unpadded(p.dv, b.kv_tokens, b.kv_stride, kv_width), oracle.dv,
                     relative_to(oracle.dv_size, oracle.relative)))
      << "dv";
}

void run_forward(Problem& p) {
  const AttentionForward work = p.forward();
  attention_forward({&work, 1});
}

void run_backward(Problem& p) {
  std::vector<float> delta(p.lse.size());
  attention_delta(delta.data(), p.d_o.data(), p.o.data(), p.block.q_tokens, p.block.q_stride, p.block.heads,
                  p.block.head_dim);
  const AttentionBackward work = p.backward(p.lse.data(), delta.data());
  attention_backward({&work, 1});
}

/// Calls body once per instruction set compiled in and present.
template <class Body>
void for_each_instruction_set(const Body& body) {
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
    SCOPED_TRACE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    body();
    hwy::SetSupportedTargetsForTest(0);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  }
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const bool causal : {true, false}) {
    const std::string kind = causal ? "causal" : "full";
    for (const std::int64_t tokens : {1, 7, 63, 64, 65, 130, 200, 401}) {
      all.push_back({.name = kind + "_" + std::to_string(tokens),
                     .q_tokens = tokens,
                     .kv_tokens = tokens,
                     .heads = tokens > 200 ? 1 : 2,
                     .head_dim = 32,
                     .causal = causal});
    }
    for (const int width : {1, 8, 33, 40, 64, 80, 96, 128, 256}) {
      all.push_back({.name = kind + "_width_" + std::to_string(width),
                     .q_tokens = 75,
                     .kv_tokens = 75,
                     .head_dim = width,
                     .causal = causal,
                     .padding = width == 40 ? 3 : 0});
    }
    for (const Layout layout : {Layout::kZigzag, Layout::kStriped, Layout::kShuffled}) {
      all.push_back({.name = kind + "_layout_" + std::to_string(static_cast<int>(layout)),
                     .q_tokens = 210,
                     .kv_tokens = 210,
                     .head_dim = 32,
                     .causal = causal,
                     .document_tokens = 100,
                     .layout = layout});
    }
    for (const int window : {1, 5, 64, 100}) {
      all.push_back({.name = kind + "_window_" + std::to_string(window),
                     .q_tokens = 230,
                     .kv_tokens = 230,
                     .heads = 1,
                     .head_dim = 32,
                     .causal = causal,
                     .window = window,
                     .layout = window == 5 ? Layout::kZigzag : Layout::kInOrder});
    }
    for (const int documents : {1, 3, 17, 64}) {
      all.push_back({.name = kind + "_documents_" + std::to_string(documents),
                     .q_tokens = 150,
                     .kv_tokens = 150,
                     .heads = 1,
                     .head_dim = 32,
                     .causal = causal,
                     .document_tokens = documents});
    }
    for (const int ratio : {1, 2, 4, 8}) {
      all.push_back({.name = kind + "_shared_by_" + std::to_string(ratio),
                     .q_tokens = 100,
                     .kv_tokens = 100,
                     .heads = 8,
                     .kv_heads = 8 / ratio,
                     .head_dim = 16,
                     .causal = causal});
    }
    all.push_back(
        {.name = kind + "_many_heads", .heads = 20, .kv_heads = 20, .head_dim = 16, .causal = causal});
    all.push_back({.name = kind + "_dropout",
                   .q_tokens = 130,
                   .kv_tokens = 130,
                   .causal = causal,
                   .layout = Layout::kZigzag,
                   .dropout = 0.3F});
    // Logits of several hundred: exp would overflow without the running maximum.
    all.push_back({.name = kind + "_large_logits",
                   .q_tokens = 90,
                   .kv_tokens = 90,
                   .causal = causal,
                   .logit_scale = 300});
  }
  all.push_back({.name = "rectangular", .q_tokens = 50, .kv_tokens = 333, .q_offset = 200});
  all.push_back({.name = "rectangular_tall", .q_tokens = 333, .kv_tokens = 50, .q_offset = -20});
  all.push_back({.name = "generate_one_token", .q_tokens = 1, .kv_tokens = 300, .heads = 4, .q_offset = 299});
  all.push_back({.name = "nothing_visible", .q_tokens = 40, .kv_tokens = 70, .q_offset = -1000});
  all.push_back({.name = "first_rows_see_nothing", .q_tokens = 80, .kv_tokens = 70, .q_offset = -33});
  all.push_back({.name = "one_row_sees_one_key", .q_tokens = 64, .kv_tokens = 64, .q_offset = -63});
  // Several runs of keys in the backward pass, which sums its shares run by run.
  all.push_back(
      {.name = "long_keys", .q_tokens = 130, .kv_tokens = 3200, .heads = 1, .head_dim = 16, .causal = false});
  return all;
}

class AttentionCase : public ::testing::TestWithParam<Case> {};

TEST_P(AttentionCase, ForwardAndBackwardEqualTheOracle) {
  const Oracle oracle{Problem(GetParam())};
  for_each_instruction_set([&] {
    Problem p(GetParam());
    run_forward(p);
    expect_forward(p, oracle);
    run_backward(p);
    expect_backward(p, oracle);
  });
}

INSTANTIATE_TEST_SUITE_P(Sweep, AttentionCase, ::testing::ValuesIn(cases()),
                         [](const auto& info) { return info.param.name; });

TEST(Attention, EveryInstructionSetIsTested) {
  // x86: the baseline always, and what the machine has of SSE4, AVX2 and AVX-512. A sweep over one set alone
  // would hide that run-time dispatch was compiled out.
  std::string names;
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
    names += std::string(hwy::TargetName(target)) + " ";
  }
  RecordProperty("instruction_sets", names);
#if defined(__x86_64__)
  EXPECT_EQ(__builtin_cpu_supports("sse4.2") != 0, names.find("SSE4") != std::string::npos) << names;
  EXPECT_EQ(__builtin_cpu_supports("avx2") != 0, names.find("AVX2") != std::string::npos) << names;
  EXPECT_EQ(__builtin_cpu_supports("avx512bw") != 0, names.find("AVX3") != std::string::npos) << names;
#endif
}

TEST(Attention, IsBitEqualForAnyNumberOfThreads) {
  for (const int kv_heads : {1, 4, 16}) {
    const Case c{.q_tokens = 450, .kv_tokens = 450, .heads = 16, .kv_heads = kv_heads, .head_dim = 16};
    Problem serial(c);
    run_forward(serial);
    run_backward(serial);
    for (const int threads : {1, 2, 3}) {
      ThreadPool pool(threads);
      const ScopedPool use(pool);
      Problem p(c);
      run_forward(p);
      run_backward(p);
      EXPECT_EQ(p.o, serial.o);
      EXPECT_EQ(p.lse, serial.lse);
      EXPECT_EQ(p.dq, serial.dq);
      EXPECT_EQ(p.dk, serial.dk);
      EXPECT_EQ(p.dv, serial.dv);
    }
  }
}

TEST(Attention, SeveralBlocksEqualOne) {
  // Keys in three blocks of odd sizes, the last of which the first queries do not see at all.
  const Case c{.q_tokens = 210,
               .kv_tokens = 210,
               .heads = 4,
               .kv_heads = 2,
               .layout = Layout::kInOrder,
               .dropout = 0.1F};
  const Oracle oracle{Problem(c)};
  for_each_instruction_set([&] {
    Problem p(c);
    std::vector<AttentionBlock> blocks;
    for (const auto& [begin, end] : {std::pair{0, 37}, {37, 150}, {150, 210}}) {
      AttentionBlock block = p.block;
      block.k += begin * block.kv_stride;
      block.v += begin * block.kv_stride;
      block.mask.k_position += begin;
      block.kv_tokens = end - begin;
      blocks.push_back(block);
      const AttentionForward work{block, p.o.data(), block.q_stride, p.lse.data()};
      attention_forward({&work, 1});
    }
    expect_forward(p, oracle);
    std::vector<float> delta(p.lse.size());
    attention_delta(delta.data(), p.d_o.data(), p.o.data(), c.q_tokens, p.block.q_stride, c.heads,
                    c.head_dim);
    for (const AttentionBlock& block : blocks) {
      AttentionBackward work = p.backward(p.lse.data(), delta.data());
      const std::int64_t begin = block.k - p.block.k;
      work.block = block;
      work.dk += begin;
      work.dv += begin;
      attention_backward({&work, 1});
    }
    expect_backward(p, oracle);
  });
}

TEST(Attention, BlockThatIsNotSeenChangesNoBit) {
  const Case c{.q_tokens = 100, .kv_tokens = 100};
  Problem p(c);
  run_forward(p);
  const auto o = p.o;
  const auto lse = p.lse;
  AttentionForward later = p.forward();
  std::vector<std::int32_t> future(p.k_position);
  for (std::int32_t& x : future) x += 60;  // seen by the last 40 rows alone
  later.block.mask.k_position = future.data();
  attention_forward({&later, 1});
  const auto unseen = static_cast<std::int64_t>(60) * p.block.q_stride;
  EXPECT_TRUE(std::equal(o.begin(), o.begin() + unseen, p.o.begin()));
  EXPECT_TRUE(std::equal(lse.begin(), lse.begin() + 60, p.lse.begin()));
  EXPECT_NE(lse[60], p.lse[60]);
}

TEST(Attention, RowsThatSeeNothingStayEmpty) {
  Case c{.q_tokens = 80, .kv_tokens = 70, .q_offset = -33};
  for_each_instruction_set([&] {
    Problem p(c);
    run_forward(p);
    run_backward(p);
    for (std::int64_t i = 0; i < 33; ++i) {
      for (int h = 0; h < c.heads; ++h) EXPECT_EQ(p.lse[static_cast<std::size_t>(h * c.q_tokens + i)], kNone);
      for (std::int64_t d = 0; d < p.block.q_stride; ++d) {
        EXPECT_EQ(p.o[static_cast<std::size_t>(i * p.block.q_stride + d)], 0.0F);
        EXPECT_EQ(p.dq[static_cast<std::size_t>(i * p.block.q_stride + d)], 0.0F);
      }
    }
  });
}

TEST(Attention, RunsAListOfBlocks) {
  // Sequences of a micro-batch, one of them empty, in one call.
  std::vector<Case> list = {{.q_tokens = 70, .kv_tokens = 70},
                            {.q_tokens = 0, .kv_tokens = 70},
                            {.q_tokens = 33, .kv_tokens = 200, .heads = 4, .causal = false}};
  std::vector<Problem> problems;
  for (std::size_t i = 0; i < list.size(); ++i) problems.emplace_back(list[i], 10 + i);
  // Vectors moved with the problems keep their memory, so the pointers inside stay valid.
  ThreadPool pool(2);
  const ScopedPool use(pool);
  std::vector<AttentionForward> forward;
  for (Problem& p : problems) forward.push_back(p.forward());
  attention_forward(forward);
  std::vector<std::vector<float>> deltas;
  std::vector<AttentionBackward> backward;
  for (Problem& p : problems) {
    deltas.emplace_back(p.lse.size());
    attention_delta(deltas.back().data(), p.d_o.data(), p.o.data(), p.block.q_tokens, p.block.q_stride,
                    p.block.heads, p.block.head_dim);
  }
  for (std::size_t i = 0; i < problems.size(); ++i) {
    backward.push_back(problems[i].backward(problems[i].lse.data(), deltas[i].data()));
  }
  attention_backward(backward);
  for (std::size_t i = 0; i < problems.size(); ++i) {
    SCOPED_TRACE(i);
    const Oracle oracle(problems[i]);
    expect_forward(problems[i], oracle);
    expect_backward(problems[i], oracle);
  }
}

TEST(Attention, BackwardAddsToGradientsAlreadyThere) {
  // One tile and many heads: each gradient is a single addition, so that doing it twice doubles exactly.
  const Case c{.q_tokens = 40, .kv_tokens = 40, .heads = 16, .kv_heads = 16, .head_dim = 16};
  Problem once(c);
  run_forward(once);
  run_backward(once);
  Problem twice(c);
  run_forward(twice);
  run_backward(twice);
  run_backward(twice);
  for (std::size_t i = 0; i < once.dk.size(); ++i) {
    ASSERT_EQ(twice.dk[i], 2 * once.dk[i]);
    ASSERT_EQ(twice.dv[i], 2 * once.dv[i]);
  }
  for (std::size_t i = 0; i < once.dq.size(); ++i) ASSERT_EQ(twice.dq[i], 2 * once.dq[i]);
}

TEST(Attention, BackwardIsTheDerivativeOfForward) {
  // Central differences of L = sum dO . O in double: the oracle against its own definition.
  const Case c{.q_tokens = 9, .kv_tokens = 9, .heads = 2, .kv_heads = 1, .head_dim = 4, .dropout = 0.2F};
  Problem p(c);
  const Oracle oracle(p);
  const auto loss = [&] {
    std::vector<double> o(oracle.o.size(), 0.0);
    std::vector<double> lse(oracle.lse.size(), -HUGE_VAL);
    attention_forward_ref(p.block, o.data(), lse.data());
    double sum = 0;
    for (std::size_t i = 0; i < o.size(); ++i) sum += o[i] * p.d_o[i];
    return sum;
  };
  const auto check = [&](std::vector<float>& x, const std::vector<double>& gradient) {
    for (std::size_t i = 0; i < x.size(); ++i) {
      const float before = x[i];
      x[i] = before + 0x1.0p-8F;
      const double step_up = static_cast<double>(x[i]) - before;
      const double up = loss();
      x[i] = before - 0x1.0p-8F;
      const double step_down = before - static_cast<double>(x[i]);
      const double down = loss();
      x[i] = before;
      // Third derivatives are of order 10 here; the step squared is 1.5e-5.
      EXPECT_NEAR((up - down) / (step_up + step_down), gradient[i], 5e-4);
    }
  };
  check(p.q, oracle.dq);
  check(p.k, oracle.dk);
  check(p.v, oracle.dv);
}

TEST(Dropout, KeepsTheExpectedShareWithoutPattern) {
  // 2^18 draws at p = 0.3: the share kept has deviation 9e-4; five of them are allowed. Neighbours along
  // keys, queries and heads must be as uncorrelated as independent draws.
  const std::uint32_t threshold = dropout_threshold(0.3F);
  const int n = 512;
  const auto keep = [&](int head, int i, int j) {
    return dropout_keep(dropout_row_seed(99, head, i), j, threshold) ? 1.0 : 0.0;
  };
  double sum = 0, along_keys = 0, along_queries = 0, along_heads = 0;
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < n; ++j) {
      const double x = keep(0, i, j) - 0.7;
      sum += keep(0, i, j);
      along_keys += x * (keep(0, i, j + 1) - 0.7);
      along_queries += x * (keep(0, i + 1, j) - 0.7);
      along_heads += x * (keep(1, i, j) - 0.7);
    }
  }
  const double draws = static_cast<double>(n) * n;
  EXPECT_NEAR(sum / draws, 0.7, 5 * std::sqrt(0.21 / draws));
  EXPECT_NEAR(along_keys / draws, 0, 5 * 0.21 / std::sqrt(draws));
  EXPECT_NEAR(along_queries / draws, 0, 5 * 0.21 / std::sqrt(draws));
  EXPECT_NEAR(along_heads / draws, 0, 5 * 0.21 / std::sqrt(draws));
}

TEST(Dropout, IsDrawnByPositionWhateverTheLayout) {
  // Keys in another order: the same sums in another order.
  const Case c{.q_tokens = 60, .kv_tokens = 60, .heads = 1, .causal = false, .dropout = 0.4F};
  Problem in_order(c);
  run_forward(in_order);
  Problem reversed(c);
  std::reverse(reversed.k_position.begin(), reversed.k_position.end());
  for (std::int64_t j = 0; j < 60; ++j) {
    std::copy_n(in_order.k.begin() + (59 - j) * 64, 64, reversed.k.begin() + j * 64);
    std::copy_n(in_order.v.begin() + (59 - j) * 64, 64, reversed.v.begin() + j * 64);
  }
  run_forward(reversed);
  const std::vector<double> expected(in_order.o.begin(), in_order.o.end());
  EXPECT_TRUE(within(reversed.o, expected, 1e-5));
}

TEST(MergePartials, EqualsAttentionOverBoth) {
  const Case c{.q_tokens = 50, .kv_tokens = 90, .heads = 3, .kv_heads = 3, .head_dim = 20, .q_offset = 30};
  Problem p(c);
  const Oracle oracle(p);
  Problem second(c);
  const std::int64_t cut = 40;
  AttentionForward first_work = p.forward();
  first_work.block.kv_tokens = cut;
  AttentionForward second_work = second.forward();
  second_work.block.k += cut * p.block.kv_stride;
  second_work.block.v += cut * p.block.kv_stride;
  second_work.block.mask.k_position += cut;
  second_work.block.kv_tokens = 90 - cut;
  attention_forward({&first_work, 1});
  attention_forward({&second_work, 1});
  ASSERT_EQ(second.lse[0], kNone);  // position 30 sees no key from 40 on
  merge_partials(p.o.data(), p.lse.data(), second.o.data(), second.lse.data(), 50, 3, 20);
  expect_forward(p, oracle);
}

TEST(MergePartials, EmptySidesLeaveTheOtherUnchanged) {
  std::vector<float> o = {1, 2, 0, 0, 5, 6};
  std::vector<float> lse = {0.5F, kNone, kNone};
  const std::vector<float> other = {0, 0, 3, 4, 0, 0};
  const std::vector<float> other_lse = {kNone, -2.0F, kNone};
  merge_partials(o.data(), lse.data(), other.data(), other_lse.data(), 3, 1, 2);
  EXPECT_EQ(o, (std::vector<float>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(lse, (std::vector<float>{0.5F, -2.0F, kNone}));
}

TEST(AttentionDelta, SumsEachHead) {
  const auto a = normal_floats(5 * 2 * 70, 1);
  const auto b = normal_floats(5 * 2 * 70, 2);
  std::vector<float> delta(10);
  attention_delta(delta.data(), a.data(), b.data(), 5, 140, 2, 70);
  for (int h = 0; h < 2; ++h) {
    for (int t = 0; t < 5; ++t) {
      double sum = 0;
      for (int d = 0; d < 70; ++d) {
        const auto i = static_cast<std::size_t>(t * 140 + h * 70 + d);
        sum += static_cast<double>(a[i]) * b[i];
      }
      EXPECT_NEAR(delta[static_cast<std::size_t>(h * 5 + t)], sum, kFloatRounding * std::abs(sum) * 2);
    }
  }
}

}  // namespace
}  // namespace tessera::kernels
