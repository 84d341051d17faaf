#include "runtime/model/activations.h"

#include <algorithm>

#include "algos/base/require.h"

namespace tessera::runtime {

using planner::Recompute;

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

Activations::Activations(const planner::ModelSpec& spec, const ModelSlice& slice,
                         const TensorParallel& tensor, int slot_count,
                         const std::vector<planner::Recompute>& recompute)
    : slots(static_cast<std::size_t>(slot_count)) {
  TS_REQUIRE(static_cast<int>(recompute.size()) == spec.layers, recompute.size(), spec.layers);
  const std::int64_t rows = tensor.rows();
  const std::int64_t own_rows = tensor.block_rows();
  const std::int64_t own_stream = own_rows * spec.hidden_size;
  const std::int64_t full_stream = tensor.full_rows() * spec.hidden_size;
  const std::int64_t query = rows * spec.heads * spec.head_dim;
  const std::int64_t key = rows * spec.kv_heads * spec.head_dim;
  const std::int64_t intermediate = rows * spec.intermediate_size;

  Arena arena;
  const auto reserve_recomputable = [&](LayerActivations& layer) {
    arena.reserve(&layer.normed1, full_stream);
    arena.reserve(&layer.rstd1, own_rows);
    arena.reserve(&layer.q, query);
    arena.reserve(&layer.k, key);
    arena.reserve(&layer.v, key);
    arena.reserve(&layer.middle, own_stream);
    arena.reserve(&layer.normed2, full_stream);
    arena.reserve(&layer.rstd2, own_rows);
    arena.reserve(&layer.gate_up, 2 * intermediate);
  };
  const auto reserve_attention = [&](LayerActivations& layer) {
    arena.reserve(&layer.o, query);
    arena.reserve(&layer.lse, rows * spec.heads);
  };
  LayerActivations shared;
  const auto some = [&](Recompute mode) { return std::ranges::find(recompute, mode) != recompute.end(); };
  if (some(Recompute::kSelective) || some(Recompute::kFull)) reserve_recomputable(shared);
  if (some(Recompute::kFull)) reserve_attention(shared);
  for (ActivationSlot& slot : slots) {
    slot.layers.resize(recompute.size());
    for (std::size_t l = 0; l < recompute.size(); ++l) {
      LayerActivations& layer = slot.layers[l];
      arena.reserve(&layer.input, own_stream);
      if (recompute[l] != Recompute::kFull) reserve_attention(layer);
      if (recompute[l] == Recompute::kNone) reserve_recomputable(layer);
    }
    if (!slice.head) {
      arena.reserve(&slot.output, own_stream);
      arena.reserve(&slot.d_output, own_stream);
    }
    if (!slice.embedding) arena.reserve(&slot.d_input, own_stream);
  }
  arena.reserve(&scratch.qkv, query + 2 * key);
  arena.reserve(&scratch.update, full_stream);
  arena.reserve(&scratch.act, intermediate);
  arena.reserve(&scratch.d_stream, own_stream);
  if (tensor.ranks() > 1) arena.reserve(&scratch.d_full, full_stream);
  arena.reserve(&scratch.d_act, intermediate);
  arena.reserve(&scratch.d_o, query);
  arena.reserve(&scratch.dq, query);
  arena.reserve(&scratch.dk, key);
  arena.reserve(&scratch.dv, key);
  if (slice.head) {
    arena.reserve(&final_input, own_stream);
    arena.reserve(&hidden, full_stream);
    arena.reserve(&final_rstd, own_rows);
  }
  memory = arena.allocate();

  if (tensor.ranks() == 1) scratch.d_full = scratch.d_stream;
  for (ActivationSlot& slot : slots) {
    for (std::size_t l = 0; l < recompute.size(); ++l) {
      if (recompute[l] == Recompute::kNone) continue;
      const LayerActivations own = slot.layers[l];
      slot.layers[l] = shared;
      slot.layers[l].input = own.input;
      if (recompute[l] == Recompute::kFull) continue;
      slot.layers[l].o = own.o;
      slot.layers[l].lse = own.lse;
    }
  }
}

}  // namespace tessera::runtime
