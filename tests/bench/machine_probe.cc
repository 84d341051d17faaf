#include "tests/bench/machine_probe.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <time.h>

#include "kernels/device/buffer.h"
#include "kernels/device/thread_pool.h"

// simd_targets.h comes before Highway, whose headers have an order of their own.
// clang-format off
#include "kernels/device/simd_targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tests/bench/machine_probe.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace tessera::bench::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

/// Twelve chains cover four cycles of latency on three ports. Returns the flops done; `sink` keeps them.
double fma_rounds(std::int64_t rounds, float* sink) {
  const hn::ScalableTag<float> d;
  const auto factor = hn::Set(d, 0.999F);
  const auto term = hn::Set(d, 0.001F);
  // Different beginnings, or the compiler would compute one chain for all.
  const auto from = [&](float x) HWY_ATTR { return hn::Set(d, x + *sink); };
  auto a0 = from(0), a1 = from(1), a2 = from(2), a3 = from(3), a4 = from(4), a5 = from(5);
  auto b0 = from(6), b1 = from(7), b2 = from(8), b3 = from(9), b4 = from(10), b5 = from(11);
  for (std::int64_t i = 0; i < rounds; ++i) {
    a0 = hn::MulAdd(a0, factor, term);
    a1 = hn::MulAdd(a1, factor, term);
    a2 = hn::MulAdd(a2, factor, term);
    a3 = hn::MulAdd(a3, factor, term);
    a4 = hn::MulAdd(a4, factor, term);
    a5 = hn::MulAdd(a5, factor, term);
    b0 = hn::MulAdd(b0, factor, term);
    b1 = hn::MulAdd(b1, factor, term);
    b2 = hn::MulAdd(b2, factor, term);
    b3 = hn::MulAdd(b3, factor, term);
    b4 = hn::MulAdd(b4, factor, term);
    b5 = hn::MulAdd(b5, factor, term);
  }
  const auto a = hn::Add(hn::Add(hn::Add(a0, a1), hn::Add(a2, a3)), hn::Add(a4, a5));
  const auto b = hn::Add(hn::Add(hn::Add(b0, b1), hn::Add(b2, b3)), hn::Add(b4, b5));
  *sink = hn::GetLane(hn::SumOfLanes(d, hn::Add(a, b)));
  return 2.0 * 12.0 * static_cast<double>(rounds) * static_cast<double>(hn::Lanes(d));
}

void triad(float* __restrict a, const float* __restrict b, const float* __restrict c, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) a[i] = b[i] + 0.5F * c[i];
}

const char* name() { return hwy::TargetName(HWY_TARGET); }

}  // namespace
}  // namespace tessera::bench::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tessera::bench {
namespace {

HWY_EXPORT(fma_rounds);
HWY_EXPORT(triad);
HWY_EXPORT(name);

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double now(int threads) {
  if (threads > 1) return seconds_now();
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

}  // namespace

Stopwatch::Stopwatch(int threads) : threads_(threads), start_(now(threads)) {}

double Stopwatch::seconds() const { return now(threads_) - start_; }

double peak_flops_per_s(int threads) {
  kernels::ThreadPool pool(threads);
  double best = 0;
  for (int repeat = 0; repeat < 20; ++repeat) {
    std::array<double, 256> flops{};
    const Stopwatch watch(threads);
    pool.run(std::min(threads, 256), [&](std::int64_t i) {
      static thread_local float sink;
      flops[static_cast<std::size_t>(i)] = HWY_DYNAMIC_DISPATCH(fma_rounds)(1'000'000, &sink);
    });
    double total = 0;
    for (const double f : flops) total += f;
    best = std::max(best, total / watch.seconds());
  }
  return best;
}

double triad_bytes_per_s(int threads) {
  constexpr std::int64_t kFloats = 24 << 20;
  kernels::Buffer<float> a(kFloats);
  kernels::Buffer<float> b(kFloats);
  kernels::Buffer<float> c(kFloats);
  kernels::ThreadPool pool(threads);
  const kernels::ScopedPool scoped(pool);
  double best = 0;
  for (int repeat = 0; repeat < 8; ++repeat) {
    const Stopwatch watch(threads);
    kernels::parallel_ranges(kFloats, 65536, [&](std::int64_t begin, std::int64_t end) {
      HWY_DYNAMIC_DISPATCH(triad)(a.data() + begin, b.data() + begin, c.data() + begin, end - begin);
    });
    best = std::max(best, 12.0 * static_cast<double>(kFloats) / watch.seconds());
  }
  return best;
}

std::string_view simd_target() { return HWY_DYNAMIC_DISPATCH(name)(); }

}  // namespace tessera::bench
#endif  // HWY_ONCE
