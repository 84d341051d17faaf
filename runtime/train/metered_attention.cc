#include "runtime/train/metered_attention.h"

#include <algorithm>
#include <utility>

namespace tessera::runtime {

MeteredAttention::MeteredAttention(std::unique_ptr<MeshAttention> attention, const AttentionConfig& config,
                                   int rank)
    : attention_(std::move(attention)), config_(config), rank_(rank) {}

void MeteredAttention::forward(const float* q, const float* k, const float* v, float* o, float* lse,
                               const AttentionCall& call) {
  attention_->forward(q, k, v, o, lse, call);
  add_times(totals_.forward);
  const CallVolume& volume = volume_of(call.documents);
  totals_.forward_volume += volume.forward;
  totals_.ring_sent += volume.ring_forward;
}

void MeteredAttention::backward(const float* q, const float* k, const float* v, const float* o,
                                const float* lse, const float* d_o, float* dq, float* dk, float* dv,
                                const AttentionCall& call) {
  attention_->backward(q, k, v, o, lse, d_o, dq, dk, dv, call);
  add_times(totals_.backward);
  const CallVolume& volume = volume_of(call.documents);
  totals_.backward_volume += volume.backward;
  totals_.ring_sent += volume.ring_backward;
}

void MeteredAttention::set_observer(std::function<void(const AttentionEvent&)> observer) {
  attention_->set_observer(std::move(observer));
}

const MeteredAttention::CallVolume& MeteredAttention::volume_of(std::span<const std::int32_t> documents) {
  if (volume_known_ && std::ranges::equal(documents, documents_)) return volume_;
  documents_.assign(documents.begin(), documents.end());
  volume_known_ = true;
  const AttentionDims& dims = config_.dims;
  const MaskRule rule{config_.causal, config_.window, dims.batch, documents};
  const auto volume = [&](Pass pass, const MeshShape& shape, const ChunkMask& mask) {
    return attention_volume(pass, shape, config_.layout, dims, mask, rank_);
  };
  const ChunkMask mask = chunk_mask(config_.shape, config_.layout, dims.tokens, rule);
  volume_.forward = volume(Pass::kForward, config_.shape, mask);
  volume_.backward = volume(Pass::kBackward, config_.shape, mask);
  const MeshShape ring = MeshShape::ring(config_.shape.ranks());
  const ChunkMask ring_mask = chunk_mask(ring, config_.layout, dims.tokens, rule);
  volume_.ring_forward = volume(Pass::kForward, ring, ring_mask).sent();
  volume_.ring_backward = volume(Pass::kBackward, ring, ring_mask).sent();
  return volume_;
}

void MeteredAttention::add_times(AttentionTimes& sum) const {
  const AttentionTimes& last = attention_->last_times();
  sum.total_s += last.total_s;
  sum.compute_s += last.compute_s;
  sum.exposed_wait_s += last.exposed_wait_s;
  sum.transfer_s += last.transfer_s;
}

}  // namespace tessera::runtime
