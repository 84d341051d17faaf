/// The part of a model that one rank holds: a run of layers (pipeline stage), and of each matrix a block of
/// rows or columns (tensor parallelism). Shoeybi et al. 2019, arXiv:1909.08053.
///
/// Of t tensor ranks, rank r holds
///   q, k, v             rows of its heads, heads [r H/t, (r+1) H/t)          column parallel
///   gate, up            rows [r F/t, (r+1) F/t)                              column parallel
///   o, down             the matching columns                                 row parallel
///   embedding, lm_head  rows [r V/t, (r+1) V/t) of the vocabulary            vocabulary parallel
///   norms               whole, the same on every tensor rank
/// F and V need not divide by t (block i of n is [i*N/n, (i+1)*N/n)); heads and key/value heads must.
///
/// Example, 12 layers, 2 stages, t = 2: rank 3 is stage 1, tensor rank 1: layers 6 .. 11, the second half of
/// each matrix, the final norm and the second half of lm_head; with tied embeddings, the second half of the
/// embedding instead, of which stage 0 has the twin.
#pragma once

#include <cstdint>
#include <string>

#include "algos/base/status.h"
#include "planner/spec/model_spec.h"

namespace tessera::runtime {

struct ModelSlice {
  int first_layer = 0;
  int layers = 0;
  bool embedding = true;  // holds the token embedding: the first stage
  bool head = true;       // holds the final norm and the head: the last stage
  int tensor_rank = 0;
  int tensor_ranks = 1;

  [[nodiscard]] bool operator==(const ModelSlice&) const = default;
};

/// What one rank alone holds.
[[nodiscard]] ModelSlice whole_model(const planner::ModelSpec& spec);

/// kInvalidArgument where heads or key/value heads do not divide by the tensor ranks, or fewer than one
/// feed-forward row or vocabulary entry is left for each.
[[nodiscard]] Status check_tensor_ranks(const planner::ModelSpec& spec, int tensor_ranks);

/// The model as one rank computes it: the layers of the slice, with its heads and feed-forward width.
/// hidden_size, head_dim and vocab_size stay those of the whole.
[[nodiscard]] planner::ModelSpec local_spec(const planner::ModelSpec& spec, const ModelSlice& slice);

/// Half-open block of a vocabulary or feed-forward dimension.
struct TensorBlock {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  [[nodiscard]] std::int64_t count() const { return end - begin; }
};
[[nodiscard]] TensorBlock tensor_block(std::int64_t count, const ModelSlice& slice);

}  // namespace tessera::runtime
