/// The plan a run executes: read from plan.json and held against the run, or made of the flags. Flags make
/// symmetric plans: equal groups, equal cuts; everything else is a plan's.
///
/// Example   --data-parallel 2 --pipeline-parallel 2 --tensor-parallel 2 --mesh 1x2, 16 ranks: groups {0..7}
/// and
///           {8..15}; in group 0 stage 0 is ranks 0..3, its cells {0, 1} and {2, 3}.
#pragma once

#include "algos/base/status.h"
#include "planner/plan/plan.h"
#include "planner/spec/model_spec.h"
#include "planner/spec/train_spec.h"
#include "runtime/attention/token_layout.h"
#include "runtime/attention/volume.h"

namespace tessera::runtime {

/// Errors    kInvalidArgument: the plan is unreadable or contradicts itself, the model, a setting that was
/// changed
///           from its default, or the number of ranks; or the flags do not add up to `ranks`.
[[nodiscard]] Result<planner::Plan> make_job_plan(const planner::TrainSpec& spec,
                                                  const planner::ModelSpec& model, TokenLayout layout,
                                                  int ranks);

/// The flat mesh on `dims` and `ranks` that moves the fewest bytes, forward and backward, over all ranks;
/// of equals the one with the larger b.
[[nodiscard]] MeshShape choose_mesh(int ranks, TokenLayout layout, const AttentionDims& dims);

}  // namespace tessera::runtime
