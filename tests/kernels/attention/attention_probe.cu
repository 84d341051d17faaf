#include "kernels/attention/attention_backward.cuh"
#include "kernels/attention/attention_forward.cuh"
#include "tests/kernels/attention/attention_probe.h"

namespace tessera::kernels {
namespace {

template <class Tile, class Work>
void launch(const Work& work, int rows, void (*run)(cuda::Batch<Work>)) {
  const cuda::AttentionKernel<Work> kernel{"probe", 64, Tile::kSharedBytes, Tile::kRows, Tile::kThreads, run};
  cuda::launch_all(
      std::span<const Work>(&work, 1), nullptr, [&](const Work&) { return &kernel; },
      [rows](const Work&) { return rows; }, [](const Work& w) { return w.block.heads; });
}

}  // namespace

void probe_forward(const CudaAttentionForward<Bf16>& work) {
  launch<cuda::ForwardTile<Bf16, 64, 2, 1, 32>>(work, work.block.q_tokens,
                                                cuda::forward_tiles<Bf16, 64, 2, 1, 32>);
}

void probe_backward(const CudaAttentionBackward<Bf16>& work) {
  launch<cuda::BackwardTile<Bf16, true, 64, 2, 1, 1, 32>>(work, work.block.kv_tokens,
                                                          cuda::backward_tiles<Bf16, true, 64, 2, 1, 1, 32>);
  launch<cuda::BackwardTile<Bf16, false, 64, 2, 1, 1, 32>>(
      work, work.block.q_tokens, cuda::backward_tiles<Bf16, false, 64, 2, 1, 1, 32>);
}

}  // namespace tessera::kernels
