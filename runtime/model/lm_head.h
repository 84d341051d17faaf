/// The language-model head with its loss, in chunks of rows, so that the logits of a long context never
/// exist at once: a chunk's logits become their own gradient in place and are used up before the next.
/// The same idea as Liger Kernel's fused linear cross-entropy, arXiv:2410.10989.
///
/// Tensor parallel, each rank has the logits of its own block of the vocabulary, for all rows; a chunk costs
/// two small sums over the ranks, and every rank knows the loss of every row.
///
/// Legend    T rows, D hidden, V the rank's vocabulary, R rows of a chunk.
/// Memory    R * V floats with R = 64 MiB / 4V, at least 64 and at most 1024.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/device/buffer.h"
#include "planner/spec/model_spec.h"
#include "runtime/comm/communicator.h"
#include "runtime/model/parameters.h"

namespace tessera::runtime {

/// Sums over this rank's tokens; of the tensor ranks that share tokens, the first alone counts them.
struct LossSum {
  double loss = 0;          // natural log
  std::int64_t labels = 0;  // that were not ignored
};

class LmHead {
 public:
  /// With tied embeddings the weight is model.embed_tokens.weight. `rows`: the most a call will bring.
  LmHead(const planner::ModelSpec& spec, const ParameterLayout& layout, std::int64_t rows);
  /// `comm`: the tensor-parallel ranks, which must outlive this; null: one rank.
  LmHead(const planner::ModelSpec& spec, const ParameterLayout& layout, std::int64_t rows,
         const ModelSlice& slice, Communicator* comm);

  [[nodiscard]] LossSum loss(const float* parameters, const float* hidden_TD,
                             std::span<const std::int32_t> labels_T);
  /// Also writes the gradient of the sum of losses by `hidden`, this rank's part of it (the parts are to be
  /// summed over the tensor ranks), and adds that by the weight.
  [[nodiscard]] LossSum loss_and_gradient(const float* parameters, float* gradients, const float* hidden_TD,
                                          float* d_hidden_TD, std::span<const std::int32_t> labels_T);
  /// out[t, :] = logits of row t, of the rank's vocabulary.
  void logits(float* out_TV, const float* parameters, const float* hidden_TD, std::int64_t rows) const;

  [[nodiscard]] std::int64_t chunk_rows() const { return chunk_rows_; }
  /// R for calls of at most `rows` rows.
  [[nodiscard]] static std::int64_t chunk_rows(std::int64_t rows, std::int64_t vocabulary);
  [[nodiscard]] std::int64_t buffer_floats() const { return logits_.size() + losses_.size(); }

 private:
  /// Losses of a chunk of logits into losses_; the logits become their gradient if it is wanted.
  void chunk_loss(std::span<const std::int32_t> labels, bool gradient);
  LossSum run(const float* parameters, float* gradients, const float* hidden, float* d_hidden,
              std::span<const std::int32_t> labels);

  std::int64_t weight_ = 0;  // offset
  std::int64_t hidden_ = 0;
  std::int64_t first_token_ = 0;  // of the rank's vocabulary
  std::int64_t vocabulary_ = 0;
  Communicator* comm_ = nullptr;
  bool counts_ = true;
  std::int64_t chunk_rows_ = 0;
  std::int64_t ld_ = 0;            // vocabulary, rounded up so that rows are aligned
  kernels::Buffer<float> logits_;  // [R, ld]
  kernels::Buffer<float> losses_;  // [R]
  std::vector<double> largest_;    // [R]
  std::vector<double> sums_;       // [2, R]  sum of exponentials, label's logit
};

}  // namespace tessera::runtime
