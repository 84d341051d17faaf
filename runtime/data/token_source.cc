#include "runtime/data/token_source.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "algos/base/mapped_file.h"
#include "runtime/data/token_formats.h"

namespace tessera::runtime {
namespace {

bool is_file(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::is_regular_file(path, ignored);
}

/// "data.bin" -> "data"; a path without that ending unchanged.
std::string without(const std::string& path, std::string_view ending) {
  return path.ends_with(ending) ? path.substr(0, path.size() - ending.size()) : path;
}

bool is_megatron_index(std::span<const std::byte> bytes) {
  return bytes.size() >= kMegatronMagicBytes &&
         std::memcmp(bytes.data(), kMegatronMagic, kMegatronMagicBytes) == 0;
}

bool is_llmc(std::span<const std::byte> bytes) {
  if (bytes.size() < sizeof(std::int32_t)) return false;
  const auto magic = load<std::int32_t>(bytes, 0);
  return magic == kLlmcMagicGpt2 || magic == kLlmcMagicLlama3;
}

}  // namespace

Result<std::unique_ptr<TokenSource>> open_token_source(const std::string& path) {
  const std::string expected = "a text file, Megatron tokens (.bin and .idx) or llm.c tokens (.bin)";
  const std::string remedy = "name an existing file; scripts/prepare_data.py makes token files from text";
  // Megatron names a pair by its common part.
  if (!is_file(path) && is_file(path + ".idx")) return open_megatron(path + ".bin", path + ".idx");
  tessera::MappedFile file = TS_TRY(tessera::MappedFile::open(path, expected, remedy));
  if (is_megatron_index(file.bytes())) return open_megatron(without(path, ".idx") + ".bin", path);
  if (path.ends_with(".bin")) {  // a Megatron .bin has no mark of its own
    const std::string idx = without(path, ".bin") + ".idx";
    if (is_file(idx)) return open_megatron(path, idx);
  }
  if (is_llmc(file.bytes())) return open_llmc(std::move(file), path);
  return open_text(std::move(file), path);
}

Status check_vocabulary(const TokenSource& source, std::int64_t vocabulary) {
  constexpr std::int64_t kPiece = std::int64_t{1} << 16;
  std::vector<std::int32_t> piece(static_cast<std::size_t>(std::min(kPiece, source.tokens())));
  for (std::int64_t begin = 0; begin < source.tokens(); begin += kPiece) {
    piece.resize(static_cast<std::size_t>(std::min(kPiece, source.tokens() - begin)));
    source.read(begin, piece);
    const auto [least, greatest] = std::minmax_element(piece.begin(), piece.end());
    if (*least >= 0 && *greatest < vocabulary) continue;
    const auto at = std::find_if(piece.begin(), piece.end(),
                                 [vocabulary](std::int32_t t) { return t < 0 || t >= vocabulary; });
    return bad_input(
        {.file = source.description(),
         .field = fmt::format("token {}", begin + (at - piece.begin())),
         .found = fmt::format("{}", *at),
         .expected = fmt::format("0 to {}: the model's vocab_size is {}", vocabulary - 1, vocabulary),
         .remedy = "tokenise the data with the model's own tokenizer, or use a model whose "
                   "vocab_size is large enough"});
  }
  return {};
}

}  // namespace tessera::runtime
