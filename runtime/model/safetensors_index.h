/// model.safetensors.index.json: which file of a sharded model directory holds which tensor.
///
///   {"metadata": {"total_size": 22558464}, "weight_map": {"model.norm.weight":
///   "model-00002-of-00002.safetensors"}}
///
/// Reading trusts nothing: a file is a plain name beside the index, a tensor stands once.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "algos/base/status.h"

namespace tessera::runtime {

struct SafetensorsIndex {
  std::int64_t total_size = 0;                 // bytes of data in all files; 0 where the index does not say
  std::map<std::string, std::string> file_of;  // by tensor
};

/// Errors name the file, the field, what was found and expected.
[[nodiscard]] Result<SafetensorsIndex> parse_safetensors_index(std::string_view text,
                                                               const std::string& file_name);
[[nodiscard]] std::string to_json(const SafetensorsIndex& index);

}  // namespace tessera::runtime
