/// A MeshAttention that adds up what its calls took, and what the formulas say they move: a step calls
/// attention once per layer, pass and micro-batch, and reports speak of steps and runs. What a call moves
/// depends on its documents (ring_messages.h), so the formula is evaluated call by call, from the
/// configuration alone.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "runtime/attention/mesh_attention.h"
#include "runtime/attention/volume.h"

namespace tessera::runtime {

struct AttentionTotals {
  AttentionTimes forward;
  AttentionTimes backward;
  AttentionVolume forward_volume;  // of this rank, by attention_volume
  AttentionVolume backward_volume;
  std::int64_t ring_sent = 0;  // what the same calls would send on Ring-Attention, its hops cut as well
};

class MeteredAttention final : public MeshAttention {
 public:
  /// `attention` was made with `config`, on `rank` of its group.
  MeteredAttention(std::unique_ptr<MeshAttention> attention, const AttentionConfig& config, int rank);

  void forward(const float* q, const float* k, const float* v, float* o, float* lse,
               const AttentionCall& call) override;
  void backward(const float* q, const float* k, const float* v, const float* o, const float* lse,
                const float* d_o, float* dq, float* dk, float* dv, const AttentionCall& call) override;
  [[nodiscard]] std::span<const std::int32_t> positions() const override { return attention_->positions(); }
  [[nodiscard]] const AttentionTimes& last_times() const override { return attention_->last_times(); }
  void set_observer(std::function<void(const AttentionEvent&)> observer) override;

  [[nodiscard]] const AttentionTotals& totals() const { return totals_; }

 private:
  /// What one call moves with given documents.
  struct CallVolume {
    AttentionVolume forward;
    AttentionVolume backward;
    std::int64_t ring_forward = 0;
    std::int64_t ring_backward = 0;
  };
  const CallVolume& volume_of(std::span<const std::int32_t> documents);
  void add_times(AttentionTimes& sum) const;

  std::unique_ptr<MeshAttention> attention_;
  AttentionConfig config_;
  int rank_;
  AttentionTotals totals_;
  bool volume_known_ = false;
  std::vector<std::int32_t> documents_;  // of volume_
  CallVolume volume_;
};

}  // namespace tessera::runtime
