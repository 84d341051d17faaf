/// The model that tests take when they need one and its sizes do not matter much.
#pragma once

#include "planner/spec/model_spec.h"

namespace tessera::support {

/// Small, with everything that may go wrong in it: two layers, two query heads to a key/value head, heads
/// whose widths do not add up to the hidden size, vectors that leave gaps in the flat buffer, an odd
/// vocabulary.
inline planner::ModelSpec small_model() {
  planner::ModelSpec spec;
  spec.hidden_size = 12;
  spec.intermediate_size = 20;
  spec.layers = 2;
  spec.heads = 4;
  spec.kv_heads = 2;
  spec.head_dim = 6;
  spec.vocab_size = 23;
  return spec;
}

}  // namespace tessera::support
