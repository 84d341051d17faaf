/// What a rank of a training run will hold, worked out before anything is allocated. Pure.
///
/// Counted: the memory of kernels::Buffer, which is everything whose size grows with model, batch or ranks:
///   parameters    4 N bytes, N floats of the rank's slice (parameters.h)
///   gradients     4 N
///   moments       8 N owned: AdamW's, spread over the ranks that hold the slice (ZeRO stage 1)
///   activations   the formulas of runtime/model/activations.h
///   logits        one chunk of rows of the rank's vocabulary (lm_head.h); none without a head
///   attention     attention_memory.h
///   kernels       scratch of the attention kernels: tiles of each thread, partial dK and dV of shares
/// Not counted, some tens of MiB per process: code, MPI, token files (mapped), the segments of collectives,
/// and what saving a state takes for a moment.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "planner/plan/plan.h"
#include "planner/spec/model_spec.h"
#include "runtime/attention/mesh_attention.h"
#include "runtime/model/model_slice.h"

namespace tessera::runtime {

struct MemoryQuestion {
  planner::ModelSpec model;  // the whole
  ModelSlice slice;
  int slots = 1;                              // micro-batches in flight
  std::vector<planner::Recompute> recompute;  // per layer of the slice
  AttentionConfig attention;                  // dims: of the rank's heads
  int context_rank = 0;
  double owned = 1;  // share of the slice's moments that the rank keeps: 1 / owners where all have as many
  int threads = 1;   // of the rank
};

struct MemoryEstimate {
  std::int64_t parameters = 0;  // bytes, all
  std::int64_t gradients = 0;
  std::int64_t moments = 0;
  std::int64_t activations = 0;
  std::int64_t logits = 0;
  std::int64_t attention = 0;
  std::int64_t kernels = 0;
  [[nodiscard]] std::int64_t total() const {
    return parameters + gradients + moments + activations + logits + attention + kernels;
  }
};

[[nodiscard]] MemoryEstimate memory_estimate(const MemoryQuestion& question);

/// "memory per rank: 12.3 MB = parameters 1.0 + gradients 1.0 + ..."
[[nodiscard]] std::string to_text(const MemoryEstimate& estimate);

}  // namespace tessera::runtime
