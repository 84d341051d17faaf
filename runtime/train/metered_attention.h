/// A MeshAttention that adds up what its calls took: a step calls attention once per layer, pass and
/// micro-batch, and reports speak of steps and runs.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include "runtime/attention/mesh_attention.h"

namespace tessera::runtime {

struct AttentionTotals {
  std::int64_t forward_calls = 0;
  std::int64_t backward_calls = 0;
  AttentionTimes forward;
  AttentionTimes backward;
};

class MeteredAttention final : public MeshAttention {
 public:
  explicit MeteredAttention(std::unique_ptr<MeshAttention> attention) : attention_(std::move(attention)) {}

  void forward(const float* q, const float* k, const float* v, float* o, float* lse,
               const AttentionCall& call) override {
    attention_->forward(q, k, v, o, lse, call);
    ++totals_.forward_calls;
    add(totals_.forward);
  }
  void backward(const float* q, const float* k, const float* v, const float* o, const float* lse,
                const float* d_o, float* dq, float* dk, float* dv, const AttentionCall& call) override {
    attention_->backward(q, k, v, o, lse, d_o, dq, dk, dv, call);
    ++totals_.backward_calls;
    add(totals_.backward);
  }
  [[nodiscard]] std::span<const std::int32_t> positions() const override { return attention_->positions(); }
  [[nodiscard]] const AttentionTimes& last_times() const override { return attention_->last_times(); }
  void set_observer(std::function<void(const AttentionEvent&)> observer) override {
    attention_->set_observer(std::move(observer));
  }

  [[nodiscard]] const AttentionTotals& totals() const { return totals_; }

 private:
  void add(AttentionTimes& sum) const {
    const AttentionTimes& last = attention_->last_times();
    sum.total_s += last.total_s;
    sum.compute_s += last.compute_s;
    sum.exposed_wait_s += last.exposed_wait_s;
    sum.transfer_s += last.transfer_s;
  }
  std::unique_ptr<MeshAttention> attention_;
  AttentionTotals totals_;
};

}  // namespace tessera::runtime
