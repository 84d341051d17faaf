#include <bit>

#include "kernels/cast/cast.h"
#include "kernels/device/thread_pool.h"

namespace tessera::kernels {
namespace {

constexpr std::int64_t kGrain = 16384;

std::uint16_t to_bf16(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffffU) > 0x7f800000U) return static_cast<std::uint16_t>((bits >> 16) | 0x40U);
  return static_cast<std::uint16_t>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16);
}

float from_f16(std::uint16_t half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000U) << 16;
  const std::uint32_t magnitude = half & 0x7fffU;
  // The same fields at float's place read as 2^-112 of the value, subnormals included.
  float value = std::bit_cast<float>(magnitude << 13) * 0x1p112F;
  if (magnitude >= 0x7c00U) value = std::bit_cast<float>((magnitude << 13) | 0x7f800000U);
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) | sign);
}

std::uint16_t to_f16(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = (bits >> 16) & 0x8000U;
  const std::uint32_t magnitude = bits & 0x7fffffffU;
  std::uint32_t half = 0;
  if (magnitude > 0x7f800000U) {
    half = 0x7e00U | ((magnitude >> 13) & 0x3ffU);
  } else if (magnitude >= 0x477ff000U) {  // 65520 and above round to infinity
    half = 0x7c00U;
  } else if (magnitude < 0x38800000U) {  // below 2^-14: the adder rounds to a multiple of 2^-24
    half = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + 0.5F) - 0x3f000000U;
  } else {
    half = (magnitude - 0x38000000U + 0xfffU + ((magnitude >> 13) & 1U)) >> 13;
  }
  return static_cast<std::uint16_t>(sign | half);
}

template <class To, class From, class Convert>
void convert_all(To* to, const From* from, std::int64_t n, Convert convert) {
  parallel_ranges(n, kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) to[i] = convert(from[i]);
  });
}

}  // namespace

void bf16_to_f32(float* to, const std::uint16_t* from, std::int64_t n) {
  convert_all(to, from, n,
              [](std::uint16_t x) { return std::bit_cast<float>(static_cast<std::uint32_t>(x) << 16); });
}

void f32_to_bf16(std::uint16_t* to, const float* from, std::int64_t n) { convert_all(to, from, n, to_bf16); }

void f16_to_f32(float* to, const std::uint16_t* from, std::int64_t n) { convert_all(to, from, n, from_f16); }

void f32_to_f16(std::uint16_t* to, const float* from, std::int64_t n) { convert_all(to, from, n, to_f16); }

}  // namespace tessera::kernels
