/// Hugging Face model directories: config.json and model.safetensors, single or sharded.
///
/// Reading   F32, BF16, F16 tensors into the flat fp32 buffer; each tensor must be there once with the
///           expected shape; unknown tensors are refused except rotary_emb.inv_freq and a tied lm_head.
/// Writing   into a temporary sibling directory, synced, then renamed: a directory appears whole or not at
///           all. An existing one is replaced only when `overwrite`.
/// Errors    bad_input text naming file, tensor, expected shape and remedy; kIoError / kResourceExhausted
///           from the system (disk full) leave nothing behind.
#pragma once

#include <cstdint>
#include <string>

#include "algos/base/status.h"
#include "planner/spec/model_spec.h"
#include "runtime/model/parameters.h"
#include "runtime/model/safetensors.h"

namespace tessera::runtime {

[[nodiscard]] Status read_hf_parameters(const std::string& directory, const planner::ModelSpec& spec,
                                        const ParameterLayout& layout, float* flat);

struct HfWriteOptions {
  StorageType type = StorageType::kF32;
  std::int64_t max_shard_bytes = std::int64_t{5} << 30;
  bool overwrite = false;
};
[[nodiscard]] Status write_hf_directory(const std::string& directory, const planner::ModelSpec& spec,
                                        const ParameterLayout& layout, const float* flat,
                                        const HfWriteOptions& options);

}  // namespace tessera::runtime
