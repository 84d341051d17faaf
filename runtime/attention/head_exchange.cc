#include "runtime/attention/head_exchange.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "algos/base/require.h"
#include "runtime/comm/collectives.h"

namespace tessera::runtime {

/// The part of a tensor that one message carries: some of its tokens, some of its heads.
struct HeadExchange::View {
  std::int64_t tokens = 0;                          // of the whole tensor
  const std::vector<std::int64_t>* rows = nullptr;  // which tokens; null: all
  int heads = 0;                                    // of the whole tensor
  int first_head = 0;
  int head_count = 0;
  int width = 1;
  bool by_head = false;

  [[nodiscard]] std::int64_t row_count() const {
    return rows != nullptr ? static_cast<std::int64_t>(rows->size()) : tokens;
  }
  [[nodiscard]] std::int64_t row(std::int64_t t) const {
    return rows != nullptr ? (*rows)[static_cast<std::size_t>(t)] : t;
  }
};

namespace {

/// Calls move(offset in the tensor, length) over the part, in the order in which it travels; the same on
/// both sides: [B][token][head, width], or [B][head][token].
template <class View, class Move>
void walk(const View& view, std::int64_t sequences, const Move& move) {
  const std::int64_t rows = view.row_count();
  for (std::int64_t s = 0; s < sequences; ++s) {
    if (view.by_head) {
      for (int h = 0; h < view.head_count; ++h) {
        const std::int64_t base = (s * view.heads + view.first_head + h) * view.tokens;
        for (std::int64_t t = 0; t < rows; ++t) move(base + view.row(t), std::int64_t{1});
      }
    } else {
      for (std::int64_t t = 0; t < rows; ++t) {
        const std::int64_t at = (s * view.tokens + view.row(t)) * view.heads + view.first_head;
        move(at * view.width, std::int64_t{view.head_count} * view.width);
      }
    }
  }
}

}  // namespace

HeadExchange::HeadExchange(Communicator& group, std::int64_t sequences,
                           std::vector<std::vector<std::int32_t>> positions, std::int64_t floats_per_token,
                           int piece, int pieces)
    : group_(group), sequences_(sequences), piece_(piece), pieces_(pieces) {
  TS_REQUIRE(piece >= 0 && piece < pieces, piece, pieces);
  TS_REQUIRE(static_cast<int>(positions.size()) == group.size(), positions.size(), group.size());
  std::vector<std::int32_t> all;
  for (const auto& of_rank : positions) all.insert(all.end(), of_rank.begin(), of_rank.end());
  std::sort(all.begin(), all.end());
  all_tokens_ = static_cast<std::int64_t>(all.size());
  for (const auto& of_rank : positions) {
    auto& place = place_.emplace_back();
    for (const std::int32_t position : of_rank) {
      place.push_back(std::lower_bound(all.begin(), all.end(), position) - all.begin());
    }
  }
  const auto own = static_cast<std::int64_t>(positions[static_cast<std::size_t>(group.rank().value)].size());
  const std::int64_t most = std::max({own * group.size(), all_tokens_, std::int64_t{1}}) * floats_per_token;
  send_ = kernels::Buffer<float>(most);
  receive_ = kernels::Buffer<float>(most);
}

/// Own tokens with the piece's heads of rank w.
HeadExchange::View HeadExchange::by_token_owner(const ExchangedTensor& tensor, int w) const {
  const int share = tensor.heads / group_.size();
  const int count = share / pieces_;
  const auto self = static_cast<std::size_t>(group_.rank().value);
  return {static_cast<std::int64_t>(place_[self].size()),
          nullptr,
          tensor.heads,
          w * share + piece_ * count,
          count,
          tensor.width,
          tensor.by_head};
}

/// The tokens of rank w with own heads of the piece.
HeadExchange::View HeadExchange::by_head_owner(const ExchangedTensor& tensor, int w) const {
  const int count = tensor.heads / group_.size() / pieces_;
  return {all_tokens_, &place_[static_cast<std::size_t>(w)], count, 0, count, tensor.width, tensor.by_head};
}

void HeadExchange::start_heads_to_ranks(std::span<const ExchangedTensor> tensors, const TileMeter& meter) {
  start(tensors, true, meter);
}

void HeadExchange::start_tokens_to_ranks(std::span<const ExchangedTensor> tensors, const TileMeter& meter) {
  start(tensors, false, meter);
}

void HeadExchange::start(std::span<const ExchangedTensor> tensors, bool to_heads, const TileMeter& meter) {
  tensors_.assign(tensors.begin(), tensors.end());
  to_heads_ = to_heads;
  const Nanoseconds begin = meter.clock->now();
  std::vector<std::span<const std::byte>> send;
  std::vector<std::span<std::byte>> receive;
  float* out = send_.data();
  float* in = receive_.data();
  for (int w = 0; w < group_.size(); ++w) {
    float* const first = out;
    std::int64_t expected = 0;
    for (const ExchangedTensor& tensor : tensors_) {
      TS_REQUIRE(tensor.heads % (group_.size() * pieces_) == 0, tensor.heads, group_.size(), pieces_);
      const View leaves = to_heads ? by_token_owner(tensor, w) : by_head_owner(tensor, w);
      const View comes = to_heads ? by_head_owner(tensor, w) : by_token_owner(tensor, w);
      walk(leaves, sequences_, [&](std::int64_t offset, std::int64_t length) {
        std::memcpy(out, tensor.from + offset, static_cast<std::size_t>(length) * sizeof(float));
        out += length;
      });
      expected += sequences_ * comes.row_count() * comes.head_count * comes.width;
    }
    send.push_back(as_bytes(first, out - first));
    receive.push_back(as_writable_bytes(in, expected));
    in += expected;
  }
  TS_REQUIRE(out - send_.data() <= send_.size() && in - receive_.data() <= receive_.size(),
             out - send_.data(), in - receive_.data(), send_.size());
  posted_ = meter.record("pack_heads", 0, 0, begin, &AttentionTimes::compute_s);
  request_ = iall_to_all(group_, send, receive, Traffic::kHeadExchange);
}

void HeadExchange::finish(const TileMeter& meter) {
  Nanoseconds begin = meter.clock->now();
  group_.wait(request_);
  meter.times->transfer_s += seconds(meter.clock->now() - posted_);
  begin = meter.record("head_exchange", 0, 0, begin, &AttentionTimes::exposed_wait_s);
  const float* from = receive_.data();
  for (int w = 0; w < group_.size(); ++w) {
    for (const ExchangedTensor& tensor : tensors_) {
      const View comes = to_heads_ ? by_head_owner(tensor, w) : by_token_owner(tensor, w);
      walk(comes, sequences_, [&](std::int64_t offset, std::int64_t length) {
        std::memcpy(tensor.to + offset, from, static_cast<std::size_t>(length) * sizeof(float));
        from += length;
      });
    }
  }
  meter.record("unpack_heads", 0, 0, begin, &AttentionTimes::compute_s);
}

}  // namespace tessera::runtime
