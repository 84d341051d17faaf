#include "runtime/attention/mesh_attention.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "algos/base/require.h"
#include "runtime/attention/chunk_mask.h"
#include "runtime/attention/chunk_tokens.h"
#include "runtime/attention/head_exchange.h"
#include "runtime/attention/ring_messages.h"
#include "runtime/attention/tile_assignment.h"
#include "runtime/attention/tile_buffers.h"
#include "runtime/attention/tile_pass.h"
#include "runtime/attention/tile_program.h"
#include "runtime/attention/tile_run.h"
#include "runtime/comm/collectives.h"

namespace tessera::runtime {
namespace {

std::string fingerprint(const AttentionConfig& c) {
  const auto costs = [](const ScheduleCosts& s) {
    return fmt::format("{}/{}/{}/{}/{}/{}/{}", s.block, s.receive_row, s.receive_column, s.send_row,
                       s.send_column, s.outer_factor, s.two_lanes);
  };
  return fmt::format(
      "mesh u{}:({}.{})x({}.{}), layout {}, {} sequences of {} tokens, {}/{} heads of {}, causal {}, window "
      "{}, scale {}, dropout {}, {} head pieces, costs {} and {}",
      c.shape.heads, c.shape.q.outer, c.shape.q.inner, c.shape.kv.outer, c.shape.kv.inner,
      token_layout_name(c.layout), c.dims.batch, c.dims.tokens, c.dims.heads, c.dims.kv_heads,
      c.dims.head_dim, c.causal, c.window, c.scale, c.dropout, c.head_pieces, costs(c.forward_costs),
      costs(c.backward_costs));
}

/// Ranks that were told different things would wait for each other in vain: found out here, by all alike.
Status check_agreement(Communicator& comm, const AttentionConfig& config) {
  const std::string mine = fingerprint(config);
  const auto all = all_gather_bytes(comm, std::as_bytes(std::span(mine)));
  for (std::size_t r = 1; r < all.size(); ++r) {
    if (all[r] == all[0]) continue;
    const auto text = [&](std::size_t rank) {
      return std::string(reinterpret_cast<const char*>(all[rank].data()), all[rank].size());
    };
    return bad_input({.file = "",
                      .field = "attention configuration",
                      .found = fmt::format("rank 0: {}; rank {}: {}", text(0), r, text(r)),
                      .expected = "the same on every rank of the group",
                      .remedy = "start every rank with the same plan and the same model"});
  }
  return {};
}

std::unique_ptr<Communicator> split_if(bool wanted, Communicator& comm, int color, int key) {
  return wanted ? comm.split(color, key) : nullptr;
}

/// The mask of a call with these documents; without them, that of the configuration alone.
ChunkMask mask_of(const AttentionConfig& config, std::span<const std::int32_t> documents) {
  return chunk_mask(config.shape, config.layout, config.dims.tokens,
                    {config.causal, config.window, config.dims.batch, documents});
}

std::vector<char> visited_slots(const MeshShape& shape, const ChunkMask& mask, bool rows, int super_rank) {
  const TileAssignment assignment(shape);
  const int u = assignment.kv_index(super_rank);
  const int v = assignment.q_index(super_rank);
  const RingUse use = ring_use(shape, mask, rows, rows ? u : v);
  const RingPath path(use.shape(), rows ? v : u);
  std::vector<char> visited;
  for (int p = 0; p < use.shape().size(); ++p) visited.push_back(use.visited(path.owner(p), p) ? 1 : 0);
  return visited;
}

/// The tile with the `piece`-th part of the rank's heads.
TileGeometry make_geometry(const AttentionConfig& config, const ChunkMask& mask, int rank, int piece) {
  const MeshShape& shape = config.shape;
  const int super_rank = rank / shape.heads;
  TileGeometry tile;
  tile.batch = config.dims.batch;
  tile.heads = config.dims.heads / shape.heads / config.head_pieces;
  tile.kv_heads = config.dims.kv_heads / shape.heads / config.head_pieces;
  tile.head_dim = config.dims.head_dim;
  tile.first_head = config.first_head + (rank % shape.heads * config.head_pieces + piece) * tile.heads;
  const TileAssignment assignment(shape);
  const auto chunk = [&](Chunk which) {
    return ChunkTokens(super_rank_positions(shape, config.layout, config.dims.tokens, which.value),
                       config.dims.batch);
  };
  for (int p = 0; p < shape.a(); ++p) tile.rows.push_back(chunk(assignment.row_chunk(super_rank, Row(p))));
  for (int q = 0; q < shape.b(); ++q) {
    tile.columns.push_back(chunk(assignment.column_chunk(super_rank, Column(q))));
  }
  // Documents only ever take blocks away from what causality and the window leave.
  tile.row_visited = visited_slots(shape, mask, true, super_rank);
  tile.column_visited = visited_slots(shape, mask, false, super_rank);
  return tile;
}

/// Slot 0 needs memory where its tensors travel together, or are not the caller's (head-parallel).
OwnSlot own_slot(const MeshShape& shape) {
  const bool exchanged = shape.heads > 1;
  return {exchanged || shape.a() > 1, exchanged, exchanged || shape.b() > 1, exchanged};
}

/// What one piece of the rank's heads is computed with. Without head-parallel ranks there is one, of all
/// heads.
struct Piece {
  Piece(const AttentionConfig& config, const ChunkMask& mask, int rank, int piece)
      : tile(make_geometry(config, mask, rank, piece)), buffers(tile, own_slot(config.shape)) {}

