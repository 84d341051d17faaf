#include "algos/base/require.h"
#include "kernels/device/cuda_check.h"
#include "kernels/device/cuda_vector.cuh"
#include "kernels/loss/cross_entropy_cuda.h"

namespace tessera::kernels {
namespace {

using namespace cuda;  // NOLINT(google-build-using-namespace): this file's helpers

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;

/// sum_v exp(x_v) = sum * exp(largest). Of nothing: -inf, 0.
struct Exponentials {
  float largest;
  float sum;
};

__device__ Exponentials join(Exponentials a, Exponentials b) {
  const float largest = fmaxf(a.largest, b.largest);
  if (largest == -INFINITY) return {largest, a.sum + b.sum};
  return {largest, a.sum * __expf(a.largest - largest) + b.sum * __expf(b.largest - largest)};
}

/// The block's join, known to every thread: a butterfly inside each warp, then over the warps in order.
__device__ Exponentials block_join(Exponentials e, Exponentials* shared) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
    e = join(e,
             {__shfl_xor_sync(0xffffffffU, e.largest, offset), __shfl_xor_sync(0xffffffffU, e.sum, offset)});
  }
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = e;
  __syncthreads();
  Exponentials all = shared[0];
  for (int w = 1; w < kWarps; ++w) all = join(all, shared[w]);
  return all;
}

/// Calls body(W, column), W values from that column on, over a row: packs of V, then its last values one by
/// one.
template <int V, class Body>
__device__ void for_each_pack(int width, const Body& body) {
  const int whole = width / V * V;
  for (int at = static_cast<int>(threadIdx.x) * V; at < whole; at += kThreads * V) {
    body(std::integral_constant<int, V>(), at);
  }
  if constexpr (V > 1) {
    const int at = whole + static_cast<int>(threadIdx.x);
    if (at < width) body(std::integral_constant<int, 1>(), at);
  }
}

/// One pass over the row: a thread's values against the largest it has seen.
template <class T, int V>
__device__ Exponentials row_exponentials(const T* row, int width, Exponentials* shared) {
  Exponentials e{-INFINITY, 0.0F};
  for_each_pack<V>(width, [&](auto w, int at) {
    const auto pack = *reinterpret_cast<const Pack<T, decltype(w)::value>*>(row + at);
    float largest = e.largest;
    for (const T& x : pack.value) largest = fmaxf(largest, to_float(x));
    if (largest == -INFINITY) return;
    e.sum *= __expf(e.largest - largest);
    e.largest = largest;
    for (const T& x : pack.value) e.sum += __expf(to_float(x) - largest);
  });
  return block_join(e, shared);
}

/// row <- scale * (exp(row - largest) / sum - [column == label]).
template <class T, int V>
__device__ void row_gradient(T* row, int width, float largest, double sum, std::int64_t label, float scale) {
  const auto factor = static_cast<float>(static_cast<double>(scale) / sum);
  for_each_pack<V>(width, [&](auto w, int at) {
    auto& stored = *reinterpret_cast<Pack<T, decltype(w)::value>*>(row + at);
    auto pack = stored;
    int column = at;
    for (T& x : pack.value) {
      const float g = __expf(to_float(x) - largest) * factor;
      from_float(x, column++ == label ? g - scale : g);
    }
    stored = pack;
  });
}

template <class T, int V>
__device__ void row_zero(T* row, int width) {
  for_each_pack<V>(width, [&](auto w, int at) {
    Pack<T, decltype(w)::value> pack;
    for (T& x : pack.value) from_float(x, 0.0F);
    *reinterpret_cast<Pack<T, decltype(w)::value>*>(row + at) = pack;
  });
}

