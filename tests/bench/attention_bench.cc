// Attention forward and backward against the machine's FMA peak, both measured in this process.
//
//   attention-bench [--benchmark_filter=...]
//
// GFLOP/s count unmasked pairs alone: 4 D flops each forward, 10 D backward. `of_peak` divides by what a
// loop of independent FMAs in the widest vectors reaches on the same threads, probed between repetitions;
// on a machine that others use, best against best is the ratio that says something about the kernel.
#include "kernels/device/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tests/bench/attention_bench.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace tessera::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// `steps` times 12 independent FMAs; returns something that depends on all, so that none is dropped.
float fma_steps(int steps) {
  const hn::ScalableTag<float> f;
  const auto a = hn::Set(f, 0.999F);
  const auto b = hn::Set(f, 0.001F);
  // Each chain starts elsewhere: equal ones would be merged into one.
  auto x0 = hn::Set(f, 0.10F);
  auto x1 = hn::Set(f, 0.11F);
  auto x2 = hn::Set(f, 0.12F);
  auto x3 = hn::Set(f, 0.13F);
  auto x4 = hn::Set(f, 0.14F);
  auto x5 = hn::Set(f, 0.15F);
  auto y0 = hn::Set(f, 0.20F);
  auto y1 = hn::Set(f, 0.21F);
  auto y2 = hn::Set(f, 0.22F);
  auto y3 = hn::Set(f, 0.23F);
  auto y4 = hn::Set(f, 0.24F);
  auto y5 = hn::Set(f, 0.25F);
  for (int i = 0; i < steps; ++i) {
    x0 = hn::MulAdd(x0, a, b);
    x1 = hn::MulAdd(x1, a, b);
    x2 = hn::MulAdd(x2, a, b);
    x3 = hn::MulAdd(x3, a, b);
    x4 = hn::MulAdd(x4, a, b);
    x5 = hn::MulAdd(x5, a, b);
    y0 = hn::MulAdd(y0, a, b);
    y1 = hn::MulAdd(y1, a, b);
    y2 = hn::MulAdd(y2, a, b);
    y3 = hn::MulAdd(y3, a, b);
    y4 = hn::MulAdd(y4, a, b);
    y5 = hn::MulAdd(y5, a, b);
  }
  const auto x = hn::Add(hn::Add(hn::Add(x0, x1), hn::Add(x2, x3)), hn::Add(x4, x5));
  const auto y = hn::Add(hn::Add(hn::Add(y0, y1), hn::Add(y2, y3)), hn::Add(y4, y5));
  return hn::GetLane(hn::SumOfLanes(f, hn::Add(x, y)));
}

double flops_per_step() { return 2.0 * 12 * static_cast<double>(hn::Lanes(hn::ScalableTag<float>())); }

}  // namespace tessera::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <limits>
#include <numeric>
#include <string>

#include <benchmark/benchmark.h>

#include "algos/base/random.h"
#include "kernels/attention/attention.h"
#include "kernels/device/buffer.h"
#include "kernels/device/thread_pool.h"

namespace tessera {
HWY_EXPORT(fma_steps);
HWY_EXPORT(flops_per_step);

namespace {

using Seconds = std::chrono::duration<double>;

template <class Body>
double seconds(const Body& body) {
  const auto start = std::chrono::steady_clock::now();
  body();
  return Seconds(std::chrono::steady_clock::now() - start).count();
}

/// GFLOP/s of FMAs on all workers of this thread's pool, over about a millisecond.
double fma_gflops() {
  constexpr int kSteps = 100000;
  const int threads = kernels::parallel_threads();
  const double t = seconds([&] {
    kernels::parallel_for(
        threads, [&](std::int64_t) { benchmark::DoNotOptimize(HWY_DYNAMIC_DISPATCH(fma_steps)(kSteps)); });
  });
  return threads * kSteps * HWY_DYNAMIC_DISPATCH(flops_per_step)() / t * 1e-9;
}

struct Operands {
  Operands(int tokens, int heads, int width, bool causal)
      : position(tokens),
        q(floats(tokens, heads, width, 1)),
        k(floats(tokens, heads, width, 2)),
        v(floats(tokens, heads, width, 3)),
        d_o(floats(tokens, heads, width, 4)),
        o(q.size()),
        dq(q.size()),
        dk(q.size()),
        dv(q.size()),
        lse(static_cast<std::int64_t>(tokens) * heads),
        delta(lse.size()) {
    std::iota(position.span().begin(), position.span().end(), 0);
    const std::int64_t stride = static_cast<std::int64_t>(heads) * width;
    block.q = q.data();
    block.k = k.data();
    block.v = v.data();
    block.q_tokens = block.kv_tokens = tokens;
    block.q_stride = block.kv_stride = stride;
    block.heads = block.kv_heads = heads;
    block.head_dim = width;
    block.scale = 1.0F / std::sqrt(static_cast<float>(width));
    block.mask.q_position = block.mask.k_position = position.data();
    block.mask.causal = causal;
  }