  /// Own tensors in this piece's buffers.
  [[nodiscard]] OwnForward own_forward() {
    float* const pair = buffers.column_bundle(0);
    float* const o = buffers.row_partial(0);
    return {buffers.row_bundle(0), pair, pair + tile.key_floats(0), o, o + tile.query_floats(0)};
  }
  [[nodiscard]] OwnBackward own_backward() {
    const std::int64_t queries = tile.query_floats(0);
    const std::int64_t key = tile.key_floats(0);
    float* const bundle = buffers.row_bundle(0);
    float* const pair = buffers.column_bundle(0);
    float* const grad = buffers.column_grad(0);
    return {bundle,    bundle + queries, bundle + 2 * queries,   bundle + 2 * queries + tile.stat_floats(0),
            pair,      pair + key,       buffers.row_partial(0), grad,
            grad + key};
  }

  TileGeometry tile;
  TileBuffers buffers;
  std::optional<HeadExchange> exchange;
};

class Executor final : public MeshAttention {
 public:
  Executor(Communicator& comm, const AttentionConfig& config, const Clock& clock)
      : comm_(comm),
        config_(config),
        clock_(clock),
        assignment_(config.shape),
        super_rank_(comm.rank().value / config.shape.heads),
        share_(comm.rank().value % config.shape.heads),
        positions_(
            token_positions(config.layout, config.dims.tokens, config.shape.ranks(), comm.rank().value)),
        mask_(mask_of(config, {})) {
    for (int i = 0; i < config.head_pieces; ++i) {
      pieces_.push_back(std::make_unique<Piece>(config, mask_, comm.rank().value, i));
    }
    make_programs();
    const MeshShape& shape = config.shape;
    const int u = assignment_.kv_index(super_rank_);
    const int v = assignment_.q_index(super_rank_);
    q_ring_ = split_if(shape.a() > 1, comm, u * shape.heads + share_, v);
    kv_ring_ = split_if(shape.b() > 1, comm, v * shape.heads + share_, u);
    head_group_ = split_if(exchanged(), comm, super_rank_, share_);
    if (config_.scale == 0) config_.scale = 1.0F / std::sqrt(static_cast<float>(config.dims.head_dim));
    if (exchanged()) make_exchanges();
    if (exchanged() || shape.a() == 1) {
      const std::int64_t own_floats = config.dims.batch * own_tokens() * config.dims.heads;
      delta_ = kernels::Buffer<float>(std::max<std::int64_t>(own_floats, 1));
    }
  }

  void forward(const float* q, const float* k, const float* v, float* o, float* lse,
               const AttentionCall& call) override {
    const Nanoseconds start = begin(call);
    if (exchanged()) {
      // The pieces in turn: while one is computed with, the next one's heads come in and the last one's
      // leave.
      for (const auto& piece : pieces_) {
        float* const pair = piece->buffers.column_bundle(0);
        const std::vector<ExchangedTensor> in = {query(q, piece->buffers.row_bundle(0)), key_value(k, pair),
                                                 key_value(v, pair + piece->tile.key_floats(0))};
        piece->exchange->start_heads_to_ranks(in, meter());
      }
      for (const auto& piece : pieces_) {
        piece->exchange->finish(meter());
        const OwnForward own = piece->own_forward();
        run_forward(*piece, own, call);
        const std::vector<ExchangedTensor> out = {query(own.o, o), statistic(own.lse, lse)};
        piece->exchange->start_tokens_to_ranks(out, meter());
      }
      for (const auto& piece : pieces_) piece->exchange->finish(meter());
    } else {
      Piece& piece = *pieces_.front();
      OwnForward own{q, k, v, o, lse};
      if (float* const pair = piece.buffers.column_bundle(0); pair != nullptr) {
        const std::int64_t key = piece.tile.key_floats(0);
        const Nanoseconds pack = clock_.now();
        own.k = copy(pair, k, key);
        own.v = copy(pair + key, v, key);
        meter().record("pack", 0, 0, pack, &AttentionTimes::compute_s);
      }
      run_forward(piece, own, call);
    }
    end(start);
  }

