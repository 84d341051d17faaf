#include "runtime/train/plan_shards.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "algos/base/require.h"

namespace tessera::runtime {

ModelSlice slice_of(const planner::Plan& plan, int group, int stage, int tensor) {
  const auto& stages = plan.groups[static_cast<std::size_t>(group)].stages;
  const planner::Stage& own = stages[static_cast<std::size_t>(stage)];
  ModelSlice slice;
  slice.first_layer = own.first_layer;
  slice.layers = own.layers;
  slice.embedding = stage == 0;
  slice.head = stage + 1 == static_cast<int>(stages.size());
  slice.tensor_rank = tensor;
  slice.tensor_ranks = plan.tensor_parallel;
  return slice;
}

ModelSlice slice_of(const planner::Plan& plan, const planner::RankPlace& place) {
  return slice_of(plan, place.group, place.stage, place.tensor);
}

FlatRange segment_range(const ParameterLayout& layout, const ModelSlice& slice,
                        const planner::Segment& segment) {
  const auto layer_begin = [&](int layer) {
    return layout.find(fmt::format("model.layers.{}.input_layernorm.weight", layer)).offset;
  };
  FlatRange range;
  std::int64_t end = 0;
  if (segment.tied) {
    end = layer_begin(slice.first_layer);
  } else {
    const int first = std::max(segment.first_layer, slice.first_layer);
    const int last = std::min(segment.first_layer + segment.layers, slice.first_layer + slice.layers);
    TS_REQUIRE(first < last, first, last);
    range.offset = segment.embedding ? 0 : layer_begin(first);
    end = last < slice.first_layer + slice.layers ? layer_begin(last) : layout.total();
  }
  range.count = end - range.offset;
  return range;
}

std::vector<FlatRange> owned_ranges(const planner::Plan& plan, const ParameterLayout& layout,
                                    const planner::RankPlace& place, std::int64_t bucket_floats) {
  const ModelSlice slice = slice_of(plan, place);
  const int cells = plan.context.ranks();

  // Neighbours with the same owners are one range, as their communicator is one.
  struct Part {
    FlatRange range;
    std::vector<std::vector<int>> owners;
  };
  std::vector<Part> parts;
  for (planner::Segment& segment : planner::derive_segments(plan)) {
    const std::vector<int>& mine = segment.owners[static_cast<std::size_t>(place.group)];
    if (std::ranges::find(mine, place.stage) == mine.end()) continue;
    const FlatRange range = segment_range(layout, slice, segment);
    if (range.count > 0) parts.push_back({range, std::move(segment.owners)});
  }
  std::ranges::sort(parts, {}, [](const Part& part) { return part.range.offset; });
  std::vector<Part> merged;
  for (Part& part : parts) {
    if (!merged.empty() && merged.back().owners == part.owners) {
      merged.back().range.count += part.range.count;
    } else {
      merged.push_back(std::move(part));
    }
  }

  std::vector<FlatRange> owned;
  for (const Part& part : merged) {
    // Replicas are numbered in rank order: group by group, stage by stage, cell by cell.
    int replicas = 0;
    int replica = 0;
    for (std::size_t g = 0; g < part.owners.size(); ++g) {
      for (const int stage : part.owners[g]) {
        if (static_cast<int>(g) == place.group && stage == place.stage) replica = replicas + place.cell;
        replicas += cells;
      }
    }
    for (const FlatRange& bucket : bucket_ranges(part.range, bucket_floats)) {
      owned.push_back(shard_of(bucket, replicas, replica));
    }
  }
  return owned;
}

}  // namespace tessera::runtime
