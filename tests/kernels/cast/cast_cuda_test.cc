// The conversions are exact functions of bits: every 16-bit pattern, and the results of the CPU twin, which
// is tested on every pattern against integer arithmetic. A NaN needs only to stay one.
#include "kernels/cast/cast_cuda.h"

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/cast/cast.h"
#include "tests/support/cuda_test.h"
#include "tests/support/kernel_test.h"

namespace tessera::kernels {
namespace {

using testing_support::OnDevice;
using testing_support::uniform_floats;

template <class T>
void cpu_widen(std::vector<float>& to, const std::vector<std::uint16_t>& from) {
  (std::is_same_v<T, Bf16> ? bf16_to_f32 : f16_to_f32)(to.data(), from.data(), std::ssize(to));
}
template <class T>
void cpu_narrow(std::vector<std::uint16_t>& to, const std::vector<float>& from) {
  (std::is_same_v<T, Bf16> ? f32_to_bf16 : f32_to_f16)(to.data(), from.data(), std::ssize(to));
}

template <class T>
void widen_every_pattern() {
  std::vector<std::uint16_t> bits(65536);
  std::vector<T> values(65536);
  for (std::size_t i = 0; i < bits.size(); ++i) values[i].bits = bits[i] = static_cast<std::uint16_t>(i);
  const OnDevice<T> from(values);
  const OnDevice<float> to(65536);
  cast_cuda(to.get(), from.get(), 65536, nullptr);
  TS_CUDA(cudaDeviceSynchronize());
  std::vector<float> want(65536);
  cpu_widen<T>(want, bits);
  const auto got = to.download();
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (std::isnan(want[i])) {
      ASSERT_TRUE(std::isnan(got[i])) << std::hex << i;
    } else {
      ASSERT_EQ(std::bit_cast<std::uint32_t>(got[i]), std::bit_cast<std::uint32_t>(want[i])) << std::hex << i;
    }
  }
}

/// Neighbours of every pattern and of every halfway point between patterns, the specials, and lengths and
/// pointers that leave the wide access.
template <class T>
void narrow_around_every_pattern() {
  std::vector<std::uint16_t> bits(65536);
  for (std::size_t i = 0; i < bits.size(); ++i) bits[i] = static_cast<std::uint16_t>(i);
  std::vector<float> exact(65536);
  cpu_widen<T>(exact, bits);
  std::vector<float> values;
  for (std::size_t i = 0; i + 1 < exact.size();
       i += 7) {  // 7: every exponent, a ninth of the interpreter's time
    const float next = exact[i + 1];
    for (const float x : {exact[i], std::isfinite(next) ? exact[i] / 2 + next / 2 : next}) {
      const auto word = std::bit_cast<std::uint32_t>(x);
      for (const std::uint32_t near : {word - 1, word, word + 1})
        values.push_back(std::bit_cast<float>(near));
    }
  }
  for (const float x :
       {0.0F, -0.0F, 65504.0F, 65519.9F, 65520.0F, 1e-8F, 3e-8F, std::numeric_limits<float>::max(),
        std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    values.push_back(x);
  }
  for (const std::size_t shift : {0U, 1U}) {
    const auto n = static_cast<std::int64_t>(values.size() - shift);
    const OnDevice<float> from(values);
    const OnDevice<T> to(values.size());
    cast_cuda(to.get() + shift, from.get() + shift, n, nullptr);
    TS_CUDA(cudaDeviceSynchronize());
    std::vector<std::uint16_t> want(values.size());
    cpu_narrow<T>(want, values);
    const auto got = to.download();
    for (std::size_t i = shift; i < got.size(); ++i) {
      if (std::isnan(values[i])) {
        std::vector<float> back(1);
        cpu_widen<T>(back, {got[i].bits});
        ASSERT_TRUE(std::isnan(back[0])) << values[i];
      } else {
        ASSERT_EQ(got[i].bits, want[i]) << values[i] << " at " << i;
      }
    }
  }
}

TEST(CastCuda, Bf16ToFp32OnEveryPattern) { widen_every_pattern<Bf16>(); }
TEST(CastCuda, Fp16ToFp32OnEveryPattern) { widen_every_pattern<F16>(); }
TEST(CastCuda, Fp32ToBf16AroundEveryPattern) { narrow_around_every_pattern<Bf16>(); }
TEST(CastCuda, Fp32ToFp16AroundEveryPattern) { narrow_around_every_pattern<F16>(); }

TEST(CastCuda, AnyLengthWritesThatMuchAndNoMore) {
  for (const std::int64_t n : {0, 1, 3, 4, 5, 1023, 1024, 1027}) {
    const auto x = uniform_floats(n + 1, 1);
    const OnDevice<float> from(x);
    const OnDevice<Bf16> to(std::vector<Bf16>(x.size(), Bf16{0x1234}));
    cast_cuda(to.get(), from.get(), n, nullptr);
    TS_CUDA(cudaDeviceSynchronize());
    const auto got = to.download();
    for (std::size_t i = 0; i < x.size(); ++i) {
      ASSERT_EQ(got[i].bits, static_cast<std::int64_t>(i) < n ? testing_support::to_bf16(x[i]).bits : 0x1234)
          << i;
    }
  }
}

}  // namespace
}  // namespace tessera::kernels
