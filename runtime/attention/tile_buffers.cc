#include "runtime/attention/tile_buffers.h"

#include <algorithm>

namespace tessera::runtime {
namespace {
constexpr std::int64_t kAlign = 16;  // floats: a cache line
constexpr std::int64_t kNone = -1;
}  // namespace

TileBuffers::TileBuffers(const TileGeometry& tile, OwnSlot own) {
  std::int64_t end = 0;
  const auto take = [&end](std::vector<std::int64_t>& offsets, bool wanted, std::int64_t floats) {
    offsets.push_back(wanted ? end : kNone);
    if (wanted) end += (floats + kAlign - 1) / kAlign * kAlign;
  };
  for (int p = 0; p < static_cast<int>(tile.rows.size()); ++p) {
    const std::int64_t partial = tile.query_floats(p) + tile.stat_floats(p);
    const bool visited = p > 0 && tile.row_visited[static_cast<std::size_t>(p)] != 0;
    take(row_bundle_, visited || (p == 0 && own.row_bundle), 2 * partial);
    take(row_partial_, visited || (p == 0 && own.row_partial), partial);
    largest_partial_ = std::max(largest_partial_, partial);
  }
  for (int q = 0; q < static_cast<int>(tile.columns.size()); ++q) {
    const std::int64_t pair = 2 * tile.key_floats(q);
    const bool visited = q > 0 && tile.column_visited[static_cast<std::size_t>(q)] != 0;
    take(column_bundle_, visited || (q == 0 && own.column_bundle), pair);
    take(column_grad_, visited || (q == 0 && own.column_grad), pair);
    largest_grad_ = std::max(largest_grad_, pair);
  }
  arena_ = kernels::Buffer<float>(std::max(end, kAlign));
}

void TileBuffers::reserve_staging(int rows, int columns) {
  const auto grow = [](std::vector<kernels::Buffer<float>>& buffers, int count, std::int64_t floats) {
    while (static_cast<int>(buffers.size()) < count) buffers.emplace_back(std::max(floats, kAlign));
  };
  grow(row_staging_, rows, largest_partial_);
  grow(column_staging_, columns, largest_grad_);
}

}  // namespace tessera::runtime
