/// Several token files read as one, in the order given.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "algos/base/status.h"
#include "runtime/data/token_source.h"

namespace tessera::runtime {

/// One path: that file. Several: their tokens after each other; each file starts a document.
[[nodiscard]] Result<std::unique_ptr<TokenSource>> open_token_files(std::span<const std::string> paths);

/// The same, of sources already open.
[[nodiscard]] std::unique_ptr<TokenSource> join_token_sources(
    std::vector<std::unique_ptr<TokenSource>> sources);

/// Shannon entropy of the token frequencies of [begin, end), in nats: the loss of a model that knows
/// nothing but how often each token occurs.
///   H = -sum_t p(t) log p(t);   "aab" -> 0.6365
/// O(end - begin); 0 for an empty range.
[[nodiscard]] double unigram_entropy(const TokenSource& source, std::int64_t begin, std::int64_t end);

}  // namespace tessera::runtime
