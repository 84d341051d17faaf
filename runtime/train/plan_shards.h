/// Which part of the model, and which part of the optimizer's moments, a plan gives to each rank. Pure: any
/// rank can say it of any other.
///
/// Example, 2 groups of 1 stage, 10 floats: each rank holds all of them; rank 0 updates [0, 5), rank 1
/// [5, 10).
#pragma once

#include <vector>

#include "planner/plan/communicators.h"
#include "planner/plan/plan.h"
#include "runtime/model/model_slice.h"
#include "runtime/model/parameters.h"
#include "runtime/optim/sharded_adamw.h"

namespace tessera::runtime {

[[nodiscard]] ModelSlice slice_of(const planner::Plan& plan, int group, int stage, int tensor);
[[nodiscard]] ModelSlice slice_of(const planner::Plan& plan, const planner::RankPlace& place);

/// Where a segment lies in the flat buffer of a rank that holds it.
[[nodiscard]] FlatRange segment_range(const ParameterLayout& layout, const ModelSlice& slice,
                                      const planner::Segment& segment);

/// The pieces of its flat buffer that a rank updates, increasing: ShardedAdamw::owned() of that rank.
[[nodiscard]] std::vector<FlatRange> owned_ranges(const planner::Plan& plan, const ParameterLayout& layout,
                                                  const planner::RankPlace& place,
                                                  std::int64_t bucket_floats = ShardedAdamw::kBucketFloats);

}  // namespace tessera::runtime