  static kernels::Buffer<float> floats(int tokens, int heads, int width, std::uint64_t key) {
    kernels::Buffer<float> values(static_cast<std::int64_t>(tokens) * heads * width);
    for (std::int64_t i = 0; i < values.size(); ++i) {
      values[i] = static_cast<float>(normal(key, static_cast<std::uint64_t>(i)));
    }
    return values;
  }

  void start_rows() {
    std::fill(o.span().begin(), o.span().end(), 0.0F);
    std::fill(lse.span().begin(), lse.span().end(), -std::numeric_limits<float>::infinity());
  }
  void forward() {
    const kernels::AttentionForward work{block, o.data(), block.q_stride, lse.data()};
    kernels::attention_forward({&work, 1});
  }
  void backward() {
    const kernels::AttentionBackward work{block,          d_o.data(),    block.q_stride, lse.data(),
                                          delta.data(),   dq.data(),     dk.data(),      dv.data(),
                                          block.q_stride, block.q_stride};
    kernels::attention_backward({&work, 1});
  }

  kernels::Buffer<std::int32_t> position;
  kernels::Buffer<float> q, k, v, d_o, o, dq, dk, dv, lse, delta;
  kernels::AttentionBlock block;
};

void attention(benchmark::State& state, bool backward, int tokens, int width, bool causal, int threads) {
  const int heads = 512 / width;
  kernels::ThreadPool pool(threads);
  const kernels::ScopedPool use(pool);
  Operands x(tokens, heads, width, causal);
  x.start_rows();
  x.forward();
  kernels::attention_delta(x.delta.data(), x.d_o.data(), x.o.data(), tokens, x.block.q_stride, heads, width);
  x.backward();  // first touch of the scratch
  const double pairs = causal ? 0.5 * tokens * (tokens + 1.0) : static_cast<double>(tokens) * tokens;
  const double flops = pairs * heads * width * (backward ? 10 : 4);
  double best = HUGE_VAL;
  double peak = 0;
  for (auto _ : state) {
    if (!backward) x.start_rows();
    peak = std::max(peak, fma_gflops());
    const double t = seconds([&] { backward ? x.backward() : x.forward(); });
    state.SetIterationTime(t);
    best = std::min(best, t);
  }
  state.counters["GFLOPs"] = flops / best * 1e-9;
  state.counters["peak_GFLOPs"] = peak;
  state.counters["of_peak"] = flops / best * 1e-9 / peak;
}

}  // namespace
}  // namespace tessera

int main(int argc, char** argv) {
  for (const int threads : {1, 2}) {
    for (const bool backward : {false, true}) {
      for (const int width : {64, 128}) {
        for (const int tokens : {1024, 2048}) {
          for (const bool causal : {true, false}) {
            const std::string name = std::string(backward ? "backward" : "forward") + "/d" +
                                     std::to_string(width) + "/T" + std::to_string(tokens) +
                                     (causal ? "/causal" : "/full") + "/threads" + std::to_string(threads);
            benchmark::RegisterBenchmark(name.c_str(),
                                         [=](benchmark::State& state) {
                                           tessera::attention(state, backward, tokens, width, causal,
                                                              threads);
                                         })
                ->UseManualTime()
                ->Iterations(12)
                ->Unit(benchmark::kMillisecond);
          }
        }
      }
    }
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
}
#endif