  void backward(const float* q, const float* k, const float* v, const float* o, const float* lse,
                const float* d_o, float* dq, float* dk, float* dv, const AttentionCall& call) override {
    const Nanoseconds start = begin(call);
    // The owner forms delta, so that O need not travel.
    if (exchanged()) {
      form_delta(delta_.data(), d_o, o);
      for (const auto& piece : pieces_) {
        const std::int64_t queries = piece->tile.query_floats(0);
        const std::int64_t stats = piece->tile.stat_floats(0);
        float* const bundle = piece->buffers.row_bundle(0);
        float* const pair = piece->buffers.column_bundle(0);
        const std::vector<ExchangedTensor> in = {query(q, bundle),
                                                 query(d_o, bundle + queries),
                                                 statistic(lse, bundle + 2 * queries),
                                                 statistic(delta_.data(), bundle + 2 * queries + stats),
                                                 key_value(k, pair),
                                                 key_value(v, pair + piece->tile.key_floats(0))};
        piece->exchange->start_heads_to_ranks(in, meter());
      }
      for (const auto& piece : pieces_) {
        piece->exchange->finish(meter());
        const OwnBackward own = piece->own_backward();
        run_backward(*piece, own, call);
        const std::vector<ExchangedTensor> out = {query(own.dq, dq), key_value(own.dk, dk),
                                                  key_value(own.dv, dv)};
        piece->exchange->start_tokens_to_ranks(out, meter());
      }
      for (const auto& piece : pieces_) piece->exchange->finish(meter());
    } else {
      Piece& piece = *pieces_.front();
      const std::int64_t queries = piece.tile.query_floats(0);
      const std::int64_t stats = piece.tile.stat_floats(0);
      const std::int64_t key = piece.tile.key_floats(0);
      float* const bundle = piece.buffers.row_bundle(0);
      float* const pair = piece.buffers.column_bundle(0);
      float* const delta = delta_.size() > 0 ? delta_.data() : bundle + 2 * queries + stats;
      form_delta(delta, d_o, o);
      OwnBackward own{q, d_o, lse, delta, k, v, dq, dk, dv};
      const Nanoseconds pack = clock_.now();
      if (bundle != nullptr) {
        own.q = copy(bundle, q, queries);
        own.d_o = copy(bundle + queries, d_o, queries);
        own.lse = copy(bundle + 2 * queries, lse, stats);
      }
      if (pair != nullptr) {
        own.k = copy(pair, k, key);
        own.v = copy(pair + key, v, key);
      }
      meter().record("pack", 0, 0, pack, &AttentionTimes::compute_s);
      run_backward(piece, own, call);
    }
    end(start);
  }

  [[nodiscard]] std::span<const std::int32_t> positions() const override { return positions_; }
  [[nodiscard]] const AttentionTimes& last_times() const override { return times_; }
  void set_observer(std::function<void(const AttentionEvent&)> observer) override {
    observer_ = std::move(observer);
  }

 private:
  [[nodiscard]] bool exchanged() const { return config_.shape.heads > 1; }
  [[nodiscard]] std::int64_t own_tokens() const { return static_cast<std::int64_t>(positions_.size()); }
  [[nodiscard]] TileMeter meter() { return {&clock_, &times_, &observer_}; }
  [[nodiscard]] TileRings rings() const { return {&comm_, q_ring_.get(), kv_ring_.get()}; }
  [[nodiscard]] TileCall tile_call(const AttentionCall& call) const {
    return {config_.scale, config_.causal, config_.window, config_.dropout, call.dropout_keys};
  }

  [[nodiscard]] ExchangedTensor query(const float* from, float* to) const {
    return {from, to, config_.dims.heads, config_.dims.head_dim, false};
  }
  [[nodiscard]] ExchangedTensor key_value(const float* from, float* to) const {
    return {from, to, config_.dims.kv_heads, config_.dims.head_dim, false};
  }
  [[nodiscard]] ExchangedTensor statistic(const float* from, float* to) const {
    return {from, to, config_.dims.heads, 1, true};
  }

  void make_exchanges() {
    std::vector<std::vector<std::int32_t>> positions;
    for (int w = 0; w < config_.shape.heads; ++w) {
      positions.push_back(token_positions(config_.layout, config_.dims.tokens, config_.shape.ranks(),
                                          super_rank_ * config_.shape.heads + w));
    }
    for (std::size_t i = 0; i < pieces_.size(); ++i) {
      const TileGeometry& tile = pieces_[i]->tile;
      // The backward pass has the most: Q, dO, lse, delta, K, V.
      const std::int64_t floats_per_token =
          2 * tile.batch *
          (std::int64_t{tile.heads} * (tile.head_dim + 1) + std::int64_t{tile.kv_heads} * tile.head_dim);
      pieces_[i]->exchange.emplace(*head_group_, tile.batch, positions, floats_per_token, static_cast<int>(i),
                                   config_.head_pieces);
    }
  }

