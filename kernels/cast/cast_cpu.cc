#include <bit>

#include "algos/base/require.h"
#include "kernels/cast/cast.h"
#include "kernels/device/thread_pool.h"

// simd_targets.h comes before Highway, whose headers have an order of their own.
// clang-format off
#include "kernels/device/simd_targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cast/cast_cpu.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// clang-format on

/// Integer arithmetic on the bits, element by element: exact on every machine, and bounded by memory once
/// the compiler has vectorised the loops, which it does for each target.
HWY_BEFORE_NAMESPACE();
namespace tessera::kernels::HWY_NAMESPACE {
namespace {

HWY_INLINE std::uint32_t bits_of(float value) { return std::bit_cast<std::uint32_t>(value); }

HWY_INLINE std::uint16_t to_bf16(float value) {
  const std::uint32_t bits = bits_of(value);
  const std::uint32_t rounded = (bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16;
  const std::uint32_t quiet = (bits >> 16) | 0x40U;
  return static_cast<std::uint16_t>((bits & 0x7fffffffU) > 0x7f800000U ? quiet : rounded);
}

HWY_INLINE float from_f16(std::uint16_t half) {
  const std::uint32_t sign = (half & 0x8000U) << 16;
  const std::uint32_t magnitude = (half & 0x7fffU) << 13;
  // The same fields at float's places read as 2^-112 of the value, subnormals included.
  const std::uint32_t finite = bits_of(std::bit_cast<float>(magnitude) * 0x1p112F);
  const std::uint32_t special = magnitude | 0x7f800000U;
  return std::bit_cast<float>((magnitude >= 0x0f800000U ? special : finite) | sign);
}

HWY_INLINE std::uint16_t to_f16(float value) {
  const std::uint32_t bits = bits_of(value);
  const std::uint32_t sign = (bits >> 16) & 0x8000U;
  const std::uint32_t magnitude = bits & 0x7fffffffU;
  const std::uint32_t nan = 0x7e00U | ((magnitude >> 13) & 0x3ffU);
  // Below 2^-14 the sum with 0.5 rounds to a multiple of 2^-24, the spacing of binary16's subnormals.
  const std::uint32_t subnormal = bits_of(std::bit_cast<float>(magnitude) + 0.5F) - 0x3f000000U;
  const std::uint32_t normal = (magnitude - 0x38000000U + 0xfffU + ((magnitude >> 13) & 1U)) >> 13;
  std::uint32_t half = magnitude < 0x38800000U ? subnormal : normal;
  half = magnitude >= 0x477ff000U ? 0x7c00U : half;  // from 65520 on infinity is nearest
  half = magnitude > 0x7f800000U ? nan : half;
  return static_cast<std::uint16_t>(sign | half);
}

void bf16_to_f32_range(float* __restrict to, const std::uint16_t* __restrict from, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i)
    to[i] = std::bit_cast<float>(static_cast<std::uint32_t>(from[i]) << 16);
}

void f32_to_bf16_range(std::uint16_t* __restrict to, const float* __restrict from, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) to[i] = to_bf16(from[i]);
}

void f16_to_f32_range(float* __restrict to, const std::uint16_t* __restrict from, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) to[i] = from_f16(from[i]);
}

void f32_to_f16_range(std::uint16_t* __restrict to, const float* __restrict from, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) to[i] = to_f16(from[i]);
}

}  // namespace
}  // namespace tessera::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tessera::kernels {
namespace {

HWY_EXPORT(bf16_to_f32_range);
HWY_EXPORT(f32_to_bf16_range);
HWY_EXPORT(f16_to_f32_range);
HWY_EXPORT(f32_to_f16_range);

template <class To, class From>
void convert(To* to, const From* from, std::int64_t n, void (*range)(To*, const From*, std::int64_t)) {
  TS_REQUIRE(n >= 0, n);
  constexpr std::int64_t kGrain = 32768;
  parallel_ranges(
      n, kGrain, [&](std::int64_t begin, std::int64_t end) { range(to + begin, from + begin, end - begin); });
}

}  // namespace

void bf16_to_f32(float* to, const std::uint16_t* from, std::int64_t n) {
  convert(to, from, n, HWY_DYNAMIC_DISPATCH(bf16_to_f32_range));
}

void f32_to_bf16(std::uint16_t* to, const float* from, std::int64_t n) {
  convert(to, from, n, HWY_DYNAMIC_DISPATCH(f32_to_bf16_range));
}

void f16_to_f32(float* to, const std::uint16_t* from, std::int64_t n) {
  convert(to, from, n, HWY_DYNAMIC_DISPATCH(f16_to_f32_range));
}

void f32_to_f16(std::uint16_t* to, const float* from, std::int64_t n) {
  convert(to, from, n, HWY_DYNAMIC_DISPATCH(f32_to_f16_range));
}

}  // namespace tessera::kernels
#endif  // HWY_ONCE
