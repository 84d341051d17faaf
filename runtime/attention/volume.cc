#include "runtime/attention/volume.h"

#include <vector>

#include "algos/base/require.h"
#include "runtime/attention/tile_assignment.h"

namespace tessera::runtime {
namespace {

constexpr std::int64_t kElementBytes = 4;  // fp32 on the wire

/// Bytes per token of a chunk, all sequences of the batch, for one head-parallel rank's share of the heads.
struct TokenBytes {
  std::int64_t query = 0;           // row ring, out to the group
  std::int64_t partial = 0;         // row ring, back
  std::int64_t key_value = 0;       // column ring, out
  std::int64_t key_value_grad = 0;  // column ring, back
  std::int64_t exchange_in = 0;     // heads for tokens
  std::int64_t exchange_out = 0;    // tokens for heads
};

TokenBytes token_bytes(Pass pass, const MeshShape& shape, const AttentionDims& dims) {
  TS_REQUIRE(dims.heads % shape.heads == 0 && dims.kv_heads % shape.heads == 0, dims.heads, dims.kv_heads,
             shape.heads);
  const std::int64_t stats = kElementBytes * dims.batch * (dims.heads / shape.heads);
  const std::int64_t q = stats * dims.head_dim;
  const std::int64_t kv = 2 * kElementBytes * dims.batch * (dims.kv_heads / shape.heads) * dims.head_dim;
  TokenBytes bytes;
  bytes.key_value = kv;
  if (pass == Pass::kForward) {
    bytes.query = q;
    bytes.partial = q + stats;       // O, lse
    bytes.exchange_in = q + kv;      // Q, K, V
    bytes.exchange_out = q + stats;  // O, lse
  } else {
    bytes.query = 2 * q + 2 * stats;       // Q, dO, lse, delta
    bytes.partial = q;                     // dQ
    bytes.key_value_grad = kv;             // dK, dV
    bytes.exchange_in = bytes.query + kv;  // Q, dO, lse, delta, K, V
    bytes.exchange_out = q + kv;           // dQ, dK, dV
  }
  return bytes;
}

enum class Stream : std::uint8_t { kQuery, kPartial, kKeyValue, kKeyValueGrad, kHeadExchange };

/// Every message of one call, as seen by one rank.
class Messages {
 public:
  Messages(Pass pass, const MeshShape& shape, TokenLayout layout, const AttentionDims& dims)
      : shape_(shape), assignment_(shape), bytes_(token_bytes(pass, shape, dims)) {
    rank_tokens_.resize(static_cast<std::size_t>(shape.ranks()));
    chunk_tokens_.resize(static_cast<std::size_t>(shape.super_ranks()));
    for (int rank = 0; rank < shape.ranks(); ++rank) {
      const std::int64_t tokens = token_count(layout, dims.tokens, shape.ranks(), rank);
      rank_tokens_[static_cast<std::size_t>(rank)] = tokens;
      chunk_tokens_[static_cast<std::size_t>(rank / shape.heads)] += tokens;
    }
  }

  /// Calls visit(stream, peer, sent, received) once per peer and message of `rank`.
  template <class Visit>
  void visit(int rank, const Visit& visit) const {
    const int super_rank = rank / shape_.heads;
    const int share = rank % shape_.heads;
    const auto tokens = [this](Chunk chunk) { return chunk_tokens_[static_cast<std::size_t>(chunk.value)]; };
    const auto row = [&](int p) { return tokens(assignment_.row_chunk(super_rank, Row(p))); };
    const auto column = [&](int q) { return tokens(assignment_.column_chunk(super_rank, Column(q))); };
    const auto row_peer = [&](int member) {
      return (assignment_.kv_index(super_rank) * shape_.a() + member) * shape_.heads + share;
    };
    const auto column_peer = [&](int member) {
      return (member * shape_.a() + assignment_.q_index(super_rank)) * shape_.heads + share;
    };

    walk(RingPath(shape_.q, assignment_.q_index(super_rank)), shape_.a(), row, row_peer, Stream::kQuery,
         bytes_.query, Stream::kPartial, bytes_.partial, visit);
    walk(RingPath(shape_.kv, assignment_.kv_index(super_rank)), shape_.b(), column, column_peer,
         Stream::kKeyValue, bytes_.key_value, Stream::kKeyValueGrad, bytes_.key_value_grad, visit);

    const std::int64_t own = rank_tokens_[static_cast<std::size_t>(rank)];
    for (int peer = super_rank * shape_.heads; peer < (super_rank + 1) * shape_.heads; ++peer) {
      if (peer == rank) continue;
      const std::int64_t theirs = rank_tokens_[static_cast<std::size_t>(peer)];
      visit(Stream::kHeadExchange, peer, own * bytes_.exchange_in + theirs * bytes_.exchange_out,
            theirs * bytes_.exchange_in + own * bytes_.exchange_out);
    }
  }

