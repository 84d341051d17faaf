#include "runtime/attention/chunk_tokens.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "algos/base/require.h"

namespace tessera::runtime {

ChunkTokens::ChunkTokens(std::vector<std::int32_t> positions, std::int64_t sequences)
    : positions_(std::move(positions)), documents_(positions_.size() * static_cast<std::size_t>(sequences)) {
  std::int64_t cut = 0;
  std::int32_t widest = 0;
  for (std::int64_t t = 1; t < tokens(); ++t) {
    const auto i = static_cast<std::size_t>(t);
    const std::int32_t gap = positions_[i] - positions_[i - 1];
    TS_REQUIRE(gap > 0, t, gap);
    if (gap > widest) {
      widest = gap;
      cut = t;
    }
  }
  runs_ = {Run{0, cut}, Run{cut, tokens()}};
}

void ChunkTokens::set_documents(std::span<const std::int32_t> documents, std::int64_t tokens_per_sequence) {
  has_documents_ = !documents.empty();
  if (!has_documents_) return;
  TS_REQUIRE(static_cast<std::int64_t>(documents.size() * positions_.size()) ==
                 static_cast<std::int64_t>(documents_.size()) * tokens_per_sequence,
             documents.size(), documents_.size(), tokens_per_sequence);
  const std::size_t sequences = positions_.empty() ? 0 : documents_.size() / positions_.size();
  for (std::size_t s = 0; s < sequences; ++s) {
    const std::int32_t* const whole = documents.data() + s * static_cast<std::size_t>(tokens_per_sequence);
    std::int32_t* const mine = documents_.data() + s * positions_.size();
    for (std::size_t t = 0; t < positions_.size(); ++t) mine[t] = whole[positions_[t]];
  }
}

std::vector<std::int32_t> super_rank_positions(const MeshShape& shape, TokenLayout layout,
                                               std::int64_t tokens, int super_rank) {
  std::vector<std::int32_t> all;
  for (int share = 0; share < shape.heads; ++share) {
    const std::vector<std::int32_t> one =
        token_positions(layout, tokens, shape.ranks(), super_rank * shape.heads + share);
    all.insert(all.end(), one.begin(), one.end());
  }
  std::sort(all.begin(), all.end());
  return all;
}

bool nothing_visible(const ChunkTokens& q, const ChunkTokens& k, std::int64_t sequence, bool causal,
                     std::int32_t window) {
  const std::int32_t* const q_document = q.documents(sequence);
  const std::int32_t* const k_document = k.documents(sequence);
  for (const ChunkTokens::Run& rows : q.runs_) {
    for (const ChunkTokens::Run& columns : k.runs_) {
      if (rows.begin == rows.end || columns.begin == columns.end) continue;
      const std::int64_t q_first = q.positions_[static_cast<std::size_t>(rows.begin)];
      const std::int64_t q_last = q.positions_[static_cast<std::size_t>(rows.end - 1)];
      const std::int64_t k_first = k.positions_[static_cast<std::size_t>(columns.begin)];
      const std::int64_t k_last = k.positions_[static_cast<std::size_t>(columns.end - 1)];
      const bool in_future = causal && k_first > q_last;
      const bool outside_window = window > 0 && (q_first - k_last >= window || k_first - q_last >= window);
      const bool other_documents =
          q_document != nullptr && (q_document[rows.begin] > k_document[columns.end - 1] ||
                                    q_document[rows.end - 1] < k_document[columns.begin]);
      if (!in_future && !outside_window && !other_documents) return false;
    }
  }
  return true;
}

}  // namespace tessera::runtime
