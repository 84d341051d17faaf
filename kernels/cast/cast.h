/// Conversions between storage formats and fp32. IEEE 754 binary16 and bfloat16 as raw 16-bit words.
/// To 16 bits: round to nearest, ties to even; NaN stays NaN (quiet); overflow becomes infinity.
/// From 16 bits: exact. Both are total functions, tested on every bit pattern.
#pragma once

#include <cstdint>

namespace tessera::kernels {

void bf16_to_f32(float* to, const std::uint16_t* from, std::int64_t n);
void f32_to_bf16(std::uint16_t* to, const float* from, std::int64_t n);
void f16_to_f32(float* to, const std::uint16_t* from, std::int64_t n);
void f32_to_f16(std::uint16_t* to, const float* from, std::int64_t n);

}  // namespace tessera::kernels