  void run_forward(Piece& piece, const OwnForward& own, const AttentionCall& call) {
    ForwardTile work(piece.tile, piece.buffers, tile_call(call), own);
    run_tile(*forward_program_, work, rings(), meter());
  }
  void run_backward(Piece& piece, const OwnBackward& own, const AttentionCall& call) {
    BackwardTile work(piece.tile, piece.buffers, tile_call(call), own);
    run_tile(*backward_program_, work, rings(), meter());
  }

  static float* copy(float* to, const float* from, std::int64_t count) {
    std::copy_n(from, count, to);
    return to;
  }

  Nanoseconds begin(const AttentionCall& call) {
    const AttentionDims& dims = config_.dims;
    TS_REQUIRE(call.documents.empty() ||
                   static_cast<std::int64_t>(call.documents.size()) == dims.batch * dims.tokens,
               call.documents.size(), dims.batch, dims.tokens);
    TS_REQUIRE(call.dropout_keys.empty() || static_cast<std::int64_t>(call.dropout_keys.size()) == dims.batch,
               call.dropout_keys.size(), dims.batch);
    const Nanoseconds start = clock_.now();
    times_ = {};
    set_documents(call.documents);
    return start;
  }

  /// Layers of a micro-batch share its documents: nothing is worked out again for the second one.
  void set_documents(std::span<const std::int32_t> documents) {
    if (std::ranges::equal(documents, documents_)) return;
    documents_.assign(documents.begin(), documents.end());
    for (const auto& piece : pieces_) {
      for (ChunkTokens& chunk : piece->tile.rows) chunk.set_documents(documents, config_.dims.tokens);
      for (ChunkTokens& chunk : piece->tile.columns) chunk.set_documents(documents, config_.dims.tokens);
    }
    ChunkMask mask = mask_of(config_, documents);
    if (mask == mask_) return;
    mask_ = std::move(mask);
    make_programs();
  }

  void make_programs() {
    forward_program_.emplace(Pass::kForward, config_.shape, config_.forward_costs, mask_, super_rank_);
    backward_program_.emplace(Pass::kBackward, config_.shape, config_.backward_costs, mask_, super_rank_);
    for (const auto& piece : pieces_) {
      piece->buffers.reserve_staging(
          std::max(forward_program_->staging(true), backward_program_->staging(true)),
          backward_program_->staging(false));
    }
  }
  void end(Nanoseconds start) { times_.total_s = seconds(clock_.now() - start); }

  void form_delta(float* delta, const float* d_o, const float* o) {
    const Nanoseconds start = clock_.now();
    const int heads = config_.dims.heads;
    const int width = config_.dims.head_dim;
    for (std::int64_t s = 0; s < config_.dims.batch; ++s) {
      const std::int64_t rows = s * own_tokens() * heads;
      kernels::attention_delta(delta + rows, d_o + rows * width, o + rows * width, own_tokens(),
                               std::int64_t{heads} * width, heads, width);
    }
    meter().record("delta", 0, 0, start, &AttentionTimes::compute_s);
  }

  Communicator& comm_;
  AttentionConfig config_;
  const Clock& clock_;
  TileAssignment assignment_;
  int super_rank_;
  int share_;
  std::vector<std::int32_t> positions_;
  std::vector<std::int32_t> documents_;  // of the last call
  ChunkMask mask_;                       // with those documents
  std::vector<std::unique_ptr<Piece>> pieces_;
  std::optional<TileProgram> forward_program_;  // for mask_
  std::optional<TileProgram> backward_program_;
  std::unique_ptr<Communicator> q_ring_;
  std::unique_ptr<Communicator> kv_ring_;
  std::unique_ptr<Communicator> head_group_;
  kernels::Buffer<float> delta_;  // own tokens, all heads; where the row bundle has no place for it
  AttentionTimes times_;
  std::function<void(const AttentionEvent&)> observer_;
};

}  // namespace

Result<std::unique_ptr<MeshAttention>> MeshAttention::make(Communicator& comm, const AttentionConfig& config,
                                                           const Clock& clock) {
  TS_TRY(check_agreement(comm, config));
  TS_TRY(check_attention_config(config, comm.size()));
  return std::unique_ptr<MeshAttention>(std::make_unique<Executor>(comm, config, clock));
}

}  // namespace tessera::runtime
