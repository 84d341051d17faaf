// llm.c's .bin (dev/data/data_common.py there): 256 int32 of header (magic, version, token count), tokens.
#include <cstdint>

#include <fmt/format.h>

#include "runtime/data/packed_tokens.h"
#include "runtime/data/token_formats.h"

namespace tessera::runtime {
namespace {

constexpr std::size_t kHeaderBytes = 1024;
const char* const kRemedy = "make the file again with scripts/prepare_data.py --format llmc";

template <class T>
Result<std::unique_ptr<TokenSource>> open_as(tessera::MappedFile file, const std::string& path,
                                             const char* type) {
  const auto bytes = file.bytes();
  const auto tokens = std::int64_t{load<std::int32_t>(bytes, 8)};
  const auto found = static_cast<std::int64_t>(bytes.size());
  const auto expected = static_cast<std::int64_t>(kHeaderBytes) + tokens * std::int64_t{sizeof(T)};
  if (tokens < 1) {
    return bad_input({.file = path,
                      .field = "header[2] (token count)",
                      .found = fmt::format("{}", tokens),
                      .expected = "at least 1 token",
                      .remedy = kRemedy});
  }
  if (found != expected) {
    return bad_input(
        {.file = path,
         .field = "length",
         .found = fmt::format("{} bytes", found),
         .expected = fmt::format("{} bytes: a header of {} and {} tokens of type {}", expected, kHeaderBytes,
                                 tokens, type),
         .remedy = fmt::format("the file is damaged or cut off: copy it again, or {}", kRemedy)});
  }
  return {std::make_unique<PackedTokens<T>>(std::move(file), kHeaderBytes, tokens,
                                            std::vector<std::int64_t>{0},
                                            fmt::format("{}: llm.c, {} tokens ({})", path, tokens, type))};
}

}  // namespace

Result<std::unique_ptr<TokenSource>> open_llmc(tessera::MappedFile file, const std::string& path) {
  const auto bytes = file.bytes();
  if (bytes.size() < kHeaderBytes) {
    return bad_input({.file = path,
                      .field = "header",
                      .found = fmt::format("{} bytes", bytes.size()),
                      .expected = fmt::format("{} bytes", kHeaderBytes),
                      .remedy = kRemedy});
  }
  const auto magic = load<std::int32_t>(bytes, 0);
  const auto version = load<std::int32_t>(bytes, 4);
  if (magic == kLlmcMagicGpt2 && version == 1) return open_as<std::uint16_t>(std::move(file), path, "u16");
  if (magic == kLlmcMagicLlama3 && version == 7) return open_as<std::uint32_t>(std::move(file), path, "u32");
  return bad_input({.file = path,
                    .field = "header[1] (version)",
                    .found = fmt::format("{}", version),
                    .expected = magic == kLlmcMagicGpt2 ? "1 (GPT-2, u16 tokens)" : "7 (Llama 3, u32 tokens)",
                    .remedy = kRemedy});
}

}  // namespace tessera::runtime
