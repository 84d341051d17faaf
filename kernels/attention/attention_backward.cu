#include "kernels/attention/attention_backward.cuh"
#include "kernels/attention/attention_plain.cuh"

namespace tessera::kernels {
namespace {

using namespace cuda;  // NOLINT(google-build-using-namespace): this file's helpers

template <class T, bool kKeys, int D, int kWarps, int R, int kSplit, int N>
constexpr AttentionKernel<CudaAttentionBackward<T>> tile() {
  using Tile = BackwardTile<T, kKeys, D, kWarps, R, kSplit, N>;
  return {D, Tile::kSharedBytes, Tile::kRows, Tile::kThreads,
          backward_tiles<T, kKeys, D, kWarps, R, kSplit, N>};
}

/// Tiles of the tensor-core path, chosen as in attention_forward.cu.
// clang-format off
template <class T>
const AttentionKernel<CudaAttentionBackward<T>> kKeyTiles[] = {
    // width, warps, rows of a warp / 16, warps to a row, queries
    tile<T, true, 64, 4, 1, 1, 64>(),   //  49 KiB, 64 keys
    tile<T, true, 96, 4, 1, 1, 32>(),   //  49 KiB, 64
    tile<T, true, 128, 8, 1, 1, 32>(),  //  97 KiB, 128
    tile<T, true, 256, 8, 1, 2, 32>(),  // 129 KiB, 64
    tile<T, true, 256, 4, 1, 2, 32>(),  //  97 KiB, 32
};
template <class T>
const AttentionKernel<CudaAttentionBackward<T>> kQueryTiles[] = {
    // width, warps, rows of a warp / 16, warps to a row, keys
    tile<T, false, 64, 4, 2, 1, 32>(),   //  48 KiB, 128 queries
    tile<T, false, 96, 4, 1, 1, 64>(),   //  72 KiB, 64
    tile<T, false, 128, 8, 1, 1, 64>(),  // 128 KiB, 128
    tile<T, false, 128, 4, 1, 1, 64>(),  //  96 KiB, 64
    tile<T, false, 256, 4, 1, 1, 32>(),  // 128 KiB, 64
    tile<T, false, 256, 4, 1, 1, 16>(),  //  96 KiB, 64
};
// clang-format on

template <class T>
bool takes_tensor_cores(const CudaAttentionBackward<T>& w) {
  return reads_in_packs(w.block) && w.d_o_stride % 8 == 0 && aligned16(w.d_o) &&
         writes_in_pairs(w.dq, w.dq_stride) && writes_in_pairs(w.dk, w.dkv_stride) &&
         writes_in_pairs(w.dv, w.dkv_stride);
}

template <class T>
void check(const CudaAttentionBackward<T>& w) {
  cuda::check(w.block);
  const std::int64_t width = w.block.head_dim;
  TS_REQUIRE(w.d_o_stride >= w.block.heads * width && w.dq_stride >= w.block.heads * width, w.d_o_stride,
             w.dq_stride);
  TS_REQUIRE(w.dkv_stride >= w.block.kv_heads * width, w.dkv_stride);
}

}  // namespace

template <class T>
void attention_backward_cuda(std::span<const CudaAttentionBackward<T>> work, CudaStream stream,
                             CudaAttentionLimits limits) {
  using Work = CudaAttentionBackward<T>;
  using Kernel = AttentionKernel<Work>;
  const int most = shared_limit(limits);
  const auto run = [&](std::span<const Kernel> tiles, std::span<const Kernel> plain, auto rows_of,
                       auto heads_of) {
    const auto kernel_of = [&](const Work& w) -> const Kernel* {
      check(w);
      const Kernel* chosen = nullptr;
      if (limits.tensor_cores && takes_tensor_cores(w)) chosen = choose(tiles, w.block.head_dim, most);
      if (chosen == nullptr) chosen = choose(plain, w.block.head_dim, most);
      TS_REQUIRE(chosen != nullptr, w.block.head_dim, most);
      return chosen;
    };
    launch_all(work, stream, kernel_of, rows_of, heads_of);
  };
  static const Kernel plain_keys[] = {plain_backward_kernel<T, true, 64>(),
                                      plain_backward_kernel<T, true, 256>()};
  static const Kernel plain_queries[] = {plain_backward_kernel<T, false, 64>(),
                                         plain_backward_kernel<T, false, 256>()};
  std::span<const Kernel> key_tiles;
  std::span<const Kernel> query_tiles;
  if constexpr (sizeof(T) == 2) {
    key_tiles = kKeyTiles<T>;
    query_tiles = kQueryTiles<T>;
  }
  run(
      key_tiles, plain_keys, [](const Work& w) { return w.block.kv_tokens; },
      [](const Work& w) { return w.block.kv_heads; });
  run(
      query_tiles, plain_queries, [](const Work& w) { return w.block.q_tokens; },
      [](const Work& w) { return w.block.heads; });
}

template void attention_backward_cuda(std::span<const CudaAttentionBackward<float>>, CudaStream,
                                      CudaAttentionLimits);
template void attention_backward_cuda(std::span<const CudaAttentionBackward<Bf16>>, CudaStream,
                                      CudaAttentionLimits);
template void attention_backward_cuda(std::span<const CudaAttentionBackward<F16>>, CudaStream,
                                      CudaAttentionLimits);

}  // namespace tessera::kernels