 private:
  template <class Tokens, class Peer, class Visit>
  static void walk(const RingPath& path, int size, const Tokens& tokens, const Peer& peer, Stream out,
                   std::int64_t out_bytes, Stream back, std::int64_t back_bytes, const Visit& visit) {
    for (int p = 1; p < size; ++p) {
      const RingHop hop = path.receive(p);
      visit(out, peer(hop.to), tokens(hop.source_slot) * out_bytes, std::int64_t{0});
      visit(out, peer(hop.from), std::int64_t{0}, tokens(p) * out_bytes);
      const RingHop home = path.send_back(p);
      visit(back, peer(home.to), tokens(p) * back_bytes, std::int64_t{0});
      visit(back, peer(home.from), std::int64_t{0}, tokens(path.merge_slot(p)) * back_bytes);
    }
  }

  MeshShape shape_;
  TileAssignment assignment_;
  TokenBytes bytes_;
  std::vector<std::int64_t> rank_tokens_;
  std::vector<std::int64_t> chunk_tokens_;
};

AttentionVolume volume_of(const Messages& messages, int rank) {
  AttentionVolume volume;
  messages.visit(rank, [&](Stream stream, int /*peer*/, std::int64_t sent, std::int64_t received) {
    switch (stream) {
      case Stream::kQuery:
        volume.query_sent += sent;
        volume.query_received += received;
        break;
      case Stream::kPartial:
        volume.partial_sent += sent;
        volume.partial_received += received;
        break;
      case Stream::kKeyValue:
        volume.key_value_sent += sent;
        volume.key_value_received += received;
        break;
      case Stream::kKeyValueGrad:
        volume.key_value_grad_sent += sent;
        volume.key_value_grad_received += received;
        break;
      case Stream::kHeadExchange:
        volume.head_exchange_sent += sent;
        volume.head_exchange_received += received;
        break;
    }
  });
  return volume;
}

/// Bytes of forward and backward over all ranks. Each chunk makes a - 1 hops on its Q ring and b - 1 on its
/// KV ring, ragged or not, and as many back, so only the sequence length enters.
std::int64_t total_sent(const MeshShape& shape, const AttentionDims& dims) {
  std::int64_t sum = 0;
  for (const Pass pass : {Pass::kForward, Pass::kBackward}) {
    const TokenBytes bytes = token_bytes(pass, shape, dims);
    const std::int64_t rings = (shape.a() - 1) * (bytes.query + bytes.partial) +
                               (shape.b() - 1) * (bytes.key_value + bytes.key_value_grad);
    const std::int64_t exchange = (shape.heads - 1) * (bytes.exchange_in + bytes.exchange_out);
    sum += dims.tokens * (shape.heads * rings + exchange);
  }
  return sum;
}

}  // namespace

std::int64_t AttentionVolume::sent() const {
  return query_sent + key_value_sent + partial_sent + key_value_grad_sent + head_exchange_sent;
}

std::int64_t AttentionVolume::received() const {
  return query_received + key_value_received + partial_received + key_value_grad_received +
         head_exchange_received;
}

AttentionVolume attention_volume(Pass pass, const MeshShape& shape, TokenLayout layout,
                                 const AttentionDims& dims, int rank) {
  TS_REQUIRE(rank >= 0 && rank < shape.ranks(), rank, shape.ranks());
  return volume_of(Messages(pass, shape, layout, dims), rank);
}

std::int64_t node_crossing_bytes(Pass pass, const MeshShape& shape, TokenLayout layout,
                                 const AttentionDims& dims, int ranks_per_node) {
  TS_REQUIRE(ranks_per_node >= 1, ranks_per_node);
  const Messages messages(pass, shape, layout, dims);
  std::int64_t bytes = 0;
  for (int rank = 0; rank < shape.ranks(); ++rank) {
    messages.visit(rank, [&](Stream /*stream*/, int peer, std::int64_t sent, std::int64_t /*received*/) {
      if (peer / ranks_per_node != rank / ranks_per_node) bytes += sent;
    });
  }
  return bytes;
}

double reduction_against_ring(const MeshShape& shape, const AttentionDims& dims) {
  const std::int64_t ring = total_sent(MeshShape::ring(shape.ranks()), dims);
  if (ring == 0) return 0;  // one rank or no tokens: nothing moves in either
  return 1.0 - static_cast<double>(total_sent(shape, dims)) / static_cast<double>(ring);
}

}  // namespace tessera::runtime
