/// A rank's place in a plan and the communicators that follow from it.
///
/// Example (plan.h): t = 2, mesh 1x2, groups of 2 and 1 stages, 12 ranks. Rank 6 is group 0, stage 1, cell 1,
/// tensor 0: tensor = {6, 7}, context = {4, 6}, previous = 2, no next; of the segments it holds those of its
/// layers, each with the ranks of tensor 0 that hold them too.
#pragma once

#include <memory>
#include <vector>

#include "planner/plan/communicators.h"
#include "planner/plan/plan.h"
#include "runtime/comm/communicator.h"

namespace tessera::runtime {

struct SegmentReplicas {
  planner::Segment segment;
  std::shared_ptr<Communicator> replicas;  // segments with the same owners share one
};

struct JobGroups {
  planner::RankPlace place;
  std::unique_ptr<Communicator> context;  // same stage and tensor rank
  std::unique_ptr<Communicator> tensor;   // the cell; null for one tensor rank
  std::vector<SegmentReplicas> segments;  // that this rank holds, in the plan's global order
  Rank previous{-1};                      // of `world`: same cell and tensor rank, the stage before
  Rank next{-1};
};

/// Collective. Requires world.size() == plan.ranks() and a plan that passes check_structure.
[[nodiscard]] JobGroups make_job_groups(Communicator& world, const planner::Plan& plan);

}  // namespace tessera::runtime