template <class T, int V>
__global__ void whole_kernel(float* loss, T* logits, std::int64_t ld, const std::int32_t* label,
                             int vocabulary, float scale) {
  __shared__ Exponentials shared[kWarps];
  const std::int64_t t = blockIdx.x;
  T* row = logits + t * ld;
  const std::int32_t own = label[t];
  if (own == kIgnoredLabel) {
    if (threadIdx.x == 0) loss[t] = 0;
    if (scale != 0) row_zero<T, V>(row, vocabulary);
    return;
  }
  const bool valid = 0 <= own && own < vocabulary;
  const double label_logit = valid ? static_cast<double>(to_float(row[own])) : nan("");
  const Exponentials e =
      row_exponentials<T, V>(row, vocabulary, shared);  // its barrier keeps the label's logit whole
  if (threadIdx.x == 0) {
    loss[t] =
        static_cast<float>(log(static_cast<double>(e.sum)) + (static_cast<double>(e.largest) - label_logit));
  }
  if (scale != 0) row_gradient<T, V>(row, vocabulary, e.largest, e.sum, own, scale);
}

template <class T, int V>
__global__ void part_kernel(double* largest, double* sum, double* label_logit, const T* logits,
                            std::int64_t ld, const std::int32_t* label, std::int64_t first, int vocabulary) {
  __shared__ Exponentials shared[kWarps];
  const std::int64_t t = blockIdx.x;
  const T* row = logits + t * ld;
  const bool ignored = label[t] == kIgnoredLabel;
  const Exponentials e = ignored ? Exponentials{0.0F, 0.0F} : row_exponentials<T, V>(row, vocabulary, shared);
  if (threadIdx.x != 0) return;
  const std::int64_t column = label[t] - first;
  const bool here = !ignored && 0 <= column && column < vocabulary;
  largest[t] = e.largest;
  sum[t] = e.sum;
  label_logit[t] = here ? static_cast<double>(to_float(row[column])) : 0.0;
}

template <class T, int V>
__global__ void part_gradient_kernel(T* logits, std::int64_t ld, const double* largest, const double* sum,
                                     const std::int32_t* label, std::int64_t first, int vocabulary,
                                     float scale) {
  const std::int64_t t = blockIdx.x;
  T* row = logits + t * ld;
  if (label[t] == kIgnoredLabel) {
    row_zero<T, V>(row, vocabulary);
  } else {
    row_gradient<T, V>(row, vocabulary, static_cast<float>(largest[t]), sum[t], label[t] - first, scale);
  }
}

__global__ void rescale_kernel(double* sum, const double* own_largest, const double* largest,
                               std::int64_t tokens) {
  const std::int64_t t = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (t >= tokens) return;
  sum[t] = own_largest[t] == largest[t] ? sum[t] : sum[t] * exp(own_largest[t] - largest[t]);
}

__global__ void loss_kernel(float* loss, const double* largest, const double* sum, const double* label_logit,
                            const std::int32_t* label, std::int64_t tokens) {
  const std::int64_t t = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (t >= tokens) return;
  loss[t] =
      label[t] == kIgnoredLabel ? 0.0F : static_cast<float>(log(sum[t]) + (largest[t] - label_logit[t]));
}

/// Calls run(V, grid) with the widest access that fits.
template <class T, class Run>
void choose_width(const T* logits, std::int64_t ld, std::int64_t tokens, std::int64_t vocabulary,
                  const Run& run) {
  TS_REQUIRE(tokens >= 0 && tokens <= 0x7fffffff, tokens);
  TS_REQUIRE(vocabulary >= 1 && vocabulary <= 1 << 28 && ld >= vocabulary, vocabulary, ld);
  if (tokens == 0) return;
  constexpr int V = kWide<typename Device<T>::Type>;
  if (ld % V == 0 && aligned16(logits)) {
    run(std::integral_constant<int, V>(), static_cast<unsigned>(tokens));
  } else {
    run(std::integral_constant<int, 1>(), static_cast<unsigned>(tokens));
  }
  TS_CUDA(cudaGetLastError());
}

unsigned blocks(std::int64_t tokens) { return static_cast<unsigned>((tokens + kThreads - 1) / kThreads); }

}  // namespace

