#include "runtime/attention/head_exchange.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "algos/base/require.h"
#include "runtime/comm/collectives.h"

namespace tessera::runtime {
namespace {

/// The part of a tensor that one message carries: some of its tokens, some of its heads.
struct View {
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

/// Calls move(offset in the tensor, length) over the part, in the order in which it travels; the same on
/// both sides: [B][token][head, width], or [B][head][token].
template <class Move>
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
                           std::vector<std::vector<std::int32_t>> positions, std::int64_t floats_per_token)
    : group_(group), sequences_(sequences) {
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

void HeadExchange::heads_to_ranks(std::span<const ExchangedTensor> tensors, const TileMeter& meter) {
  exchange(tensors, true, meter);
}

void HeadExchange::tokens_to_ranks(std::span<const ExchangedTensor> tensors, const TileMeter& meter) {
  exchange(tensors, false, meter);
}

void HeadExchange::exchange(std::span<const ExchangedTensor> tensors, bool to_heads, const TileMeter& meter) {
  const int u = group_.size();
  const int self = group_.rank().value;
  const auto own_tokens = static_cast<std::int64_t>(place_[static_cast<std::size_t>(self)].size());
  // Own tokens with the heads of rank w, or the tokens of rank w with own heads.
  const auto by_token_owner = [&](const ExchangedTensor& tensor, int w) {
    return View{own_tokens,       nullptr,      tensor.heads,  w * (tensor.heads / u),
                tensor.heads / u, tensor.width, tensor.by_head};
  };
  const auto by_head_owner = [&](const ExchangedTensor& tensor, int w) {
    return View{all_tokens_,      &place_[static_cast<std::size_t>(w)],
                tensor.heads / u, 0,
                tensor.heads / u, tensor.width,
                tensor.by_head};
  };

  Nanoseconds start = meter.clock->now();
  std::vector<std::span<const std::byte>> send;
  std::vector<std::span<std::byte>> receive;
  float* out = send_.data();
  float* in = receive_.data();
  for (int w = 0; w < u; ++w) {
    float* const first = out;
    std::int64_t expected = 0;
    for (const ExchangedTensor& tensor : tensors) {
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
  start = meter.record("pack_heads", 0, 0, start, &AttentionTimes::compute_s);

  Request request = iall_to_all(group_, send, receive, Traffic::kHeadExchange);
  group_.wait(request);
  meter.times->transfer_s += seconds(meter.clock->now() - start);
  start = meter.record("head_exchange", 0, 0, start, &AttentionTimes::exposed_wait_s);

  const float* from = receive_.data();
  for (int w = 0; w < u; ++w) {
    for (const ExchangedTensor& tensor : tensors) {
      const View comes = to_heads ? by_head_owner(tensor, w) : by_token_owner(tensor, w);
      walk(comes, sequences_, [&](std::int64_t offset, std::int64_t length) {
        std::memcpy(tensor.to + offset, from, static_cast<std::size_t>(length) * sizeof(float));
        from += length;
      });
    }
  }
  meter.record("unpack_heads", 0, 0, start, &AttentionTimes::compute_s);
}

}  // namespace tessera::runtime
