/// Exchanges heads for tokens among u consecutive ranks, and back: the head-parallel part of a MeshShape.
/// Jacobs et al. 2023, arXiv:2309.14509 (Ulysses).
///
/// Before: each rank holds its own tokens with all heads. After: all tokens of the u ranks, in increasing
/// position, with its share of the heads: rank w has heads [w*H/u, (w+1)*H/u).
///
///   u = 2, H = 4, rank 0 has tokens {0,3}, rank 1 {1,2}
///   rank 0   t0: h0 h1 h2 h3    t3: h0 h1 h2 h3          t0: h0 h1   t1: h0 h1   t2: h0 h1   t3: h0 h1
///   rank 1   t1: h0 h1 h2 h3    t2: h0 h1 h2 h3    ->    t0: h2 h3   t1: h2 h3   t2: h2 h3   t3: h2 h3
///
/// Pieces. A rank's share may be exchanged in pieces, one object each: piece i of n has the i-th n-th of
/// every rank's share, so that the exchange of one runs while another is computed with.
///
/// All tensors of one call go to a peer as one message: u - 1 messages each way.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/device/buffer.h"
#include "runtime/attention/tile_run.h"
#include "runtime/comm/communicator.h"

namespace tessera::runtime {

/// [B, tokens, heads, width], or [B, heads, tokens] where by_head (lse, delta; width 1). `from` and `to` are
/// the two forms of the same tensor: own tokens with all `heads` of all ranks, all tokens with those of the
/// piece.
struct ExchangedTensor {
  const float* from = nullptr;
  float* to = nullptr;
  int heads = 0;
  int width = 1;
  bool by_head = false;
};

class HeadExchange {
 public:
  /// `group` has u ranks; positions[w] are those of rank w's tokens. floats_per_token: the most that one
  /// token of one rank's share of the piece's heads has over the tensors of a call, all sequences together.
  /// Requires  heads of every tensor divide by u * pieces, 0 <= piece < pieces.
  HeadExchange(Communicator& group, std::int64_t sequences, std::vector<std::vector<std::int32_t>> positions,
               std::int64_t floats_per_token, int piece, int pieces);

  /// own tokens, all heads -> all tokens, own heads of the piece. Collective over the group. Packs and posts;
  /// the results are there after finish(). Until then the exchange advances inside calls of the group's
  /// communicators.
  void start_heads_to_ranks(std::span<const ExchangedTensor> tensors, const TileMeter& meter);
  /// all tokens, own heads of the piece -> own tokens, all heads.
  void start_tokens_to_ranks(std::span<const ExchangedTensor> tensors, const TileMeter& meter);
  /// Waits for the exchange that was started, and unpacks it.
  void finish(const TileMeter& meter);

 private:
  struct View;
  [[nodiscard]] View by_token_owner(const ExchangedTensor& tensor, int rank) const;
  [[nodiscard]] View by_head_owner(const ExchangedTensor& tensor, int rank) const;
  void start(std::span<const ExchangedTensor> tensors, bool to_heads, const TileMeter& meter);

  Communicator& group_;
  std::int64_t sequences_;
  int piece_;
  int pieces_;
  std::vector<std::vector<std::int64_t>> place_;  // [rank][token]: its index among all tokens
  std::int64_t all_tokens_ = 0;
  kernels::Buffer<float> send_;
  kernels::Buffer<float> receive_;
  // What was started.
  std::vector<ExchangedTensor> tensors_;
  bool to_heads_ = false;
  Request request_;
  Nanoseconds posted_{0};
};

}  // namespace tessera::runtime
