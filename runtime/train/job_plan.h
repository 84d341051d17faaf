/// The plan a run executes: read from plan.json and held against the run, or made of the flags. Flags make
/// symmetric plans: equal groups, equal cuts; everything else is a plan's.
///
/// Example   --data-parallel 2 --pipeline-parallel 2 --tensor-parallel 2 --mesh 1x2, 16 ranks: groups {0..7}
/// and
///           {8..15}; in group 0 stage 0 is ranks 0..3, its cells {0, 1} and {2, 3}.
#pragma once

#include <string>
#include <vector>

#include "algos/base/status.h"
#include "planner/plan/plan.h"
#include "planner/spec/model_spec.h"
#include "planner/spec/train_spec.h"
#include "runtime/attention/mesh_choice.h"
#include "runtime/attention/token_layout.h"

namespace tessera::runtime {

/// Errors    kInvalidArgument: the plan is unreadable or contradicts itself, the model, a setting that was
/// changed
///           from its default, or the number of ranks; or the flags do not add up to `ranks`.
[[nodiscard]] Result<planner::Plan> make_job_plan(const planner::TrainSpec& spec,
                                                  const planner::ModelSpec& model, TokenLayout layout,
                                                  int ranks);

/// What --mesh auto asks of rank_meshes for the context-parallel groups of `ranks` ranks: nodes as the spec
/// has them, seen by context ranks, of which a node holds one in `tensor_parallel`.
[[nodiscard]] MeshQuestion mesh_question(const planner::TrainSpec& spec, const planner::ModelSpec& model,
                                         TokenLayout layout, int context_ranks);

/// Ranks per node when nodes hold equally many consecutive ranks; 0 otherwise. An entry per rank.
[[nodiscard]] int uniform_ranks_per_node(const std::vector<std::string>& hosts);

}  // namespace tessera::runtime
