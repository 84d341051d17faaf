#include "kernels/gemm/gemm_tile.h"

#include <algorithm>

#include "algos/base/require.h"

namespace tessera::kernels {
namespace {

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

}  // namespace

int choose_gemm_tile(GemmShape shape, const GemmDevice& device) {
  TS_REQUIRE(device.multiprocessors >= 1, device.multiprocessors);
  int best = kSmallestGemmTile;
  double best_time = 0;
  for (int i = kSmallestGemmTile; i >= 0; --i) {
    const GemmTileRow& tile = kGemmTiles[static_cast<std::size_t>(i)];
    if (i != kSmallestGemmTile && tile.shared_bytes > device.shared_bytes_per_block) continue;
    const std::int64_t fit =
        device.shared_bytes_per_multiprocessor / (tile.shared_bytes + device.shared_bytes_reserved);
    const std::int64_t per_sm = std::clamp<std::int64_t>(fit, 1, tile.blocks_per_sm);
    const std::int64_t tiles = ceil_div(shape.m, tile.m) * ceil_div(shape.n, tile.n);
    const std::int64_t waves = ceil_div(tiles, device.multiprocessors * per_sm);
    // A last wave that leaves multiprocessors with fewer blocks takes less than a full one.
    const std::int64_t last = tiles - (waves - 1) * device.multiprocessors * per_sm;
    const double blocks = static_cast<double>((waves - 1) * per_sm) +
                          static_cast<double>(ceil_div(last, device.multiprocessors));
    const double time = blocks * tile.m * tile.n / tile.rate;
    if (i == kSmallestGemmTile || time <= best_time) {
      best = i;
      best_time = time;
    }
  }
  return best;
}

}  // namespace tessera::kernels
