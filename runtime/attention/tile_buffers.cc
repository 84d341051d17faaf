#include "runtime/attention/tile_buffers.h"

#include <algorithm>

namespace tessera::runtime {
namespace {
constexpr std::int64_t kAlign = 16;  // floats: a cache line
constexpr std::int64_t kNone = -1;
}  // namespace

TileBuffers::TileBuffers(const TileGeometry& tile, OwnSlot own, int row_staging, int column_staging) {
  std::int64_t end = 0;
  const auto take = [&end](std::vector<std::int64_t>& offsets, bool wanted, std::int64_t floats) {
    offsets.push_back(wanted ? end : kNone);
    if (wanted) end += (floats + kAlign - 1) / kAlign * kAlign;
  };
  std::int64_t largest_partial = 0;
  for (int p = 0; p < static_cast<int>(tile.rows.size()); ++p) {
    const std::int64_t partial = tile.query_floats(p) + tile.stat_floats(p);
    take(row_bundle_, p > 0 || own.row_bundle, 2 * partial);
    take(row_partial_, p > 0 || own.row_partial, partial);
    largest_partial = std::max(largest_partial, partial);
  }
  std::int64_t largest_grad = 0;
  for (int q = 0; q < static_cast<int>(tile.columns.size()); ++q) {
    const std::int64_t pair = 2 * tile.key_floats(q);
    take(column_bundle_, q > 0 || own.column_bundle, pair);
    take(column_grad_, q > 0 || own.column_grad, pair);
    largest_grad = std::max(largest_grad, pair);
  }
  for (int i = 0; i < row_staging; ++i) take(row_staging_, true, largest_partial);
  for (int i = 0; i < column_staging; ++i) take(column_staging_, true, largest_grad);
  arena_ = kernels::Buffer<float>(std::max(end, kAlign));
}

}  // namespace tessera::runtime
