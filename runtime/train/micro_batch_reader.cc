#include "runtime/train/micro_batch_reader.h"

#include <algorithm>

#include "algos/base/random.h"
#include "algos/base/require.h"
#include "kernels/loss/cross_entropy.h"

namespace tessera::runtime {

Result<SampleOrder> training_order(std::int64_t train_end, std::int64_t length, std::uint64_t seed) {
  constexpr std::uint64_t kOrderStream = 0x02de2;
  return SampleOrder::make(0, train_end, length, derive_key(seed, kOrderStream));
}

std::int64_t first_sample(const planner::Plan& plan, std::int64_t step, int group, std::int64_t micro) {
  return step * plan.global_batch + (plan.first_micro_batch(group) + micro) * plan.micro_batch;
}

MicroBatchReader::MicroBatchReader(const TokenSource& source, std::span<const std::int32_t> positions,
                                   std::int64_t length, std::int64_t micro_batch, bool document_masking)
    : source_(source),
      positions_(positions.begin(), positions.end()),
      length_(length),
      micro_batch_(micro_batch),
      masked_(document_masking && source.document_starts().size() > 1),
      window_(static_cast<std::size_t>(length) + 1),
      numbers_(window_.size()),
      tokens_(static_cast<std::size_t>(micro_batch) * positions.size()),
      labels_(tokens_.size()),
      documents_(masked_ ? static_cast<std::size_t>(micro_batch * length) : 0),
      ids_(static_cast<std::size_t>(micro_batch)) {}

MicroBatch MicroBatchReader::load(std::span<const std::int64_t> first_tokens,
                                  std::span<const std::int64_t> sequence_ids, std::uint64_t dropout_key) {
  TS_REQUIRE(std::ssize(first_tokens) == micro_batch_, first_tokens.size(), micro_batch_);
  TS_REQUIRE(std::ssize(sequence_ids) == micro_batch_, sequence_ids.size(), micro_batch_);
  const std::size_t c = positions_.size();
  const auto starts = source_.document_starts();
  for (std::size_t b = 0; b < first_tokens.size(); ++b) {
    const bool empty = first_tokens[b] == kEmpty;
    if (empty) {
      std::fill(window_.begin(), window_.end(), 0);
    } else {
      source_.read(first_tokens[b], window_);
    }
    if (masked_) {
      // The document of a token: how many documents start after the window's first token, up to it.
      auto next = empty ? starts.end() : std::upper_bound(starts.begin(), starts.end(), first_tokens[b]);
      std::int32_t number = 0;
      for (std::size_t t = 0; t < numbers_.size(); ++t) {
        for (; next != starts.end() && *next <= first_tokens[b] + static_cast<std::int64_t>(t); ++next) {
          ++number;
        }
        numbers_[t] = number;
      }
      std::copy_n(numbers_.begin(), length_, documents_.begin() + static_cast<std::ptrdiff_t>(b) * length_);
    }
    for (std::size_t i = 0; i < c; ++i) {
      const auto t = static_cast<std::size_t>(positions_[i]);
      const bool crosses = masked_ && numbers_[t] != numbers_[t + 1];
      tokens_[b * c + i] = window_[t];
      labels_[b * c + i] = empty || crosses ? kernels::kIgnoredLabel : window_[t + 1];
    }
    ids_[b] = sequence_ids[b];
  }
  MicroBatch batch;
  batch.tokens = tokens_;
  batch.labels = labels_;
  batch.attention.documents = documents_;
  batch.dropout_key = dropout_key;
  batch.sequence_ids = ids_;
  return batch;
}

}  // namespace tessera::runtime
