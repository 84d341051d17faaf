#include "runtime/model/transformer.h"

#include <utility>
#include <vector>

namespace tessera::runtime {
namespace {

StageConfig whole_stage(const planner::ModelSpec& spec, std::int64_t batch, bool recompute) {
  StageConfig config;
  config.slice = whole_model(spec);
  config.batch = batch;
  config.recompute.assign(static_cast<std::size_t>(spec.layers),
                          recompute ? planner::Recompute::kSelective : planner::Recompute::kNone);
  return config;
}

}  // namespace

Transformer::Transformer(const planner::ModelSpec& spec, const ParameterLayout& layout,
                         MeshAttention& attention, std::int64_t batch, bool recompute)
    : stage_(spec, layout, attention, nullptr, whole_stage(spec, batch, recompute)) {}

LossSum Transformer::forward_backward(const float* parameters, float* gradients, const MicroBatch& batch) {
  stage_.forward(parameters, batch, 0, true);
  return stage_.backward(parameters, gradients, batch, 0);
}

LossSum Transformer::evaluate(const float* parameters, const MicroBatch& batch) {
  stage_.forward(parameters, batch, 0, false);
  return stage_.loss(parameters, batch);
}

void Transformer::logits(const float* parameters, const MicroBatch& batch, float* out) {
  stage_.forward(parameters, batch, 0, false);
  stage_.logits(parameters, out);
}

void Transformer::set_gradient_hook(std::function<void(std::int64_t, std::int64_t)> hook) {
  stage_.set_gradient_hook(std::move(hook));
}

}  // namespace tessera::runtime
