/// The safetensors container: named tensors in one file, read by mapping it, written in one pass.
/// Format: 8 bytes little-endian header length n, n bytes of JSON
///   {"__metadata__": {…}, "name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, …}
/// then the data, which the tensors cover without gap or overlap.
///
/// Reading trusts nothing: lengths, offsets, products of dims and duplicates are checked before any byte of
/// data is looked at, so a truncated or hostile file is an error message.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "algos/base/mapped_file.h"
#include "algos/base/status.h"

namespace tessera::runtime {

enum class StorageType : std::uint8_t { kF32, kBf16, kF16 };

[[nodiscard]] std::string_view storage_type_name(StorageType type);  // "F32", as the format spells it
[[nodiscard]] std::int64_t storage_bytes(StorageType type);          // of one element

struct TensorEntry {
  std::string name;
  std::string dtype;  // as written; only F32, BF16 and F16 can be converted
  std::vector<std::int64_t> shape;
  std::int64_t begin = 0;  // bytes from the start of the data
  std::int64_t end = 0;
};

struct SafetensorsHeader {
  std::vector<TensorEntry> tensors;  // in order of begin
  std::int64_t data_offset = 0;      // bytes from the start of the file
};

/// Parses and checks a whole file's bytes. Errors name the file, the tensor, what was found and expected.
[[nodiscard]] Result<SafetensorsHeader> parse_safetensors(std::span<const std::byte> file,
                                                          const std::string& file_name);

class SafetensorsFile {
 public:
  static Result<SafetensorsFile> open(const std::string& path);
  [[nodiscard]] const std::vector<TensorEntry>& tensors() const { return header_.tensors; }
  [[nodiscard]] const std::string& path() const { return path_; }
  /// Converts a tensor to fp32. Requires to.size() == product of its shape. kInvalidArgument for other
  /// dtypes.
  [[nodiscard]] Status read(const TensorEntry& entry, std::span<float> to) const;

 private:
  SafetensorsFile(std::string path, MappedFile file, SafetensorsHeader header)
      : path_(std::move(path)), file_(std::move(file)), header_(std::move(header)) {}
  std::string path_;
  MappedFile file_;
  SafetensorsHeader header_;
};

/// One tensor to write, from fp32.
struct TensorToWrite {
  std::string name;
  std::vector<std::int64_t> shape;
  const float* values = nullptr;
  std::int64_t count = 0;
};

/// Bytes of data that the tensors take in this storage type.
[[nodiscard]] std::int64_t safetensors_data_bytes(std::span<const TensorToWrite> tensors, StorageType type);

/// Writes and syncs one file, or leaves none. Errors: those of write_failure (algos/base/durable_file.h).
[[nodiscard]] Status write_safetensors(const std::string& path, std::span<const TensorToWrite> tensors,
                                       StorageType type);

}  // namespace tessera::runtime
