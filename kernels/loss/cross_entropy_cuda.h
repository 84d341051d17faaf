/// Cross-entropy on the GPU: the formulas and ranges of cross_entropy.h, logits of T (float, Bf16 or F16),
/// row sums in fp32, the join of rows and of ranks in double. Everything is on the device.
///
/// Paths     16 bytes an access where ld is a multiple of it and the logits are aligned, the last columns
///           value by value; else all of them.
/// Sums      in a fixed order: the result repeats bit for bit.
/// Errors    a launch that fails throws CudaError (cuda_check.h); no tokens is a no-op. cross_entropy_cuda
///           gives a NaN loss where a label is neither in [0, V) nor kIgnoredLabel.
///
/// Vocabulary parallel, for R ranks:
///   cross_entropy_part_cuda          largest, sum, label_logit of the rank's columns
///   own = largest;  all-reduce largest by maximum
///   cross_entropy_rescale_cuda       sum *= exp(own - largest)
///   all-reduce sum and label_logit by addition
///   cross_entropy_loss_cuda, cross_entropy_part_gradient_cuda
#pragma once

#include <cstdint>

#include "kernels/device/cuda_types.h"
#include "kernels/loss/cross_entropy.h"

namespace tessera::kernels {

template <class T>
void cross_entropy_cuda(float* loss_T, T* logits, std::int64_t ld, const std::int32_t* label_T,
                        std::int64_t tokens, std::int64_t vocabulary, float gradient_scale,
                        CudaStream stream);

template <class T>
void cross_entropy_part_cuda(double* largest_T, double* sum_T, double* label_logit_T, const T* logits,
                             std::int64_t ld, const std::int32_t* label_T, std::int64_t tokens,
                             std::int64_t first, std::int64_t vocabulary, CudaStream stream);
void cross_entropy_rescale_cuda(double* sum_T, const double* own_largest_T, const double* largest_T,
                                std::int64_t tokens, CudaStream stream);
/// 0 where the label is kIgnoredLabel.
void cross_entropy_loss_cuda(float* loss_T, const double* largest_T, const double* sum_T,
                             const double* label_logit_T, const std::int32_t* label_T, std::int64_t tokens,
                             CudaStream stream);
template <class T>
void cross_entropy_part_gradient_cuda(T* logits, std::int64_t ld, const double* largest_T,
                                      const double* sum_T, const std::int32_t* label_T, std::int64_t tokens,
                                      std::int64_t first, std::int64_t vocabulary, float gradient_scale,
                                      CudaStream stream);

}  // namespace tessera::kernels
