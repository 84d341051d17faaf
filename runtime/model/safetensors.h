/// The safetensors format: 8 bytes of header length, a JSON header, then the tensors' bytes.
/// Source: the format's description in the README of the Hugging Face safetensors library.
///
/// Reading   checks everything before a tensor can be seen: header length, JSON (names once, nesting),
///           types, shapes against byte ranges, and that the ranges tile the data without gap or overlap.
/// Writing   header padded with spaces to a multiple of 8 bytes, __metadata__ {"format": "pt"}.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "algos/base/mapped_file.h"
#include "algos/base/status.h"

namespace tessera::runtime {

struct SafetensorsEntry {
  std::string name;
  std::string type;  // "F32", "BF16", "F16", "I64", ...
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0;  // bytes from the start of the data
  std::uint64_t end = 0;
};

struct SafetensorsHeader {
  std::uint64_t data_begin = 0;           // bytes from the start of the file
  std::vector<SafetensorsEntry> tensors;  // by place in the file
};

/// `file_name` is for messages. Errors: kInvalidArgument naming file, tensor, found, expected, remedy.
[[nodiscard]] Result<SafetensorsHeader> parse_safetensors(std::span<const std::byte> bytes,
                                                          const std::string& file_name);

/// Length field, JSON and padding for tensors that follow each other from offset 0; `begin`, `end` of the
/// entries are taken as they are.
[[nodiscard]] std::string safetensors_header(std::span<const SafetensorsEntry> tensors);

}  // namespace tessera::runtime
