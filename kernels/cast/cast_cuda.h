/// Conversions between fp32 and 16-bit storage on the GPU: round to nearest, ties to even; NaN stays NaN;
/// overflow becomes infinity. One of To and From is float, the other Bf16 or F16.
///
/// Paths     four values an access where pointers are 16-byte aligned, else value by value.
/// Errors    a launch that fails throws CudaError (cuda_check.h); n == 0 is a no-op.
#pragma once

#include <cstdint>

#include "kernels/device/cuda_types.h"

namespace tessera::kernels {

template <class To, class From>
void cast_cuda(To* to, const From* from, std::int64_t n, CudaStream stream);

}  // namespace tessera::kernels