template <class T>
void cross_entropy_cuda(float* loss_T, T* logits, std::int64_t ld, const std::int32_t* label_T,
                        std::int64_t tokens, std::int64_t vocabulary, float gradient_scale,
                        CudaStream stream) {
  choose_width(logits, ld, tokens, vocabulary, [&](auto v, unsigned grid) {
    whole_kernel<typename Device<T>::Type, decltype(v)::value><<<grid, kThreads, 0, stream>>>(
        loss_T, device(logits), ld, label_T, static_cast<int>(vocabulary), gradient_scale);
  });
}

template <class T>
void cross_entropy_part_cuda(double* largest_T, double* sum_T, double* label_logit_T, const T* logits,
                             std::int64_t ld, const std::int32_t* label_T, std::int64_t tokens,
                             std::int64_t first, std::int64_t vocabulary, CudaStream stream) {
  choose_width(logits, ld, tokens, vocabulary, [&](auto v, unsigned grid) {
    part_kernel<typename Device<T>::Type, decltype(v)::value><<<grid, kThreads, 0, stream>>>(
        largest_T, sum_T, label_logit_T, device(logits), ld, label_T, first, static_cast<int>(vocabulary));
  });
}

void cross_entropy_rescale_cuda(double* sum_T, const double* own_largest_T, const double* largest_T,
                                std::int64_t tokens, CudaStream stream) {
  TS_REQUIRE(tokens >= 0, tokens);
  if (tokens == 0) return;
  rescale_kernel<<<blocks(tokens), kThreads, 0, stream>>>(sum_T, own_largest_T, largest_T, tokens);
  TS_CUDA(cudaGetLastError());
}

void cross_entropy_loss_cuda(float* loss_T, const double* largest_T, const double* sum_T,
                             const double* label_logit_T, const std::int32_t* label_T, std::int64_t tokens,
                             CudaStream stream) {
  TS_REQUIRE(tokens >= 0, tokens);
  if (tokens == 0) return;
  loss_kernel<<<blocks(tokens), kThreads, 0, stream>>>(loss_T, largest_T, sum_T, label_logit_T, label_T,
                                                       tokens);
  TS_CUDA(cudaGetLastError());
}

template <class T>
void cross_entropy_part_gradient_cuda(T* logits, std::int64_t ld, const double* largest_T,
                                      const double* sum_T, const std::int32_t* label_T, std::int64_t tokens,
                                      std::int64_t first, std::int64_t vocabulary, float gradient_scale,
                                      CudaStream stream) {
  choose_width(logits, ld, tokens, vocabulary, [&](auto v, unsigned grid) {
    part_gradient_kernel<typename Device<T>::Type, decltype(v)::value><<<grid, kThreads, 0, stream>>>(
        device(logits), ld, largest_T, sum_T, label_T, first, static_cast<int>(vocabulary), gradient_scale);
  });
}

#define TESSERA_CROSS_ENTROPY_OF(T)                                                                    \
  template void cross_entropy_cuda(float*, T*, std::int64_t, const std::int32_t*, std::int64_t,        \
                                   std::int64_t, float, CudaStream);                                   \
  template void cross_entropy_part_cuda(double*, double*, double*, const T*, std::int64_t,             \
                                        const std::int32_t*, std::int64_t, std::int64_t, std::int64_t, \
                                        CudaStream);                                                   \
  template void cross_entropy_part_gradient_cuda(T*, std::int64_t, const double*, const double*,       \
                                                 const std::int32_t*, std::int64_t, std::int64_t,      \
                                                 std::int64_t, float, CudaStream);
TESSERA_CROSS_ENTROPY_OF(float)
TESSERA_CROSS_ENTROPY_OF(Bf16)
TESSERA_CROSS_ENTROPY_OF(F16)
#undef TESSERA_CROSS_ENTROPY_OF

}  // namespace tessera::kernels
