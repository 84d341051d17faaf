#include "kernels/attention/attention_backward.cuh"
#include "kernels/attention/attention_plain.cuh"

namespace tessera::kernels {
namespace {

using namespace cuda;  // NOLINT(google-build-using-namespace): this file's helpers

template <class T, bool kKeys, int D, int kWarps, int R, int kSplit, int N>
constexpr AttentionKernel<CudaAttentionBackward<T>> tile(const char* name) {
  using Tile = BackwardTile<T, kKeys, D, kWarps, R, kSplit, N>;
  return {name,
          D,
          Tile::kSharedBytes,
          Tile::kRows,
          Tile::kThreads,
          backward_tiles<T, kKeys, D, kWarps, R, kSplit, N>};
}

/// Tiles of the tensor-core path, chosen as in attention_forward.cu.
// clang-format off
template <class T>
const AttentionKernel<CudaAttentionBackward<T>> kKeyTiles[] = {
    // width, warps, rows of a warp / 16, warps to a row, queries; shared memory
    tile<T, true, 64, 4, 1, 1, 64>("D <= 64: 64 k, 64 q"),  // 49 KiB
    tile<T, true, 96, 4, 1, 1, 32>("D <= 96: 64 k, 32 q"),  // 49 KiB
    tile<T, true, 128, 8, 1, 1, 32>("D <= 128: 128 k, 32 q"),  // 97 KiB
    tile<T, true, 256, 8, 1, 2, 32>("D <= 256: 64 k, 32 q"),  // 129 KiB
    tile<T, true, 256, 4, 1, 2, 32>("D <= 256: 32 k, 32 q"),  // 97 KiB
};
template <class T>
const AttentionKernel<CudaAttentionBackward<T>> kQueryTiles[] = {
    // width, warps, rows of a warp / 16, warps to a row, keys; shared memory
    tile<T, false, 64, 4, 2, 1, 32>("D <= 64: 128 q, 32 k"),  // 48 KiB
    tile<T, false, 96, 4, 1, 1, 64>("D <= 96: 64 q, 64 k"),  // 72 KiB
    tile<T, false, 128, 8, 1, 1, 64>("D <= 128: 128 q, 64 k"),  // 128 KiB
    tile<T, false, 128, 4, 1, 1, 64>("D <= 128: 64 q, 64 k"),  // 96 KiB
    tile<T, false, 256, 4, 1, 1, 32>("D <= 256: 64 q, 32 k"),  // 128 KiB
    tile<T, false, 256, 4, 1, 1, 16>("D <= 256: 64 q, 16 k"),  // 96 KiB
};
// clang-format on
template <class T>
const AttentionKernel<CudaAttentionBackward<T>> kPlainKeys[] = {plain_backward_kernel<T, true, 64>(),
                                                                plain_backward_kernel<T, true, 256>()};
template <class T>
const AttentionKernel<CudaAttentionBackward<T>> kPlainQueries[] = {plain_backward_kernel<T, false, 64>(),
                                                                   plain_backward_kernel<T, false, 256>()};

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
      return choose_kernel(tiles, limits.tensor_cores && takes_tensor_cores(w), plain, w.block.head_dim,
                           most);
    };
    launch_all(work, stream, kernel_of, rows_of, heads_of);
  };
  std::span<const Kernel> key_tiles;
  std::span<const Kernel> query_tiles;
  if constexpr (sizeof(T) == 2) {
    key_tiles = kKeyTiles<T>;
    query_tiles = kQueryTiles<T>;
  }
  run(
      key_tiles, kPlainKeys<T>, [](const Work& w) { return w.block.kv_tokens; },
      [](const Work& w) { return w.block.kv_heads; });
  run(
      query_tiles, kPlainQueries<T>, [](const Work& w) { return w.block.q_tokens; },
      [](const Work& w) { return w.block.heads; });
}

std::vector<KernelVariant> attention_variants() {
  using Work = CudaAttentionBackward<Bf16>;
  std::vector<KernelVariant> rows;
  append_forward_variants(rows);
  append_variants<Work>(rows, "attention dk dv", kKeyTiles<Bf16>, kTileOperands);
  append_variants<Work>(rows, "attention dk dv", kPlainKeys<Bf16>, "any operands");
  append_variants<Work>(rows, "attention dq", kQueryTiles<Bf16>, kTileOperands);
  append_variants<Work>(rows, "attention dq", kPlainQueries<Bf16>, "any operands");
  return rows;
}

template void attention_backward_cuda(std::span<const CudaAttentionBackward<float>>, CudaStream,
                                      CudaAttentionLimits);
template void attention_backward_cuda(std::span<const CudaAttentionBackward<Bf16>>, CudaStream,
                                      CudaAttentionLimits);
template void attention_backward_cuda(std::span<const CudaAttentionBackward<F16>>, CudaStream,
                                      CudaAttentionLimits);

}  // namespace tessera::kernels
