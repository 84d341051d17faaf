#include "kernels/attention/attention_forward.cuh"
#include "kernels/attention/attention_plain.cuh"

namespace tessera::kernels {
namespace {

using namespace cuda;  // NOLINT(google-build-using-namespace): this file's helpers

template <class T, int D, int kWarps, int R, int N>
constexpr AttentionKernel<CudaAttentionForward<T>> tile(const char* name) {
  using Tile = ForwardTile<T, D, kWarps, R, N>;
  return {name, D, Tile::kSharedBytes, Tile::kRows, Tile::kThreads, forward_tiles<T, D, kWarps, R, N>};
}

/// Tiles of the tensor-core path; docs/gpu.md has the arithmetic. Shared memory a block: 99 KiB on compute
/// capability 8.6, 8.9 and 12.x, 163 on 8.0, 227 on 9.0 and 10.x.
// clang-format off
template <class T>
const AttentionKernel<CudaAttentionForward<T>> kTiles[] = {
    // width, warps, rows of a warp / 16, keys; shared memory
    tile<T, 64, 4, 2, 64>("D <= 64: 128 q, 64 k"),  // 48 KiB
    tile<T, 96, 4, 2, 64>("D <= 96: 128 q, 64 k"),  // 72 KiB
    tile<T, 128, 8, 2, 32>("D <= 128: 256 q, 32 k"),  // 96 KiB
    tile<T, 256, 8, 1, 32>("D <= 256: 128 q, 32 k"),  // 128 KiB
    tile<T, 256, 4, 1, 32>("D <= 256: 64 q, 32 k"),  // 96 KiB
};
// clang-format on
template <class T>
const AttentionKernel<CudaAttentionForward<T>> kPlain[] = {plain_forward_kernel<T, 64>(),
                                                           plain_forward_kernel<T, 256>()};

}  // namespace

template <class T>
void attention_forward_cuda(std::span<const CudaAttentionForward<T>> work, CudaStream stream,
                            CudaAttentionLimits limits) {
  using Work = CudaAttentionForward<T>;
  using Kernel = AttentionKernel<Work>;
  const int most = shared_limit(limits);
  std::span<const Kernel> tiles;
  if constexpr (sizeof(T) == 2) tiles = kTiles<T>;
  const auto kernel_of = [&](const Work& w) -> const Kernel* {
    check(w.block);
    TS_REQUIRE(w.o_stride >= static_cast<std::int64_t>(w.block.heads) * w.block.head_dim, w.o_stride);
    const bool takes_tiles =
        limits.tensor_cores && reads_in_packs(w.block) && writes_in_pairs(w.o, w.o_stride);
    return choose_kernel<Work>(tiles, takes_tiles, kPlain<T>, w.block.head_dim, most);
  };
  launch_all(
      work, stream, kernel_of, [](const Work& w) { return w.block.q_tokens; },
      [](const Work& w) { return w.block.heads; });
}

void cuda::append_forward_variants(std::vector<KernelVariant>& rows) {
  append_variants<CudaAttentionForward<Bf16>>(rows, "attention", kTiles<Bf16>, kTileOperands);
  append_variants<CudaAttentionForward<Bf16>>(rows, "attention", kPlain<Bf16>, "any operands");
}

template void attention_forward_cuda(std::span<const CudaAttentionForward<float>>, CudaStream,
                                     CudaAttentionLimits);
template void attention_forward_cuda(std::span<const CudaAttentionForward<Bf16>>, CudaStream,
                                     CudaAttentionLimits);
template void attention_forward_cuda(std::span<const CudaAttentionForward<F16>>, CudaStream,
                                     CudaAttentionLimits);

}  // namespace tessera::kernels
