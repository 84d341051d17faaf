#include "runtime/attention/volume.h"

#include <vector>

#include "algos/base/require.h"
#include "runtime/attention/ring_messages.h"
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

/// Every message of one call.
class Messages {
 public:
  /// `mask` null: every chunk sees every other.
  Messages(Pass pass, const MeshShape& shape, TokenLayout layout, const AttentionDims& dims,
           const ChunkMask* mask)
      : shape_(shape), mask_(mask), bytes_(token_bytes(pass, shape, dims)) {
    rank_tokens_.resize(static_cast<std::size_t>(shape.ranks()));
    chunk_tokens_.resize(static_cast<std::size_t>(shape.super_ranks()));
    for (int rank = 0; rank < shape.ranks(); ++rank) {
      const std::int64_t tokens = token_count(layout, dims.tokens, shape.ranks(), rank);
      rank_tokens_[static_cast<std::size_t>(rank)] = tokens;
      chunk_tokens_[static_cast<std::size_t>(rank / shape.heads)] += tokens;
    }
  }

  /// Calls visit(stream, from, to, bytes) for every message of one ring, of every head-parallel share.
  template <class Visit>
  void visit_ring(bool rows, int ring, const Visit& visit) const {
    for (const RingMessage& message : ring_messages(use(rows, ring))) {
      for (int share = 0; share < shape_.heads; ++share) pass_on(rows, ring, share, message, visit);
    }
  }

  /// The messages that `rank` sends in the head exchange; what it receives is visit_exchange of the peers.
  template <class Visit>
  void visit_exchange(int rank, const Visit& visit) const {
    const int super_rank = rank / shape_.heads;
    const std::int64_t own = rank_tokens_[static_cast<std::size_t>(rank)];
    for (int peer = super_rank * shape_.heads; peer < (super_rank + 1) * shape_.heads; ++peer) {
      const std::int64_t theirs = rank_tokens_[static_cast<std::size_t>(peer)];
      if (peer != rank) {
        visit(Stream::kHeadExchange, rank, peer, own * bytes_.exchange_in + theirs * bytes_.exchange_out);
      }
    }
  }

  /// Every message that `rank` sends or receives, and some that it does not.
  template <class Visit>
  void visit_around(int rank, const Visit& visit) const {
    const TileAssignment assignment(shape_);
    const int super_rank = rank / shape_.heads;
    const int share = rank % shape_.heads;
    const int u = assignment.kv_index(super_rank);
    const int v = assignment.q_index(super_rank);
    for (const bool rows : {true, false}) {
      const int ring = rows ? u : v;
      for (const RingMessage& message : ring_messages(use(rows, ring), rows ? v : u)) {
        pass_on(rows, ring, share, message, visit);
      }
    }
    for (int peer = super_rank * shape_.heads; peer < (super_rank + 1) * shape_.heads; ++peer) {
      visit_exchange(peer, visit);
    }
  }

  template <class Visit>
  void visit_all(const Visit& visit) const {
    for (int u = 0; u < shape_.b(); ++u) visit_ring(true, u, visit);
    for (int v = 0; v < shape_.a(); ++v) visit_ring(false, v, visit);
    for (int rank = 0; rank < shape_.ranks(); ++rank) visit_exchange(rank, visit);
  }

 private:
  [[nodiscard]] RingUse use(bool rows, int ring) const {
    return mask_ == nullptr ? RingUse(rows ? shape_.q : shape_.kv) : ring_use(shape_, *mask_, rows, ring);
  }
  template <class Visit>
  void pass_on(bool rows, int ring, int share, const RingMessage& message, const Visit& visit) const {
    const auto member = [&](int index) {
      return rows ? ring * shape_.a() + index : index * shape_.a() + ring;
    };
    const std::int64_t out_bytes = rows ? bytes_.query : bytes_.key_value;
    const std::int64_t back_bytes = rows ? bytes_.partial : bytes_.key_value_grad;
    const Stream out = rows ? Stream::kQuery : Stream::kKeyValue;
    const Stream back = rows ? Stream::kPartial : Stream::kKeyValueGrad;
    visit(message.back ? back : out, member(message.from) * shape_.heads + share,
          member(message.to) * shape_.heads + share,
          chunk_tokens_[static_cast<std::size_t>(member(message.owner))] *
              (message.back ? back_bytes : out_bytes));
  }

