#include "runtime/attention/chunk_mask.h"

#include <algorithm>
#include <cstddef>

#include "algos/base/require.h"

namespace tessera::runtime {

std::array<TokenRun, 2> token_runs(std::span<const std::int32_t> positions) {
  std::int64_t cut = 0;
  std::int32_t widest = 0;
  for (std::size_t t = 1; t < positions.size(); ++t) {
    const std::int32_t gap = positions[t] - positions[t - 1];
    TS_REQUIRE(gap > 0, t, gap);
    if (gap > widest) {
      widest = gap;
      cut = static_cast<std::int64_t>(t);
    }
  }
  return {TokenRun{0, cut}, TokenRun{cut, std::ssize(positions)}};
}

bool may_see(const RunEnds& q, const RunEnds& k, bool causal, std::int32_t window) {
  const bool in_future = causal && k.first > q.last;
  // In 64 bits: a window may be as wide as positions go.
  const bool outside_window =
      window > 0 && (std::int64_t{q.first} - k.last >= window || std::int64_t{k.first} - q.last >= window);
  const bool other_documents = q.first_document > k.last_document || q.last_document < k.first_document;
  return !in_future && !outside_window && !other_documents;
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

ChunkMask chunk_mask(const MeshShape& shape, TokenLayout layout, std::int64_t tokens, const MaskRule& rule) {
  TS_REQUIRE(rule.documents.empty() || std::ssize(rule.documents) == rule.sequences * tokens,
             rule.documents.size(), rule.sequences, tokens);
  const int n = shape.super_ranks();
  std::vector<std::vector<RunEnds>> runs(static_cast<std::size_t>(n));  // of one sequence, none empty
  for (int g = 0; g < n; ++g) {
    const std::vector<std::int32_t> positions = super_rank_positions(shape, layout, tokens, g);
    for (const TokenRun& run : token_runs(positions)) {
      if (run.begin == run.end) continue;
      runs[static_cast<std::size_t>(g)].push_back({positions[static_cast<std::size_t>(run.begin)],
                                                   positions[static_cast<std::size_t>(run.end - 1)], 0, 0});
    }
  }
  ChunkMask mask(n);
  for (int q = 0; q < n; ++q) {
    for (int k = 0; k < n; ++k) mask.set(Chunk(q), Chunk(k), false);
  }
  const std::int64_t sequences = rule.documents.empty() ? 1 : rule.sequences;
  for (std::int64_t s = 0; s < sequences; ++s) {
    if (!rule.documents.empty()) {
      const std::int32_t* const documents = rule.documents.data() + s * tokens;
      for (auto& chunk : runs) {
        for (RunEnds& run : chunk) {
          run.first_document = documents[run.first];
          run.last_document = documents[run.last];
        }
      }
    }
    for (int q = 0; q < n; ++q) {
      for (int k = 0; k < n; ++k) {
        for (const RunEnds& rows : runs[static_cast<std::size_t>(q)]) {
          for (const RunEnds& columns : runs[static_cast<std::size_t>(k)]) {
            if (may_see(rows, columns, rule.causal, rule.window)) mask.set(Chunk(q), Chunk(k), true);
          }
        }
      }
    }
  }
  return mask;
}

}  // namespace tessera::runtime
