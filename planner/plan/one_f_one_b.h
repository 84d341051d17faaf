/// The order in which one pipeline stage works: 1F1B (Narayanan et al. 2021, arXiv:2104.04473, 2.2.1). The
/// simulator times it, the runtime obeys it.
///
///   stage 1 of 3, 4 micro-batches:  F0 F1 B0 F2 B1 F3 B2 B3
#pragma once

#include <vector>

namespace tessera::planner {

struct PipelineSlot {
  bool backward = false;
  int micro_batch = 0;
};

/// 0 <= stage < stages, micro_batches >= 1. Every micro-batch once forward and once backward; at most
/// min(stages - stage, micro_batches) forwards lead their backwards at any time.
[[nodiscard]] std::vector<PipelineSlot> one_f_one_b(int stages, int stage, int micro_batches);

}  // namespace tessera::planner
