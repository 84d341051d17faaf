/// What a training run reads before it starts, checked: each rank loads the same on its own.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "algos/base/status.h"
#include "planner/plan/plan.h"
#include "planner/spec/model_spec.h"
#include "planner/spec/train_spec.h"
#include "runtime/attention/token_layout.h"
#include "runtime/attention/volume.h"
#include "runtime/data/token_source.h"
#include "runtime/optim/lr_schedule.h"
#include "runtime/train/checkpoint.h"

namespace tessera::runtime {

struct TrainInputs {
  planner::TrainSpec spec;
  planner::ModelSpec model;
  std::string weights_directory;  // Hugging Face directory to start from; empty: seeded initialisation
  std::unique_ptr<TokenSource> tokens;
  std::int64_t train_end = 0;  // tokens [0, train_end) are trained on, the rest is held out
  planner::Plan plan;          // who computes what: read, or made of the flags
  TokenLayout layout = TokenLayout::kZigzag;
  LrSchedule schedule;
  std::vector<double> speeds;  // of the plan's ranks; see runtime/schedule/device_speed.h
  std::string mesh_choice;     // --mesh auto: the candidates and why the mesh was chosen

  [[nodiscard]] int context_ranks() const { return plan.context.ranks(); }
  /// Of one attention call of one rank.
  [[nodiscard]] AttentionDims attention_dims() const;
};

/// Reads model and data and holds them against each other and against the number of ranks. Writes nothing.
/// `ranks_per_node`: what the launcher's hosts say, where the spec says nothing; 0: unknown.
/// Errors    kInvalidArgument: a Complaint that names the flag or file.
[[nodiscard]] Result<TrainInputs> load_train_inputs(const planner::TrainSpec& spec, int ranks,
                                                    int ranks_per_node = 0);

/// What must stay the same when a run goes on.
[[nodiscard]] RunIdentity run_identity(const TrainInputs& inputs);

}  // namespace tessera::runtime
