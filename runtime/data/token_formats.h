/// The readers behind open_token_source, one file each. Each checks its whole structure before it returns.
#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <string>

#include "algos/base/mapped_file.h"
#include "algos/base/status.h"
#include "runtime/data/token_source.h"

namespace tessera::runtime {

inline constexpr char kMegatronMagic[] = "MMIDIDX\0";  // nine bytes, the last two zero
inline constexpr std::size_t kMegatronMagicBytes = 9;
inline constexpr std::int32_t kLlmcMagicGpt2 = 20240520;
inline constexpr std::int32_t kLlmcMagicLlama3 = 20240801;

/// A little-endian value at a byte offset of any alignment. Requires that it lies inside.
template <class T>
[[nodiscard]] T load(std::span<const std::byte> bytes, std::size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

[[nodiscard]] Result<std::unique_ptr<TokenSource>> open_text(tessera::MappedFile file,
                                                             const std::string& path);
/// `bin_path` and `idx_path` of the pair.
[[nodiscard]] Result<std::unique_ptr<TokenSource>> open_megatron(const std::string& bin_path,
                                                                 const std::string& idx_path);
[[nodiscard]] Result<std::unique_ptr<TokenSource>> open_llmc(tessera::MappedFile file,
                                                             const std::string& path);

}  // namespace tessera::runtime
