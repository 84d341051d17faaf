/// Tokens on disk, memory-mapped, and the order in which training reads them.
///
/// Formats, told apart by content, not by name alone:
///   text file           bytes as tokens, vocabulary 256
///   Megatron .bin/.idx  magic MMIDIDX, version 1, documents; dtypes u8, i8, i16, i32, i64, u16; the path is
///                       that of either file, or their common part
///   llm.c .bin          1024-byte header; magic 20240520, version 1: u16 (GPT-2); magic 20240801,
///                       version 7: u32 (Llama 3)
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "algos/base/status.h"

namespace tessera::runtime {

class TokenSource {
 public:
  virtual ~TokenSource() = default;
  [[nodiscard]] virtual std::int64_t tokens() const = 0;
  /// Copies tokens [begin, begin + out.size()). Requires the range to exist.
  virtual void read(std::int64_t begin, std::span<std::int32_t> out) const = 0;
  /// First token of each document, increasing, the first being 0; {0} when the format has none.
  [[nodiscard]] virtual std::span<const std::int64_t> document_starts() const = 0;
  [[nodiscard]] virtual const std::string& description() const = 0;
};

[[nodiscard]] Result<std::unique_ptr<TokenSource>> open_token_source(const std::string& path);

/// kInvalidArgument naming the first token outside [0, vocabulary), its index and the remedy.
[[nodiscard]] Status check_vocabulary(const TokenSource& source, std::int64_t vocabulary);

/// Cuts [begin, end) of a source into windows of length+1 tokens (input and next-token labels overlap by
/// `length`), and permutes them per epoch: which window is number i of the job is a pure function of
/// (seed, i). Resuming needs the counter i alone.
class SampleOrder {
 public:
  /// Error when [begin, end) holds no full window: names how many tokens there are and how many are needed.
  static Result<SampleOrder> make(std::int64_t begin, std::int64_t end, std::int64_t length,
                                  std::uint64_t seed);
  [[nodiscard]] std::int64_t windows() const { return windows_; }
  /// First token of sample i, i >= 0; epochs follow each other, each a permutation of all windows.
  [[nodiscard]] std::int64_t first_token(std::int64_t i) const;

 private:
  SampleOrder() = default;
  std::int64_t begin_ = 0;
  std::int64_t length_ = 0;
  std::int64_t windows_ = 0;
  std::uint64_t seed_ = 0;
};

}  // namespace tessera::runtime
