// Text: one byte, one token.
#include <algorithm>
#include <cstdint>

#include <fmt/format.h>

#include "runtime/data/packed_tokens.h"
#include "runtime/data/token_formats.h"

namespace tessera::runtime {

Result<std::unique_ptr<TokenSource>> open_text(tessera::MappedFile file, const std::string& path) {
  const auto bytes = file.bytes();
  if (bytes.empty()) {
    return bad_input({.file = path,
                      .field = "",
                      .found = "an empty file",
                      .expected = "text, Megatron .bin/.idx or llm.c .bin tokens",
                      .remedy = "name a file with training data"});
  }
  // No text holds a NUL byte; archives, tensors and token files without their header do so early.
  const std::size_t looked_at = std::min<std::size_t>(bytes.size(), std::size_t{1} << 16);
  const auto* nul = std::find(bytes.data(), bytes.data() + looked_at, std::byte{0});
  if (nul != bytes.data() + looked_at) {
    return bad_input({.file = path,
                      .field = "",
                      .found = fmt::format("binary data: a zero byte at offset {}", nul - bytes.data()),
                      .expected = "text, Megatron .bin with its .idx beside it, or llm.c .bin",
                      .remedy = "put the .idx beside the .bin, or make token files with "
                                "scripts/prepare_data.py"});
  }
  const auto tokens = static_cast<std::int64_t>(bytes.size());
  return {
      std::make_unique<PackedTokens<std::uint8_t>>(std::move(file), 0, tokens, std::vector<std::int64_t>{0},
                                                   fmt::format("{}: text, {} tokens (bytes)", path, tokens))};
}

}  // namespace tessera::runtime
