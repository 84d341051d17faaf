/// What a training run reads before it starts, checked: each rank loads the same on its own.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "algos/base/status.h"
#include "planner/spec/model_spec.h"
#include "planner/spec/train_spec.h"
#include "runtime/attention/mesh_shape.h"
#include "runtime/attention/token_layout.h"
#include "runtime/attention/volume.h"
#include "runtime/data/token_source.h"
#include "runtime/optim/lr_schedule.h"
#include "runtime/train/checkpoint.h"
#include "runtime/train/micro_batch_reader.h"

namespace tessera::runtime {

struct TrainInputs {
  planner::TrainSpec spec;
  planner::ModelSpec model;
  std::string weights_directory;  // Hugging Face directory to start from; empty: seeded initialisation
  std::unique_ptr<TokenSource> tokens;
  std::int64_t train_end = 0;  // tokens [0, train_end) are trained on, the rest is held out
  MeshShape mesh;              // of one context-parallel group
  TokenLayout layout = TokenLayout::kZigzag;
  BatchShape batch;
  LrSchedule schedule;

  [[nodiscard]] int context_ranks() const { return mesh.ranks(); }
  /// Of one attention call.
  [[nodiscard]] AttentionDims attention_dims() const;
};

/// Reads model and data and holds them against each other and against the number of ranks. Writes nothing.
/// Errors    kInvalidArgument: a Complaint that names the flag or file.
[[nodiscard]] Result<TrainInputs> load_train_inputs(const planner::TrainSpec& spec, int ranks);

/// The flat mesh on `dims` and `ranks` that moves the fewest bytes, forward and backward, over all ranks;
/// of equals the one with the larger b.
[[nodiscard]] MeshShape choose_mesh(int ranks, TokenLayout layout, const AttentionDims& dims);

/// What must stay the same when a run goes on.
[[nodiscard]] RunIdentity run_identity(const TrainInputs& inputs);

}  // namespace tessera::runtime
