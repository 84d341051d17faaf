// Attention forward and backward against the machine's FMA peak, both measured in this process.
//
//   attention-bench [--benchmark_filter=...]
//
// GFLOP/s count unmasked pairs alone: 4 D flops each forward, 10 D backward. `of_peak` divides by what a
// loop of independent FMAs in the widest vectors reaches on the same threads, probed before and
// after; on a machine that others use, best against best is the ratio that says something about the kernel.
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
#include "tests/bench/machine_probe.h"

namespace tessera {
namespace {

using Seconds = std::chrono::duration<double>;

template <class Body>
double seconds(const Body& body) {
  const auto start = std::chrono::steady_clock::now();
  body();
  return Seconds(std::chrono::steady_clock::now() - start).count();
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
  double peak = bench::peak_flops_per_s(threads);
  for (auto _ : state) {
    if (!backward) x.start_rows();
    const double t = seconds([&] { backward ? x.backward() : x.forward(); });
    state.SetIterationTime(t);
    best = std::min(best, t);
  }
  peak = std::max(peak, bench::peak_flops_per_s(threads));
  state.counters["GFLOPs"] = flops / best * 1e-9;
  state.counters["peak_GFLOPs"] = peak * 1e-9;
  state.counters["of_peak"] = flops / best / peak;
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
