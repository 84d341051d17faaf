/// What travels between ranks in mesh attention, packed and added on the GPU: the copies of
/// runtime/attention/head_exchange.h and the additions of tile_pass.cc.
/// Paths     16 bytes an access where pointers and the copied runs allow it, else value by value.
/// Errors    a launch that fails throws CudaError (cuda_check.h); nothing to copy is a no-op.
#pragma once

#include <cstdint>

#include "kernels/device/cuda_types.h"

namespace tessera::kernels {

/// Some tokens and some heads of a tensor [B, tokens, heads, width], or [B, heads, tokens] where by_head
/// (lse, delta; width 1). As a message the part lies dense: [B, row_count, head_count, width], or
/// [B, head_count, row_count].
struct HeadSlice {
  std::int64_t sequences = 0;  // B
  std::int64_t tokens = 0;
  const std::int32_t* rows =
      nullptr;  // [row_count] tokens, on the device, none twice; null: the first row_count
  std::int64_t row_count = 0;
  int heads = 0;
  int first_head = 0;
  int head_count = 0;
  int width = 1;
  bool by_head = false;
};

/// T: float, Bf16, F16.
template <class T>
void pack_heads_cuda(T* message, const T* tensor, const HeadSlice& slice, CudaStream stream);
template <class T>
void unpack_heads_cuda(T* tensor, const T* message, const HeadSlice& slice, CudaStream stream);

/// to[i] += from[i].
void add_cuda(float* to, const float* from, std::int64_t n, CudaStream stream);

}  // namespace tessera::kernels
