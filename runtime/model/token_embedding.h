/// The token embedding of a stage, vocabulary parallel: each tensor rank has a block of the table's rows,
/// adds those of its tokens, and the sum over ranks, of which all but one term is zero, is exact.
///
/// Legend    T rows of a micro-batch, S own rows of the stream, T' rows with padding (tensor_parallel.h), D
///           hidden.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "planner/spec/model_spec.h"
#include "runtime/model/activations.h"
#include "runtime/model/model_slice.h"
#include "runtime/model/parameters.h"
#include "runtime/parallel/tensor_parallel.h"

namespace tessera::runtime {

class TokenEmbedding {
 public:
  TokenEmbedding(const planner::ModelSpec& spec, const ParameterLayout& layout, const ModelSlice& slice);

  /// Writes out, [S, D], from tokens, [T]. `scratch`, [T', D], is overwritten with several tensor ranks.
  void forward(float* out, const float* parameters, std::span<const std::int32_t> tokens, float* scratch,
               const TensorParallel& tensor);
  /// Adds scratch.d_stream to the rows of its tokens. Overwrites scratch.d_full and scratch.update with
  /// several tensor ranks.
  void backward(float* gradients, const LayerScratch& scratch, std::span<const std::int32_t> tokens,
                const TensorParallel& tensor);

 private:
  std::int64_t table_;  // offset
  std::int64_t width_;
  TensorBlock vocabulary_;
  std::vector<std::int32_t> local_;  // tokens counted from the block's first
};

}  // namespace tessera::runtime
