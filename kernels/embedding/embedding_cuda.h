/// Token embedding on the GPU: the formulas of embedding.h, tables and activations of T (float, Bf16 or
/// F16), gradients of the table in fp32.
///
/// Shapes    table: [rows, D] of T, rows [first, first + rows) of the vocabulary; token: [T] int32, of the
///           whole vocabulary; y, dy: [T, D]; d_table: [rows, D] float, added into. A token of another
///           rank's rows gives y = 0.
/// Paths     16 bytes an access where D is a multiple of it and pointers are aligned, else value by value.
/// Sums      in the order of EmbeddingOrder, whatever the device: the result repeats bit for bit.
/// Errors    a launch that fails throws CudaError (cuda_check.h); no tokens is a no-op.
#pragma once

#include <cstdint>

#include "kernels/device/cuda_types.h"
#include "kernels/embedding/embedding_order.h"

namespace tessera::kernels {

template <class T>
void embedding_forward_cuda(T* y, const T* table, const std::int32_t* token, std::int64_t tokens,
                            std::int64_t width, std::int64_t first, std::int64_t rows, CudaStream stream);

/// An EmbeddingOrder on the device. `partial` holds slots * D floats.
struct EmbeddingOrderOnDevice {
  const std::int32_t* token = nullptr;
  const EmbeddingStrip* strips = nullptr;
  std::int64_t strip_count = 0;
  const EmbeddingSum* sums = nullptr;
  std::int64_t sum_count = 0;
  float* partial = nullptr;
};

template <class T>
void embedding_backward_cuda(float* d_table, const T* dy, const EmbeddingOrderOnDevice& order,
                             std::int64_t width, CudaStream stream);

}  // namespace tessera::kernels
