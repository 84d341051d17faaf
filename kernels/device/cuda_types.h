/// Types that CUDA launchers take, without a CUDA header: code that only passes them on builds anywhere.
#pragma once

#include <cstdint>

struct CUstream_st;
struct CUevent_st;

namespace tessera::kernels {

using CudaStream = CUstream_st*;  // cudaStream_t; null: the default stream
using CudaEvent = CUevent_st*;    // cudaEvent_t

/// bfloat16 storage: the upper half of a float. Layout of __nv_bfloat16.
struct Bf16 {
  std::uint16_t bits = 0;
};
/// IEEE binary16 storage. Layout of __half.
struct F16 {
  std::uint16_t bits = 0;
};

}  // namespace tessera::kernels
