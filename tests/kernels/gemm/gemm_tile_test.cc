#include "kernels/gemm/gemm_tile.h"

#include <algorithm>
#include <set>
#include <vector>

#include <gtest/gtest.h>

namespace tessera::kernels {
namespace {

/// ldmatrix reads one 16-byte chunk of each of eight neighbouring rows at once: free of conflicts where the
/// eight lie in different 16-byte columns of the 128 bytes that the banks give in one access.
TEST(SwizzledChunk, EightRowsLieInEightBankGroups) {
  for (const int chunks : {4, 8, 16, 32}) {  // rows of 32, 64, 128 and 256 16-bit values
    for (int row = 0; row < 64; row += 8) {
      for (int chunk = 0; chunk < chunks; ++chunk) {
        std::set<int> groups;
        for (int r = row; r < row + 8; ++r)
          groups.insert((r * chunks + swizzled_chunk(r, chunk, chunks)) % 8);
        EXPECT_EQ(groups.size(), 8U) << chunks << " chunks, row " << row << ", chunk " << chunk;
      }
    }
  }
}

TEST(SwizzledChunk, IsAPermutationOfEachRow) {
  for (const int chunks : {4, 8, 16, 32}) {
    for (int row = 0; row < 64; ++row) {
      std::set<int> places;
      for (int chunk = 0; chunk < chunks; ++chunk) places.insert(swizzled_chunk(row, chunk, chunks));
      EXPECT_EQ(std::ssize(places), chunks);
      EXPECT_EQ(*places.begin(), 0);
      EXPECT_EQ(*places.rbegin(), chunks - 1);
    }
  }
}

// Of NVIDIA's tables of compute capabilities: 8.0, 8.6, 9.0.
constexpr GemmDevice kA100{108, 163 << 10, 164 << 10, 1 << 10};
constexpr GemmDevice kA40{84, 99 << 10, 100 << 10, 1 << 10};
constexpr GemmDevice kH100{132, 227 << 10, 228 << 10, 1 << 10};

TEST(ChooseGemmTile, LargeProductsTakeTheLargestTileThatFits) {
  for (const GemmDevice& device : {kA100, kA40, kH100})
    EXPECT_EQ(choose_gemm_tile({8192, 8192, 4096}, device), 0);
  GemmDevice small = kA40;
  small.shared_bytes_per_block = 64 << 10;
  EXPECT_EQ(choose_gemm_tile({8192, 8192, 4096}, small), 1);
  small.shared_bytes_per_block = 32 << 10;
  EXPECT_EQ(choose_gemm_tile({8192, 8192, 4096}, small), 2);
}

TEST(ChooseGemmTile, SmallProductsTakeTilesThatOccupyMoreOfTheDevice) {
  for (const GemmDevice& device : {kA100, kA40, kH100}) {
    EXPECT_EQ(choose_gemm_tile({64, 64, 4096}, device), 2);
    EXPECT_EQ(choose_gemm_tile({512, 512, 4096}, device), 2);  // 8, 16 or 64 blocks
  }
}

/// The model's time, here by simulation: blocks go to the multiprocessor with the least to do.
double simulated_time(GemmShape shape, const GemmDevice& device, const GemmTileRow& tile) {
  const std::int64_t tiles = ((shape.m + tile.m - 1) / tile.m) * ((shape.n + tile.n - 1) / tile.n);
  std::vector<double> busy(static_cast<std::size_t>(device.multiprocessors), 0);
  for (std::int64_t i = 0; i < tiles; ++i) *std::ranges::min_element(busy) += tile.m * tile.n / tile.rate;
  return *std::ranges::max_element(busy);
}

TEST(ChooseGemmTile, IsTheLeastSimulatedTimeOfThoseThatFit) {
  for (const GemmDevice& device : {kA100, kA40, kH100}) {
    for (const std::int64_t m : {1, 100, 700, 1000, 4096}) {
      for (const std::int64_t n : {1, 64, 300, 1024, 5000}) {
        const GemmShape shape{m, n, 64};
        double least = 1e300;
        for (const GemmTileRow& tile : kGemmTiles) {
          if (tile.shared_bytes <= device.shared_bytes_per_block) {
            least = std::min(least, simulated_time(shape, device, tile));
          }
        }
        const auto& chosen = kGemmTiles[static_cast<std::size_t>(choose_gemm_tile(shape, device))];
        EXPECT_DOUBLE_EQ(simulated_time(shape, device, chosen), least)
            << m << " x " << n << ": " << chosen.name;
      }
    }
  }
}

}  // namespace
}  // namespace tessera::kernels
