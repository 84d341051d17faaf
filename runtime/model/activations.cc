#include "runtime/model/activations.h"

namespace tessera::runtime {
namespace {

constexpr std::int64_t kAlignment = 16;  // floats: 64 bytes, one cache line and one AVX-512 vector

}  // namespace

void Arena::reserve(float** slot, std::int64_t floats) {
  pieces_.push_back({slot, floats_});
  floats_ += (floats + kAlignment - 1) / kAlignment * kAlignment;
}

kernels::Buffer<float> Arena::allocate() const {
  kernels::Buffer<float> memory(floats_);
  for (const Piece& piece : pieces_) *piece.slot = memory.data() + piece.offset;
  return memory;
}

Activations::Activations(const planner::ModelSpec& spec, std::int64_t rows, bool recompute)
    : layers(static_cast<std::size_t>(spec.layers)) {
  const std::int64_t stream = rows * spec.hidden_size;
  const std::int64_t query = rows * spec.heads * spec.head_dim;
  const std::int64_t key = rows * spec.kv_heads * spec.head_dim;
  const std::int64_t intermediate = rows * spec.intermediate_size;

  Arena arena;
  const auto reserve_recomputable = [&](LayerActivations& layer) {
    arena.reserve(&layer.normed1, stream);
    arena.reserve(&layer.rstd1, rows);
    arena.reserve(&layer.q, query);
    arena.reserve(&layer.k, key);
    arena.reserve(&layer.v, key);
    arena.reserve(&layer.middle, stream);
    arena.reserve(&layer.normed2, stream);
    arena.reserve(&layer.rstd2, rows);
    arena.reserve(&layer.gate_up, 2 * intermediate);
  };
  LayerActivations shared;
  if (recompute) reserve_recomputable(shared);
  for (LayerActivations& layer : layers) {
    arena.reserve(&layer.input, stream);
    arena.reserve(&layer.o, query);
    arena.reserve(&layer.lse, rows * spec.heads);
    if (!recompute) reserve_recomputable(layer);
  }
  arena.reserve(&scratch.qkv, query + 2 * key);
  arena.reserve(&scratch.update, stream);
  arena.reserve(&scratch.act, intermediate);
  arena.reserve(&scratch.d_stream, stream);
  arena.reserve(&scratch.d_act, intermediate);
  arena.reserve(&scratch.d_o, query);
  arena.reserve(&scratch.dq, query);
  arena.reserve(&scratch.dk, key);
  arena.reserve(&scratch.dv, key);
  arena.reserve(&final_input, stream);
  arena.reserve(&hidden, stream);
  arena.reserve(&final_rstd, rows);
  memory = arena.allocate();

  if (!recompute) return;
  for (LayerActivations& layer : layers) {
    const LayerActivations own = layer;
    layer = shared;
    layer.input = own.input;
    layer.o = own.o;
    layer.lse = own.lse;
  }
}

}  // namespace tessera::runtime
