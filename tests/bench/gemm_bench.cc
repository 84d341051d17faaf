// The products of one training step, as a share of the multiply-add peak measured in the same run.
//
//   gemm-bench [--benchmark_filter=threads:2]
//
// T tokens, D width; the MLP is 3 D wide and its gate and up products are one. Forward is NT (activations
// times weights stored [out, in]), the input gradient NN, the weight gradient TN and added into. One thread
// is timed by its CPU time, so that other work on the machine takes little from the ratio; several by the
// clock.
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include <benchmark/benchmark.h>

#include "kernels/device/buffer.h"
#include "kernels/device/thread_pool.h"
#include "kernels/gemm/gemm.h"
#include "tests/bench/machine_probe.h"

namespace tessera::bench {
namespace {

using kernels::GemmShape;
using kernels::Transpose;

double peak(int threads) {
  static std::map<int, double> known;
  const auto [at, is_new] = known.try_emplace(threads, 0.0);
  if (is_new) at->second = peak_flops_per_s(threads);
  return at->second;
}

kernels::Buffer<float> filled(std::int64_t n) {
  kernels::Buffer<float> buffer(n);
  for (std::int64_t i = 0; i < n; ++i) buffer[i] = static_cast<float>(i % 17) * 0.125F - 1.0F;
  return buffer;
}

void time_product(benchmark::State& state, GemmShape shape, Transpose ta, Transpose tb, float beta,
                  int threads) {
  const auto a = filled(shape.m * shape.k);
  const auto b = filled(shape.k * shape.n);
  auto c = filled(shape.m * shape.n);
  kernels::ThreadPool pool(threads);
  const kernels::ScopedPool scoped(pool);
  const std::int64_t lda = ta == Transpose::kYes ? shape.m : shape.k;
  const std::int64_t ldb = tb == Transpose::kYes ? shape.k : shape.n;
  const Stopwatch watch(threads);
  for (auto _ : state) {
    kernels::gemm(shape, ta, tb, 1, a.data(), lda, b.data(), ldb, beta, c.data(), shape.n);
  }
  const double flops = 2.0 * static_cast<double>(shape.m) * static_cast<double>(shape.n) *
                       static_cast<double>(shape.k) * static_cast<double>(state.iterations());
  const double rate = flops / watch.seconds();
  state.counters["gflop/s"] = rate / 1e9;
  state.counters["of_peak"] = rate / peak(threads);
}

void register_products() {
  constexpr auto kN = Transpose::kNo;
  constexpr auto kT = Transpose::kYes;
  for (const int threads : {1, 2}) {
    for (const std::int64_t tokens : {512, 2048}) {
      for (const std::int64_t width : {256, 512, 1024}) {
        struct Layer {
          const char* name;
          std::int64_t out, in;
        };
        for (const Layer layer : {Layer{"qkv", 3 * width, width}, Layer{"out", width, width},
                                  Layer{"gate_up", 6 * width, width}, Layer{"down", width, 3 * width}}) {
          const std::string where = "/T:" + std::to_string(tokens) + "/D:" + std::to_string(width) +
                                    "/threads:" + std::to_string(threads);
          const auto add = [&](const char* pass, GemmShape shape, Transpose ta, Transpose tb, float beta) {
            benchmark::RegisterBenchmark(
                (std::string(layer.name) + "/" + pass + where).c_str(),
                [=](benchmark::State& state) { time_product(state, shape, ta, tb, beta, threads); })
                ->UseRealTime()
                ->MinTime(0.05)
                ->Unit(benchmark::kMicrosecond);
          };
          add("forward_NT", {tokens, layer.out, layer.in}, kN, kT, 0);
          add("d_input_NN", {tokens, layer.in, layer.out}, kN, kN, 0);
          add("d_weight_TN", {layer.out, layer.in, tokens}, kT, kN, 1);
        }
      }
    }
  }
}

}  // namespace
}  // namespace tessera::bench

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::AddCustomContext("gemm_provider", std::string(tessera::kernels::gemm_provider()));
  benchmark::AddCustomContext("simd_target", std::string(tessera::bench::simd_target()));
  for (const int threads : {1, 2}) {
    benchmark::AddCustomContext("peak_gflop_per_s_threads_" + std::to_string(threads),
                                std::to_string(tessera::bench::peak(threads) / 1e9));
  }
  tessera::bench::register_products();
  benchmark::RunSpecifiedBenchmarks();
}