  MeshShape shape_;
  const ChunkMask* mask_;
  TokenBytes bytes_;
  std::vector<std::int64_t> rank_tokens_;
  std::vector<std::int64_t> chunk_tokens_;
};

AttentionVolume volume_of(const Messages& messages, int rank) {
  AttentionVolume volume;
  messages.visit_around(rank, [&](Stream stream, int from, int to, std::int64_t bytes) {
    const std::int64_t sent = from == rank ? bytes : 0;
    const std::int64_t received = to == rank ? bytes : 0;
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

AttentionVolume& AttentionVolume::operator+=(const AttentionVolume& other) {
  for (std::int64_t AttentionVolume::*field :
       {&AttentionVolume::query_sent, &AttentionVolume::query_received, &AttentionVolume::key_value_sent,
        &AttentionVolume::key_value_received, &AttentionVolume::partial_sent,
        &AttentionVolume::partial_received, &AttentionVolume::key_value_grad_sent,
        &AttentionVolume::key_value_grad_received, &AttentionVolume::head_exchange_sent,
        &AttentionVolume::head_exchange_received}) {
    this->*field += other.*field;
  }
  return *this;
}

AttentionVolume attention_volume(Pass pass, const MeshShape& shape, TokenLayout layout,
                                 const AttentionDims& dims, const ChunkMask& mask, int rank) {
  TS_REQUIRE(rank >= 0 && rank < shape.ranks(), rank, shape.ranks());
  return volume_of(Messages(pass, shape, layout, dims, &mask), rank);
}

AttentionVolume attention_volume(Pass pass, const MeshShape& shape, TokenLayout layout,
                                 const AttentionDims& dims, int rank) {
  TS_REQUIRE(rank >= 0 && rank < shape.ranks(), rank, shape.ranks());
  return volume_of(Messages(pass, shape, layout, dims, nullptr), rank);
}

std::vector<NodeVolume> node_volumes(Pass pass, const MeshShape& shape, TokenLayout layout,
                                     const AttentionDims& dims, const ChunkMask& mask, int ranks_per_node) {
  TS_REQUIRE(ranks_per_node >= 1, ranks_per_node);
  std::vector<NodeVolume> volumes(static_cast<std::size_t>(shape.ranks()));
  const Messages messages(pass, shape, layout, dims, &mask);
  messages.visit_all([&](Stream stream, int from, int to, std::int64_t bytes) {
    NodeVolume& volume = volumes[static_cast<std::size_t>(from)];
    const bool inside = from / ranks_per_node == to / ranks_per_node;
    (inside ? volume.inside : volume.across) += bytes;
    if (stream == Stream::kHeadExchange) {
      (inside ? volume.exchange_inside : volume.exchange_across) += bytes;
    }
  });
  return volumes;
}

std::int64_t node_crossing_bytes(Pass pass, const MeshShape& shape, TokenLayout layout,
                                 const AttentionDims& dims, int ranks_per_node) {
  std::int64_t bytes = 0;
  for (const NodeVolume& volume :
       node_volumes(pass, shape, layout, dims, ChunkMask(shape.super_ranks()), ranks_per_node)) {
    bytes += volume.across;
  }
  return bytes;
}

double reduction_against_ring(const MeshShape& shape, const AttentionDims& dims) {
  const std::int64_t ring = total_sent(MeshShape::ring(shape.ranks()), dims);
  if (ring == 0) return 0;  // one rank or no tokens: nothing moves in either
  return 1.0 - static_cast<double>(total_sent(shape, dims)) / static_cast<double>(ring);
}

}  // namespace tessera::runtime
