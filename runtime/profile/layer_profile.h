/// Seconds and bytes of a layer of each kind, measured on the stage that training runs: TransformerStage with
/// embedding, three decoder layers and head, and its optimizer. Every rank measures at the same time, so a
/// layer's seconds are those it takes while the other ranks of the machine compute too.
///
/// How       the stage's gradient hook tells when its head, its layers and its embedding are through with a
///           backward pass; attention, called once per layer, tells how far a forward pass is. A layer's
///           time is the mean between such marks, so the rows of a stage add up to the whole of it. The loss
///           and the head's product run in the backward pass, so the head's forward_s is 0.
/// Sharing   marks are processor time, which turns of other ranks on the core do not blur; a round's seconds
///           are its processor seconds over the share of the clock's time that the rank had in that round.
/// Speed     below 1 the rank pauses after each pass as one of tessera-train --speed-factors does, and the
/// rows
///           have its processor seconds: those of a device of speed 1 whose caches others used meanwhile.
/// Recompute the layer that a backward pass begins with may find its results still there and is left out.
/// Bytes     activations: what another slot adds to the buffers of one layer more; workspace: the rest of a
///           stage of one layer, with what attention and the kernels hold (memory_estimate.h). The head's
///           includes the layers', as the greatest of a stage counts.
#pragma once

#include <cstdint>
#include <vector>

#include "algos/base/clock.h"
#include "algos/base/status.h"
#include "planner/plan/plan.h"
#include "planner/spec/model_spec.h"
#include "planner/spec/profile.h"
#include "runtime/comm/communicator.h"
#include "runtime/profile/samples.h"

namespace tessera::runtime {

struct LayerQuestion {
  planner::ModelSpec model;
  int tensor_parallel = 1;
  std::int64_t micro_batch = 1;
  std::int64_t sequence_length = 256;
  planner::Recompute recompute = planner::Recompute::kNone;
  int rounds = 5;
  double round_s = 0.3;  // of passes, at least
  int threads = 1;       // of the rank's pool
  double speed = 1;      // above 0, at most 1
};

struct LayerProfile {
  std::vector<planner::ProfileLayer> rows;  // decoder; embedding and head as well for Recompute::kNone
  std::vector<Measurement> measurements;
};

/// Collective; the same result on every rank. Consecutive ranks form tensor-parallel groups; ranks left over
/// wait. Errors: kInvalidArgument where the model does not divide by the tensor ranks, or these are too few.
[[nodiscard]] Result<LayerProfile> profile_layers(Communicator& world, const LayerQuestion& question,
                                                  const Clock& clock);

}  // namespace tessera::runtime
