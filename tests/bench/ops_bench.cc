// The elementwise and row-wise kernels, as a share of the memory triad measured in the same run.
//
//   ops-bench [--benchmark_filter=rmsnorm]
//
// Bytes are those that must move: each array read or written counts once, as in the triad. The triad's store
// also fetches the line it overwrites, which is not counted: kernels that update in place can exceed 1.
// Arrays are far larger than the caches, which a training step's are not always: there the kernels run
// faster. One thread is timed by its CPU time, so that other work on the machine takes little from the ratio;
// several by the clock.
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "kernels/cast/cast.h"
#include "kernels/device/buffer.h"
#include "kernels/device/thread_pool.h"
#include "kernels/embedding/embedding.h"
#include "kernels/loss/cross_entropy.h"
#include "kernels/mlp/swiglu.h"
#include "kernels/norm/rmsnorm.h"
#include "kernels/optim/adamw.h"
#include "kernels/rope/rope.h"
#include "tests/bench/machine_probe.h"

namespace tessera::bench {
namespace {

using kernels::Buffer;

double triad(int threads) {
  static std::map<int, double> known;
  const auto [at, is_new] = known.try_emplace(threads, 0.0);
  if (is_new) at->second = triad_bytes_per_s(threads);
  return at->second;
}

Buffer<float> filled(std::int64_t n) {
  Buffer<float> buffer(n);
  for (std::int64_t i = 0; i < n; ++i) buffer[i] = static_cast<float>(i % 17) * 0.125F - 1.0F;
  return buffer;
}

/// `bytes` move in each call of `op`.
void time_op(benchmark::State& state, double bytes, const std::function<void()>& op) {
  const auto threads = static_cast<int>(state.range(0));
  kernels::ThreadPool pool(threads);
  const kernels::ScopedPool scoped(pool);
  op();
  const Stopwatch watch(threads);
  for (auto _ : state) op();
  const double moved = bytes * static_cast<double>(state.iterations());
  const double rate = moved / watch.seconds();
  state.counters["gb/s"] = rate / 1e9;
  state.counters["of_triad"] = rate / triad(threads);
}

constexpr std::int64_t kTokens = 16384;
constexpr std::int64_t kWidth = 1024;
constexpr std::int64_t kN = kTokens * kWidth;
constexpr double kBytes = 4.0 * kN;

void rmsnorm_forward(benchmark::State& state) {
  const auto x = filled(kN), u = filled(kN), w = filled(kWidth);
  Buffer<float> y(kN), sum(kN), rstd(kTokens);
  time_op(state, 4 * kBytes, [&] {
    kernels::rmsnorm_forward(y.data(), rstd.data(), sum.data(), x.data(), u.data(), w.data(), kTokens, kWidth,
                             1e-5F);
  });
}

void rmsnorm_backward(benchmark::State& state) {
  const auto x = filled(kN), dy = filled(kN), w = filled(kWidth), rstd = filled(kTokens);
  Buffer<float> dx(kN), dw(kWidth);
  time_op(state, 4 * kBytes, [&] {
    kernels::rmsnorm_backward(dx.data(), dw.data(), dy.data(), x.data(), rstd.data(), w.data(), kTokens,
                              kWidth);
  });
}

void swiglu_forward(benchmark::State& state) {
  const auto gate_up = filled(2 * kN);
  Buffer<float> y(kN);
  time_op(state, 3 * kBytes, [&] { kernels::swiglu_forward(y.data(), gate_up.data(), kTokens, kWidth); });
}

void swiglu_backward(benchmark::State& state) {
  const auto gate_up = filled(2 * kN), dy = filled(kN);
  Buffer<float> d(2 * kN);
  time_op(state, 5 * kBytes,
          [&] { kernels::swiglu_backward(d.data(), nullptr, dy.data(), gate_up.data(), kTokens, kWidth); });
}

void rope_forward(benchmark::State& state) {
  constexpr int kHeadDim = 64;
  auto x = filled(kN);
  const auto cosine = filled(kTokens * kHeadDim / 2), sine = filled(kTokens * kHeadDim / 2);
  time_op(state, 2 * kBytes + kBytes * kHeadDim / kWidth, [&] {
    kernels::rope_forward(x.data(), kWidth, cosine.data(), sine.data(), kTokens, kWidth / kHeadDim, kHeadDim);
  });
}

std::vector<std::int32_t> some_tokens(std::int64_t vocabulary) {
  std::vector<std::int32_t> out;
  for (std::int64_t t = 0; t < kTokens; ++t) {
    out.push_back(static_cast<std::int32_t>(t * 7919 % vocabulary));
  }
  return out;
}

void embedding_forward(benchmark::State& state) {
  const auto table = filled(kN);
  const auto token = some_tokens(kTokens);
  Buffer<float> y(kN);
  time_op(state, 2 * kBytes,
          [&] { kernels::embedding_forward(y.data(), table.data(), token.data(), kTokens, kWidth); });
}

void embedding_backward(benchmark::State& state) {
  const auto dy = filled(kN);
  const auto token = some_tokens(kTokens);
  Buffer<float> table(kN);
  time_op(state, 3 * kBytes, [&] {
    kernels::embedding_backward(table.data(), dy.data(), token.data(), kTokens, kWidth, kTokens);
  });
}

/// `scale` 0 times the loss alone (reads), otherwise loss and gradient (reads and writes). The kernel makes
/// the row its own softmax, so repeated calls see other numbers of the same kind.
void cross_entropy(benchmark::State& state, float scale) {
  constexpr std::int64_t kVocabulary = 50304;
  constexpr std::int64_t kRows = 512;
  auto logits = filled(kRows * kVocabulary);
  const std::vector<std::int32_t> label(kRows, 17);
  Buffer<float> loss(kRows);
  time_op(state, (scale == 0 ? 4.0 : 8.0) * kRows * kVocabulary, [&] {
    kernels::cross_entropy(loss.data(), logits.data(), kVocabulary, label.data(), kRows, kVocabulary, scale);
  });
}

void adamw(benchmark::State& state) {
  auto p = filled(kN), m = filled(kN);
  Buffer<float> v(kN);
  const auto gradient = filled(kN);
  time_op(state, 7 * kBytes, [&] {
    kernels::adamw(p.data(), m.data(), v.data(), gradient.data(), kN, {.learning_rate = 1e-4, .step = 10});
  });
}

void sum_of_squares(benchmark::State& state) {
  const auto x = filled(kN);
  time_op(state, kBytes, [&] { benchmark::DoNotOptimize(kernels::sum_of_squares(x.data(), kN)); });
}

template <void (*kNarrow)(std::uint16_t*, const float*, std::int64_t)>
void narrow(benchmark::State& state) {
  const auto x = filled(kN);
  Buffer<std::uint16_t> y(kN);
  time_op(state, 1.5 * kBytes, [&] { kNarrow(y.data(), x.data(), kN); });
}

template <void (*kWiden)(float*, const std::uint16_t*, std::int64_t)>
void widen(benchmark::State& state) {
  Buffer<float> x(kN);
  const Buffer<std::uint16_t> y(kN);
  time_op(state, 1.5 * kBytes, [&] { kWiden(x.data(), y.data(), kN); });
}

void register_ops() {
  const auto add = [](const char* name, auto function) {
    benchmark::RegisterBenchmark(name, function)
        ->ArgName("threads")
        ->Arg(1)
        ->Arg(2)
        ->UseRealTime()
        ->MinTime(0.1)
        ->Unit(benchmark::kMillisecond);
  };
  add("rmsnorm_forward", rmsnorm_forward);
  add("rmsnorm_backward", rmsnorm_backward);
  add("swiglu_forward", swiglu_forward);
  add("swiglu_backward", swiglu_backward);
  add("rope_forward", rope_forward);
  add("embedding_forward", embedding_forward);
  add("embedding_backward", embedding_backward);
  add("cross_entropy_loss", [](benchmark::State& state) { cross_entropy(state, 0.0F); });
  add("cross_entropy_gradient", [](benchmark::State& state) { cross_entropy(state, 1.0F); });
  add("adamw", adamw);
  add("sum_of_squares", sum_of_squares);
  add("f32_to_bf16", narrow<kernels::f32_to_bf16>);
  add("bf16_to_f32", widen<kernels::bf16_to_f32>);
  add("f32_to_f16", narrow<kernels::f32_to_f16>);
  add("f16_to_f32", widen<kernels::f16_to_f32>);
}

}  // namespace
}  // namespace tessera::bench

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::AddCustomContext("simd_target", std::string(tessera::bench::simd_target()));
  for (const int threads : {1, 2}) {
    benchmark::AddCustomContext("triad_gb_per_s_threads_" + std::to_string(threads),
                                std::to_string(tessera::bench::triad(threads) / 1e9));
  }
  tessera::bench::register_ops();
  benchmark::RunSpecifiedBenchmarks();
}
