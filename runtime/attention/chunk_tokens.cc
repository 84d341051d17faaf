#include "runtime/attention/chunk_tokens.h"

#include <cstddef>
#include <utility>

#include "algos/base/require.h"

namespace tessera::runtime {

ChunkTokens::ChunkTokens(std::vector<std::int32_t> positions, std::int64_t sequences)
    : positions_(std::move(positions)),
      documents_(positions_.size() * static_cast<std::size_t>(sequences)),
      runs_(token_runs(positions_)) {}

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

RunEnds ChunkTokens::ends(const TokenRun& run, std::int64_t sequence) const {
  const std::int32_t* const document = documents(sequence);
  return {positions_[static_cast<std::size_t>(run.begin)], positions_[static_cast<std::size_t>(run.end - 1)],
          document != nullptr ? document[run.begin] : 0, document != nullptr ? document[run.end - 1] : 0};
}

bool nothing_visible(const ChunkTokens& q, const ChunkTokens& k, std::int64_t sequence, bool causal,
                     std::int32_t window) {
  for (const TokenRun& rows : q.runs_) {
    for (const TokenRun& columns : k.runs_) {
      if (rows.begin == rows.end || columns.begin == columns.end) continue;
      if (may_see(q.ends(rows, sequence), k.ends(columns, sequence), causal, window)) return false;
    }
  }
  return true;
}

}  // namespace tessera::runtime
