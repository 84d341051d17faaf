#include "runtime/model/token_embedding.h"

#include <algorithm>

#include "kernels/embedding/embedding.h"

namespace tessera::runtime {

TokenEmbedding::TokenEmbedding(const planner::ModelSpec& spec, const ParameterLayout& layout,
                               const ModelSlice& slice)
    : table_(layout.find("model.embed_tokens.weight").offset),
      width_(spec.hidden_size),
      vocabulary_(tensor_block(spec.vocab_size, slice)) {}

void TokenEmbedding::forward(float* out, const float* parameters, std::span<const std::int32_t> tokens,
                             float* scratch, const TensorParallel& tensor) {
  const float* table = parameters + table_;
  const std::int64_t rows = tensor.rows();
  if (tensor.ranks() == 1) {
    kernels::embedding_forward(out, table, tokens.data(), rows, width_);
    return;
  }
  for (std::int64_t t = 0; t < rows; ++t) {
    const std::int64_t row = tokens[static_cast<std::size_t>(t)] - vocabulary_.begin;
    float* to = scratch + t * width_;
    if (0 <= row && row < vocabulary_.count()) {
      std::copy_n(table + row * width_, width_, to);
    } else {
      std::fill_n(to, width_, 0.0F);
    }
  }
  tensor.reduce_scatter(scratch, width_);
  std::copy_n(tensor.own(scratch, width_), tensor.own_rows() * width_, out);
}

void TokenEmbedding::backward(float* gradients, const LayerScratch& scratch,
                              std::span<const std::int32_t> tokens, const TensorParallel& tensor) {
  if (tensor.ranks() == 1) {
    kernels::embedding_backward(gradients + table_, scratch.d_stream, tokens.data(), tensor.rows(), width_,
                                vocabulary_.count());
    return;
  }
  std::copy_n(scratch.d_stream, tensor.own_rows() * width_, tensor.own(scratch.d_full, width_));
  tensor.gather(scratch.d_full, width_);
  // The rows of the tokens in the block, moved together: the kernel takes no others.
  local_.clear();
  for (std::int64_t t = 0; t < tensor.rows(); ++t) {
    const std::int64_t row = tokens[static_cast<std::size_t>(t)] - vocabulary_.begin;
    if (row < 0 || row >= vocabulary_.count()) continue;
    std::copy_n(scratch.d_full + t * width_, width_, scratch.update + std::ssize(local_) * width_);
    local_.push_back(static_cast<std::int32_t>(row));
  }
  kernels::embedding_backward(gradients + table_, scratch.update, local_.data(), std::ssize(local_), width_,
                              vocabulary_.count());
}

}  // namespace tessera::runtime
