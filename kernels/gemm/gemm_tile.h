/// The tiles of the tensor-core product and how one is chosen; no CUDA, so that the choice is tested
/// anywhere.
///
/// A block makes kM x kN values of D, kGemmDepth of K at a time, from a ring of stages in shared memory that
/// cp.async fills kStages - 1 ahead. Why these sizes: a stage moves (M + N) * 32 * 2 bytes for 2 * M * N * 32
/// flops, so a tile does M * N / (M + N) flops for each byte it loads: 85 at 128 x 256, 64 at 128 x 128, 32
/// at 64 x 64. An H100 can do some 300 in bf16 for each byte of its memory; tiles worked on together share
/// what they load in L2, which closes the gap of the large ones. The small one is for products that would
/// leave multiprocessors idle.
#pragma once

#include <array>
#include <cstdint>

#include "kernels/gemm/gemm.h"

namespace tessera::kernels {

/// Values of K in a stage: 64 bytes, four 16-byte accesses, two mma steps.
inline constexpr int kGemmDepth = 32;

template <int BlockM, int BlockN, int WarpsM, int WarpsN, int Stages, int BlocksPerSm>
struct GemmTile {
  static constexpr int kM = BlockM;
  static constexpr int kN = BlockN;
  static constexpr int kWarpM = BlockM / WarpsM;
  static constexpr int kWarpN = BlockN / WarpsN;
  static constexpr int kWarpsN = WarpsN;
  static constexpr int kThreads = 32 * WarpsM * WarpsN;
  static constexpr int kStages = Stages;
  static constexpr int kBlocksPerSm = BlocksPerSm;  // that the registers allow
  static constexpr int kStageBytes = (BlockM + BlockN) * kGemmDepth * 2;
  static constexpr int kSharedBytes = Stages * kStageBytes;
};
using LargeGemmTile = GemmTile<128, 256, 2, 4, 4, 1>;
using MediumGemmTile = GemmTile<128, 128, 2, 4, 3, 2>;
using SmallGemmTile = GemmTile<64, 64, 2, 2, 4, 4>;

/// The same as values, for the choice and the table.
struct GemmTileRow {
  const char* name;
  int m, n;
  int blocks_per_sm;
  std::int64_t shared_bytes;
  double rate;  // products of a full multiprocessor, the largest tile's being 1: an estimate from the bytes
                // that ldmatrix reads per mma (warp tiles 64 x 64, 64 x 32, 32 x 32: 1/64 + 1/64, ... values
                // a product)
};
template <class Tile>
constexpr GemmTileRow gemm_tile_row(const char* name, double rate) {
  return {name, Tile::kM, Tile::kN, Tile::kBlocksPerSm, Tile::kSharedBytes, rate};
}
inline constexpr std::array kGemmTiles{gemm_tile_row<LargeGemmTile>("mma 128x256x32, 4 stages", 1.0),
                                       gemm_tile_row<MediumGemmTile>("mma 128x128x32, 3 stages", 0.85),
                                       gemm_tile_row<SmallGemmTile>("mma 64x64x32, 4 stages", 0.6)};
inline constexpr int kSmallestGemmTile = static_cast<int>(kGemmTiles.size()) - 1;

struct GemmDevice {
  int multiprocessors = 0;
  std::int64_t shared_bytes_per_block = 0;
  std::int64_t shared_bytes_per_multiprocessor = 0;
  std::int64_t shared_bytes_reserved = 0;
};

/// Index into kGemmTiles: of the tiles that fit a block's shared memory, the one with the least time, which
/// is the number of waves (all multiprocessors once full) times the products of a wave over the rate. Depends
/// on the shape and the device alone.
[[nodiscard]] int choose_gemm_tile(GemmShape shape, const GemmDevice& device);

/// Where 16-byte chunk `chunk` of row `row` lies in a row of `chunks`, so that ldmatrix, which reads one
/// chunk of eight neighbouring rows at once, finds them in eight different bank groups.
#ifdef __CUDACC__
__host__ __device__
#endif
    constexpr int
    swizzled_chunk(int row, int chunk, int chunks) {
  return chunks >= 8 ? chunk ^ (row & 7) : chunk ^ (row >> 1 & 3);
}

}  // namespace tessera::kernels
