/// Which tokens a rank trains on, and the micro-batch made of them.
///
/// Sample numbers are a function of the step alone: step s (from 0) trains on samples [s*B, (s+1)*B) of
/// SampleOrder, whoever computes them. Of the plan's micro-batches of b sequences, the groups take
/// consecutive ones, group 0 first; a context rank takes its positions of each sequence.
///
/// Example, B = 8, b = 2, groups of 3 and 1 micro-batches, step 3: group 0 takes samples 24 to 29, group 1
/// takes 30 and 31.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "planner/plan/plan.h"
#include "runtime/data/token_source.h"
#include "runtime/model/transformer_stage.h"

namespace tessera::runtime {

/// Number of the first of the `micro_batch` samples of micro-batch `micro` of `group`; step counts from 0.
[[nodiscard]] std::int64_t first_sample(const planner::Plan& plan, std::int64_t step, int group,
                                        std::int64_t micro);

/// The order of a job's samples among tokens [0, train_end): `seed` is that of the job.
[[nodiscard]] Result<SampleOrder> training_order(std::int64_t train_end, std::int64_t length,
                                                 std::uint64_t seed);

class MicroBatchReader {
 public:
  /// `positions` of this rank's tokens in a sequence of `length`. With document masking, documents are
  /// numbered for attention and the label that starts another document is ignored.
  MicroBatchReader(const TokenSource& source, std::span<const std::int32_t> positions, std::int64_t length,
                   std::int64_t micro_batch, bool document_masking);

  /// A slot without a sequence: its labels are all ignored.
  static constexpr std::int64_t kEmpty = -1;

  /// Sequence b starts at token first_tokens[b] (or kEmpty) and is known to dropout as sequence_ids[b].
  /// What is returned refers to this object's memory until the next call.
  [[nodiscard]] MicroBatch load(std::span<const std::int64_t> first_tokens,
                                std::span<const std::int64_t> sequence_ids, std::uint64_t dropout_key);

 private:
  const TokenSource& source_;
  std::vector<std::int32_t> positions_;
  std::int64_t length_;
  std::int64_t micro_batch_;
  bool masked_;
  std::vector<std::int32_t> window_;     // [length + 1]
  std::vector<std::int32_t> numbers_;    // [length + 1] document of each token of the window
  std::vector<std::int32_t> tokens_;     // [B, c]
  std::vector<std::int32_t> labels_;     // [B, c]
  std::vector<std::int32_t> documents_;  // [B, length]
  std::vector<std::int64_t> ids_;        // [B]
};

}  // namespace tessera::runtime
